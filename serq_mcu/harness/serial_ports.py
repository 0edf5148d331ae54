"""Why a port or an upload failed, in one sentence with the remedy.

It comes from the system's errors and the uploaders' own words.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import Any

from serq_mcu.errors import SerqError

_EXAMPLE = {"win32": "COM3", "darwin": "/dev/cu.usbserial-0001"}.get(sys.platform, "/dev/ttyUSB0")
_RULE_FILE = "/etc/udev/rules.d/99-serq.rules"
_CHIPS = re.compile(r"This chip is (ESP32[\w-]*).*?, not (ESP32[\w-]*)")
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_BUSY = (errno.EBUSY, errno.EAGAIN)

# What uploaders print, and what it means. esptool 4.12, OpenOCD 0.12, BOSSA 1.9 and PlatformIO 6.2 were made
# to say these but where a line says otherwise. {port}, {board} and {ports} are filled in; the first that is
# found counts, so the exact come before the vague.
_UPLOADERS = (
    (
        r"Wrong boot mode detected",
        "the chip on {port} is not in its boot loader: hold the BOOT button while it connects, and try again",
    ),  # esptool, read
    (
        r"Failed to connect to ESP32\S*: No serial data received",
        (
            "nothing answers on {port}: hold the BOOT button while it connects, and check that this is the"
            " board's port ({ports})"
        ),
    ),
    (
        # esptool, read
        r"Failed to connect to ESP32|Invalid head of packet|Failed to communicate with the flash chip",
        (
            "what answers on {port} is no ESP32 in its boot loader: check that this is the board's port"
            " ({ports}), or use a better cable"
        ),
    ),
    (
        r"LIBUSB_ERROR_ACCESS",  # OpenOCD, read
        (
            "no permission to use the debug probe of {board}: put PlatformIO's udev rules (its documentation"
            " has 99-platformio-udev.rules) into /etc/udev/rules.d and plug the board in again"
        ),
    ),
    (
        r"LIBUSB_ERROR_BUSY",
        "the debug probe of {board} is in use by another program: close its debugger and try again",
    ),  # OpenOCD, read
    (
        r"UNEXPECTED idcode|init mode failed",
        (
            "the debug probe finds another chip than {board}'s: check the cable to it and the board that was"
            " exported for"
        ),
    ),
    (
        r"Error: open failed|No J-Link found|Cannot connect to J-Link",
        "no debug probe was found for {board}: is its USB plug for programming plugged in?",
    ),
    (
        r"No device found on",
        "the boot loader of {board} does not answer on {port}: press its reset button twice and try again",
    ),
    (
        r"No accessible RP2040 devices",
        "no {board} in its boot loader was found: hold BOOTSEL while plugging it in, and try again",
    ),  # picotool, read
    (
        r"Please specify `upload_port`",
        (
            "no port was found to write {board} through: is it plugged in? Name the port with --port, such as"
            " {example} ({ports})"
        ),
    ),
)


def only_port() -> str:
    """Return the serial port of the only board that is plugged in.

    Raises SerqError if there is none or if there are several.
    """
    names = [port.device for port in comports() if port.vid is not None]
    if len(names) == 1:
        return str(names[0])
    if names:
        raise SerqError(f"several boards may be meant ({', '.join(names)}); name the port of one")
    raise SerqError(
        "no board was found on a serial port: use a USB cable that carries data, install the driver of its"
        f" USB chip, or name its port, such as {_EXAMPLE}"
    )


def why_not_open(port: str, error: Exception) -> str:
    """Explain what to do about a port that does not open."""
    code, text = getattr(error, "errno", None), str(error)
    if code == errno.EACCES or ("PermissionError" in text and os.name != "nt"):
        return f"no permission to use {port}{_permission(port)}"
    if code in _BUSY or "exclusively lock" in text or "PermissionError" in text:
        return f"{port} is in use by another program; close its serial monitor and try again"
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV) or "FileNotFoundError" in text:
        return f"there is no port {port}; {_found()}"
    if code in (errno.ENOTTY, errno.EINVAL) or "Could not configure port" in text:
        return f"{port} is not a serial port; {_found()}"
    return f"cannot open {port}: {text}"


def why_not_written(log: str, port: str | None, board: str) -> str | None:
    """Explain what to do about an upload that failed, from what PlatformIO and its uploader printed.

    Returns None if that is not known.
    """
    named = port or "its port"
    chips = _CHIPS.search(log)
    if chips:
        found, wanted = chips.groups()
        return (
            f"the chip on {named} is an {found} and the project is for an {wanted}: export it for that board"
            " (`serq-mcu boards`), or name its port"
        )
    if "the port is busy or doesn't exist" in log:  # esptool
        code = _ERRNO.search(log)
        return why_not_open(named, OSError(int(code[1]) if code else errno.EIO, "esptool could not open it"))
    for pattern, sentence in _UPLOADERS:
        if re.search(pattern, log):
            return sentence.format(port=named, board=board, ports=_found(), example=_EXAMPLE)
    return None


def _permission(port: str) -> str:
    if not sys.platform.startswith("linux"):
        return "; close what else is using it, or run as its owner"
    device = next((item for item in comports() if item.device == port and item.vid is not None), None)
    vendor = f'ATTRS{{idVendor}}=="{device.vid:04x}", ' if device else ""
    rule = f'SUBSYSTEM=="tty", {vendor}MODE="0666"'
    return (
        f"; add yourself to the group that owns it (dialout or uucp) and log in again, or put `{rule}` into"
        f" {_RULE_FILE} and plug the board in again"
    )


def _found() -> str:
    names = [port.device for port in comports()]
    return (
        f"there is {', '.join(names)}"
        if names
        else f"no serial port was found, so check the cable (it would be one like {_EXAMPLE})"
    )


def comports() -> list[Any]:
    """List the serial ports of this computer, as pyserial does."""
    from serial.tools.list_ports import comports

    return list(comports())
