"""Where templates, firmware, boards, schemas and shipped models are.

That is beside the package in a checkout, inside it in a wheel.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_ROOT = _PACKAGE / "data" if (_PACKAGE / "data" / "firmware").is_dir() else _PACKAGE.parent

TEMPLATES = _ROOT / "templates"
FIRMWARE = _ROOT / "firmware"
BOARDS = _ROOT / "boards"
MICROPHONES = BOARDS / "microphones"
SCHEMAS = _ROOT / ("docs/schemas" if _PACKAGE.parent == _ROOT else "schemas")
MODELS = _PACKAGE / "models"

BEST = "best"  # default.toml as it is
# of training; the others are files of presets/
PRESETS = (BEST, "light", "tiny", "paper", "cnn1d", "gru", "lstm")
