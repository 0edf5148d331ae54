"""Figures that one page takes from another."""

from __future__ import annotations

import re
from dataclasses import astuple
from pathlib import Path

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.plan import Plan
from serq_mcu.quantized_model.store import shipped_model
from tools import abroad, cards, life, networks, voices
from tools.rows import read_rows

DOCS = Path(__file__).parents[2] / "docs"


def _robustness() -> dict[tuple[str, str], str]:
    """Accuracy in % by condition and column of robustness.md's table."""
    table = [line for line in (DOCS / "robustness.md").read_text().splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {
        (row[0], column): cell.split("%")[0]
        for row in rows
        for column, cell in zip(head[1:], row[1:], strict=True)
    }


def test_what_accuracy_says_of_robustness_is_in_its_table() -> None:
    text, found = (DOCS / "explanation" / "accuracy.md").read_text(), _robustness()
    clips = found["as recorded", "clips, default"]
    siren = found["siren at 10 dB (unseen kind)", "clips, default"]
    assert f"from {clips} % as recorded to {siren} % with a siren at 10 dB" in text
    worst = min(float(value) for (condition, column), value in found.items() if _measured(condition, column))
    assert worst == float(siren)  # the least of its column, as "from ... to" says


def _measured(condition: str, column: str) -> bool:
    return column == "clips, default" and not condition.startswith(("mean", "float"))


def test_what_how_it_works_says_of_silence_is_in_the_page_of_costs() -> None:
    text = (DOCS / "explanation" / "how_it_works.md").read_text()
    ((silent, hearing),) = re.findall(
        r"a Cortex-M4 ([0-9.]+ M) cycles, where hearing every frame would take ([0-9.]+ M)", text
    )
    page = (DOCS / "frontend_cost.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| Cortex-M4F, default |")]
    noise, silence = re.findall(r"/ ([0-9.]+ M) ", row)[:2]
    assert silent == max(noise, silence) and row.endswith(f"/ {hearing} |")


def test_what_accuracy_says_of_streams_is_there() -> None:
    text = (DOCS / "explanation" / "accuracy.md").read_text()
    (share, low, high, n) = re.findall(
        r"([0-9.]+) % of the decisions that were answered \(([0-9.]+) to ([0-9.]+) %, ([0-9]+) clips\)", text
    )[0]
    assert f"| {share}% | {low} to {high}% | {n} |" in (DOCS / "streaming.md").read_text()


def test_what_the_comparison_says_of_cycles_is_in_the_page_of_costs() -> None:
    text = (DOCS / "explanation" / "comparison.md").read_text()
    page = (DOCS / "network_cost.md").read_text()
    figures = re.findall(r"[0-9]{3},[0-9]{3}", text)
    m4 = page[page.index("## Cortex-M4F") : page.index("## ", page.index("## Cortex-M4F") + 3)]
    own = [re.findall(rf"^\| {bits} \| [0-9,]+ / ([0-9,]+) \|", m4, re.M)[0] for bits in (8, 4, 2, 1)]
    (other,) = re.findall(r"^\| CMSIS-NN s8 \| 8 \| [0-9,]+ \| ([0-9,]+) \|", page, re.M)
    assert figures == [own[0], other, *own[1:]]


def test_the_page_of_pauses_and_bands_is_that_of_its_rows() -> None:
    rows = read_rows(life.RESULTS, life.Row)
    assert life.PAGE.read_text() == life.page(rows)
    whole = {(row.corpus, row.preset, row.protocol, row.seed) for row in rows}
    assert {("emodb", "best", protocol, 0) for protocol in ("clips", "speakers")} <= whole
    for corpus, preset, protocol, seed in whole:  # every clip is held out once
        own = [row for row in _as_recorded(rows, corpus, preset, protocol) if row.seed == seed]
        splits = 4 if (corpus, protocol) == ("savee", "speakers") else life.FOLDS
        assert sorted(row.split for row in own) == list(range(splits))
        assert sum(row.n for row in own) == {"emodb": 535, "savee": 480}[corpus]
    readme = (DOCS.parent / "README.md").read_text()
    for preset in life.PRESETS:
        clips, speakers = (_as_recorded(rows, "emodb", preset, name) for name in ("clips", "speakers"))
        others = _share(speakers) if speakers else "-"
        bits = sum(row.average_bits for row in clips) / len(clips)
        size = max(row.weight_bytes for row in clips)
        assert f"| {preset} | {_share(clips)} | {others} | {bits:.2f} | {size} |" in readme
    text = (DOCS / "explanation" / "accuracy.md").read_text()
    clips, speakers = (_as_recorded(rows, "emodb", "best", name) for name in ("clips", "speakers"))
    assert f"has {_share(speakers)} where clips of the same recipe have {_share(clips)}" in text


def test_the_page_of_the_papers_other_networks_is_that_of_its_rows() -> None:
    rows = read_rows(networks.RESULTS, networks.Row)
    assert networks.PAGE.read_text() == networks.page(rows)
    splits = {networks.Split(*astuple(row)[:5]) for row in rows}
    assert len(rows) == len(networks.METHODS) * len(splits)
    for split in splits:  # each row of a split is of the same clips
        own = [row for row in rows if networks.Split(*astuple(row)[:5]) == split]
        assert [row.method for row in own] == sorted(networks.METHODS)
        assert len({row.n for row in own}) == 1
    assert max(row.average_bits for row in rows if row.method != networks.FLOATS) <= networks.MOST_BITS


def test_the_page_of_voices_is_that_of_its_rows() -> None:
    rows = read_rows(voices.RESULTS, voices.Row)
    assert voices.PAGE.read_text() == voices.page(rows)
    for corpus, speakers in (("emodb", 10), ("savee", 4)):
        own = [row for row in rows if row.corpus == corpus and not row.across and row.seed == 0]
        ways = {row.way for row in own}
        assert {voices.NONE, voices.TWENTY, voices.FIVE, voices.MINUTES} < ways
        for way in ways:  # all speakers, all draws
            found = [(row.speaker, row.draw) for row in own if row.way == way]
            draws = 1 if way == voices.NONE or way.startswith("an hour") else voices.DRAWS
            assert len(set(found)) == len(found) == speakers * draws


def test_the_page_of_corpora_never_heard_is_that_of_its_rows() -> None:
    rows = read_rows(abroad.RESULTS, abroad.Row)
    assert abroad.PAGE.read_text() == abroad.page(rows)
    shares = [100 * row.uar for row in rows if row.preset == "best" and not row.asked.startswith("ravdess ")]
    assert len(shares) == 5
    text = (DOCS / "explanation" / "accuracy.md").read_text()
    mean = sum(shares) / 5
    said = f"right in {min(shares):.1f} to {max(shares):.1f} % of the fifth, {mean:.1f} % on average"
    assert said in text


def test_the_page_of_models_is_that_of_their_files_and_cards() -> None:
    assert cards.PAGE.read_text() == cards.page()


def _share(rows: list[life.Row]) -> str:
    return f"{100 * life.mean_and_half_width(rows)[0]:.1f} %"


def _as_recorded(rows: list[life.Row], corpus: str, preset: str, protocol: str) -> list[life.Row]:
    wanted = (corpus, preset, protocol, "as recorded")
    return [row for row in rows if (row.corpus, row.preset, row.protocol, row.condition) == wanted]


def test_what_the_how_to_says_of_a_voices_memory_is_what_check_lists() -> None:
    text = (DOCS / "howto" / "make_it_know_your_voice.md").read_text()
    (stated,) = re.findall(r"costs ([0-9]+) bytes of RAM with the model that ships", text)
    listed = {item.name: item.ram for item in budget(Plan(shipped_model(), load_board("esp32"))).items}
    assert listed["speaker's voice"] == int(stated)
