"""Which position of the index holds which item: FAISS counts rows from 0, the catalogue has ids.

Knows numpy only. Not thread-safe for writing; the index that owns it holds the lock.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from indexer.seams import Ids

_TABLE = 16  # a table over all ids is worth it for a filter of more than a sixteenth, if the ids are that dense
_TAIL = 65_536  # rows sorted anew on every append before they are merged into the big sorted part


class Rows:
    """Item id of every position ``[n]``; a dead position holds -1.

    Looking up needs ids in order. Sorting a million of them for each batch of a few hundred would be slow, so there
    are two sorted parts: a big one, made when first asked for, and a small tail of what came later.
    """

    def __init__(self, ids: Ids | None = None) -> None:
        self.ids: Ids = np.empty(0, np.int64) if ids is None else ids
        self.live = int(np.count_nonzero(self.ids >= 0))
        self._top = int(self.ids.max(initial=0))  # largest id ever
        self._big: tuple[Ids, Ids] | None = None
        self._sorted_up_to = 0
        self._tail: tuple[Ids, Ids] = _by_id(self.ids[:0], 0)

    @property
    def total(self) -> int:
        """Positions, dead ones included."""
        return len(self.ids)

    @property
    def dead(self) -> int:
        """Positions that were removed or replaced."""
        return self.total - self.live

    def find(self, ids: Ids) -> Ids:
        """Positions of ``ids`` ``[m]`` -> ``[m]``, -1 where there is no live row. Fastest when ``ids`` is sorted."""
        found = np.full(len(ids), -1, np.int64)
        for keys, places in (self._sorted(), self._tail):
            if len(keys):
                at = np.minimum(np.searchsorted(keys, ids), len(keys) - 1)
                place = places[at]
                # the second test drops what died since the sorting: a dead position holds -1
                hit = (keys[at] == ids) & (self.ids[place] == ids)
                found[hit] = place[hit]
        return found

    def among(self, ids: Ids) -> Ids:
        """Live positions of any number of ``ids``, in any order and repeated: ascending, each once."""
        if len(ids) * _TABLE < self.total or self._top > self.total * _TABLE:
            ids = np.sort(ids)
            found = self.find(ids[np.flatnonzero(np.diff(ids, prepend=-1))])
            return np.sort(found[found >= 0])
        table = np.zeros(self._top + 2, bool)  # ten times faster than searching; the last place is for dead rows, -1
        table[ids[(ids >= 0) & (ids <= self._top)]] = True
        return np.flatnonzero(table[self.ids])

    def append(self, ids: Ids) -> None:
        """Give the next positions to ``ids``, none of which may be live."""
        self._sorted()
        self.ids = np.concatenate([self.ids, ids])
        self.live += len(ids)
        self._top = max(self._top, int(ids.max(initial=0)))
        if self.total - self._sorted_up_to > max(_TAIL, self.total // 16):
            self._big = None
        else:
            self._tail = _by_id(self.ids[self._sorted_up_to :], self._sorted_up_to)

    def kill(self, positions: Ids) -> None:
        """Mask live ``positions``."""
        if len(positions):
            self.ids[positions] = -1
            self.live -= len(positions)

    def _sorted(self) -> tuple[Ids, Ids]:
        if self._big is None:
            big = _by_id(self.ids, 0)
            self._sorted_up_to = self.total
            self._tail = _by_id(self.ids[:0], 0)
            self._big = big
        return self._big


def bits(places: Ids, total: int) -> npt.NDArray[np.uint8]:
    """One bit a position, lowest first, set at ``places``: what FAISS's bitmap selector reads."""
    mask = np.zeros(total, bool)
    mask[places] = True
    return np.packbits(mask, bitorder="little")


def _by_id(ids: Ids, first: int) -> tuple[Ids, Ids]:
    """The live ones of ``ids`` in order, and their positions; ``ids[0]`` is at position ``first``."""
    places = np.flatnonzero(ids >= 0)
    keys = ids[places]
    if np.any(keys[1:] < keys[:-1]):
        order = np.argsort(keys, kind="stable")
        keys, places = keys[order], places[order]
    return keys, places + first
