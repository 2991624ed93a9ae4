"""What belongs together in an answer: near-duplicates folded into the best of them, and one picture a product.

Pure functions over hits in the order of their rank. A hit is only ever compared with better ones, so that more hits
below never change what is above: that is what makes pages fit together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from indexer.catalog.records import Item
from indexer.seams import Floats

NEAR_BITS = 4  # of the 64 of a difference hash
NEAR_COSINE = 0.97


@dataclass(slots=True)
class Group:
    """Positions in the ranking: the best hit, its near-duplicates, and other pictures of its product."""

    best: int
    duplicates: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


def fold(items: Sequence[Item], vectors: Floats, *, duplicates: bool = True, products: bool = True) -> list[Group]:
    """Groups in rank order from hits in rank order, with their unit rows ``[n, dim]``.

    Near-duplicates have the same bytes, or difference hashes at most 4 bits apart and a cosine of at least 0.97: the
    hash alone takes white-ground products for each other, the cosine alone two sofas of one kind. They are duplicates
    of the best hit, not of each other, so a chain of small changes does not fold into one.
    """
    groups: list[Group] = []
    kept = _Kept(vectors)
    by_content: dict[bytes, Group] = {}
    by_product: dict[str, Group] = {}
    for at, item in enumerate(items):
        twin = None
        if duplicates:
            twin = by_content.get(item.content_hash) if item.content_hash else None
            twin = twin or kept.near(at, item.phash)
        if twin is not None:
            twin.duplicates.append(at)
            continue
        group = by_product.get(item.product) if products and item.product else None
        if group is None:
            group = Group(at)
            groups.append(group)
            by_product.setdefault(item.product, group)
        else:
            group.others.append(at)
        by_content.setdefault(item.content_hash, group)
        kept.add(at, item.phash, group)
    return groups


class _Kept:
    """Pictures shown so far, to compare the next one with all of them at once."""

    def __init__(self, vectors: Floats) -> None:
        self.vectors = vectors
        self.hashes = np.zeros(len(vectors), np.int64)
        self.at = np.zeros(len(vectors), np.int64)
        self.groups: list[Group] = []

    def add(self, at: int, phash: int | None, group: Group) -> None:
        if phash is not None:
            n = len(self.groups)
            self.hashes[n], self.at[n] = phash, at
            self.groups.append(group)

    def near(self, at: int, phash: int | None) -> Group | None:
        """The group of the best picture that this one nearly repeats."""
        if phash is None:
            return None
        n = len(self.groups)
        bits = np.bitwise_count((self.hashes[:n] ^ np.int64(phash)).view(np.uint64))  # [n]
        alike = np.flatnonzero(bits <= NEAR_BITS)
        alike = alike[self.vectors[self.at[alike]] @ self.vectors[at] >= NEAR_COSINE]
        return self.groups[alike[0]] if alike.size else None
