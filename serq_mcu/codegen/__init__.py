"""The waist and a board to a PlatformIO project."""
