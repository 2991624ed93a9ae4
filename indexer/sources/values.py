"""Values from tables and sidecar files, made into plain JSON scalars for an item's metadata.

Knows which values mean "nothing", and which texts are numbers; ``00123`` and codes of 19 digits are texts.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from indexer.sources.found import Scalar

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\Z")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][+-]?[0-9]+)?\Z")


def plain(value: Any) -> Scalar | None:
    """Make a JSON scalar of a value; None for what is empty, not finite, or neither a scalar nor a list of scalars.

    Dates become ISO 8601, a list of scalars becomes one text with commas.
    """
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        parts = [plain(part) for part in value if not isinstance(part, list | tuple)]
        return ", ".join(str(part) for part in parts if part is not None) or None
    return plain(value.item()) if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else None


def number(text: str) -> Scalar | None:
    """Read a cell of a text table: an integer, a decimal fraction, a text, or None when it is empty."""
    text = text.strip()
    if _INTEGER.match(text):
        return int(text)
    if _FLOAT.match(text):
        return plain(float(text))
    return text or None


def metadata(row: Mapping[str, Any], depth: int = 4) -> dict[str, Scalar]:
    """Keep what ``plain`` can make something of; a mapping inside becomes ``outer.inner``, up to ``depth`` levels."""
    kept: dict[str, Scalar] = {}
    for name, value in row.items():
        if isinstance(value, Mapping) and depth > 1:
            kept |= {f"{name}.{inner}": found for inner, found in metadata(value, depth - 1).items()}
        elif (scalar := plain(value)) is not None:
            kept[str(name)] = scalar
    return kept


def words(value: Any) -> str:
    """Make one line of text of a title, a caption or a list of captions."""
    if isinstance(value, list | tuple):
        return "; ".join(filter(None, map(words, value)))
    found = plain(value)
    return "" if found is None else " ".join(str(found).split())


def code(value: Any) -> str:
    """Make a text of an id or a product code; a whole number that a table holds as ``12.0`` is ``12``."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    found = plain(value)
    return "" if found is None else str(found)
