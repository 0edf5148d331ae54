"""Several corpora as one: classes brought together by their names, speakers and recordings kept apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from serq_mcu.corpus.emotions import emotion_of
from serq_mcu.corpus.loaders import AS_FOUND, PLAIN, Clip, Corpus, CorpusOptions, load_corpus
from serq_mcu.errors import SerqError

INTERSECTION, UNION = "intersection", "union"


def load_corpora(
    folders: Sequence[Path],
    classes: str = INTERSECTION,
    synonyms: Mapping[str, str] | None = None,
    options: CorpusOptions = AS_FOUND,
) -> Corpus:
    """Load the corpora in these folders as one (`join`); one alone, without synonyms, stays as it is.

    options: how each folder is read. Raises SerqError if a folder cannot be used, or they do not go together.
    """
    corpora = [load_corpus(folder, options) for folder in folders]
    if len(corpora) == 1 and not synonyms and classes == INTERSECTION:
        return corpora[0]
    return join(corpora, classes, synonyms)


def join(
    corpora: Sequence[Corpus], classes: str = INTERSECTION, synonyms: Mapping[str, str] | None = None
) -> Corpus:
    """Return the clips of several corpora as those of one, whose name is theirs with "+" between them.

    A class is called by the first of these that knows its name: `synonyms`, the words for emotions
    (emotions.py), its own name. classes: "intersection" keeps those that every corpus has, "union" all, and a
    list of labels with commas between them these. A clip's and a speaker's name has its corpus before it;
    speakers who are unknown count as one person. Raises SerqError if two corpora have one name, the words for
    emotions would make one class of two of a corpus, a class that was asked for is in none, or fewer than two
    classes are left.
    """
    names = [_name(corpus) for corpus in corpora]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise SerqError(f"two folders hold the corpus {twice[0]}; give each corpus once, or rename a folder")
    for name, corpus in zip(names, corpora, strict=True):
        _require_apart(name, corpus.labels, synonyms or {})
    found = [
        _renamed(clip, name, synonyms or {})
        for name, corpus in zip(names, corpora, strict=True)
        for clip in corpus.clips
    ]
    labels = _labels(found, names, classes)
    clips = sorted((clip for clip in found if clip.label in labels), key=lambda clip: clip.name)
    folder = Path(*corpora[0].folder.parts[:-1])
    return Corpus("+".join(names), folder, tuple(clips), tuple(sorted(labels)))


def _name(corpus: Corpus) -> str:
    return corpus.folder.resolve().name if corpus.name == PLAIN else corpus.name


def _require_apart(name: str, labels: Sequence[str], synonyms: Mapping[str, str]) -> None:
    """Raise SerqError if two classes of a corpus would become one without the user's saying so."""
    usual: dict[str, str] = {}
    for label in (label for label in labels if label not in synonyms):
        other = usual.setdefault(emotion_of(label) or label, label)
        if other != label:
            raise SerqError(
                f"the classes {other} and {label} of {name} are both names of {emotion_of(label)}; say what"
                f' they are with --synonyms, as in {emotion_of(label)} = ["{other}", "{label}"]'
            )


def _renamed(clip: Clip, corpus: str, synonyms: Mapping[str, str]) -> Clip:
    label = synonyms.get(clip.label) or emotion_of(clip.label) or clip.label
    speaker = f"{corpus}/{clip.speaker or 'unknown'}"
    return replace(clip, name=f"{corpus}/{clip.name}", label=label, speaker=speaker, corpus=corpus)


def _labels(clips: Sequence[Clip], names: Sequence[str], classes: str) -> set[str]:
    own = {name: {clip.label for clip in clips if clip.corpus == name} for name in names}
    every, shared = set.union(*own.values()), set.intersection(*own.values())
    if classes in (INTERSECTION, UNION):
        kept = shared if classes == INTERSECTION else every
    else:
        kept = {label.strip() for label in classes.split(",")}
        if unknown := sorted(kept - every):
            raise SerqError(f"no corpus has a class {unknown[0]!r}; there are {', '.join(sorted(every))}")
    if len(kept) < 2:
        has = "; ".join(f"{name} has {', '.join(sorted(own[name]))}" for name in names)
        raise SerqError(f"fewer than two classes are in all corpora ({has}); give --classes or --synonyms")
    return kept
