"""Terms into one vector, on worlds small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from search.compose import PROMPTS, Gap, compose, unit
from search.errors import QueryError

X, Y, Z = np.eye(3, dtype=np.float32)
TEXTS = np.array([False, False])
MIXED = np.array([True, False])


def test_weights_weigh_and_negatives_subtract() -> None:
    assert compose(np.array([X, Y]), [3, 4], TEXTS) == pytest.approx([0.6, 0.8, 0])
    assert compose(np.array([X, Y]), [4, -3], TEXTS) == pytest.approx([0.8, -0.6, 0])
    assert compose(np.array([X, Y]), [1e308, 1e308], TEXTS) == pytest.approx([0.5**0.5, 0.5**0.5, 0])


def test_the_result_is_float32_of_length_one() -> None:
    rows = unit(np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32))
    vector = compose(rows, [1, 2, -0.5, 3, 1e-3], np.zeros(5, bool))
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_terms_that_cancel_are_refused() -> None:
    sentence = "^the terms of the query cancel each other out; change a weight or leave one out$"
    with pytest.raises(QueryError, match=sentence):
        compose(np.array([X, X]), [1, -1], TEXTS)
    with pytest.raises(QueryError, match=sentence):  # a picture that is exactly the middle says nothing
        compose(np.array([X, Y]), [1, 1e-9], MIXED, Gap(X, Z))


def test_the_gap_goes_only_when_kinds_mix() -> None:
    gap = Gap(pictures=0.9 * X, texts=-0.9 * X)
    both = np.array([unit(9 * X + Y), unit(-9 * X + Z)])
    mixed = compose(both, [1, 1], MIXED, gap)
    assert mixed[1] == pytest.approx(mixed[2], abs=1e-3)  # each says its half
    assert abs(mixed[0]) < 0.8
    alone = compose(both, [1, 1], np.array([True, True]), gap)
    assert alone == pytest.approx(compose(both, [1, 1], TEXTS))


def test_without_the_gap_a_picture_counts_as_much_as_words() -> None:
    """Pictures lie close together around +x, so what tells them apart is small beside what tells texts apart."""
    picture, words = unit(10 * X + Y), unit(2 * Z - X)
    both, only_words = unit(10 * X + Y + Z), unit(10 * X + 1.5 * Z)
    raw = compose(np.array([picture, words]), [1, 1], MIXED)
    assert raw @ only_words > raw @ both
    centred = compose(
        np.array([picture, words]), [1, 1], MIXED, Gap(unit(10 * X + Y) * (X > 0), unit(2 * Z - X) * (X > 0))
    )
    assert centred @ both > centred @ only_words


def test_a_zero_row_stays_zero() -> None:
    assert not unit(np.zeros((2, 3), np.float32)).any()


def test_prompts_are_many_and_differ() -> None:
    assert len(set(PROMPTS)) == len(PROMPTS) >= 32
