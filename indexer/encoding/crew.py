"""Using all cores of a CPU for embedding: several small batches side by side, each on one thread.

One batch on many threads waits for its slowest thread at every layer, and the more so while other threads decode
pictures on the same cores.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from indexer.seams import Floats, Pixels

PART = 16  # pictures a worker embeds at once
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)


class Crew:
    """Workers that embed parts of a batch; made when first needed. ``work``: uint8 ``[m, ...]`` -> ``[m, dim]``."""

    def __init__(self, work: Callable[[Pixels], Floats], size: int | None = None) -> None:
        self._work = work
        self._size = size or cores()
        self._pool: ThreadPoolExecutor | None = None

    def __call__(self, pixels: Pixels) -> Floats:
        """Embed uint8 ``[n, ...]`` -> float32 ``[n, dim]``, n above 0, in order."""
        if self._size == 1 or len(pixels) <= PART:
            return self._work(pixels)
        if self._pool is None:
            import torch

            keep_memory()
            self._pool = ThreadPoolExecutor(self._size, "diptych-encode", torch.set_num_threads, (1,))
        parts = [pixels[start : start + PART] for start in range(0, len(pixels), PART)]
        return np.concatenate(list(self._pool.map(self._work, parts)))


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_memory() -> None:
    """Tell glibc to keep large freed blocks for the next batch instead of giving them back to the system.

    Activations are otherwise mapped and zeroed anew at every layer. Does nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_MMAP_THRESHOLD, 256 * 1024 * 1024)
    mallopt(_M_TRIM_THRESHOLD, 512 * 1024 * 1024)
