"""The reference pages of the documentation, written from the code.

Commands, configuration, board files, model file, C interface, pytest's options. `python -m
tools.docs_reference docs/reference` writes them again; `tests/docs/test_docs_reference.py` fails where they
are stale.
"""

from __future__ import annotations

import html
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from importlib import resources as package_files
from pathlib import Path
from typing import Any

import click
import msgspec

from serq_mcu.base import resources
from serq_mcu.base.files import write_file
from serq_mcu.boards import board as boards
from serq_mcu.boards.family import FAMILIES, PORTS
from serq_mcu.cli import main
from serq_mcu.cli.conventions import EXIT_CODES
from serq_mcu.cli.shared import MODEL, PANELS
from serq_mcu.codegen.plan import Plan
from serq_mcu.config import Config, load_config
from serq_mcu.layers import DenseLayer
from serq_mcu.quantized_model import types
from serq_mcu.quantized_model.store import shipped_model

PROGRAM = "serq-mcu"
Pages = dict[str, str]
Words = tuple[str, ...]
_SECTIONS = {
    "board": boards.Identity,
    "platformio": boards.PlatformIO,
    "mcu": boards.Mcu,
    "port": boards.Port,
    "audio": boards.Audio,
    "microphone": boards.Microphone,
    "emulator": (boards.Relative, boards.Emulator),
}
_HEADER_PARTS = (types.QuantizedModel, types.InputQuantization, DenseLayer, types.DecisionRule)
_GENERATED = (
    "<!-- Written by `python -m tools.docs_reference docs/reference`: change the code, not this page. -->\n"
)


def pages() -> Pages:
    """Write every page of the reference: path below docs/reference to Markdown."""
    made = {
        "commands/index.md": _command_index(),
        "configuration.md": _configuration(),
        "board_files.md": _board_files(),
        "model_file.md": _model_file(),
        "c_interface.md": _c_interface(),
        "pytest_options.md": _pytest_options(),
    }
    made |= {f"commands/{page_name(path)}.md": _command_page(path, command) for path, command in commands()}
    return {name: _GENERATED + "\n" + text.strip() + "\n" for name, text in sorted(made.items())}


def commands(group: click.Group = main, path: Words = ()) -> Iterator[tuple[Words, click.Command]]:
    """Yield all commands of the command line, with their words."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


def page_name(path: Words) -> str:
    """Return the stem of a command's page."""
    return "_".join(path).replace("-", "_")


def examples(command: click.Command) -> list[str]:
    """List the command lines that a command's help gives as examples."""
    return [
        line
        for paragraph in _paragraphs(command)
        if _is_example(paragraph)
        for line in _command_lines(paragraph)
    ]


def schemas() -> Pages:
    """Return the JSON schemas of the files that users write: path below docs/schemas to JSON."""
    return {
        "board.schema.json": schema((boards.RealBoardFile, boards.EmulatedBoardFile), "serq-mcu board file"),
        "config.schema.json": _config_schema(),
        "microphone.schema.json": schema(boards.MicrophoneFile, "serq-mcu microphone file"),
    }


def schema(kind: type | tuple[type, ...], title: str) -> str:
    """Return the JSON schema of a file that may be of a kind, or of any of several."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    refs, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    chosen = refs[0] if len(refs) == 1 else {"anyOf": list(refs)}
    return json.dumps(head | chosen | {"$defs": definitions}, indent=2) + "\n"


def write_pages(folder: Path) -> None:
    """Replace the reference in `folder`, and the schemas beside it.

    Raises SerqError if it cannot be written.
    """
    made = pages()
    for name, text in schemas().items():
        write_file(folder.parent / "schemas" / name, text)
    for old in folder.rglob("*.md"):
        if old.read_text(encoding="utf-8").startswith(_GENERATED):
            old.unlink()
    for name, text in made.items():
        write_file(folder / name, text)


def _command_index() -> str:
    parts = ["# Commands", _prose(inspect.cleandoc(main.help or ""))]
    sections = PANELS | {
        "More": tuple(sorted(set(main.commands) - {name for names in PANELS.values() for name in names}))
    }
    for section, names in sections.items():
        rows = [
            _index_row(path, command) for name in names for path, command in commands() if path[0] == name
        ]
        parts += [f"## {section}", _table(["command", "what it does"], rows)] if rows else []
    parts += [
        "## Exit codes",
        _table(["code", "meaning"], [[str(code), _cell(meaning)] for code, meaning in EXIT_CODES.items()]),
    ]
    return "\n\n".join(parts)


def _index_row(path: Words, command: click.Command) -> list[str]:
    return [f"[`{PROGRAM} {' '.join(path)}`]({page_name(path)}.md)", _cell(command.get_short_help_str(200))]


def _command_page(path: Words, command: click.Command) -> str:
    whole = main.context_class(main, info_name=PROGRAM, **main.context_settings)
    context = command.context_class(command, info_name=" ".join(path), parent=whole)
    usage = " ".join([PROGRAM, *path, *command.collect_usage_pieces(context)])
    prose = [_prose(paragraph) for paragraph in _paragraphs(command) if not _is_example(paragraph)]
    prose += ["Interrupted, it resumes where it stopped when it is called again."] * getattr(
        command, "resumable", False
    )
    parts = [f"# {PROGRAM} {' '.join(path)}", *prose, _code(usage, "text")]
    shown = examples(command)
    parts += ["## Example" + "s" * (len(shown) > 1), _code("\n".join(shown), "sh")] if shown else []
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if arguments:
        parts += [
            "## Arguments",
            _table(["argument", "kind"], [_argument(argument, context) for argument in arguments]),
        ]
    parts += [
        "## Options",
        _table(
            ["option", "what it does"],
            [_option(option, context) for option in (*options, _help(command, context))],
        ),
    ]
    return "\n\n".join(parts)


def _help(command: click.Command, context: click.Context) -> click.Option:
    option = command.get_help_option(context)
    assert option is not None
    return option


def _argument(argument: click.Argument, context: click.Context) -> list[str]:
    words = [
        "any number of times" if argument.nargs == -1 else "",
        "" if argument.required else "may be left out",
        _from_variable(argument.envvar),
    ]
    name = argument.make_metavar(context).strip("[]").removesuffix("...")
    return [_literal(name), _cell("; ".join([_kind(argument.type), *filter(None, words)]))]


def _option(option: click.Option, context: click.Context) -> list[str]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag or option.count else f" {_literal(_value_name(option, context))}"
    words = [
        option.help or "",
        "Required." if option.required else "",
        "May be repeated." if option.multiple else "",
        _default(option),
    ]
    return [
        names + value,
        _cell(" ".join(filter(None, [*words, _from_variable(option.envvar, "The default is in ", ".")]))),
    ]


def _value_name(option: click.Option, context: click.Context) -> str:
    kind = option.type
    if isinstance(kind, click.IntRange | click.FloatRange) and not option.metavar:
        number = "INTEGER" if isinstance(kind, click.IntRange) else "NUMBER"
        return (
            f"{number} from {kind.min} to {kind.max}" if kind.max is not None else f"{number} from {kind.min}"
        )
    return option.make_metavar(context)


def _default(option: click.Option) -> str:
    shown = option.show_default if isinstance(option.show_default, str) else option.default
    return f"[default: {shown}]" if option.show_default and "[default" not in (option.help or "") else ""


def _from_variable(variable: Any, before: str = "otherwise taken from ", after: str = "") -> str:
    return f"{before}the environment variable `{variable}`{after}" if variable else ""


def _kind(kind: Any) -> str:
    if kind is MODEL:
        return "a model file, or the name of a model that ships"
    if isinstance(kind, click.Path):
        return "a folder" if not kind.file_okay else "a file" if not kind.dir_okay else "a file or folder"
    return (
        "one of " + ", ".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else f"a {kind.name}"
    )


def _paragraphs(command: click.Command) -> list[str]:
    text = "\n\n".join(inspect.cleandoc(part) for part in (command.help, command.epilog) if part)
    return [
        paragraph.replace("\b\n", "").strip() for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()
    ]


def _is_example(paragraph: str) -> bool:
    return bool(re.match(rf"Examples?:|{PROGRAM} ", paragraph))


def _command_lines(paragraph: str) -> list[str]:
    """List the commands of a paragraph of examples, each of which may go over several lines."""
    words = re.sub(r"^Examples?:", "", paragraph).split()
    starts = [index for index, word in enumerate(words) if word == PROGRAM]
    return [" ".join(words[start:end]) for start, end in zip(starts, [*starts[1:], len(words)], strict=True)]


def _configuration() -> str:
    text = _default_text()
    parts = [
        "# Configuration",
        (
            "`--config FILE` of the commands that train takes a TOML file with what differs from this"
            " default. An unknown key, a value of the wrong type or out of range is refused by name."
            " `config.toml` in a run folder is the whole configuration that the run had; `quantize` goes on"
            " from it, and its own `--config` changes `[tuning]`, `[quantization]` and `[decision]`."
        ),
        (
            "Editors check and complete such a file by its JSON schema,"
            " [config.schema.json](../schemas/config.schema.json). A first line"
            " `#:schema PATH/config.schema.json` names it to Taplo and to Even Better TOML of Visual Studio"
            " Code. An installed package has the same file in the folder that `python -c 'from"
            " serq_mcu.base.resources import SCHEMAS; print(SCHEMAS)'` prints."
        ),
        _code(re.sub(r"\A#:schema.*\n", "", text).strip(), "toml"),
        "## Every key and its default",
    ]
    for section, keys in _default_keys(text).items():
        parts += [
            f"### [{section}]",
            _table(["key", "default", "meaning"], [_default_key(*key) for key in keys]),
        ]
    return "\n\n".join(parts)


def _default_text() -> str:
    return package_files.files("serq_mcu").joinpath("default.toml").read_text(encoding="utf-8")


def _default_keys(text: str) -> dict[str, list[tuple[str, str, str]]]:
    """Read the sections of default.toml: name, value and comment of each key."""
    sections = re.findall(r"^\[(\w+)\](.*?)(?=^\[|\Z)", text, re.M | re.S)
    return {name: re.findall(r"^(\w+) = (.*?)(?:\s*# (.*))?$", body, re.M) for name, body in sections}


def _default_key(name: str, value: str, comment: str) -> list[str]:
    return [f"`{name}`", "see above" if value == "[" else f"`{value}`", _cell(comment)]


def _config_schema() -> str:
    """Describe the schema of a configuration file, which may leave out any key.

    default.toml tells what keys mean.
    """
    made = json.loads(schema(Config, "serq-mcu configuration"))
    plain, comments = load_config().to_json(), _default_keys(_default_text())
    for section, table in made["$defs"]["Config"]["properties"].items():
        kind = made["$defs"][table["$ref"].rpartition("/")[2]]
        kind["additionalProperties"] = False
        for key, _, comment in comments[section]:
            kind["properties"][key].update({"description": comment} if comment else {})
            kind["properties"][key].update({"default": plain[section][key]} if key in plain[section] else {})
    for name, kind in made["$defs"].items():
        if name != "FeatureBlock":
            kind.pop("required", None)
    return json.dumps(made, indent=2) + "\n"


def _board_files() -> str:
    parts = [
        "# Board and microphone files",
        (
            "A board is a TOML file of these sections, a microphone one of `[microphone]`; both may have"
            ' `[sources]`, `"section.key" = "where the figure is from"`. A value that does not match its form'
            " is refused by name. `--board` and `--microphone` take a name or a file."
        ),
        (
            "Editors check and complete such a file by its JSON schema:"
            " [board.schema.json](../schemas/board.schema.json),"
            " [microphone.schema.json](../schemas/microphone.schema.json). A first line"
            " `#:schema PATH/board.schema.json` names it to Taplo and to Even Better TOML of Visual Studio"
            " Code. An installed package has the same files in the folder that `python -c 'from"
            " serq_mcu.base.resources import SCHEMAS; print(SCHEMAS)'` prints."
        ),
    ]
    for name, kinds in _SECTIONS.items():
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            parts += [
                f"## [{name}]",
                " ".join([_docstring(kind, f"[{name}]"), *_known(name)]),
                _table(["key", "form", "default"], [_key(item) for item in _struct_fields(kind)]),
            ]
    known = [
        [
            f"`{b.name}`",
            b.title,
            b.mcu.core,
            f"{b.mcu.flash_bytes:,}",
            f"{b.mcu.ram_bytes:,}",
            b.audio.microphone,
        ]
        for b in boards.all_boards()
    ]
    heard = [[f"`{m.name}`", m.title, m.interface, f"{m.gain_db} dB"] for m in boards.all_microphones()]
    parts += [
        "## Boards that ship",
        _table(
            ["name", "board", "core", "flash, bytes", "RAM, bytes", "microphone unless another is chosen"],
            known,
        ),
    ]
    parts += ["## Microphones that ship", _table(["name", "microphone", "interface", "gain"], heard)]
    return "\n\n".join(parts)


def _docstring(kind: type, section: str = "") -> str:
    text = inspect.getdoc(kind) or ""
    text = text.removeprefix(f"{section}: ") if section else text
    return _prose(text[0].upper() + text[1:])


def _known(section: str) -> list[str]:
    """Say what a section can name of what ships."""
    families = [family for family in FAMILIES.values() if family.folder == PORTS]
    names = {
        "port": ("Families", [family.name for family in families]),
        "audio": ("Drivers", families[0].drivers()),
    }
    words, known = names.get(section, ("", []))
    return [f"{words} that ship: {', '.join(f'`{name}`' for name in known)}."] if known else []


def _struct_fields(kind: type) -> tuple[Any, ...]:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    return info.fields


def _key(item: Any) -> list[str]:
    plain = {} if item.default is msgspec.NODEFAULT else item.default
    default = "required" if item.required else f"`{json.dumps(plain)}`"
    return [f"`{item.encode_name}`", _allowed(item.type), default]


def _allowed(kind: Any) -> str:
    """Say what a key of a board file may be, of which there are five types."""
    if isinstance(kind, msgspec.inspect.IntType):
        return f"{kind.ge:,} to {kind.le:,}"
    if isinstance(kind, msgspec.inspect.LiteralType):
        return "one of " + ", ".join(f"`{value}`" for value in kind.values if value)
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return f"list, each {_allowed(kind.item_type)}"
    if isinstance(kind, msgspec.inspect.DictType):
        return f"table; keys: {_allowed(kind.key_type)}; values: {_allowed(kind.value_type)}"
    assert isinstance(kind, msgspec.inspect.StrType) and kind.pattern
    return f"text {_literal(kind.pattern.removeprefix('^(?:').removesuffix(')$'))}"


def _model_file() -> str:
    model = shipped_model()
    tensors = [
        [f"`{name}`", array.dtype.name, " x ".join(map(str, array.shape)), f"{array.nbytes:,}"]
        for name, array in sorted(model.tensors().items())
    ]
    header = [
        [f"`{key}`", _shape(value)]
        for key, value in sorted((model.header() | {"sha256": model.sha256}).items())
    ]
    parts = [
        "# Model file",
        (
            "A `.serq` file is a safetensors container: arrays, and one JSON header under the metadata key"
            f" `serq`. Its format is {types.FORMAT}. Nothing in it can run code, and its content is proved"
            " when it is read: shapes, ranges, and that no accumulator can overflow. SPEC.md section 6 has"
            " the whole definition. A file of a newer or an earlier format, or one whose content does not"
            " match its hash, is refused in one sentence."
        ),
        "## Header, as the model that ships has it",
        _table(["key", "value"], header),
        "## Arrays of the model that ships",
        _table(["name", "type", "shape", "bytes"], tensors),
        "## What the parts mean",
    ]
    for part in _HEADER_PARTS:
        parts += [
            f"### {part.__name__}",
            _docstring(part),
            _table(["field", "type"], [[f"`{f.name}`", _literal(str(f.type))] for f in fields(part)]),
        ]
    return "\n\n".join(parts)


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return "an object: " + ", ".join(f"`{key}`" for key in value)
    if isinstance(value, list):
        return f"a list of {len(value)}: " + (
            f"each {_shape(value[0])}"
            if isinstance(value[0], dict)
            else ", ".join(f"`{item}`" for item in value)
        )
    return f"`{value}`"


def _c_interface() -> str:
    sources = resources.FIRMWARE / "lib" / "serq" / "src"
    generated = (
        Plan(shipped_model(), boards.load_board("esp32")).model_files["lib/serq/src/serq_model.h"].decode()
    )
    parts = [
        "# C interface",
        (
            "Include `serq.h` to classify clips and `serq_stream.h` for live audio; `serq.h` includes"
            " `serq_voice.h` for models that learn their speaker's voice. The caller owns all"
            " memory. No function allocates, blocks or uses floating point, and none is safe to call for one"
            " state from two tasks at once."
        ),
    ]
    for name in ("serq.h", "serq_stream.h", "serq_voice.h"):
        parts += [f"## {name}", *_header_parts((sources / name).read_text(encoding="utf-8"))]
    constants = re.findall(r"^#define (SERQ_\w+) (.+?)(?: /\* (.+) \*/)?$", generated, re.M)
    parts += [
        "## Constants of a model",
        "`serq_model.h` is generated; the values here are of the model that ships.",
    ]
    return "\n\n".join(
        [
            *parts,
            _table(
                ["name", "value", "meaning"],
                [[f"`{name}`", f"`{value}`", meaning] for name, value, meaning in constants],
            ),
        ]
    )


def _header_parts(text: str) -> Iterator[str]:
    """Yield a header's opening comment, then each group of declarations with the comment before it."""
    (opening,) = re.findall(r"\A/\*.*?\*/", text, re.S)
    yield _code(opening, "c")
    whole = re.sub(r"\\\n\s*", "", text)
    found = re.findall(r"^#define (SERQ_\w+) (.+?) */\* (.+?) \*/$", whole, re.M)
    if found:
        rows = [[f"`{name}`", f"`{value}`", _cell(meaning)] for name, value, meaning in found]
        yield _table(["constant", "value", "meaning"], rows)
    body = text.split('extern "C" {\n#endif', 1)[1].rsplit("#ifdef __cplusplus", 1)[0]
    for group in re.split(r"\n\s*\n", body):
        comment, code = re.fullmatch(r"(/\*(?:(?!\*/).)*\*/\n)?(.*)", group.strip(), re.S).groups()  # type: ignore[union-attr]
        names = (
            re.findall(r"^\} (\w+);", code, re.M)
            if code.startswith("typedef")
            else re.findall(r"^[a-z].*\b(serq_\w+)\(", code, re.M)
        )
        if names:
            yield f"### {', '.join(f'`{name}`' for name in names)}"
            yield "\n\n".join(filter(None, [_comment_prose(comment or ""), _code(code, "c")]))


def _comment_prose(comment: str) -> str:
    lines = [
        line.strip().removeprefix("/*").removesuffix("*/").lstrip("* ").strip()
        for line in comment.strip().splitlines()
    ]
    return _prose(" ".join(lines))


def _pytest_options() -> str:
    from serq_mcu.verification import pytest_plugin

    class Options:
        """What pytest's parser is asked to add."""

        def __init__(self) -> None:
            self.rows: list[list[str]] = []

        def getgroup(self, *_: str) -> Options:
            return self

        def addoption(self, name: str, help: str, **_: Any) -> None:
            self.rows.append([f"`{name}`", _cell(help)])

        def addini(self, *_: Any, **__: Any) -> None:
            """Add the same names again."""

    options = Options()
    pytest_plugin.pytest_addoption(options)  # type: ignore[arg-type]
    fixtures: list[list[str]] = [
        [f"`{name}`", _cell(inspect.getdoc(item) or "")]
        for name, item in vars(pytest_plugin).items()
        if name.startswith("serq_") and isinstance(inspect.getdoc(item), str)
    ]
    example = _code(
        inspect.cleandoc(re.findall(r"\n\n(    .*?)\n\nThe options", pytest_plugin.__doc__ or "", re.S)[0]),
        "python",
    )
    opening = (
        "The package is a plugin of pytest. Each option may stand in pytest's configuration too, with"
        " underscores: `serq_board = esp32`."
    )
    tables = [
        _table(["option", "meaning"], options.rows),
        "## Fixtures",
        _table(["fixture", "what it is"], fixtures),
    ]
    return "\n\n".join(["# Options and fixtures of pytest", opening, example, "## Options", *tables])


def _prose(text: str) -> str:
    """Put a paragraph on one line, in which no bracket is a tag by accident."""
    return " ".join(text.split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    """Put the same in a table."""
    return _prose(text).replace("|", "\\|")


def _literal(text: str) -> str:
    """Write code in a cell.

    A bar would end the cell for one reader of Markdown and be escaped in vain for another.
    """
    return (
        f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"
        if "|" in text
        else f"`{text}`"
    )


def _code(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
