"""Standard output and error of any encoding, closed, full, or left by their reader: the same exit codes, and
no error that nobody foresaw.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import soundfile

from serq_mcu.base.host import cache_folder
from serq_mcu.build.platformio import core_folder
from serq_mcu.cli.streams import encodable
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.store import save_model
from tests.support.commands import SERQ
from tests.support.models import made_up_model
from tests.support.streaming import quiet_and_loud

ASCII = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]
MODEL = made_up_model((2,), (2,), labels=("日本語", "fear"))
COMMANDS = [  # words, exit code
    (["boards"], 0),
    (["--help"], 0),
    (["check", "--help"], 0),
    (["boards", "--json"], 0),
    (["check", "--board", "emulated-m4f"], 0),
    (["doctor", "--json"], 0),
    (["build", "there is none"], 1),
    (["nonsense"], 2),
    (["check", "--nonsense"], 2),
]
NAMES = [" ".join(words) for words, _ in COMMANDS]


def _run(
    words: list[str], stdout: object = subprocess.PIPE, stderr: object = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "SERQ_TRACEBACK"}
    return subprocess.run(
        [*SERQ, *words],
        stdout=stdout,  # type: ignore[call-overload]
        stderr=stderr,
        env=environment | variables,
        check=False,
        timeout=600,
    )


def _foreseen(done: subprocess.CompletedProcess[bytes]) -> None:
    said = (done.stderr or b"").decode(errors="replace")
    assert not any(word in said for word in ("Traceback", "unexpected error", "Exception ignored")), said


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "clip é.wav", quiet_and_loud(MODEL.spec, 5), 16000, subtype="PCM_16")
    return tmp_path / "clip é.wav"


@pytest.mark.parametrize("variables", ASCII, ids=["ascii", "latin-1", "C"])
def test_an_encoding_that_lacks_signs_shows_escapes(
    variables: dict[str, str], clip: Path, tmp_path: Path
) -> None:
    model = save_model(MODEL, tmp_path / "modèle.serq")
    done = _run(["classify", str(clip), "--model", str(model)], **variables)
    _foreseen(done)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stdout.decode(variables.get("PYTHONIOENCODING", "ascii")).encode("latin-1")
    assert rb"\u65e5\u672c\u8a9e" in done.stdout
    same = _run(["classify", str(clip), "--model", str(model), "--json"], **variables)
    assert json.loads(same.stdout)["labels"] == list(MODEL.labels)
    refused = _run(["classify", str(tmp_path / "日本.wav")], **variables)
    assert refused.returncode == 1
    _foreseen(refused)


@pytest.mark.parametrize(("words", "code"), COMMANDS, ids=NAMES)
def test_a_full_disk_takes_nothing_and_one_sentence_says_so(words: list[str], code: int) -> None:
    with Path("/dev/full").open("wb") as full:
        done = _run(words, stdout=full)
        assert done.returncode == (code or 1)
        if code == 0:
            assert done.stderr.decode().splitlines()[-1] == (
                "Error: cannot write standard output: No space left on device; send it elsewhere"
            )
        _foreseen(done)
        assert _run(words, stderr=full).returncode == code


@pytest.mark.parametrize(("words", "code"), COMMANDS, ids=NAMES)
def test_a_reader_that_left_changes_no_exit_code(words: list[str], code: int) -> None:
    for which in ("stdout", "stderr"):
        reader, writer = os.pipe()
        os.close(reader)
        done = _run(words, **{which: writer})  # type: ignore[arg-type]
        os.close(writer)
        assert done.returncode == code, (which, done.stderr)
        _foreseen(done)


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_change_no_exit_code(closing: str) -> None:
    for words, code in COMMANDS[:1] + COMMANDS[-3:]:
        line = " ".join([*SERQ, *(f"'{word}'" for word in words), closing])
        done = subprocess.run(["sh", "-c", line], capture_output=True, check=False, timeout=600)
        assert done.returncode == code, done.stderr
        _foreseen(done)


def test_only_what_an_encoding_lacks_is_escaped() -> None:
    assert encodable("é … █ 日 \udc80", "utf-8") == "é … █ 日 \\udc80"
    assert encodable("é … █ 日", "latin-1") == "é ... # \\u65e5"
    assert encodable("é", "ascii") == "\\xe9"


def test_a_disk_that_is_full_or_closed_is_one_sentence(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "file").write_text("")
    done = _run(["classify", str(clip)], TMPDIR="/dev/full", SERQ_CACHE=str(tmp_path / "file" / "cache"))
    _foreseen(done)
    name = str(tmp_path / ("n" * 300 + ".wav"))
    done = _run(["classify", name])
    assert done.returncode == 1
    _foreseen(done)


@pytest.mark.parametrize(
    "damage",
    [
        "[" * 100_000,
        '{"abi": 1e999, "board": "", "identity": "", "app": "", "storage": "compact", "files": {}}',
    ],
)
def test_a_manifest_that_is_too_deep_or_infinite_is_damaged(damage: str, tmp_path: Path) -> None:
    (tmp_path / "serq.json").write_text(damage)
    done = _run(["build", str(tmp_path)])
    assert done.returncode == 1
    assert b"is damaged" in done.stderr
    _foreseen(done)


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERQ_CACHE")
    monkeypatch.delenv("PLATFORMIO_CORE_DIR", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    for find, variable in ((cache_folder, "SERQ_CACHE"), (core_folder, "PLATFORMIO_CORE_DIR")):
        with pytest.raises(SerqError, match=f"you have none; set {variable}"):
            find()
