"""A folder of odd and hostile files goes through the whole pipeline: none stops it, each has its sentence."""

from __future__ import annotations

from pathlib import Path

from indexer.library import Library
from indexer.upkeep.doctor import examine
from indexer.upkeep.originals import read_originals
from tests.fakes import FakeEncoder
from tests.hostile import make_corpus
from tests.worlds import failures, index, items


def test_a_hostile_folder_is_indexed_as_far_as_it_can_be(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    expected = make_corpus(folder)
    assert len(expected) >= 60
    with Library.open(tmp_path / "library", create=True) as library:
        tally = index(library, folder)
        told = {failure.locator: failure.reason for failure in failures(library)}
        good = {item.locator for item in items(library)}
        assert {locator: told.get(locator) for locator in expected} == expected
        assert good == {locator for locator, reason in expected.items() if reason is None}
        assert (tally.failed, tally.embedded + tally.copied) == (len(told), len(good))
        for failure in failures(library):
            assert failure.message, failure.path
            assert failure.remedy, failure.path
            assert len(f"{failure.message}; {failure.remedy}".splitlines()) == 1
            failure.path.encode()  # fit to be shown anywhere
        assert examine(library, FakeEncoder, hashes=True) == []
        again = index(library, folder)
        assert (again.changes, again.failed + again.failing) == (0, len(told))
        originals = read_originals(library, [item.id for item in items(library)])
        assert all(isinstance(data, bytes) for data in originals.values())
