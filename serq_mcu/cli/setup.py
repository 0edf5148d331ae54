"""Commands about the user's computer: doctor, cache, completion."""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING, Any

import click

from serq_mcu.cli.shared import json_option, main, print_result

if TYPE_CHECKING:
    from serq_mcu.base.cache import CacheInfo, Usage


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show what is installed, what is missing and the command that installs it.

    That is Python packages, compilers, emulators, PlatformIO, serial ports. Exit 1 only if export, check or
    verify on this computer would not work.

    Example: serq-mcu doctor
    """
    from serq_mcu.build.doctor import diagnose
    from serq_mcu.show.setup import diagnosis_lines

    diagnosis = diagnose()
    print_result(diagnosis.to_json(), diagnosis_lines(diagnosis), as_json)
    sys.exit(0 if diagnosis.ok else 1)


@main.group()
def cache() -> None:
    """Show or empty the folder of computed features, results and compiled code."""


@cache.command("info")
@json_option
def cache_info(as_json: bool) -> None:
    """Show the cache's folder, its limit, and entries, bytes and last use by kind.

    SERQ_CACHE chooses another folder, SERQ_CACHE_LIMIT another limit (500 MB, say). Beyond the limit the
    least recently used entries are removed.

    Example: serq-mcu cache info
    """
    from serq_mcu.base.cache import Cache

    info = Cache().info()
    print_result(_cache_json(info), _cache_lines(info), as_json)


@cache.command("clear")
@click.argument("kind", required=False)
@json_option
def cache_clear(kind: str | None, as_json: bool) -> None:
    """Remove all entries of the cache, or those of KIND, and print what was removed.

    Nothing is lost but time: whatever is needed again is computed again.

    Example: serq-mcu cache clear features
    """
    from serq_mcu.base.cache import Cache

    removed = Cache().clear(kind)
    nothing = f"nothing to remove: the cache holds no entries{f' of kind {kind}' if kind else ''}"
    lines = [f"removed {_counted(usage)}" for usage in removed.kinds] or [nothing]
    print_result(_cache_json(removed), lines, as_json)


def _cache_json(info: CacheInfo) -> dict[str, Any]:
    """Return plain values; bytes, and last uses in ISO 8601 (UTC)."""
    return {
        "folder": str(info.folder),
        "limit": info.limit,
        "entries": info.entries,
        "bytes": info.bytes,
        "kinds": {
            usage.kind: {
                "entries": usage.entries,
                "bytes": usage.bytes,
                "last_use": _time(usage).astimezone(datetime.timezone.utc).isoformat(),
            }
            for usage in info.kinds
        },
    }


def _cache_lines(info: CacheInfo) -> list[str]:
    return [
        f"folder: {info.folder}",
        f"limit: {_size(info.limit)}",
        f"used: {_size(info.bytes)} in {info.entries} entries",
        *(f"  {_counted(usage)}, last used {_time(usage):%Y-%m-%d %H:%M}" for usage in info.kinds),
    ]


def _counted(usage: Usage) -> str:
    return f"{usage.kind}: {usage.entries} entr{'y' if usage.entries == 1 else 'ies'}, {_size(usage.bytes)}"


def _time(usage: Usage) -> datetime.datetime:
    """Return the last use in local time."""
    return datetime.datetime.fromtimestamp(usage.used).astimezone()


def _size(count: int) -> str:
    """Write bytes for people; KB of 1000."""
    for exponent, unit in ((9, "GB"), (6, "MB"), (3, "KB")):
        if count >= 10**exponent:
            return f"{count / 10**exponent:.1f} {unit}"
    return f"{count} bytes"


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands, options and boards when Tab is pressed.

    For bash: put `eval "$(serq-mcu completion bash)"` into ~/.bashrc; zsh alike, into ~/.zshrc; for fish:
    `serq-mcu completion fish | source` in ~/.config/fish/config.fish.

    Example: serq-mcu completion bash
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(main, {}, "serq-mcu", "_SERQ_MCU_COMPLETE")
    click.echo(made.source_template % made.source_vars())
