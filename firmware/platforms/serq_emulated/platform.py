"""PlatformIO development platform without packages: compilers and emulators are the system's own."""

from platformio.public import PlatformBase


class Serq_emulatedPlatform(PlatformBase):
    """PlatformIO looks for a class named after the platform."""
