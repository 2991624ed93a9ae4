"""How a query is written on a command line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from search.compose import FEWEST, PROMPTS
from search.engine import SAMPLE
from search.errors import QueryError
from search.fold import NEAR_BITS, NEAR_COSINE
from search.terms import MAX_K, MAX_REACH, MAX_TERMS, Query, Term, parse, picture


@pytest.fixture
def chair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("chair.jpg").write_bytes(b"a picture")
    Path("my chair").write_bytes(b"a picture")
    return Path("chair.jpg")


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        (["red", "leather", "sofa"], [Term("text", "red leather sofa")]),
        (["red leather sofa"], [Term("text", "red leather sofa")]),
        (
            ["2:sofa", "+", "chair.jpg", "-", "leather"],
            [Term("text", "sofa", 2), Term("image", Path("chair.jpg")), Term("text", "leather", -1)],
        ),
        (["2:red", "sofa", "-", "0.5:old", "wood"], [Term("text", "red sofa", 2), Term("text", "old wood", -0.5)]),
        (["red", "chair.jpg", "big"], [Term("text", "red"), Term("image", Path("chair.jpg")), Term("text", "big")]),
        (["red", "2:big"], [Term("text", "red"), Term("text", "big", 2)]),
        (["my chair"], [Term("image", Path("my chair"))]),
        (["id:12", "-", ".5:id:7"], [Term("item", 12), Term("item", 7, -0.5)]),
        (["https://x.org/a?b=c"], [Term("image", "https://x.org/a?b=c")]),
        (["2:HTTP://x.org/y"], [Term("image", "HTTP://x.org/y", 2)]),
        (["text:chair.jpg"], [Term("text", "chair.jpg")]),
        (["text:https://x.org", "3:text:16:9"], [Term("text", "https://x.org"), Term("text", "16:9", 3)]),
        (["text:-", "b"], [Term("text", "- b")]),
        (["image:chair.jpg"], [Term("image", Path("chair.jpg"))]),
        (["foo:bar", "C:\\sofa"], [Term("text", "foo:bar C:\\sofa")]),
        (["+", "a"], [Term("text", "a")]),
        (["x" * 5_000], [Term("text", "x" * 5_000)]),
        ([], []),
    ],
)
def test_it_reads(chair: Path, words: list[str], terms: list[Term]) -> None:
    assert parse(words) == tuple(terms)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sofa", "-"], "the query ends in -; write after it what to stay away from"),
        (["sofa", "+"], "the query ends in +; write after it what to add"),
        (["a", "+", "-", "b"], "+ is followed by -; write one thing to look for between them"),
        (["gone.JPG"], "there is no picture gone.JPG; write text:gone.JPG if the words are meant"),
        (["image:gone"], "there is no picture gone; give the path or URL of one"),
        (["id:x"], "id:x is not an item; write its number, such as id:123"),
        (["-0.5:x"], "the weight of -0.5:x has a sign; write - 0.5:x"),
        (["0:x"], "the weight of x is 0; it must be a number other than 0"),
        (["9" * 400 + ":x"], "the weight of x is inf; it must be a number other than 0"),
        (["text:"], "a text to search for is empty; write some words"),
        ([" "], "a text to search for is empty; write some words"),
        (["caf\udce9"], "a text to search for holds bytes that are not UTF-8; write it in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_said(chair: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(QueryError, match=f"^{re.escape(sentence)}$"):
        parse(words)


def test_a_query_keeps_to_its_limits() -> None:
    sofa = (Term("text", "sofa"),)
    assert Query(sofa, k=10_000, offset=10_000).k == 10_000
    for wrong, sentence in [
        ({"terms": ()}, "there is nothing to look for"),
        ({"terms": (Term("text", "x", -1),)}, "everything in the query is subtracted"),
        ({"terms": sofa * 65}, "the query has 65 terms and the limit is 64"),
        ({"k": 0}, "0 results were asked for and the limits are 1 and 10000"),
        ({"k": 10_001}, "10001 results were asked for"),
        ({"offset": -1}, "the offset is -1 and cannot be below 0"),
        ({"offset": 19_991}, "offset 19991 with 10 results reaches past the limit of 20000"),
    ]:
        with pytest.raises(QueryError, match=f"^{re.escape(sentence)}"):
            Query(**({"terms": sofa} | wrong))  # type: ignore[arg-type]


def test_json_names_raw_terms_without_their_bytes(chair: Path) -> None:
    terms = (picture("chair.jpg"), Term("image", b"..."), Term("vector", (1.0, 0.0)), Term("item", 4, -2.0))
    assert [term.to_json()["value"] for term in terms] == ["chair.jpg", "(a picture)", "(a vector)", 4]
    assert Term("image", Path("a\udcff.jpg")).label == "a\\udcff.jpg"


def test_the_page_for_users_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
    assert f"1 to {MAX_K:,}" in page
    assert f"at most {MAX_REACH:,}" in page
    assert f"at most {MAX_TERMS} terms" in page
    assert f"up to {SAMPLE:,} of" in page
    assert f"mean of {len(PROMPTS)} everyday" in page
    assert f"fewer than {FEWEST} pictures" in page
    assert f"at most {NEAR_BITS} of 64 bits" in page
    assert f"cosine of at least {NEAR_COSINE}" in page


def test_the_room_opens_without_heavy_libraries() -> None:
    code = (
        "import sys, search.engine, search.where, search.terms, search.compose, search.fold, search.results\n"
        "print([name for name in ('torch', 'faiss', 'open_clip', 'lark', 'PIL', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
