"""What all commands share: the group, options, how results are printed."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import click
from rich_click import RichOption
from rich_click.rich_panel import RichCommandPanel

from serq_mcu.base.files import check_file
from serq_mcu.base.text import shown_lines
from serq_mcu.cli.conventions import Group, look, quiet
from serq_mcu.version import __version__

corpus_envvar = "SERQ_CORPUS"
FOLDER = click.Path(path_type=Path, file_okay=False)
CORPUS = click.Path(path_type=Path)  # a folder of recordings, or a table beside them
FILE = click.Path(path_type=Path, dir_okay=False)


class AliasOption(RichOption):
    """An option that also answers to earlier names, which its help does not show."""

    def __init__(self, *arguments: Any, aliases: tuple[str, ...] = (), **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._aliases = aliases

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser know the earlier names, too."""
        shown, self.opts = self.opts, [*self.opts, *self._aliases]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


def clips_option(text: str, *, required: bool = True, folder: bool = False) -> Callable[..., Any]:
    """Make the option --clips, the recordings that a command works on; the command takes it as `folder`.

    folder: a folder alone will do, and no variable names it.
    """
    return click.option(
        "--clips",
        "folder",
        cls=AliasOption,
        aliases=("--corpus",),
        required=required,
        type=FOLDER if folder else CORPUS,
        envvar=None if folder else corpus_envvar,
        help=text,
    )


def port_option() -> Callable[..., Any]:
    """Make the option --port, the serial port of a board."""
    return click.option(
        "-p",
        "--port",
        help="The board's serial port, such as /dev/ttyUSB0, /dev/cu.usbserial-0001 or COM3.  [default: the"
        " only board there is]",
    )


def out_option(text: str, kind: click.Path, default: str | None = None) -> Callable[..., Any]:
    """Make the option --out: what is written."""
    place = None if default is None else Path(default)
    return click.option("-o", "--out", type=kind, default=place, show_default=place is not None, help=text)


class _NewFile(click.Path):
    """A file to write: what cannot be written is refused before the work, and not after it."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; raises SerqError where nothing can be written to it."""
        path = super().convert(value, param, ctx)
        if ctx is None or not ctx.resilient_parsing:
            check_file(Path(os.fsdecode(path)))
        return path


NEW_FILE = _NewFile()
MODEL = click.Path(path_type=Path)  # a folder may have the name of a model that ships, such as emodb
MODEL.name = "model"
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on standard output instead of text."
)


baud_option = click.option(
    "--baud",
    type=click.IntRange(1200, 4_000_000),
    default=460_800,
    show_default=True,
    help="Baud rate of the serial port: [port] baud in the board's file.",
)


def _complete_boards(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    from serq_mcu.boards.board import all_boards

    return [board.name for board in all_boards() if board.name.startswith(begun)]


board_option = click.option(
    "-b",
    "--board",
    "board_name",
    required=True,
    metavar="BOARD",
    help="A name that `serq-mcu boards` lists, or a board file (.toml).",
    shell_complete=_complete_boards,
)
storage_option = click.option(
    "--storage",
    type=click.Choice(["compact", "fast"]),
    default="compact",
    show_default=True,
    help="fast: store weights with more bits than they have where that runs faster (5 to 7 bits as 8, say).",
)
changes_option = click.option(
    "--allow-changes",
    is_flag=True,
    help=(
        "Build and run the folder's own code, also where it is not what its model and board give. Only for a"
        " folder whose makers you trust: its code runs on this computer."
    ),
)
app_option = click.option(
    "--app",
    default="live",
    show_default=True,
    type=click.Choice(["live", "harness", "capture"]),
    help="live: listen and print decisions as lines of JSON. harness: the target of `serq-mcu verify`."
    " capture: record clips through the board's microphone.",
)


browser_port_option = click.option(
    "--browser-port",
    "page_port",
    cls=AliasOption,
    aliases=("--page-port",),
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="The page's port.",
)


def corpus_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a folder of recordings is read; the command takes them as `options`."""

    @click.option(
        "--labels",
        default="",
        metavar="names|folders|table|LAYOUT",
        help="What gives the classes, where file names, folders and a table differ; or what each level of"
        " folders is, such as speaker/label.",
    )
    @click.option(
        "--speaker-pattern",
        default="",
        metavar="REGEX",
        help="Where a recording's path names the speaker: the first group, as in '([^/_]+)_[^/]*$'.",
    )
    @click.option(
        "--skip",
        type=click.Choice(["songs", "videos"]),
        multiple=True,
        help="Pass over RAVDESS's songs, or the sound of its videos. May be given several times.",
    )
    @functools.wraps(command)
    def with_options(
        *arguments: Any, labels: str, speaker_pattern: str, skip: tuple[str, ...], **others: Any
    ) -> Any:
        from serq_mcu.corpus.loaders import CorpusOptions

        return command(*arguments, options=CorpusOptions(labels, speaker_pattern, skip), **others)

    return with_options


PANELS = {
    "Everyday": ("classify", "export", "build", "flash", "live", "record", "train", "doctor"),
    "Models": ("models", "quantize", "import-model", "evaluate", "check", "report", "calibrate", "adapt"),
    "Verify": ("verify", "bench"),
    "Boards": ("new", "boards", "microphones", "library", "listen", "monitor"),
    "Corpora": ("corpus",),
    "Research": ("robustness", "evaluate-streams", "frontend", "experiment"),
    "Set-up": ("demo", "toolchain", "cache", "completion"),
}


class _Main(Group):
    """The program: alone it shows the everyday commands, and with --help all."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the everyday commands where there is no argument; `help X` is `X --help`."""
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        if not args and not ctx.resilient_parsing:
            click.echo("\n".join(self._welcome()))
            ctx.exit()
        return super().parse_args(ctx, args)

    def _welcome(self) -> list[str]:
        everyday = next(iter(PANELS.values()))
        rows = [f"  {name:<10}{self.commands[name].get_short_help_str()}" for name in everyday]
        return [
            "serq-mcu: speech emotion recognition on microcontrollers.",
            "",
            *rows,
            "",
            "Try it without a board or a recording: serq-mcu classify --example",
            "All commands: serq-mcu --help        Help for one: serq-mcu export --help",
        ]


@click.group(
    cls=_Main,
    context_settings=look(),
    panels=[RichCommandPanel(name, list(commands)) for name, commands in PANELS.items()],
)
@click.version_option(__version__, prog_name="serq-mcu")
def main() -> None:
    """Recognise emotions in speech on microcontrollers.

    From recordings to firmware, and tests that the firmware computes what Python computes.
    """


class ConfiguredOption(RichOption):
    """An option in place of a key of a run's configuration; its help ends with the key's default.

    default.toml is read when the help is shown, so that no other command waits for it.
    """

    def __init__(self, *arguments: Any, section: str, **keywords: Any) -> None:
        self._section, self._help = section, ""
        super().__init__(*arguments, **keywords)

    @property
    def help(self) -> str:
        """The option's help with the default of its key."""
        from serq_mcu.base.validation import parse_toml

        text = resources.files("serq_mcu").joinpath("default.toml").read_text(encoding="utf-8")
        value = parse_toml(text, "default.toml")[self._section][self.name]
        return f"{self._help}  [default: {value}, or what the run's configuration says]"

    @help.setter
    def help(self, value: str | None) -> None:
        self._help = value or ""


def chosen_model(path: Path | None) -> Any:
    """Load the model that the user named, or else the one that ships."""
    from serq_mcu.quantized_model.store import find_model, shipped_model

    return shipped_model() if path is None else find_model(path)


def card_line_of(model: Any, path: Path | None) -> str:
    """Return the line of a model's card; path: where the user had it from."""
    from serq_mcu.quantized_model.card import card_line

    return card_line(model, path)


def new_progress() -> Any:
    """Return the progress of a command on the terminal, silent under --quiet."""
    from serq_mcu.base.progress import TerminalProgress

    return TerminalProgress(quiet=quiet(click.get_current_context(silent=True)))


def print_result(value: Any, lines: list[str], as_json: bool) -> None:
    """Print a result as JSON or as lines of text."""
    click.echo(json.dumps(value, indent=1) if as_json else shown_lines("\n".join(lines)))


def without_blas_threads() -> None:
    """Keep numpy, where it is not imported yet, from starting a thread for each core.

    Writing firmware multiplies no matrices, and the threads cost a fifth of an export's processor time.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
