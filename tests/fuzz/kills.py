"""Commands that are killed while they write, at steps chosen from stated seeds.

    python -m tests.fuzz.kills 12

kills each command so often while it writes its output, by SIGKILL and by Ctrl-C in turn, and runs it again.
What must hold: what was there is whole, as it was or as the command makes it; the next run succeeds; and it
leaves nothing beside its output. `python -m tests.fuzz.kills 3 train` is of one command alone.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import io
import os
import random
import shutil
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile

from serq_mcu.base.resources import MODELS
from serq_mcu.boards.board import load_board
from serq_mcu.cli import main as serq
from serq_mcu.codegen.export import export
from serq_mcu.quantized_model.store import load_model
from tests.support.keras_files import dense, keras_archive
from tests.support.kills import Killed, killed_at, run_whole, steps_of
from tests.support.virtual_boards import capture_packets, packets_on_a_port, quiet_sound

Files = dict[str, bytes]
_SMALL = MODELS / "emodb-small.serq"
_CONFIG = """
[features]
hop_length = 1024
speech_frames = 0
[augmentation]
versions = 1
[training]
hidden = [8]
max_epochs = 2
presentations = 2
validation_fraction = 0.3
teacher = "labels"
[quantization]
method = "4"
"""
_PLAN = """
title = "Kills"
[[study]]
name = "kills"
corpora = ["savee"]
models = ["mlp"]
features = ["device180"]
methods = ["32", "4"]
fine_tuned = []
protocol = "holdout"
folds = 5
seeds = 2
training = { hidden = [8], max_epochs = 2, validation_fraction = 0.3, validation = "clips" }
"""


@dataclass(frozen=True)
class Command:
    """What is killed: its line, in which OUT is the output and other capitals are names of places.

    old: what is there before: another output, a part of one to which it adds, or none.
    """

    line: str
    old: Literal["other", "part", "none"] = "other"

    @property
    def grows(self) -> bool:
        """Whether an output is whole if all that was there still is."""
        return self.old == "part"

    @property
    def name(self) -> str:
        """The command's own words, and the option that names its output."""
        words = self.line.split()
        own = words[: 2 if words[0] in ("corpus", "frontend", "experiment") else 1]
        option = next(before for before, word in pairwise(words) if word.endswith("OUT"))
        return " ".join([*own, *([option] if option.startswith("--") and option != "--out" else [])])


_VERIFY = "verify PROJECT --clips SAVEE --count 2 --on host"
COMMANDS = [
    Command("export --board emulated-m0 --out OUT"),
    Command("new led --board emulated-m0 --out OUT"),
    Command("library --board emulated-m0 --kind header --out OUT"),
    Command("corpus synthesise OUT --seconds 1"),
    Command("corpus fetch emodb --from URL --out OUT", old="none"),
    Command("corpus check SAVEE --table SAVEE/OUT"),
    Command("frontend compare SAVEE --page OUT"),
    Command("report MODEL --out OUT"),
    Command("classify CLIP --page OUT"),
    Command("classify CLIP --svg OUT"),
    Command(f"{_VERIFY} --junit OUT"),
    Command(f"{_VERIFY} --markdown OUT"),
    Command(f"{_VERIFY} --update-baseline --baseline OUT"),
    Command("evaluate-streams MODEL --corpus SAVEE --page OUT"),
    Command("record CAPTURE --port PORT --label joy --seconds 0.5 --count 3 --out OUT", old="part"),
    Command("import-model KERAS --corpus SAVEE --labels anger,sadness --config CONFIG --out OUT"),
    Command("train SAVEE --config CONFIG --out OUT"),
    Command("quantize RUN --no-qat --out OUT"),
    Command("robustness SAVEE --config CONFIG --folds 2 --page OUT"),
    Command("experiment run SAVEE --plan PLAN --jobs 1 --results OUT", old="part"),
    Command("experiment page RESULTS --page OUT"),
    Command("calibrate SPEAKER --model MODEL --out OUT"),
    Command("adapt MODEL --clips SPEAKER --out OUT"),
    Command("demo --out OUT"),
]

_EARLIER = {  # what others read
    "RUN": "import-model KERAS --corpus SAVEE --labels anger,sadness --config CONFIG --out OUT",
    "RESULTS": "experiment run SAVEE --plan PLAN --jobs 1 --results OUT",
}


@dataclass
class Count:
    """Of one command: kills, outputs that were lost, runs that were refused, and things left beside."""

    kills: int = 0
    lost: int = 0
    refused: int = 0
    left: int = 0

    def add(self, **more: int) -> None:
        """Count what more there is of each."""
        for name, number in more.items():
            setattr(self, name, getattr(self, name) + number)


@contextlib.contextmanager
def places() -> Iterator[dict[str, str]]:
    """Make what the commands read, each under the name that stands for it in their words."""
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="serq-kills-")))
        clips = _tones(folder / "savee")
        export(load_model(_SMALL), load_board("emulated-m0"), folder / "project")
        export(load_model(_SMALL), load_board("esp32"), folder / "capture", "capture")
        (folder / "small.toml").write_text(_CONFIG)
        (folder / "plan.toml").write_text(_PLAN)
        yield {
            "MODEL": str(_SMALL),
            "SAVEE": str(folder / "savee"),
            "CLIP": str(clips[0]),
            "SPEAKER": str(_speaker(folder / "speaker")),
            "PROJECT": str(folder / "project"),
            "CAPTURE": str(folder / "capture"),
            "CONFIG": str(folder / "small.toml"),
            "PLAN": str(folder / "plan.toml"),
            "KERAS": str(_network(folder / "network.keras")),
            "RUN": str(folder / "run"),
            "RESULTS": str(folder / "results.csv"),
            "URL": opened.enter_context(_served(_archive(clips))),
            "PORT": opened.enter_context(packets_on_a_port(_endless())),
        }


def attempt(command: Command, place: dict[str, str], kills: int, progress: Callable[[str], None]) -> Count:
    """Kill a command so often, and run it again each time."""
    with tempfile.TemporaryDirectory(prefix="serq-killed-") as name:
        inside = "SAVEE/OUT" in command.line
        home = Path(place["SAVEE"] if inside else name)
        out = home / "out"
        words = [str(out) if word.endswith("OUT") else place.get(word, word) for word in command.line.split()]
        work = functools.partial(_silently, words)
        run_whole(work)
        whole, beside = _files(out), set(os.listdir(home))
        _old(command, out, whole)
        steps, count = steps_of(work, out if inside else home), Count()
        for number in range(kills):
            step = random.Random(f"{command.name} {number}").randint(1, steps)
            before = _old(command, out, whole)
            count.kills += killed_at(work, list(Killed)[number % 2], step, out if inside else home)
            lost = not _is_whole(command, _files(out), before, whole)
            refused = not _runs(work) or not _is_whole(command, _files(out), whole, whole)
            left = set(os.listdir(home)) - beside
            count.add(lost=lost, refused=refused, left=bool(left))
            if lost or refused or left:
                progress(f"{command.name} {number}: lost {lost}, refused {refused}, left {sorted(left)}")
        if inside:
            out.unlink()
        return count


def _silently(words: list[str]) -> None:
    """Be a command whose results nobody reads."""
    with (
        Path(os.devnull).open("w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        serq([*words, "-q"])


def _runs(work: Callable[[], Any]) -> bool:
    try:
        run_whole(work)
    except AssertionError:
        return False
    return True


def _old(command: Command, out: Path, whole: Files) -> Files:
    """Make the output another one, so that it can be told from a new one, and return its files."""
    if command.old == "none":
        shutil.rmtree(out)
    elif command.grows and out.is_dir():
        for path in sorted(out.rglob("*.wav"))[1:]:
            path.unlink()
    elif command.grows:
        rows = whole[""].splitlines(keepends=True)
        out.write_bytes(b"".join(rows[: 1 + len(rows) // 2]))
    elif out.is_dir():
        (out / "build").mkdir(exist_ok=True)
        (out / "build" / "old.o").write_text("old")
    else:
        out.write_text("old")
    return _files(out)


def _is_whole(command: Command, found: Files, before: Files, whole: Files) -> bool:
    """Tell whether an output is the old or a new one, in every file."""
    if command.grows:
        kept = all(found.get(name, b"").startswith(data[:30]) for name, data in before.items())
        rows = [_rows(files.get("", b"")) for files in (before, found)]
        return kept and rows[0] <= rows[1] and all(found.values())
    new = found.keys() == whole.keys() and all(
        bool(data) == bool(whole[name]) for name, data in found.items()
    )
    return found == before or new


def _rows(table: bytes) -> set[tuple[str, ...]]:
    """Return the rows of a table but for the time that each took."""
    rows = csv.DictReader(io.StringIO(table.decode()))
    return {tuple(value for name, value in row.items() if name != "seconds") for row in rows}


def _files(out: Path) -> Files:
    """Return the content of each file of a folder, or of the file itself under no name."""
    if out.is_file():
        return {"": out.read_bytes()}
    found = (path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def _tones(folder: Path) -> list[Path]:
    """Ten clips each of a high and a low tone by two speakers, named as SAVEE names them."""
    folder.mkdir()
    rng, time = np.random.default_rng(0), np.arange(8000) / 16000
    paths = []
    for speaker in ("DC", "JE"):
        for letter, pitch in (("a", 250), ("sa", 110)):
            for take in range(1, 6):
                tone = np.sign(np.sin(2 * np.pi * pitch * (1 + 0.02 * take) * time))
                paths.append(folder / f"{speaker}_{letter}{take:02}.wav")
                sound = 0.1 * tone + 0.01 * rng.normal(size=time.size)
                soundfile.write(paths[-1], sound, 16000, subtype="PCM_16")
    return paths


def _speaker(folder: Path) -> Path:
    """Three clips each of two emotions by somebody: glides upwards, and downwards."""
    time = np.arange(16000) / 16000
    for label, glide in (("anger", 150), ("sadness", -60)):
        (folder / label).mkdir(parents=True)
        for take in range(3):
            phase = 2 * np.pi * ((120 + 10 * take) * time + glide / 2 * time**2)
            sound = 0.2 * np.sign(np.sin(phase)) * np.sin(np.pi * time)
            soundfile.write(folder / label / f"{take}.wav", sound, 16000, subtype="PCM_16")
    return folder


def _network(path: Path) -> Path:
    """A network of the configuration's features and two classes, of random weights."""
    from serq_mcu.config import load_config

    config = path.with_name("small.toml")
    features = load_config(config).features.feature_count
    rng = np.random.default_rng(0)
    arrays = {"layers/dense/vars/0": rng.normal(size=(features, 2)), "layers/dense/vars/1": np.zeros(2)}
    return keras_archive(path, [dense(2, "softmax")], arrays)


def _archive(clips: list[Path]) -> bytes:
    """An archive of recordings with names of EMO-DB, and their checksums in place of the published ones."""
    from serq_mcu.corpus import check, fetch

    names = [f"{speaker}a0{text}{emotion}a" for speaker in ("03", "08") for text in "12" for emotion in "WFN"]
    data, table = io.BytesIO(), {}
    with zipfile.ZipFile(data, "w") as archive:
        for name, clip in zip(names, clips, strict=False):
            archive.writestr(f"wav/{name}.wav", clip.read_bytes())
            table[name] = hashlib.sha256(clip.read_bytes()).hexdigest()
    for module in (check, fetch):
        module.published_checksums = lambda corpus: table if corpus == "emodb" else {}  # type: ignore[attr-defined]
    return data.getvalue()


@contextlib.contextmanager
def _served(content: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/a.zip"
    finally:
        server.shutdown()
        server.server_close()


def _endless() -> Iterator[bytes]:
    """Packets of a board in a quiet room, for ever."""
    sound, start = quiet_sound(), 0
    while True:
        yield from capture_packets(sound, start=start)
        start += len(sound) // 120


def prepare(place: dict[str, str], chosen: list[Command]) -> None:
    """Make what some commands read, by the commands that write it."""
    for name, line in _EARLIER.items():
        if any(name in command.line.split() for command in chosen):
            words = [place[name] if word == "OUT" else place.get(word, word) for word in line.split()]
            run_whole(functools.partial(_silently, words))


def main(kills: int, names: list[str]) -> int:
    """Kill each command, or those whose names begin so, and print what came of it."""
    total = Count()
    chosen = [command for command in COMMANDS if command.name.startswith(tuple(names) or ("",))]
    with places() as place:
        prepare(place, chosen)
        for command in chosen:
            found = attempt(command, place, kills, lambda text: print(text, file=sys.stderr, flush=True))
            print(f"{command.name:<28}{found.kills:>5} kills, {found.lost} lost,", end=" ")
            print(f"{found.refused} refused, {found.left} left something", flush=True)
            total.add(**asdict(found))
    print(f"{total.kills} kills: {total.lost} lost, {total.refused} refused, {total.left} left something")
    return total.lost + total.refused + total.left


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), sys.argv[2:])))
