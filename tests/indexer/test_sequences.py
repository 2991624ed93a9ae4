"""After any sequence of changes and runs the library equals a fresh index of the same folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from indexer.library import Library
from indexer.upkeep.doctor import examine
from tests.fakes import FakeEncoder
from tests.worlds import contents, index, jpeg, write

NAMES = st.sampled_from(["a.jpg", "b.jpg", "c d.jpg", "sub/a.jpg", "sub/deep/e.jpg", "übel\n.jpg"])
SEEDS = st.integers(0, 5)


class Folder(RuleBasedStateMachine):
    """Someone works in a folder while it is indexed now and then."""

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.folder = self.home / "pictures"
        write(self.folder / "always.jpg", jpeg(99))  # a root that is never suddenly empty
        self.clock = 1_000_000_000
        self.library = Library.open(self.home / "library", create=True)
        index(self.library, self.folder)
        self.in_step = True

    def teardown(self) -> None:
        self.library.close()
        shutil.rmtree(self.home)

    def put(self, name: str, data: bytes) -> None:
        self.clock += 1_000_000  # time stamps always move on, however fast the test is
        os.utime(write(self.folder / name, data), ns=(self.clock, self.clock))
        self.in_step = False

    @rule(name=NAMES, seed=SEEDS)
    def add_or_change(self, name: str, seed: int) -> None:
        self.put(name, jpeg(seed))

    @rule(name=NAMES, seed=SEEDS)
    def damage(self, name: str, seed: int) -> None:
        self.put(name, jpeg(seed)[:150])

    @rule(name=NAMES, to=NAMES)
    def move(self, name: str, to: str) -> None:
        if (self.folder / name).exists():
            (self.folder / to).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).replace(self.folder / to)
            self.in_step = False

    @rule(name=NAMES, to=NAMES)
    def swap(self, name: str, to: str) -> None:
        one, other = self.folder / name, self.folder / to
        if one.exists() and other.exists() and one != other:
            data = one.read_bytes()
            self.put(name, other.read_bytes())
            self.put(to, data)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        self.in_step = False

    @rule()
    def delete_subfolder(self) -> None:
        shutil.rmtree(self.folder / "sub", ignore_errors=True)
        self.in_step = False

    @rule()
    def run(self) -> None:
        index(self.library, self.folder)
        self.in_step = True

    @rule()
    def open_again(self) -> None:
        self.library.close()
        self.library = Library.open(self.home / "library")

    @invariant()
    def equals_a_fresh_index(self) -> None:
        if not getattr(self, "in_step", False):
            return
        with Library.open(self.home / "fresh", create=True) as fresh:
            index(fresh, self.folder)
            assert contents(self.library) == contents(fresh)
        shutil.rmtree(self.home / "fresh")
        assert examine(self.library, FakeEncoder) == []
        self.in_step = False  # checked; look again after the next change


Folder.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestFolder = Folder.TestCase
