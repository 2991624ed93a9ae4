"""What folds into what, on hand-made rankings."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexer.catalog.records import Item
from indexer.seams import Floats
from search.fold import Group, fold


def item(number: int, *, content: bytes = b"", phash: int | None = None, product: str = "") -> Item:
    return Item(
        number, 1, b"", "", content or b"%d" % number, 0, 0, 0, 0, "JPEG", phash, "", product, {}, 0.0, 0.0
    )  # fmt: skip


def same(count: int) -> Floats:
    return np.tile(np.array([1, 0], np.float32), (count, 1))


def test_same_bytes_fold() -> None:
    ranked = [item(1, content=b"a"), item(2, content=b"b"), item(3, content=b"a")]
    assert fold(ranked, same(3)) == [Group(0, [2]), Group(1)]


def test_near_hashes_fold_up_to_four_bits() -> None:
    ranked = [item(1, phash=0), item(2, phash=0b1111), item(3, phash=0b11111), item(4, phash=-1), item(5)]
    assert fold(ranked, same(5)) == [Group(0, [1]), Group(2), Group(3), Group(4)]


def test_the_sign_bit_is_a_bit() -> None:
    assert fold([item(1, phash=-1), item(2, phash=2**63 - 1)], same(2)) == [Group(0, [1])]


def test_near_hashes_of_other_things_stay_apart() -> None:
    vectors = np.array([[1, 0], [0.96, 0.28], [0.98, 0.199]], np.float32)
    assert fold([item(1, phash=7), item(2, phash=7), item(3, phash=7)], vectors) == [Group(0, [2]), Group(1)]


def test_a_chain_of_small_changes_does_not_fold_into_one() -> None:
    ranked = [item(1, phash=0), item(2, phash=0b1111), item(3, phash=0b11111111)]
    assert fold(ranked, same(3)) == [Group(0, [1]), Group(2)]


def test_a_product_shows_its_best_picture() -> None:
    ranked = [item(1, product="P"), item(2), item(3, product="P"), item(4, product="Q"), item(5)]
    assert fold(ranked, same(5)) == [Group(0, others=[2]), Group(1), Group(3), Group(4)]


def test_duplicates_of_another_picture_of_the_product_go_to_the_product() -> None:
    ranked = [item(1, product="P"), item(2, product="P", content=b"x"), item(3, content=b"x")]
    assert fold(ranked, same(3)) == [Group(0, duplicates=[2], others=[1])]


def test_a_product_whose_first_picture_was_folded_away_shows_its_next() -> None:
    ranked = [item(1, product="P", content=b"x"), item(2, product="Q", content=b"x"), item(3, product="Q")]
    assert fold(ranked, same(3)) == [Group(0, duplicates=[1]), Group(2)]


def test_both_can_be_turned_off() -> None:
    ranked = [item(1, product="P", content=b"x"), item(2, product="P", content=b"x")]
    assert fold(ranked, same(2), duplicates=False) == [Group(0, others=[1])]
    assert fold(ranked, same(2), products=False) == [Group(0, duplicates=[1])]
    assert fold(ranked, np.empty((2, 0), np.float32), duplicates=False, products=False) == [Group(0), Group(1)]
    assert fold([], same(0)) == []


RANKED = st.lists(
    st.tuples(st.integers(0, 3), st.none() | st.sampled_from([0, 1, 0xFF, -1]), st.sampled_from(["", "", "P", "Q"])),
    max_size=20,
)


@given(RANKED, st.integers(0, 20))
def test_more_hits_below_never_change_what_is_above(ranked: list[tuple[int, int | None, str]], cut: int) -> None:
    items = [
        item(at, content=b"c%d" % content if content else b"", phash=phash, product=product)
        for at, (content, phash, product) in enumerate(ranked)
    ]
    whole, some = fold(items, same(len(items))), fold(items[:cut], same(len(items[:cut])))
    assert [group.best for group in some] == [group.best for group in whole][: len(some)]
    everything = [at for group in whole for at in (group.best, *group.duplicates, *group.others)]
    assert sorted(everything) == list(range(len(items)))
