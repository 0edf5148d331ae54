"""Boards and microphones as data."""
