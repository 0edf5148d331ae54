"""What noise, rooms and gain do to the integer model, on clips and on speakers that its training never
saw, and what augmentation buys.

Every split is trained and quantized on its own and judged on its test part under each of CONDITIONS; the
splits' answers together make one score, in which each clip counts once. A split's answers are kept in the
user's cache, so that an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base import resources
from serq_mcu.base.files import write_file
from serq_mcu.base.host import cache_folder
from serq_mcu.base.metrics import Score
from serq_mcu.corpus.conditions import AS_RECORDED, Condition
from serq_mcu.errors import SerqError
from serq_mcu.features.feature_cache import FeatureCache
from serq_mcu.features.recordings import Take, take_features, takes_of
from serq_mcu.quantization.pipeline import quantize
from serq_mcu.quantization.run_folder import PARTS
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.training.config import PROTOCOLS, Config, load_config
from serq_mcu.training.run import Dataset, fit, read_dataset

UNSEEN_NOISES = ("brown", "blue", "clatter", "siren")  # kept out of the default training, and of every choice
CONDITIONS: tuple[Condition, ...] = (
    AS_RECORDED,
    *(Condition(noise=noise, snr_db=snr) for noise in ("white", "babble") for snr in (20.0, 10.0)),
    *(Condition(noise=noise, snr_db=10.0) for noise in ("pink", "speech-shaped", "hum")),
    *(Condition(noise=noise, snr_db=snr) for noise in UNSEEN_NOISES for snr in (20.0, 10.0)),
    *(Condition(gain_db=gain) for gain in (-30.0, -18.0, -6.0, 12.0)),
    Condition(room="diffuse", reverberation=0.5),
    *(Condition(room="shoebox", reverberation=seconds) for seconds in (0.3, 0.6)),
    Condition(room="shoebox", reverberation=0.4, noise="babble", snr_db=15.0, gain_db=-12.0),
)
RECIPES = ("default", "without augmentation")
_HELD_OUT = {"clips": "{} stratified folds of the clips", "speakers": "each of {} speakers"}

_METHOD = """Each split is trained with the configuration of `serq_mcu/training/default.toml`{changes},
quantized, and judged as integers on the clips that it held out; every clip is judged once, so the splits'
answers make one score. Nothing, bits included, is chosen by held-out clips.{baseline}

The SNR is that of root mean squares over the whole clip. Training hears {noises}; {unseen} are kept out of
it. Babble is of five clips by
other speakers: of training clips in training, and for the clips that judge of clips outside the training
part. Rooms are convolutions: training
has decaying noise (diffuse); shoebox, an image-source model, is kept out. Gains are relative to the files,
which EMO-DB has normalised to their peaks: +12 dB saturates, -18 dB leaves room."""

_BASELINE = """ "Without augmentation" is the
same configuration with every clip only as recorded, for as many hearings of each clip."""


@dataclass(frozen=True)
class Robustness:
    """Scores of the integer model by (protocol, recipe), one for each of CONDITIONS."""

    corpus: str
    config: Config
    splits: dict[str, int]
    scores: dict[tuple[str, str], tuple[Score, ...]]
    float_scores: dict[tuple[str, str], Score]
    average_bits: dict[tuple[str, str], float]
    kilobytes: dict[tuple[str, str], float]

    def to_json(self) -> dict[str, Any]:
        """For `robustness --json`."""
        return {
            "corpus": self.corpus,
            "config": self.config.to_json(),
            "measured": [
                {
                    "protocol": protocol,
                    "splits": self.splits[protocol],
                    "recipe": recipe,
                    "average_bits": self.average_bits[protocol, recipe],
                    "weights_only_kilobytes": self.kilobytes[protocol, recipe],
                    "float_as_recorded": self.float_scores[protocol, recipe].to_json(),
                    "conditions": [
                        c.to_json() | s.to_json() for c, s in zip(CONDITIONS, scores, strict=True)
                    ],
                }
                for (protocol, recipe), scores in self.scores.items()
            ],
        }

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The table: a column for each protocol and recipe, a row for each condition."""
        head = ["condition", *(f"{protocol}, {recipe}" for protocol, recipe in self.scores)]
        rows = [
            [_name(condition), *(_cell(scores[i]) for scores in self.scores.values())]
            for i, condition in enumerate(CONDITIONS)
        ]
        rows.append(["float network, as recorded", *(_cell(score) for score in self.float_scores.values())])
        rows.append(["mean bits a weight", *(f"{bits:.2f}" for bits in self.average_bits.values())])
        rows.append(["mean KB, weights only", *(f"{size:.1f}" for size in self.kilobytes.values())])
        return head, rows

    def lines(self) -> list[str]:
        """For a person."""
        head, rows = self.rows()
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        aligned = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *rows)
        )
        return [self._basis(), *aligned]

    def page(self, command: str) -> str:
        """The report as Markdown; `command` is what regenerates it."""
        head, rows = self.rows()
        table = "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))
        baseline = _BASELINE if any(recipe == RECIPES[1] for _, recipe in self.scores) else ""
        changes = "".join(f", but {change}" for change in _changes(self.config))
        method = _METHOD.format(
            changes=changes,
            baseline=baseline,
            noises=", ".join(dict.fromkeys(self.config.augmentation.noises)),
            unseen=", ".join(UNSEEN_NOISES),
        )
        parts = [
            "# What noise, rooms and gain do",
            f"Regenerated by `{command}`. {self._basis()}",
            table,
            method,
        ]
        return "\n\n".join(parts) + "\n"

    def _basis(self) -> str:
        n = next(iter(self.scores.values()))[0].n
        held = "; ".join(
            f"{protocol}: {_HELD_OUT[protocol].format(count)} held out in turn"
            for protocol, count in self.splits.items()
        )
        return (
            f"{self.corpus}, seed {self.config.training.seed}; {held}. Accuracy of the integer model with its"
            f" 95 % Wilson interval, n = {n}."
        )


def measure_robustness(
    folder: Path,
    config: Config,
    protocols: Sequence[str] = PROTOCOLS,
    recipes: Sequence[str] = RECIPES,
    progress: Callable[..., None] | None = None,
) -> Robustness:
    """Train, quantize and judge every split of each protocol with each recipe, on the recordings in `folder`.

    Raises SerqError if the corpus cannot be used or names no speakers where a protocol needs them.
    """
    from serq_mcu.training.splits import split_count

    dataset = read_dataset(folder, config, progress)
    splits = {p: split_count(dataset.speakers, _with_protocol(config, p).training) for p in protocols}
    total, done = len(recipes) * sum(splits.values()), 0
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for protocol in protocols:
        for recipe in recipes:
            chosen = _with_protocol(
                config if recipe == RECIPES[0] else config.without_augmentation(), protocol
            )
            for split in range(splits[protocol]):
                found.setdefault((protocol, recipe), []).append(
                    _remembered_split(dataset, chosen.with_split(split))
                )
                done += 1
                if progress is not None:
                    progress("training, quantizing and judging splits", done, total)
    return Robustness(
        corpus=dataset.corpus,
        config=config,
        splits=splits,
        scores={
            key: tuple(_score(dataset, rows, i) for i in range(len(CONDITIONS)))
            for key, rows in found.items()
        },
        float_scores={key: _score(dataset, rows, None) for key, rows in found.items()},
        average_bits={
            key: float(np.mean([row["average_bits"] for row in rows])) for key, rows in found.items()
        },
        kilobytes={
            key: float(np.mean([row["weights_only_bytes"] for row in rows])) / 1000
            for key, rows in found.items()
        },
    )


def judging_takes(dataset: Dataset, part: NDArray[np.uint8], condition: Condition, seed: int) -> list[Take]:
    """A take of each clip of the test part under a condition; babble is of clips outside the training
    part.
    """
    test, outside = (
        np.flatnonzero(chosen).tolist()
        for chosen in (part == PARTS.index("test"), part != PARTS.index("train"))
    )
    return takes_of(dataset.recordings, test, outside, condition, seed)


def _changes(config: Config) -> list[str]:
    """What differs from the default configuration besides the splits, as its file would say it."""
    own, usual = config.to_json(), load_config().to_json()
    splits = ("protocol", "folds", "split")
    return [
        f"{section}.{key} = {own[section][key]}"
        for section, table in usual.items()
        for key, value in table.items()
        if own[section][key] != value and key not in splits
    ]


def _with_protocol(config: Config, protocol: str) -> Config:
    return replace(config, training=replace(config.training, protocol=protocol, split=0))


def _remembered_split(dataset: Dataset, config: Config) -> dict[str, Any]:
    """`_split`, from the cache if it is there."""
    parts = [
        _code_digest(),
        config.to_json(),
        dataset.recordings.digests,
        dataset.names,
        dataset.truth.tolist(),
        [str(c) for c in CONDITIONS],
    ]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    path = cache_folder() / "robustness" / f"{digest[:32]}.json"
    try:
        remembered: dict[str, Any] = json.loads(path.read_text())
        return remembered
    except (OSError, ValueError):
        result = _split(dataset, config)
    try:
        write_file(path, json.dumps(result))
    except SerqError:
        return result  # nothing is kept where nothing can be written
    return result


def _split(dataset: Dataset, config: Config) -> dict[str, Any]:
    """The clips that a split holds out, and what its float network and its integer model answer, the
    latter under each of CONDITIONS.
    """
    run, _ = fit(dataset, config)
    model, _ = quantize(run)
    members = run.members("test")
    takes = [
        take
        for condition in CONDITIONS
        for take in judging_takes(dataset, run.part, condition, config.training.seed)
    ]
    pooled = take_features(model.spec, model.tables, dataset.recordings, takes, cache=FeatureCache()).reshape(
        len(CONDITIONS), len(members), -1
    )
    return {
        "clips": members.tolist(),
        "answers": classify(model, pooled).tolist(),
        "float_answers": run.network.classify(run.network.standardise(pooled[0])).tolist(),
        "average_bits": model.average_bits,
        "weights_only_bytes": model.weights_only_bytes,
    }


def _score(dataset: Dataset, rows: Sequence[dict[str, Any]], condition: int | None) -> Score:
    """Of all splits together under a condition; None: of the float networks, as recorded."""
    clips = np.concatenate([row["clips"] for row in rows]).astype(np.int64)
    answers = np.concatenate(
        [row["float_answers"] if condition is None else row["answers"][condition] for row in rows]
    ).astype(np.int64)
    return Score.of(dataset.truth[clips], answers, dataset.labels)


def _code_digest() -> str:
    """Of everything that the answers depend on, from the recordings to the interpreter."""
    package = Path(__file__).parents[1]
    rooms = ("corpus", "frontend", "features", "training", "quantization", "quantized_model")
    runtime = resources.FIRMWARE / "lib" / "serq" / "src"
    digest = hashlib.sha256()
    for path in sorted(
        [*(path for room in rooms for path in (package / room).rglob("*.py")), *runtime.iterdir()]
    ):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _name(condition: Condition) -> str:
    unseen = condition.noise in UNSEEN_NOISES or condition.room == "shoebox"
    return f"{condition}{' (unseen kind)' if unseen else ''}"


def _cell(score: Score) -> str:
    low, high = score.interval
    return f"{score.accuracy:.1%} ({100 * low:.1f} to {high:.1%})"
