"""Long work shows itself: a bar on a terminal, plain lines in a log, JSON lines for a program.

Everything goes to standard error, so that standard output holds only the answer.
"""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from indexer.pipeline import Progress

EVERY_S = 5.0  # between two plain lines


class Show:
    """Shows ``Progress`` events of any number of runs, one after the other."""

    def __init__(self, what: str = "pictures", *, as_json: bool = False) -> None:
        self.what = what
        self.as_json = as_json
        self._bar: Bar | None = None
        self._began = self._last = 0.0
        self._at_start = 0

    def __enter__(self) -> Self:
        if not self.as_json and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def started(self, location: str) -> None:
        """Name the source that is about to be worked through."""
        self._began = 0.0
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._bar.add_task(location[-40:], total=None, rate="scanning")
        elif not self.as_json:
            print(f"{location}: scanning", file=sys.stderr)

    def __call__(self, progress: Progress) -> None:
        """Show one event."""
        now = time.monotonic()
        if progress.phase == "scan" or not self._began:
            self._began, self._last, self._at_start = now, now, progress.done
        elapsed = now - self._began
        rate = (progress.done - self._at_start) / elapsed if elapsed > 0 else 0.0
        if self._bar is not None:
            for task in self._bar.task_ids[-1:]:
                told = f"{rate:,.0f} {self.what}/s" if rate else "starting"
                self._bar.update(task, completed=progress.done, total=progress.total, rate=told)
        elif progress.total and progress.done and (now - self._last >= EVERY_S or progress.done >= progress.total):
            self._last = now
            self._line(progress, rate)

    def _line(self, progress: Progress, rate: float) -> None:
        left = (progress.total - progress.done) / rate if rate and progress.total else None
        if self.as_json:
            event = {
                "phase": progress.phase,
                "done": progress.done,
                "total": progress.total,
                "rate": round(rate, 1),
                "eta_s": None if left is None else round(left),
            }
            print(json.dumps(event), file=sys.stderr, flush=True)
        else:
            eta = "" if not left else f", {_duration(left)} left"
            line = f"{progress.done:,} of {progress.total:,} {self.what}, {rate:,.0f}/s{eta}"
            print(line, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
