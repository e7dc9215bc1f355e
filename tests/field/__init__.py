"""Replays of what people really send: `python -m tests.field FILE...`, from the project's root."""

import sys
from pathlib import Path

_LAYER = str(Path(__file__).parents[2] / "layers" / "relay")
if _LAYER not in sys.path:
    sys.path.insert(0, _LAYER)
