"""Speech emotion recognition on microcontrollers, from recordings to verified firmware."""

__version__ = "0.1.0"
