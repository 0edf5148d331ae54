"""Exported projects to programs: PlatformIO, this computer's compiler, sizes."""
