"""A training stage's bookkeeping: how long it may take, its curve, its checkpoint."""

from __future__ import annotations

import csv
import ctypes
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Budget:
    """How long a stage runs: a number of steps, or minutes of work (whichever is given)."""

    steps: int | None = None
    minutes: float | None = None

    def progress(self, step: int, seconds: float) -> float:
        """0 at the start, 1 when spent."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, seconds / (60 * (self.minutes or 1e-9)))


def cosine(progress: float, warm: float = 0.03) -> float:
    """Learning-rate factor: a linear rise over the first `warm`, then half a cosine to zero."""
    if progress < warm:
        return (progress + 1e-3) / warm
    return 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


@dataclass
class Stage:
    """One stage in `folder`: `state` holds whatever it trains, by name, as state-dict-bearing objects.

    A checkpoint is written every `every` seconds and at the end, by rename, so an interruption loses at most that.
    """

    name: str
    folder: Path
    budget: Budget
    state: dict[str, Any]
    generator: torch.Generator
    every: float = 120.0
    step: int = 0
    seconds: float = 0.0
    last: dict[str, float] = field(default_factory=dict)
    _tick: float = field(default_factory=time.monotonic)
    _saved: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / f"{self.name}.pt"

    @property
    def progress(self) -> float:
        """Share of the budget spent, 0 to 1."""
        return self.budget.progress(self.step, self.seconds)

    def resume(self) -> bool:
        """Takes up the checkpoint when there is one; True if it did."""
        self._tick = self._saved = time.monotonic()
        if not self.path.exists():
            return False
        kept = torch.load(self.path, weights_only=True)
        for name, holder in self.state.items():
            holder.load_state_dict(kept["state"][name])
        self.generator.set_state(kept["generator"])
        self.step, self.seconds, self.last = kept["step"], kept["seconds"], kept["last"]
        return True

    def save(self) -> None:
        """Writes the checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        kept = {name: holder.state_dict() for name, holder in self.state.items()}
        mine = {"step": self.step, "seconds": self.seconds, "last": self.last}
        torch.save({"state": kept, "generator": self.generator.get_state(), **mine}, part)
        part.replace(self.path)
        self._saved = time.monotonic()

    def tick(self, losses: dict[str, float], report: int = 25) -> None:
        """Counts a finished step, adds to the curve every `report` steps, saves when it is time."""
        now = time.monotonic()
        self.step, self.seconds, self._tick = self.step + 1, self.seconds + now - self._tick, now
        for name, value in losses.items():
            self.last[name] = 0.95 * self.last.get(name, value) + 0.05 * value
        if self.step % report == 0 or self.progress >= 1:
            self._write_curve()
        if now - self._saved > self.every or self.progress >= 1:
            self.save()
            self._tick = time.monotonic()

    def summary(self) -> dict[str, float]:
        """Steps, seconds and smoothed losses so far."""
        return {"steps": self.step, "seconds": round(self.seconds, 1), **self.last}

    def _write_curve(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self.name}.csv"
        new = not file.exists()
        with file.open("a", newline="") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(["step", "seconds", *self.last])
            writer.writerow([self.step, round(self.seconds, 1), *(round(value, 5) for value in self.last.values())])


def keep_memory() -> None:
    """Tells glibc to keep freed blocks instead of handing them back to the kernel.

    Large activations are otherwise mapped and zeroed anew in every step, which halved the training rate where this was
    measured. A no-op where the C library has no mallopt.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
        mallopt(option, value)
