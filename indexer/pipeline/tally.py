"""What a run counted, and what it reports while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field


@dataclass
class Tally:
    """Counts of one run. ``notes`` are sentences that a person should read."""

    seen: int = 0
    unchanged: int = 0
    embedded: int = 0  # went through the encoder
    copied: int = 0  # same bytes as a picture already known: its vector was used
    moved: int = 0  # renamed or moved: kept its id and vector
    updated: int = 0  # new metadata, or a new time stamp on the same bytes
    removed: int = 0
    failed: int = 0  # could not be indexed in this run
    failing: int = 0  # failed before and have not changed since: not tried again
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many items this run added, altered or took away."""
        return self.embedded + self.copied + self.moved + self.updated + self.removed

    def add(self, other: Tally) -> None:
        """Sum up another run's counts."""
        for name, value in asdict(other).items():
            if name == "interrupted":
                self.interrupted = self.interrupted or value
            else:
                setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands. ``total`` is None while scanning."""

    phase: str  # scan | embed
    done: int
    total: int | None


Report = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Report nothing."""
