"""Recordings to clips with labels and speakers."""
