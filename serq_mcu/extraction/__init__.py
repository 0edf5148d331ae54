"""Recordings to feature arrays, by the C that a specification exports, compiled for this computer."""
