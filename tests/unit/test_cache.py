"""The cache: keys that contain the code, integrity, the limit, several processes, folders that cannot be used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[2]

# The front end


_EXPERIMENT = """
import sys
from pathlib import Path
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.experiments.features import FEATURE_SETS, compute, corpus_digest
clips = load_corpus(Path(sys.argv[1])).clips
print(int(compute(FEATURE_SETS["device15"], clips, corpus_digest(clips)).sum()))
"""


def test_experiments_compute_features_again_after_the_front_end_changed(tmp_path: Path) -> None:
    for name in ("serq_mcu", "firmware", "templates", "boards"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    rng = np.random.default_rng(0)
    for label in ("calm", "angry"):
        (tmp_path / "clips" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "clips" / label / "0.wav", rng.normal(0, 0.1, 16000), 16000)

    def features() -> int:
        return int(
            subprocess.run(
                [sys.executable, "-c", _EXPERIMENT, str(tmp_path / "clips")],
                env=os.environ | {"PYTHONPATH": str(tmp_path), "SERQ_CACHE": str(tmp_path / "cache")},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )

    first = features()
    source = tmp_path / "serq_mcu" / "frontend" / "recordings.py"
    for text in ("\n# another comment\n", "\ntake_features = lambda *_: np.ones((2, 15), np.int32)\n"):
        source.write_text(source.read_text() + text)
    assert first != 30
    assert features() == 30
