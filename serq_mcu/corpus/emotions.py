"""What emotions are called: words of corpora and people, by the label that this project gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from serq_mcu.base.validation import read_toml
from serq_mcu.errors import SerqError

_WORDS = {
    "anger": "anger angry ang mad rage wut aerger ärger wütend colere colère ira enojo rabbia zlosc złość",
    "boredom": "boredom bored bor langeweile ennui noia aburrimiento",
    "calm": "calm cal ruhig calme calma",
    "disgust": "disgust disgusted dis ekel degout dégoût asco disgusto",
    "fear": "fear fearful fea scared afraid anxiety anxious angst peur miedo paura strach",
    "happiness": "happiness happy hap joy joyful freude froh glücklich joie alegria felicidad gioia radość",
    "neutral": "neutral neutrality neu neutre neutro normal",
    "sadness": "sadness sad trauer traurig tristesse tristeza tristezza smutek",
    "surprise": "surprise surprised sur ps überraschung sorpresa zaskoczenie",
    "excitement": "excitement excited exc",
    "contempt": "contempt",
    "frustration": "frustration frustrated fru",
    "stress": "stress stressed",
    "aroused": "aroused",
    "unaroused": "unaroused",
    "positive": "positive",
    "negative": "negative",
}
EMOTIONS: Mapping[str, str] = {word: label for label, words in _WORDS.items() for word in words.split()}


def emotion_of(name: str) -> str:
    """Return the label that a name's words stand for, "" where they stand for none, or for several."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    found = {EMOTIONS[word] for word in words if word in EMOTIONS}
    return found.pop() if len(found) == 1 else ""


def read_synonyms(path: Path) -> dict[str, str]:
    """Read a user's own names of classes: a TOML file with lines such as `anger = ["yelling", "irate"]`.

    Returns the label of each name. Raises SerqError if the file cannot be read, a line is not a list of
    names, or a name stands for two labels.
    """
    table, _ = read_toml(path, "table of synonyms")
    found: dict[str, str] = {}
    for label, names in table.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SerqError(f'{path}: {label!r} must have a list of names, as in {label} = ["one", "other"]')
        for name in names:
            if found.setdefault(name, label) != label:
                raise SerqError(f"{path}: {name!r} stands for {found[name]!r} and for {label!r}; keep one")
    return found
