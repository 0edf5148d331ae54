"""A model and a board to a PlatformIO project: a folder of files that is a pure function of the two."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serq_mcu.base import resources
from serq_mcu.base.files import new_folder, open_regular, read_regular
from serq_mcu.base.shell import quoted
from serq_mcu.base.validation import parse_json
from serq_mcu.boards.board import LISTENING, Board
from serq_mcu.boards.wiring import example_setting, wires
from serq_mcu.codegen.lines import greeting, purpose, silent_decision
from serq_mcu.codegen.plan import MODEL, Files, Plan
from serq_mcu.codegen.render import ABI, render
from serq_mcu.errors import SerqError
from serq_mcu.layers.kernels import Storage
from serq_mcu.quantized_model.card import card_line
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.version import __version__

MANIFEST = "serq.json"
README = "README.md"
OWN = ("src/app.c", "src/app.cpp")  # the user's: written once, if neither is there
APPS = ("harness", "live", "capture")
# of the model's rate: a microphone off by a semitone's sixth sounds the same, and so do the speed copies of
# training
RATE_TOLERANCE = 0.01
_BUILD_FOLDERS = (".pio", ".vscode", "build")  # a build or an editor made them, not a person
_OWN_SUFFIXES = (".c", ".cc", ".cpp", ".h", ".hpp")
_PIECE = 1 << 20  # bytes read at a time
_LARGEST = 1 << 30  # bytes of a file of an export: the C of the largest model takes less
_BUILD_FILES = ("build.log", "dependencies.lock")


@dataclass(frozen=True)
class Project:
    """An exported folder that was read back: where, for which board, of which model."""

    folder: Path
    board: str
    identity: str
    abi: int
    app: str
    storage: Storage
    files: dict[str, str]  # relative path to SHA-256
    extensions: dict[str, str]  # what brought the C that is not serq-mcu's own, by file name
    first: dict[str, str]  # the first version of the user's own files: relative path to SHA-256
    example: str  # whose these are, or ""

    def blamed(self, error: str) -> str:
        """Put the extension that brought the file in front of a compiler's error, where one did."""
        owner = next((owner for name, owner in self.extensions.items() if name in error), None)
        return error if owner is None else f"{owner}: {error}"

    def require_app(self, app: str) -> None:
        """Raise SerqError unless the firmware is this application."""
        if self.app != app:
            raise SerqError(
                f"{self.folder} is a {self.app} project, and this needs one exported with --app {app}"
            )

    def changed(self) -> list[str]:
        """List the files that are missing or no longer what was exported."""
        return [name for name, digest in self.files.items() if not same_content(self.folder / name, digest)]

    def untouched(self) -> list[str]:
        """List the user's own files that are still the first version, which the export wrote."""
        return [name for name, digest in self.first.items() if same_content(self.folder / name, digest)]

    def own_code(self, files: Iterable[str] | None = None) -> list[str]:
        """List the user's own C and C++ in src/ itself; files: all of an export's.

        A link is none: it may lead to what nobody would flash.
        """
        return [
            name
            for name in self.added(files)
            if Path(name).parent == Path("src")
            and Path(name).suffix in _OWN_SUFFIXES
            and not (self.folder / name).is_symlink()
            and (self.folder / name).is_file()
        ]

    def added(self, files: Iterable[str] | None = None) -> list[str]:
        """List what is in the folder that neither the export nor a build made; files: all of an export's."""
        kept = {MANIFEST, *(self.files if files is None else files)}
        found = (path.relative_to(self.folder) for path in _entries(self.folder))
        return sorted(str(path) for path in found if path.as_posix() not in kept and not _made_by_build(path))


def export(
    model: QuantizedModel,
    board: Board,
    out: Path,
    app: str = "harness",
    storage: Storage = Storage.COMPACT,
    *,
    force: bool = False,
) -> Project:
    """Write the project of `model` for `board`; `export_plan` with the plan of these."""
    return export_plan(Plan(model, board, app, storage), out, force=force)


def export_plan(
    plan: Plan, out: Path, *, force: bool = False, own: Files | None = None, example: str = ""
) -> Project:
    """Write the project of a plan with one of APPS to the folder `out`, atomically.

    The same plan gives the same bytes. Of an earlier export there, what was exported is replaced; what
    somebody added stays, and so do the user's own files, of which a live project gets a first version: `own`,
    which are an example's, or code that does nothing. A first version that nobody changed is replaced, too.
    Raises SerqError if somebody changed what was exported (unless `force`), if the folder is not an export or
    holds own code that the application does not call, or if the application cannot run the model.
    """
    require_runnable(plan)
    own_work = [] if plan.app == "live" else written_code(out)
    if own_work:
        raise SerqError(
            f"{out} holds your own code ({own_work[0]}), which only the application live calls;"
            f" choose another folder for {plan.app} with --out"
        )
    files = runtime_files(plan.app) | plan.model_files | board_files(plan.board, plan.app) | _readme(plan)
    extensions = {path.name: owner for path, owner in plan.owners.items()}
    return write_project(
        files,
        plan.identity,
        plan.board,
        out,
        plan.app,
        plan.storage,
        extensions,
        force=force,
        own=own or own_code(plan),
        example=example,
    )


def written_code(out: Path) -> list[str]:
    """List the code that a user wrote in an earlier live export at `out`; the first version is none."""
    if not (out / MANIFEST).exists():
        return []
    project = read_project(out)
    untouched = project.untouched()
    return [name for name in project.own_code() if project.app == "live" and name not in untouched]


def own_code(plan: Plan) -> Files:
    """Return the first version of the user's own code: of a live project alone."""
    if plan.app != "live":
        return {}
    # in a comment: nothing that could end one
    plain = [label for label in plan.model.labels if re.fullmatch("[A-Za-z ]+", label)]
    return {OWN[0]: render("app.c.j2", example=(plain or ["anger"])[0]).encode()}


def write_project(
    files: Files,
    identity: str,
    board: Board,
    out: Path,
    app: str = "harness",
    storage: Storage = Storage.COMPACT,
    extensions: Mapping[str, str] | None = None,
    *,
    force: bool = False,
    own: Files | None = None,
    example: str = "",
) -> Project:
    """Write `files` and their manifest to the folder `out`, atomically.

    What else is in an earlier export there stays. own: first versions, for where the user has none; one of
    OWN is enough. example: whose they are.
    """
    own = own or {}
    kept = _kept(out, files, own, app, force=force) if (out / MANIFEST).exists() else []
    there = {*kept, *(OWN if any(name in OWN for name in kept) else ())}
    manifest = {
        "serq_mcu": __version__,
        "abi": ABI,
        "board": board.name,
        "app": app,
        "storage": storage.value,
        "identity": identity,
        "files": _digests(files),
    }
    manifest |= {"extensions": dict(extensions)} if extensions else {}
    manifest |= {"first": _digests(own)} if own else {}
    manifest |= {"example": example} if example else {}
    with new_folder(out, MANIFEST) as folder:
        first = {name: data for name, data in own.items() if name not in there}
        made = files | first | {MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode()}
        for name, data in made.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        for name in kept:
            _copy(out / name, folder / name)
    return read_project(out)


def read_project(folder: Path) -> Project:
    """Read the manifest of an exported folder.

    Raises SerqError if there is none or it is damaged.
    """
    try:
        manifest: Any = parse_json(read_regular(folder / MANIFEST))
        files = {str(name): str(digest) for name, digest in manifest["files"].items()}
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):
            raise ValueError("a file name leaves the folder")
        return Project(
            folder,
            str(manifest["board"]),
            str(manifest["identity"]),
            int(manifest["abi"]),
            str(manifest["app"]),
            Storage(manifest["storage"]),
            files,
            {str(name): str(owner) for name, owner in manifest.get("extensions", {}).items()},
            {str(name): str(digest) for name, digest in manifest.get("first", {}).items()},
            str(manifest.get("example", "")),
        )
    except FileNotFoundError as error:
        raise SerqError(
            f"{folder} is not an exported project (it has no {MANIFEST}); make one with `serq-mcu export"
            f" --board NAME --out {quoted(folder)}`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise SerqError(f"{folder / MANIFEST} is damaged ({error}); export the folder again") from error


def retarget(project: Project, board: Board, out: Path, *, trace: bool = True) -> Project:
    """Write the same C for another board.

    The project's runtime, model and application stay, and the user's own code; port and settings are those of
    `board`. Without `trace`, the harness computes as a product does, and answers without the stages of a
    frame.
    """
    own = project.own_code() if project.app == "live" else []
    kept = {name: read_regular(project.folder / name) for name in own} | {
        name: (project.folder / name).read_bytes()
        for name in project.files
        if (name.startswith("lib/") or name in application_files(project.app) or name == MODEL)
        and (project.folder / name).exists()
    }
    files = kept | board_files(board, project.app)
    if not trace:
        files["platformio.ini"] = files["platformio.ini"].replace(b"-DSERQ_TRACE=1", b"-DSERQ_TRACE=0")
    identity, extensions = project.identity, project.extensions
    return write_project(files, identity, board, out, project.app, project.storage, extensions)


def runtime_files(app: str = "harness") -> Files:
    """Read the handwritten libraries and application, as every project with that application has them."""
    libraries = [
        resources.FIRMWARE / "lib" / name for name in ("serq", "serq_audio")[: 2 if app in LISTENING else 1]
    ]
    found = {
        f"lib/{library.name}/{path.relative_to(library).as_posix()}": path
        for library in libraries
        for path in sorted(library.rglob("*"))
    }
    return {name: path.read_bytes() for name, path in found.items() if path.is_file()} | application_files(
        app
    )


def application_files(app: str = "harness") -> Files:
    """Read an application and its interfaces to a port."""
    ports = resources.FIRMWARE / "ports"
    shared = [ports / "port.h"] + [ports / "audio.h", ports / "audio.c"] * (app in LISTENING)
    sources = [*sorted((resources.FIRMWARE / "apps" / app).glob("*.[ch]")), *shared]
    return {f"src/{path.name}": path.read_bytes() for path in sources}


def board_files(board: Board, app: str = "harness") -> Files:
    """Read what depends on the board alone.

    Its ports, its settings and, for an emulated one, its PlatformIO platform.
    """
    files = {name: path.read_bytes() for name, path in board.sources_in_project(app).items()}
    return files | {name: text.encode() for name, text in board.project_files(render, app).items()}


def default_folder(board: Board, app: str) -> Path:
    """Return the folder that an export is written to where none is named."""
    return Path(f"serq-{board.name}" if app == "live" else f"serq-{board.name}-{app}")


def require_runnable(plan: Plan) -> None:
    """Raise SerqError if the application of a plan cannot run its model on its board."""
    if plan.app == "live":
        _require_live(plan.model, plan.board)


def _require_live(model: QuantizedModel, board: Board) -> None:
    rate, wanted = board.audio.nominal_rate_hz, model.spec.sample_rate
    if model.decision is None:
        raise SerqError(
            "the model has no parameters for live audio: its specification pads clips, or it was made without"
            " them; quantize its run again, or export it with --app harness"
        )
    if board.audio.rate_hz != wanted or abs(rate - wanted) > RATE_TOLERANCE * wanted:
        raise SerqError(
            f"{board.name} listens at {rate} Hz and the model at {wanted} Hz; say --set"
            f" audio.rate_hz={wanted} if the board's driver can do that"
        )


def _readme(plan: Plan) -> Files:
    names: dict[str, Any] = {"model": plan.model, "board": plan.board, "identity": plan.identity}
    names |= {"app": plan.app, "card_line": card_line(plan.model), "purpose": purpose(plan)}
    names["wires"] = wires(plan.board) if plan.app in LISTENING else ()
    names["example_setting"] = example_setting(plan.board)
    if plan.app == "live":
        names |= {"greeting": json.dumps(greeting(plan)), "silence": json.dumps(silent_decision(plan))}
    return {README: render("project_readme.md.j2", **names).encode()}


def _kept(out: Path, files: Files, own: Files, app: str, *, force: bool) -> list[str]:
    """List what stays of an earlier export: all that it did not write, and that the next one does not.

    First versions that nobody changed do not stay where new ones come, nor with another application. Raises
    SerqError if the next one would lose what somebody changed, or added under a name of its own.
    """
    project = read_project(out)
    added = project.added()
    lost = [name for name in project.changed() if (out / name).exists()]
    lost += [name for name in added if name in files]
    if lost and not force:
        raise SerqError(
            f"{out} holds work that an export would lose ({', '.join(lost[:3])}); choose another folder, or"
            " add --force"
        )
    replaced = [name for name in project.untouched() if name in own or project.app != app]
    return [name for name in added if name not in files and name not in replaced]


def _digests(files: Files) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or a link as a link; what is neither does not come along."""
    if source.is_symlink() or source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


def _made_by_build(path: Path) -> bool:
    return path.parts[0] in _BUILD_FOLDERS or path.name in _BUILD_FILES or path.name.startswith("sdkconfig.")


def _entries(folder: Path) -> Iterator[Path]:
    """Yield all that is below a folder, links and devices too, except its folders."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in (*names, *links))


def same_content(path: Path, digest: str) -> bool:
    """Tell whether a path is a regular file, or a link to one, with that SHA-256."""
    found = hashlib.sha256()
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > _LARGEST:
                return False
            while piece := file.read(_PIECE):
                found.update(piece)
    except OSError:
        return False
    return found.hexdigest() == digest
