"""What a project contains for each framework that PlatformIO builds with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FrameworkName = Literal["", "arduino", "espidf"]  # "": none


@dataclass(frozen=True)
class Framework:
    """What a framework adds to a project.

    Lines of its environment in platformio.ini, and files that it asks for: path to template. The program's
    partition begins at partition_origin of the flash and ends with it (0: there are no partitions).
    """

    build_flags: tuple[str, ...] = ("-O2",)
    build_unflags: tuple[str, ...] = ()
    templates: dict[str, str] = field(default_factory=dict)
    partition_origin: int = 0


FRAMEWORKS: dict[FrameworkName, Framework] = {
    "": Framework(),
    "arduino": Framework(build_unflags=("-Os",)),
    "espidf": Framework(
        build_flags=(),  # sdkconfig.defaults chooses -O2
        templates={
            "CMakeLists.txt": "CMakeLists.txt.j2",
            "src/CMakeLists.txt": "src_CMakeLists.txt.j2",
            "sdkconfig.defaults": "sdkconfig.defaults.j2",
            "partitions.csv": "partitions.csv.j2",
        },
        # ESP-IDF 5.5.3, components/partition_table: the table is at 0x8000, and an application begins at a
        # multiple of 64 KiB
        partition_origin=0x10000,
    ),
}
