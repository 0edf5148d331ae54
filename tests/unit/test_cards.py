"""Models' cards: read, found by identity, shown in a line and whole."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from serq_mcu.cli import main
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.card import SUFFIX, Card, card_line, find_card, read_card
from serq_mcu.quantized_model.store import load_model, save_model, shipped_models
from serq_mcu.show.card import card_lines, card_markdown
from tests.support.models import made_up_model

BESIDE = Path(__file__).parents[2] / "models"
FILES = [*shipped_models().values(), *sorted(BESIDE.glob("*.serq"))]


def _card(**changes: object) -> Card:
    given = {
        "identity": "0" * 16,
        "title": "Made up",
        "voices": "two voices",
        "licence": "none",
        "protocol": "Held out.",
        "trained_on": [
            {"corpus": "x", "language": "Latin", "speakers": 2, "clips": 9, "licence": "a licence"}
        ],
        "figures": [{"condition": "as recorded", "protocol": "clips", "percent": 80.0, "half_width": 3.0}],
        "elsewhere": [
            {"corpus": "y", "language": "Greek", "uar": 31.2, "clips": 90},
            {"corpus": "z", "language": "Thai", "uar": 24.6, "clips": 9},
        ],
        "false_answers": [{"sound": "rain", "percent": 4.0, "decisions": 50}],
        "limits": ["Judge nobody."],
    }
    return msgspec.convert(given | changes, Card)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_model_here_has_a_card_of_its_own(file: Path) -> None:
    model = load_model(file)
    card = find_card(model, file)
    assert card is not None
    assert card.identity == model.sha256[:16]
    assert {row.corpus for row in card.trained_on} == set(str(model.provenance["corpus"]).split("+"))
    assert not {row.corpus for row in card.elsewhere} & {row.corpus for row in card.trained_on}
    assert sum(row.clips for row in card.trained_on) <= sum(model.provenance["clips"].values())
    assert "never heard" in card.line


def test_the_page_beside_the_other_models_names_them_as_they_are() -> None:
    page = (BESIDE / "README.md").read_text()
    for file in BESIDE.glob("*.serq"):
        model = load_model(file)
        assert f"| {model.weights_only_bytes:.0f} | `{model.sha256[:16]}` |" in page, file.name


def test_a_card_in_a_line_and_whole() -> None:
    card = _card()
    assert card.line == (
        "trained on two voices; on corpora that it never heard, 25 to 31 % of emotions right (mean of the"
        " classes)"
    )
    assert _card(elsewhere=[]).line == "trained on two voices; nothing is known of other corpora"
    text, page = "\n".join(card_lines(card)), card_markdown(card)
    for word in ("80.0 % ± 3.0", "Greek", "31.2 %", "rain", "4.0 %", "Judge nobody.", "a licence"):
        assert word in text
        assert word in page


def test_a_card_is_found_beside_the_file_by_the_models_identity(tmp_path: Path) -> None:
    model = made_up_model([8, 3], [4, 4])
    file = save_model(model, tmp_path / "m.serq")
    assert find_card(model, file) is None
    assert "what this model was trained on is not known" in card_line(model, file)
    beside = tmp_path / f"m{SUFFIX}"
    beside.write_bytes(msgspec.json.encode(_card()))
    assert find_card(model, file) is None  # of another model
    beside.write_bytes(msgspec.json.encode(_card(identity=model.sha256[:16])))
    assert card_line(model, file).startswith("trained on two voices")


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not JSON"), ("[]", "card"), ('{"identity": "x"}', "identity"), ("[" * 9999, "card")],
)
def test_a_damaged_card_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(SerqError, match=words):
        read_card(tmp_path / "c.json")
    with pytest.raises(SerqError, match="cannot read the card"):
        read_card(tmp_path / "none.json")


def test_models_are_listed_and_shown() -> None:
    listed = CliRunner().invoke(main, ["models"]).output
    assert all(f"{name} " in listed for name in shipped_models())
    shown = CliRunner().invoke(main, ["models", "emodb"]).output
    assert "licence" in shown
    told = json.loads(CliRunner().invoke(main, ["models", "--json"]).stdout)
    assert told["emodb"]["identity"] == load_model(shipped_models()["emodb"]).sha256[:16]
