"""Values that others computed: at high precision, or with another library. The scripts beside them write them."""

from __future__ import annotations

import json
from pathlib import Path


def load(name: str) -> dict:
    """Content of the golden file of that name."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
