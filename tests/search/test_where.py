"""The filter language: what it reads, what it says when it cannot."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalog.filters import (
    BUILT_IN,
    MAX_DEPTH,
    And,
    Between,
    Compare,
    Contains,
    Filter,
    In,
    IsNull,
    Like,
    Not,
    Or,
)
from search.errors import QueryError
from search.where import MAX_LENGTH, parse, write


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("price < 500", Compare("price", "<", 500)),
        ("price<-5", Compare("price", "<", -5)),
        ("price >= 1.5e3", Compare("price", ">=", 1500.0)),
        ("price == .5", Compare("price", "=", 0.5)),
        ("price <> 5", Compare("price", "!=", 5)),
        ("colour = 'red'", Compare("colour", "=", "red")),
        ('colour = "red"', Compare("colour", "=", "red")),
        ("name = 'O''Hara'", Compare("name", "=", "O'Hara")),
        ('name = "19"" rack"', Compare("name", "=", '19" rack')),
        ("sale = TRUE", Compare("sale", "=", True)),
        ("sale != false", Compare("sale", "!=", False)),
        ("sale = null", Compare("sale", "=", None)),
        ("größe.cm > 3", Compare("größe.cm", ">", 3)),
        ("色 = '赤'", Compare("色", "=", "赤")),
        ("seat-height > 3", Compare("seat-height", ">", 3)),
        ("[seat height] > 3", Compare("seat height", ">", 3)),
        ("`a``b` = 1", Compare("a`b", "=", 1)),
        ("[and] = 1", Compare("and", "=", 1)),
        ("android = 1", Compare("android", "=", 1)),
        ("colour in ('red', 5, null)", In("colour", ("red", 5, None))),
        ("colour NOT IN ('red')", Not(In("colour", ("red",)))),
        ("price between 1 and 2 and a = 1", And((Between("price", 1, 2), Compare("a", "=", 1)))),
        ("d not between 'a' and 'b'", Not(Between("d", "a", "b"))),
        ("title like '%oak%'", Like("title", "%oak%")),
        ("title not like 'x'", Not(Like("title", "x"))),
        ("title contains 'oak'", Contains("title", "oak")),
        ("title not contains 'oak'", Not(Contains("title", "oak"))),
        ("a is null", IsNull("a")),
        ("a Is Not Null", Not(IsNull("a"))),
        (
            "a = 1 or b = 2 and not c = 3",
            Or((Compare("a", "=", 1), And((Compare("b", "=", 2), Not(Compare("c", "=", 3)))))),
        ),
        ("(a = 1 or b = 2) and c = 3", And((Or((Compare("a", "=", 1), Compare("b", "=", 2))), Compare("c", "=", 3)))),
        ("not not a = 1", Compare("a", "=", 1)),
        ("\n a\t= 1 ", Compare("a", "=", 1)),
    ],
)
def test_it_reads(text: str, condition: Filter) -> None:
    assert parse(text) == condition
    assert parse(write(condition)) == condition


VALUE = "expected a value (a number, a text in quotes, true, false or null)"
NAME = "expected the name of a field"
COMPARISON = "expected a comparison (=, !=, <, <=, >, >=, in, between, like, contains, is null)"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colour = red", f"column 10 of the filter: {VALUE} but found 'red'; if it is a text, write 'red'"),
        ("price <", f"column 8 of the filter: {VALUE} but found the end"),
        ("a in ()", f"column 7 of the filter: {VALUE} but found ')'"),
        ("price", f"column 6 of the filter: {COMPARISON} but found the end"),
        ("price 5", f"column 7 of the filter: {COMPARISON} but found '5'"),
        ("a = 1 and", f"column 10 of the filter: {NAME} but found the end"),
        (
            "'red' = colour",
            f"column 1 of the filter: {NAME} but found \"'red'\"; quotes make it a text, so write the field as [red]",
        ),
        (
            "like = 3",
            f"column 1 of the filter: {NAME} but found 'like'; if a field is called so, write [like]",
        ),
        ("a like 5", "column 8 of the filter: expected a text in quotes but found '5'"),
        ("(a = 1", "column 7 of the filter: expected ) but found the end"),
        ("a = 1)", "column 6 of the filter: expected the end but found ')'"),
        ("a = 1 b = 2", "column 7 of the filter: expected one of [and, or, the end] but found 'b'"),
        ("a is 5", "column 6 of the filter: expected one of [not, null] but found '5'"),
        ("a = 'x", "column 5 of the filter: ' is opened and never closed; close it"),
        ("a = “x”", "column 5 of the filter: “ is not a straight quotation mark; use ' around texts"),
        (
            "a = 1; drop table items",
            "column 6 of the filter: ';' is not understood here; put texts in ' and odd field names in `",
        ),
        ("a = 5abc", "column 5 of the filter: '5abc' is not a number; if it is a text, put ' around it"),
        ("a = 1e999", "column 5 of the filter: the number is too large; the limit is about 1.8e308"),
        ("  ", "the filter is empty; write one such as price < 500, or leave it out"),
        ("a = '\x00'", "column 6 of the filter: a character that is not text; leave it out"),
        ("a = '\udcff'", "column 6 of the filter: a character that is not text; leave it out"),
        ("(" * 10_000, "the filter has 10000 characters and the limit is 4096; shorten it"),
        (
            "(a=1 and(a=1 or" * 200 + " a=1" + "))" * 200,
            "the filter is nested more than 32 deep; write it with fewer parentheses",
        ),
    ],
)
def test_it_says_where_and_what(text: str, sentence: str) -> None:
    with pytest.raises(QueryError, match=f"^{re.escape(sentence)}$"):
        parse(text)


def test_parentheses_alone_are_no_danger() -> None:
    assert parse("(" * 2_000 + "a=1" + ")" * 2_000) == Compare("a", "=", 1)
    assert parse("not " * 1_000 + "a=1") == Compare("a", "=", 1)


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
LEAVES = st.one_of(
    st.builds(Compare, NAMES, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), SCALARS),
    st.builds(In, NAMES, st.lists(SCALARS, min_size=1, max_size=3).map(tuple)),
    st.builds(Between, NAMES, NUMBERS | TEXTS, NUMBERS | TEXTS),
    st.builds(Like, NAMES, TEXTS),
    st.builds(Contains, NAMES, TEXTS),
    st.builds(IsNull, NAMES),
)


def tidy(condition: Filter) -> bool:
    """As the parser builds them: no double negation."""
    if isinstance(condition, And | Or):
        return all(map(tidy, condition.parts))
    return not isinstance(condition, Not) or (not isinstance(condition.part, Not) and tidy(condition.part))


CONDITIONS: st.SearchStrategy[Filter] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=5,
).filter(tidy)


@settings(max_examples=200, deadline=None)
@given(CONDITIONS)
def test_what_is_written_is_read_back(condition: Filter) -> None:
    assert parse(write(condition)) == condition


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text("abAND or()='\"`[]<>!1.,-%", max_size=40))
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    with contextlib.suppress(QueryError):
        parse(text)


def test_the_page_for_users_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "where.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in BUILT_IN)
    assert f"{MAX_LENGTH:,} characters" in page
    assert f"{MAX_DEPTH} levels" in page
    table = page[page.index("| Written") : page.index("The name of a field")]
    examples = [
        row.split("`")[1] for row in table.splitlines() if row.startswith("| `") and "..." not in row.split("`")[1]
    ]
    examples += re.findall(r"^    (colour.*)$", page, re.MULTILINE) + re.findall('--where "(.*)"', page)
    assert len(examples) > 10
    for example in examples:
        assert parse(example)
