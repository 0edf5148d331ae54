"""C compiled for this computer."""
