"""What comes back: an answer with its verdict and hits, and the JSON of it. Knows nothing of how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from indexer.catalog.records import Scalar
from search.terms import Query


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the engine claims about an answer, and why. ``p_value`` is None as long as nothing is calibrated."""

    verdict: Literal["match", "weak", "none", "uncalibrated"]
    p_value: float | None
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The verdict as JSON."""
        return {"verdict": self.verdict, "p_value": self.p_value, "reasons": list(self.reasons)}


UNCALIBRATED = Verdict(
    "uncalibrated", None, ("this library has no calibration, so scores rank the hits but claim no match",)
)


@dataclass(frozen=True, slots=True)
class Hit:
    """One item of an answer.

    ``score`` is the cosine between the query and the picture; it ranks within an answer and means nothing across
    queries. ``duplicates`` are ids of near-duplicates folded into this hit, ``others`` of pictures of its product.
    """

    id: int
    score: float
    path: str
    metadata: Mapping[str, Scalar]
    text: str
    product: str
    width: int
    height: int
    duplicates: tuple[int, ...] = ()
    others: tuple[int, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The hit as JSON."""
        return {
            "id": self.id,
            "score": round(self.score, 6),
            "path": self.path,
            "metadata": dict(self.metadata),
            "text": self.text,
            "product": self.product,
            "width": self.width,
            "height": self.height,
            "duplicates": list(self.duplicates),
            "others": list(self.others),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """One page of an answer. ``total`` is how many items were ranked: all that the filter let through, before folding.

    ``notes`` are sentences about what the user may not expect, such as words that were cut off.
    """

    query: Query
    verdict: Verdict
    hits: tuple[Hit, ...]
    total: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The answer as one JSON object."""
        return {
            "query": self.query.to_json(),
            "verdict": self.verdict.to_json(),
            "hits": [hit.to_json() for hit in self.hits],
            "total": self.total,
            "notes": list(self.notes),
        }
