"""Build a program for an emulated board, and run it in QEMU (`pio run -t exec`).

All that differs between boards is in boards/*.json.
"""

import re
import subprocess
import sys
from pathlib import Path

from SCons.Script import AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
build = env.BoardConfig().get("build")
for path in env.subst("$PROJECT_DIR"), env.subst("$BUILD_DIR"):
    if not re.fullmatch(r"[\w./+-]+", path):  # it is written into command lines that a shell reads
        sys.stderr.write(
            f"the path {path!r} has characters that a build's tools misread; run `serq-mcu build`, which"
            " builds elsewhere, or move the project\n"
        )
        env.Exit(1)
compiler, flags, runtime = build["compiler"], build["flags"], build["runtime"]

env.Replace(
    AR=f"{compiler}gcc-ar",
    AS=f"{compiler}gcc",
    CC=f"{compiler}gcc",
    CXX=f"{compiler}g++",
    LINK=f"{compiler}gcc",
    OBJCOPY=f"{compiler}objcopy",
    RANLIB=f"{compiler}gcc-ranlib",
    SIZETOOL=f"{compiler}size",
    ARFLAGS=["rc"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
    SIZEPROGREGEXP=r"^(?:\.init|\.vectors|\.reset|\.text|\.data)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss|\.stack)\s+(\d+).*",
)
env.Append(
    ASFLAGS=flags,
    ASPPFLAGS=["-x", "assembler-with-cpp"],
    CCFLAGS=[*flags, "-Wall", "-Wextra", "-Wconversion", "-ffunction-sections", "-fdata-sections"],
    CFLAGS=["-std=c99"],
    LINKFLAGS=[*flags, "-Wl,--gc-sections", "-Wl,-Map=$BUILD_DIR/firmware.map"]
    + [f"-Wl,--defsym={symbol}={value:#x}" for symbol, value in build["symbols"].items()],
)
if runtime:
    folder = Path(env.PioPlatform().get_dir()) / runtime
    env.Append(LINKFLAGS=["-nostartfiles"])
    env.Replace(LDSCRIPT_PATH=str(folder / "link.ld"))
    env.BuildSources(str(Path("$BUILD_DIR") / runtime), str(folder))
else:
    env.Replace(
        LDSCRIPT_PATH="picolibc.ld"
    )  # its default too, but then it is read before the symbols above and misses the stack's size

program = env.BuildProgram()
AlwaysBuild(env.Alias("buildprog", program))
env.AddPlatformTarget(
    "size", program, env.VerboseAction("$SIZEPRINTCMD", "Calculating size $SOURCE"), "Program Size"
)


def run(target, source, env):
    """The program's end is its standard input's end; its exit code becomes PlatformIO's."""
    return subprocess.run([*build["emulator"], str(source[0])], check=False).returncode


env.AddPlatformTarget(
    "exec",
    program,
    env.VerboseAction(run, "Running $SOURCE in the emulator"),
    "Run",
    "Run the program in QEMU",
)
Default("buildprog")
