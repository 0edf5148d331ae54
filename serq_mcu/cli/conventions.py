"""How every command behaves: help with its example, --quiet, did-you-mean, errors, exit codes, Ctrl-C.

An error is one sentence.
"""

from __future__ import annotations

import copy
import difflib
import errno
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich_click import RichCommand, RichContext, RichGroup, RichHelpFormatter
from rich_click.rich_panel import RichCommandPanel

from serq_mcu.base.text import shown, shown_lines
from serq_mcu.cli.streams import outputs
from serq_mcu.errors import SerqError

TRACEBACK = "SERQ_TRACEBACK"  # of an unexpected error, where this variable is set
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
EXIT_CODES = {
    0: "done, and nothing was found wrong",
    1: (
        "refused, failed, or found wrong: a difference, a regression, a damaged recording, a model that does"
        " not fit"
    ),
    2: "usage error",
    INTERRUPTED: "interrupted (Ctrl-C)",
}
_EXAMPLE = "Example: "
_SPACE = "make room, or set TMPDIR and SERQ_CACHE to folders on another disk"
_RIGHTS = "check who may read and write it, or choose another place"
# what no code can foresee, and the user can mend
_CIRCUMSTANCES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EROFS: _RIGHTS,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove the link that points to itself",
    errno.EMFILE: "permit more open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.EIO: "check the disk",
    errno.ENOMEM: "close other programs",
}
_LOOK = {
    "theme": "default-slim",
    "text_markup": None,
    "use_click_short_help": True,
    "commands_before_options": True,
}
_LOOK |= {
    "force_terminal": True if os.environ.get("FORCE_COLOR") else None
}  # rich-click's own rule colours the logs of some CI services


class Command(RichCommand):
    """A command with --quiet, whose help shows the paragraph `Example: ...` of its docstring as a section.

    resumable: that an interrupted run resumes where it stopped.
    """

    def __init__(self, *arguments: Any, resumable: bool = False, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.resumable = resumable
        if not isinstance(self, click.Group):
            self.params.append(_quiet_option())

    @property
    def example(self) -> str:
        """The command line that the docstring gives as an example, or nothing."""
        return next(
            (text.removeprefix(_EXAMPLE) for text in self._paragraphs() if text.startswith(_EXAMPLE)), ""
        )

    def format_help_text(  # type: ignore[override]
        self, ctx: RichContext, formatter: RichHelpFormatter
    ) -> None:
        """Write the description, then the example."""
        described = copy.copy(self)
        described.help = "\n\n".join(text for text in self._paragraphs() if not text.startswith(_EXAMPLE))
        RichCommand.format_help_text(described, ctx, formatter)
        if self.example:
            _write_section(formatter, "Example:", [("", self.example)])

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002 (click's signature)
        """Return the first clause of the description, whole."""
        words = re.sub(r" \([^)]*\)", "", next(iter(self._paragraphs()), ""))
        return re.split(r"[;:.](?: |$)", words)[0]

    def _paragraphs(self) -> list[str]:
        return [" ".join(part.split()) for part in (self.help or "").split("\n\n")]


class Group(Command, RichGroup):  # type: ignore[misc]  # rich-click's classes differ so from click's
    """A group of such commands.

    What it is called with in a shell ends with one of EXIT_CODES, and never with a raw traceback.
    """

    command_class = Command
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """List names in the order of the help's sections, where it has some."""
        panels = [
            name
            for panel in self.panels
            if isinstance(panel, RichCommandPanel)
            for name in panel.commands
            if name in self.commands
        ]
        return panels + sorted(set(self.commands) - set(panels))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a wrong name, suggest the nearest."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.commands, n=1)
            meant = (
                f"did you mean `{ctx.command_path} {near[0]}`?"
                if near
                else f"`{ctx.command_path} --help` lists all."
            )
            ctx.fail(f"there is no command {name!r}; {meant}")
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **keywords: Any) -> Any:
        """Parse and run, and end with one of EXIT_CODES."""
        with outputs():
            return click.Command.main(self, args, *rest, **keywords)

    def format_epilog(self, ctx: RichContext, formatter: RichHelpFormatter) -> None:  # type: ignore[override]
        """Write the exit codes after the help of the command line as a whole."""
        if ctx.parent is None:
            _write_section(
                formatter, "Exit codes:", [(str(code), meaning) for code, meaning in EXIT_CODES.items()]
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors become one sentence."""
        try:
            return super().invoke(ctx)
        except SerqError as error:
            raise click.ClickException(shown_lines(str(error))) from error
        except KeyboardInterrupt:
            _say_interrupted(ctx)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OSError as error:
            if error.errno not in _CIRCUMSTANCES:
                raise click.ClickException(_unforeseen(error)) from error
            raise click.ClickException(shown(_circumstance(error))) from error
        except Exception as error:
            if os.environ.get(TRACEBACK):
                raise
            raise click.ClickException(_unforeseen(error)) from error


def quiet(ctx: click.Context | None) -> bool:
    """Return whether the command is to show no progress."""
    return bool(ctx and ctx.meta.get(__name__, False))


def look() -> dict[str, Any]:
    """Return the settings of a context whose help is drawn by rich-click.

    Help is plain text where standard output is no terminal.
    """
    return {"help_option_names": ["-h", "--help"], "rich_help_config": _LOOK}


def _quiet_option() -> click.Option:
    def keep(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[__name__] = value

    text = "Suppress progress output."
    return click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, callback=keep, help=text)


def _write_section(formatter: RichHelpFormatter, title: str, rows: list[tuple[str, str]]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for term, text in rows:
        table.add_row(*([Text(term)] if term else []), Text(text))
    formatter.write(Text(title, formatter.config.style_options_panel_title_style))
    formatter.write(Padding(table, (0, 0, 1, 2)))


def _say_interrupted(ctx: click.Context) -> None:
    running = ctx
    while isinstance(running.command, click.Group) and running.invoked_subcommand:
        name = running.invoked_subcommand
        running = click.Context(running.command.commands[name], info_name=name, parent=running)
    resumable = getattr(running.command, "resumable", False)
    then = (
        f"`{running.command_path}` resumes where it stopped when it is called again"
        if resumable
        else "nothing half-written was left"
    )
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{start}interrupted; {then}", err=True)


def _circumstance(error: OSError) -> str:
    where = "a file" if error.filename is None else os.fsdecode(error.filename)
    remedy = _CIRCUMSTANCES[error.errno or 0]
    return f"the system refuses {where}: {error.strerror or error}; {remedy}"


def _unforeseen(error: Exception) -> str:
    said = shown(" ".join(str(error).split()))
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    more = f"run it again with {TRACEBACK}=1 for a traceback, and please report it"
    return f"unexpected error: {what[:300]}; {more}"
