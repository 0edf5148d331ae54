"""What it gives to know the speaker: voices of unlabelled and of neutral clips, running ones, adapted models.

`python -m tools.voices emodb/ savee/ --sounds other_sounds_train/` asks models that never heard a speaker
(those of `tools.life`) for the speaker's clips. `--across emodb/ nemo/ ravdess/ savee/ tess/` asks models
that never heard a corpus (those of `tools.abroad`). It adds rows to docs/voices.csv, of which it writes
docs/voices.md. Rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.files import write_file
from serq_mcu.base.metrics import half_width
from serq_mcu.config import SPEAKERS, load_config
from serq_mcu.corpus.loaders import Clip, Corpus, load_corpus
from serq_mcu.evaluation.calibration import OWN_ANSWER, learned_voice
from serq_mcu.extraction.recordings import Recordings, read_recordings, recorded_features
from serq_mcu.listening.engine import Engine, open_engine
from serq_mcu.quantization.adaptation import adapted
from serq_mcu.quantized_model.interpreter import classify, require_voices
from serq_mcu.quantized_model.streaming import LEARN_ANSWERS
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.quantized_model.voice import Voice
from serq_mcu.show.table import Column, Table, columns
from serq_mcu.training.run import read_dataset
from tools.abroad import Question, learned_from, trained
from tools.life import Split, split_model
from tools.rows import read_rows, to_csv

DOCS = Path(__file__).parents[1] / "docs"
RESULTS, PAGE = DOCS / "voices.csv", DOCS / "voices.md"
NEUTRAL = "neutral"
DRAWS = 5  # of the clips that a voice is learned from
NONE, TWENTY, FIVE = "no voice", "20 clips, unlabelled", "5 clips, neutral"
MINUTES, HOUR, OTHER = "2 minutes of a stream", "an hour of {}", "20 clips of another speaker"
ONE_EMOTION = ("anger", "sadness")  # each for an hour
LABELLED = (1, 3, 5, 10)  # clips a class, for a voice and for an adapted model
PAUSES = (0.5, 2.0)  # s, between the clips of a stream
_MOST_SECONDS = 3600

_INTRODUCTION = """\
# What it gives to know the speaker

Written by `python -m tools.voices emodb/ savee/ --across emodb/ nemo/ ravdess/ savee/ tess/` with `--sounds`.
The **integer models** are made by the default commands without the speaker, or without the corpus, that is
asked; no clip of the speaker trained or chose anything.
Clips that a voice is learned from are drawn {draws} times, and never judged.
They are clips as recorded, and so are those that are judged.

- *{none}*: the model as it is.
- *{twenty}*: the model's own answers say what they are of (`serq-mcu calibrate --unlabelled`).
- *{five}*: enrolled (`--label neutral`).
- *{minutes}*: half of the speaker's clips, in random order with pauses of {low:g} to {high:g} s, teach the
  stream as it answers; the other half is judged.
- *an hour of* an emotion: the same with that emotion's clips alone, over and over.
- *{other}*: the voice of somebody else of the corpus, unlabelled, is taken for the speaker's.
- *N labelled a class*, or half of the class's clips where that is less: a *voice*, and a model *adapted* with
  `serq-mcu adapt`, which has that voice too.

The interval is the 95 % interval of the mean over speakers (Student's t); draws and seeds of a speaker are
averaged first.
The difference is from the same model without a voice, on the same clips.
"""


@dataclass(frozen=True)
class Row:
    """Answers of a model to the clips of a speaker, calibrated in some way.

    right, counts: for each of the emotions that the speaker acts, in the order of their names, joined by
    spaces; plain: the right ones without a voice, on the same clips.
    """

    across: str
    corpus: str
    seed: int
    speaker: str
    way: str
    draw: int
    right: str
    plain: str
    counts: str

    def shares(self, which: str) -> NDArray[np.float64]:
        """Return the share of right answers of each emotion that was judged."""
        right, counts = (np.array(text.split(), float) for text in (getattr(self, which), self.counts))
        shares: NDArray[np.float64] = right[counts > 0] / counts[counts > 0]
        return shares

    def accuracy(self, which: str) -> float:
        """Return the share of right answers."""
        right, counts = (np.array(text.split(), float) for text in (getattr(self, which), self.counts))
        return float(right.sum() / counts.sum())


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="*")
    parser.add_argument("--across", type=Path, nargs="*", default=[])
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(arguments)
    for seed in range(given.seeds):
        for folder in given.corpora:
            _ask_of_speakers(folder, given.sounds, seed)
        _ask_across([load_corpus(folder) for folder in given.across], given.sounds, seed)
    write_file(PAGE, page(read_rows(RESULTS, Row)))


def _ask_of_speakers(folder: Path, sounds: Path, seed: int) -> None:
    corpus = load_corpus(folder)
    dataset = functools.cache(lambda: read_dataset(folder, load_config(), None, sounds))
    speakers = sorted({clip.speaker for clip in corpus.clips})
    for index, speaker in enumerate(speakers):
        split = Split(corpus.name, "best", seed, SPEAKERS, index)
        model = functools.cache(lambda split=split: split_model(split, dataset))
        _ask("", corpus, seed, speaker, model)


def _ask_across(corpora: Sequence[Corpus], sounds: Path, seed: int) -> None:
    known = {corpus.name: corpus for corpus in corpora}
    for name, corpus in known.items():
        question = Question(name, "best", seed)
        model = functools.cache(
            lambda question=question: trained(learned_from(question, known, ()), question, sounds)
        )
        for speaker in sorted({clip.speaker for clip in corpus.clips}):
            _ask("across", corpus, seed, speaker, model)


def _ask(across: str, corpus: Corpus, seed: int, speaker: str, model: Callable[[], QuantizedModel]) -> None:
    rows = read_rows(RESULTS, Row)
    key = across, corpus.name, seed, speaker
    if key in {(row.across, row.corpus, row.seed, row.speaker) for row in rows}:
        return
    asked = Asked.of(model(), corpus, speaker)
    for way, draw, judged, answers in asked.ways():
        right = " ".join(map(str, asked.counts(judged, answers == asked.truth[judged])))
        plain = " ".join(map(str, asked.counts(judged, asked.plain[judged] == asked.truth[judged])))
        counts = " ".join(map(str, asked.counts(judged, np.ones(len(judged), bool))))
        rows.append(Row(*key, way, draw, right, plain, counts))
    write_file(RESULTS, to_csv(rows))
    print(*key, flush=True)


@dataclass(frozen=True)
class Asked:
    """A model that never heard a speaker, and the clips of the speaker: features, classes, its answers."""

    model: QuantizedModel
    engine: Engine
    recordings: Recordings
    pooled: NDArray[np.int32]
    truth: NDArray[np.int64]
    plain: NDArray[np.int64]
    others: NDArray[np.int32]

    @classmethod
    def of(cls, model: QuantizedModel, corpus: Corpus, speaker: str) -> Asked:
        """Read the clips of a speaker, and those of somebody else."""
        known = [clip for clip in corpus.clips if clip.label in model.labels]
        own = [clip for clip in known if clip.speaker == speaker]
        speakers = sorted({clip.speaker for clip in known})
        other = speakers[(speakers.index(speaker) + 1) % len(speakers)]
        foreign: list[Clip] = [clip for clip in known if clip.speaker == other]
        pooled, others = (recorded_features(model.spec, model.tables, clips) for clips in (own, foreign))
        truth = np.array([model.labels.index(clip.label) for clip in own])
        recordings = read_recordings(own, model.spec.sample_rate)
        engine = open_engine(model, lambda *_: None)
        return cls(model, engine, recordings, pooled, truth, classify(model, pooled), others)

    def ways(self) -> Iterator[tuple[str, int, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield each way of calibrating, its draw, the clips judged and the answers to them."""
        every = np.arange(len(self.truth))
        yield NONE, 0, every, self.plain
        neutral = self.model.labels.index(NEUTRAL)
        for draw in range(DRAWS):
            rng = np.random.default_rng(draw)
            order = rng.permutation(every)
            yield self._by_clips(TWENTY, draw, order[: min(20, len(every) // 2)], OWN_ANSWER)
            own = order[self.truth[order] == neutral]
            yield self._by_clips(FIVE, draw, own[: min(5, len(own) // 2)], neutral)
            half = order[: len(order) // 2]
            yield self._judged(MINUTES, draw, half, self._streamed(half, 120, rng))
            stranger = rng.permutation(len(self.others))[:20]
            voice = learned_voice(self.model, self.others[stranger], [OWN_ANSWER] * len(stranger))
            yield self._judged(OTHER, draw, order[:0], voice)
            yield from self._labelled(draw, order)
        for emotion in ONE_EMOTION:
            rng, index = np.random.default_rng(0), self.model.labels.index(emotion)
            members = rng.permutation(every[self.truth == index])
            used = members[: len(members) // 2]
            voice = self._streamed(used, _MOST_SECONDS, rng)
            yield self._judged(HOUR.format(emotion), 0, used, voice)

    def _by_clips(
        self, way: str, draw: int, used: NDArray[np.int64], label: int
    ) -> tuple[str, int, NDArray[np.int64], NDArray[np.int64]]:
        voice = learned_voice(self.model, self.pooled[used], [label] * len(used))
        return self._judged(way, draw, used, voice)

    def _judged(
        self, way: str, draw: int, used: NDArray[np.int64], voice: Voice
    ) -> tuple[str, int, NDArray[np.int64], NDArray[np.int64]]:
        judged = np.setdiff1d(np.arange(len(self.truth)), used)
        return way, draw, judged, classify(self.model, self.pooled[judged], voice)

    def _labelled(
        self, draw: int, order: NDArray[np.int64]
    ) -> Iterator[tuple[str, int, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield voices and adapted models of so many clips a class, at most half of those there are."""
        classes = np.unique(self.truth)
        for count in LABELLED:
            of_class = [order[self.truth[order] == index] for index in classes]
            used = np.concatenate([own[: max(1, min(count, len(own) // 2))] for own in of_class])
            voice = learned_voice(self.model, self.pooled[used], self.truth[used].tolist())
            yield self._judged(f"{count} labelled a class, voice", draw, used, voice)
            judged = np.setdiff1d(np.arange(len(self.truth)), used)
            names = [self.model.labels[index] for index in self.truth[used]]
            model = adapted(self.model, self.pooled[used], names)
            places = np.array([self.model.labels.index(name) for name in model.labels])
            answers = classify(model, self.pooled[judged])
            found = np.where(answers < 0, -1, places[answers])
            yield f"{count} labelled a class, adapted", draw, judged, found

    def _streamed(self, clips: NDArray[np.int64], seconds: float, rng: np.random.Generator) -> Voice:
        """Let the stream hear clips, again and again, with pauses; return the voice that it has learned."""
        rate, engine = self.model.spec.sample_rate, self.engine
        engine.start()
        engine.use_voice(Voice.unknown(require_voices(self.model)), LEARN_ANSWERS)
        heard = 0.0
        while heard < seconds:
            for index in rng.permutation(clips):
                pause = np.zeros(round(rng.uniform(*PAUSES) * rate), np.int16)
                piece = np.concatenate([pause, self.recordings.audio[index]])
                engine.push(piece)
                heard += len(piece) / rate
                if heard >= seconds:
                    break
        voice = engine.voice()
        assert voice is not None
        return voice

    def counts(self, judged: NDArray[np.int64], members: NDArray[np.bool_]) -> list[int]:
        """Count members among the clips that were judged, for each emotion of the speaker's."""
        truth = self.truth[judged]
        return [int((members & (truth == index)).sum()) for index in np.unique(self.truth)]


def page(rows: Sequence[Row]) -> str:
    """Write the page of the results."""
    words = {"none": NONE, "twenty": TWENTY, "five": FIVE, "minutes": MINUTES, "other": OTHER}
    parts = [_INTRODUCTION.format(draws=DRAWS, low=PAUSES[0], high=PAUSES[1], **words)]
    for across, corpus in dict.fromkeys((row.across, row.corpus) for row in rows):
        own = [row for row in rows if (row.across, row.corpus) == (across, corpus)]
        seeds = ", ".join(map(str, sorted({row.seed for row in own})))
        people = len({row.speaker for row in own})
        title = f"A corpus that no training heard: {corpus}" if across else f"Other speakers: {corpus}"
        what = "UAR: the mean over the emotions of the share right" if across else "Accuracy"
        text = f"{what}. {people} speakers, seeds {seeds}."
        parts.append(f"## {title}\n\n{text}\n\n{_table(own, across).markdown()}\n")
    whole = {row.corpus for row in rows if row.across}
    if len(whole) > 1:
        parts.append(f"## Across corpora, mean of {len(whole)}\n\n{_means(rows).markdown()}\n")
    return "\n".join(parts)


def _table(rows: Sequence[Row], across: str) -> Table:
    head = (Column("calibrated by"), *columns(["right", "difference"], "right"))
    lines = []
    for way in dict.fromkeys(row.way for row in rows):
        own = [row for row in rows if row.way == way]
        after, before = (_by_speaker(own, which, across) for which in ("right", "plain"))
        change = after - before
        if way == NONE:
            lines.append((way, _cell(after, "{:.1f}"), ""))
        else:
            lines.append((way, _cell(after, "{:.1f}"), _cell(change, "{:+.1f}")))
    return Table(head, lines)


def _means(rows: Sequence[Row]) -> Table:
    head = (Column("calibrated by"), *columns(["UAR", "difference"], "right"))
    lines = []
    for way in dict.fromkeys(row.way for row in rows if row.across):
        by_corpus: Mapping[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row.across and row.way == way:
                by_corpus[row.corpus].append(row)
        after, before = (
            np.mean([_by_speaker(own, which, "across").mean() for own in by_corpus.values()])
            for which in ("right", "plain")
        )
        change = "" if way == NONE else f"{100 * (after - before):+.1f}"
        lines.append((way, f"{100 * after:.1f}", change))
    return Table(head, lines)


def _by_speaker(rows: Sequence[Row], which: str, across: str) -> NDArray[np.float64]:
    """Average draws and seeds of each speaker: UAR across corpora, else accuracy."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        value = float(row.shares(which).mean()) if across else row.accuracy(which)
        found[row.speaker].append(value)
    return np.array([np.mean(values) for values in found.values()])


def _cell(values: NDArray[np.float64], form: str) -> str:
    half = f" ± {100 * float(half_width(values)):.1f}" if len(values) > 1 else ""
    return form.format(100 * values.mean()) + half


if __name__ == "__main__":
    main()
