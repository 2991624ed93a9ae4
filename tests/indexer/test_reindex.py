"""Changing the encoder beside the live vectors, and going back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import EncoderMismatch, LibraryError
from indexer.library import Library
from indexer.pipeline import Options, Progress, Session, Tally, rollback
from indexer.upkeep.doctor import examine
from tests.fakes import FakeEncoder
from tests.worlds import index, items, jpeg, write

OTHER = FakeEncoder("other", dim=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(6):
        write(tmp_path / "pictures" / f"{seed}.jpg", jpeg(seed))
    return tmp_path / "pictures"


@pytest.fixture
def library(tmp_path: Path, folder: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as opened:
        index(opened, folder)
        yield opened


def reindex(library: Library, stop: threading.Event | None = None, report: object = None) -> Tally:
    session = Session(library, lambda: OTHER, Options(batch=2), stop)
    if report is not None:
        session.report = report  # type: ignore[assignment]
    return session.reindex()


def test_all_items_get_the_new_vectors_and_keep_their_ids(library: Library) -> None:
    before = [item.id for item in items(library)]
    assert reindex(library).embedded == 6
    assert [item.id for item in items(library)] == before
    assert (library.index().dim, len(library.index())) == (20, 6)
    assert examine(library, lambda: OTHER) == []


def test_the_old_encoder_answers_until_the_switch(library: Library, folder: Path) -> None:
    answering = []

    def look(_progress: Progress) -> None:
        with Library.open(library.path) as reader:
            answering.append(reader.index().dim)

    reindex(library, report=look)
    assert set(answering) == {16}
    assert library.index().dim == 20


def test_an_interrupted_change_goes_on_and_embeds_nothing_twice(library: Library) -> None:
    stop = threading.Event()
    count = OTHER.images_encoded
    assert reindex(library, stop, lambda progress: stop.set() if progress.done else None).interrupted
    assert library.index().dim == 16
    reindex(library)
    assert library.index().dim == 20
    assert OTHER.images_encoded - count == 6


def test_rollback_answers_with_the_old_vectors_again(library: Library, folder: Path) -> None:
    ids, before = library.vectors(range(10))
    reindex(library)
    encoder, missing = rollback(library)
    assert (encoder.spec, missing) == ("fake", 0)
    np.testing.assert_array_equal(library.vectors(ids.tolist())[1], before)
    assert rollback(library)[0].spec == "other"  # there and back again


def test_a_picture_changed_after_the_switch_has_no_stale_vector_to_roll_back_to(library: Library, folder: Path) -> None:
    reindex(library)
    write(folder / "0.jpg", jpeg(70))
    index(library, encoder=OTHER)
    _, missing = rollback(library)
    assert missing == 1
    assert len(library.index()) == 5
    index(library)
    assert len(library.index()) == 6
    assert examine(library, FakeEncoder) == []


def test_a_picture_changed_during_the_change_waits_for_the_next_index(library: Library, folder: Path) -> None:
    write(folder / "0.jpg", jpeg(71))
    assert reindex(library).embedded == 5
    index(library, encoder=OTHER)
    assert len(library.index()) == 6


def test_the_same_encoder_is_refused(library: Library) -> None:
    with pytest.raises(EncoderMismatch, match="already answers with fake"):
        Session(library, FakeEncoder).reindex()


def test_there_must_be_something_to_go_back_to(library: Library) -> None:
    with pytest.raises(LibraryError, match="no earlier encoder"):
        rollback(library)
