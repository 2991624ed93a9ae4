"""Working ahead keeps order, stays bounded, stops early and passes errors on."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice

import pytest

from indexer.pipeline.ahead import ahead, in_background


def test_order_is_kept() -> None:
    def slow_when_even(number: int) -> int:
        time.sleep(0.002 * (number % 2 == 0))
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(ahead(pool, slow_when_even, range(50), 8)) == list(range(50))


def test_no_more_than_the_window_is_taken_in_advance() -> None:
    taken = []

    def stream() -> Generator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool, closing(ahead(pool, str, stream(), 5)) as results:
        assert list(islice(results, 3)) == ["0", "1", "2"]
        assert len(taken) <= 3 + 5


def test_the_background_is_bounded_and_ends_with_its_consumer() -> None:
    taken: list[int] = []
    closed = threading.Event()

    def stream() -> Generator[int]:
        try:
            for number in range(1_000_000):
                taken.append(number)
                yield number
        finally:
            closed.set()

    with closing(in_background(stream(), 4)) as results:
        assert next(results) == 0
        time.sleep(0.05)
        assert len(taken) <= 7
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "diptych-ahead"]


def test_an_error_reaches_the_consumer_after_what_came_before() -> None:
    def stream() -> Generator[int]:
        yield 1
        raise ValueError("broken")

    results = in_background(stream(), 4)
    assert next(results) == 1
    with pytest.raises(ValueError, match="broken"):
        next(results)
