"""A script of PlatformIO's: what a test run compiled for an emulated board is not compiled again in it.

SCons keeps object files by the content of all that they are made of, their command and their path in the
project. PlatformIO makes the path of a library's objects from where the project lies; here it is from the
library's name alone, so that projects share them. Programs are linked each time. Nothing of the tests is
imported, as the Python that builds may be that of an installed wheel.
"""

import os
import sys

import SCons.CacheDir
from SCons.Script import DefaultEnvironment


class Objects(SCons.CacheDir.CacheDir):  # type: ignore[misc]
    """A folder of objects without a file of settings, whose lock would outlive a build that is killed."""

    def _readconfig(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)
        self.config = {"prefix_len": 2}


env = DefaultEnvironment()
env.CacheDir(os.path.join(os.environ["SERQ_TEST_RUN"], "objects"), Objects)
env.NoCache(os.path.join("$BUILD_DIR", "firmware.elf"))  # its map is written beside it
libraries = next(module for name, module in sys.modules.items() if name.split(".")[-1] == "piolib")
libraries.LibBuilderBase.build_dir = property(
    lambda library: os.path.join("$BUILD_DIR", "lib", os.path.basename(library.path))
)
