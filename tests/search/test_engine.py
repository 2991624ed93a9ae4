"""Whole questions to a small library with known answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import EncoderMismatch, FilterError, PictureError
from indexer.seams import Floats, Ids
from search import engine
from search.compose import unit
from search.engine import measure_gap, search
from search.errors import QueryError
from search.results import Answer
from search.terms import Query, Term
from search.where import parse as where
from tests.fakes import FakeEncoder, FakeIndex
from tests.search.world import World, png


def vector(*numbers: float) -> Term:
    return Term("vector", tuple(np.pad(np.array(numbers, float), (0, 16 - len(numbers)))))


def fan(count: int) -> World:
    """Items 1, 2, 3... ever further from the first axis; odd ones are cheap."""
    world = World()
    for at in range(count):
        angle = at / count
        world.add([np.cos(angle), np.sin(angle)], price=at, cheap=at % 2 == 0)
    return world


def ids(answer: Answer) -> list[int]:
    return [hit.id for hit in answer.hits]


def test_words_find_their_colour() -> None:
    world = World()
    red, blue = world.add("red", name="a red thing"), world.add("blue")
    answer = search(world, world.encoder, Query((Term("text", "red"),)))
    assert ids(answer) == [red, blue]
    assert answer.hits[0].score > answer.hits[1].score
    assert answer.total == 2
    assert answer.notes == ()


def test_a_picture_finds_its_like_as_path_bytes_and_url(tmp_path: Path) -> None:
    world = World()
    for colour in ("red", "blue", "green"):
        world.add(colour)
    path = tmp_path / "q.png"
    path.write_bytes(png("green"))
    pages = {"https://x.org/q": png("green")}
    for picture in (path, png("green"), "https://x.org/q"):
        answer = search(world, world.encoder, Query((Term("image", picture),)), fetch=pages.__getitem__)
        assert ids(answer)[0] == 3
        assert answer.hits[0].score == pytest.approx(1, abs=1e-5)


def test_an_item_finds_its_like_but_never_itself() -> None:
    world = fan(5)
    assert sorted(ids(search(world, world.encoder, Query((Term("item", 3),))))) == [1, 2, 4, 5]
    assert ids(search(world, world.encoder, Query((Term("item", 1),)))) == [2, 3, 4, 5]
    answer = search(world, world.encoder, Query((Term("item", 3), Term("item", 2, -0.5)), where("price >= 0")))
    assert sorted(ids(answer)) == [1, 4, 5]
    assert answer.total == 3


def test_negatives_push_away() -> None:
    world = World()
    plain, mixed, other = world.add([1, 0]), world.add(unit(np.array([1, 1.0]))), world.add([0, 1])
    answer = search(world, world.encoder, Query((vector(1), Term("vector", vector(0, 1).value, -0.5))))
    assert ids(answer) == [plain, mixed, other]
    assert answer.hits[2].score < 0


def test_the_answer_is_one_json_object() -> None:
    world = World()
    world.add("red", product="P", price=5, content=b"x")
    world.add("red", content=b"x")
    world.add("orange", product="P")
    query = Query((Term("text", "red", 2),), where("price is null or price < 9"), k=3)
    told = json.loads(json.dumps(search(world, world.encoder, query).to_json()))
    assert set(told) == {"query", "verdict", "hits", "total", "notes"}
    assert told["query"] == {
        "terms": [{"kind": "text", "value": "red", "weight": 2}],
        "where": "price is null or price < 9",
        "k": 3,
        "offset": 0,
    }
    assert told["verdict"]["verdict"] == "uncalibrated"
    assert told["verdict"]["p_value"] is None
    assert told["verdict"]["reasons"]
    (hit,) = told["hits"]
    assert 0 < hit.pop("score") <= 1
    assert hit == {
        "id": 1,
        "path": "/shop/1.jpg",
        "metadata": {"price": 5},
        "text": "",
        "product": "P",
        "width": 64,
        "height": 48,
        "duplicates": [2],
        "others": [3],
    }


def test_filters_narrow_before_ranking() -> None:
    world = fan(40)
    answer = search(world, world.encoder, Query((vector(0, 1),), where("price < 10 and cheap = true"), k=3))
    assert ids(answer) == [9, 7, 5]
    assert answer.total == 5


def test_a_filter_that_lets_nothing_through_says_so() -> None:
    world = fan(4)
    answer = search(world, world.encoder, Query((vector(1),), where("price = '3'")))
    assert (answer.hits, answer.total) == ((), 0)
    assert answer.notes == (
        "the filter lets no item through; numbers compare only with numbers, texts only with texts",
    )


def test_an_unknown_field_is_refused() -> None:
    world = fan(4)
    with pytest.raises(FilterError, match="no item has a field named 'prize'; did you mean price"):
        search(world, world.encoder, Query((vector(1),), where("prize != 3")))


def test_a_builtin_field_that_hides_a_column_is_noted() -> None:
    world = World()
    world.add("red", width=3)
    answer = search(world, world.encoder, Query((Term("text", "red"),), where("width = 64")))
    assert ids(answer) == [1]
    assert answer.notes == ("width in the filter is Diptych's own; write metadata.width for the column of your data",)
    assert search(world, world.encoder, Query((Term("text", "red"),), where("metadata.width = 3"))).notes == ()


def test_pages_fit_together() -> None:
    rng = np.random.default_rng(5)
    world = World()
    for at in range(900):
        row = unit(rng.normal(size=16).astype(np.float32)) if at % 3 else np.eye(16, dtype=np.float32)[at % 16]
        world.add(row, content=b"%d" % (at // 2) if at % 5 == 0 else b"", product=f"P{at % 7}" if at % 11 == 0 else "")
    whole = ids(search(world, world.encoder, Query((vector(1),), k=10_000)))
    assert 600 < len(whole) < 900
    pages = [
        number
        for offset in range(0, 900, 37)
        for number in ids(search(world, world.encoder, Query((vector(1),), k=37, offset=offset)))
    ]
    assert pages == whole
    beyond = search(world, world.encoder, Query((vector(1),), offset=1_000))
    assert beyond.notes == (f"the answer ends after {len(whole)} results; ask for a smaller offset",)


def test_a_page_is_filled_past_many_duplicates() -> None:
    world = World()
    for _ in range(700):
        world.add([1, 0], content=b"same")
    others = [world.add([np.cos(a), np.sin(a)]) for a in (0.1, 0.2, 0.3)]
    answer = search(world, world.encoder, Query((vector(1),), k=3))
    assert ids(answer) == [1, *others[:2]]
    assert len(answer.hits[0].duplicates) == 699
    unfolded = search(world, world.encoder, Query((vector(1),), k=3, fold=False))
    assert ids(unfolded) == [1, 2, 3]


def test_too_many_duplicates_end_the_page_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_FETCH", 512)
    world = World()
    for at in range(3_000):
        world.add([1, at / 1e5], content=b"same")
    answer = search(world, world.encoder, Query((vector(1, 1),), k=2))
    assert len(answer.hits) == 1
    assert answer.notes == ("the best 1023 pictures fold into 1; see all without folding",)


def test_items_removed_meanwhile_are_left_out() -> None:
    world = fan(4)
    del world.known[1]
    assert ids(search(world, world.encoder, Query((vector(1),)))) == [2, 3, 4]


def test_an_approximate_index_ranks_the_first_pages_from_one_search() -> None:
    asked: list[int] = []

    class Watched(FakeIndex):
        def search(self, queries: Floats, k: int, only: Ids | None = None) -> tuple[Floats, Ids]:
            asked.append(k)
            return super().search(queries, k, only)

    world = fan(400)
    rows = world.faiss.rows
    world.faiss = Watched(16)
    world.faiss.rows = rows
    for offset in (0, 10, 50):
        search(world, world.encoder, Query((vector(1),), offset=offset))
    assert asked == [256, 256, 256]


def test_an_empty_library_answers_with_nothing() -> None:
    world = World()
    world.empty = True
    answer = search(world, world.encoder, Query((Term("text", "red"),)))
    assert answer.hits == ()
    assert answer.notes == ("the library is empty; fill it with `diptych index FOLDER`",)
    world.empty = False
    assert search(world, world.encoder, Query((Term("text", "red"),))).hits == ()


def test_another_encoder_is_refused_and_both_are_named() -> None:
    world = World()
    other = FakeEncoder("other")
    with pytest.raises(EncoderMismatch, match=r"made by fake \(.*encoded by other \(") as caught:
        search(world, other, Query((Term("text", "red"),)))
    assert world.encoder.fingerprint[:12] in str(caught.value)
    assert other.fingerprint[:12] in str(caught.value)


def test_words_that_were_cut_off_are_noted() -> None:
    world = fan(2)
    answer = search(world, world.encoder, Query((Term("text", "a b c d e f g h leather sofa"),)))
    assert answer.notes == ("fake reads 8 tokens of a text; this was cut off: leather sofa",)


UNUSABLE = "cannot be used as a query picture"
NOT_THERE = "the page answered 404; check the address"


def refuse(url: str) -> bytes:
    raise PictureError("gone", "the page answered 404", "check the address")


@pytest.mark.parametrize(
    ("term", "sentence"),
    [
        (Term("item", 99), "id:99 is not in the library; search for it in words to see its number"),
        (Term("vector", (1.0, 2.0)), "the query vector has 2 numbers; fake needs 16 finite ones, not all 0"),
        (Term("vector", (0.0,) * 16), "the query vector has 16 numbers; fake needs 16 finite ones, not all 0"),
        (
            Term("image", b"no picture"),
            f"(a picture) {UNUSABLE}: the file is no picture; remove it",
        ),
        (
            Term("image", Path("/gone.jpg")),
            f"/gone.jpg {UNUSABLE}: the file is no picture; remove it; write text: before it if the words are meant",
        ),
        (
            Term("image", "https://x.org/a"),
            f"https://x.org/a {UNUSABLE}: {NOT_THERE}; write text: before it if the words are meant",
        ),
    ],
)  # fmt: skip
def test_terms_that_cannot_be_encoded_are_named(term: Term, sentence: str) -> None:
    world = fan(2)
    with pytest.raises(QueryError, match=f"^{re.escape(sentence)}$"):
        search(world, world.encoder, Query((term,)), fetch=refuse)


def test_without_a_fetcher_urls_are_refused() -> None:
    world = fan(2)
    with pytest.raises(QueryError, match=r"download https://x\.org/a and give the file"):
        search(world, world.encoder, Query((Term("image", "https://x.org/a"),)))


def test_words_and_a_picture_mix_with_the_gap_removed() -> None:
    world = World()
    assert measure_gap(world, world.encoder) is None
    for at in range(40):
        world.add(["red", "blue", "green", "white"][at % 4])
    gap = measure_gap(world, world.encoder)
    assert gap is not None
    assert gap.pictures == pytest.approx(np.mean(list(world.faiss.rows.values()), axis=0), abs=1e-6)
    query = Query((Term("image", png("red")), Term("text", "blue", 3)), k=40)
    mixed = search(world, world.encoder, query)
    assert mixed.hits == search(world, world.encoder, query, gap=gap).hits
    assert (mixed.hits[0].id - 1) % 4 == 1
    other_way = search(world, world.encoder, Query((Term("image", png("red"), 3), Term("text", "blue"))))
    assert (other_way.hits[0].id - 1) % 4 == 0
