"""Filters on a real SQLite, beside a plain Python reading of the same tree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.pool import StaticPool

from indexer.catalog import filters, tables
from indexer.catalog.filters import And, Between, Compare, Contains, Filter, In, IsNull, Like, Not, Or
from indexer.errors import FilterError

NOON = datetime(2026, 5, 31, 12, tzinfo=UTC).timestamp()


def database(rows: list[Mapping[str, object]]) -> Engine:
    """Items 1, 2, 3... with these metadata; keys that begin with @ are columns."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", lambda connection, _: filters.teach(connection))
    tables.schema.create_all(engine)
    with engine.begin() as connection:
        connection.execute(tables.sources.insert().values(id=1, kind="folder", location=b"/", options={}, added_at=0.0))
        for number, row in enumerate(rows, 1):
            columns = {"path": "", "text": "", "product": "", "width": 10, "height": 20, "format": "JPEG", "size": 1}
            columns |= {"added_at": NOON, "updated_at": NOON, "mtime_ns": 0, "meta_hash": 0, "content_hash": b"0" * 16}
            columns |= {key[1:]: value for key, value in row.items() if key.startswith("@")}
            metadata = {key: value for key, value in row.items() if not key.startswith("@")}
            place = {"id": number, "source_id": 1, "locator": str(number).encode()}
            connection.execute(tables.items.insert().values(**columns, **place, metadata=metadata))
    return engine


def found(engine: Engine, condition: Filter) -> list[int]:
    with engine.connect() as connection:
        query = select(tables.items.c.id).where(filters.compile(condition)).order_by(tables.items.c.id)
        return list(connection.execute(query).scalars())


@pytest.fixture(scope="module")
def shop() -> Iterator[Engine]:
    engine = database(
        [
            {"title": "Oak chair", "price": 120, "colour": "Red", "sale": True},
            {"title": "oak TABLE 50%", "price": 499.5, "colour": "blue", "sale": False},
            {"title": "Fauteuil GRÜN", "price": "500", "colour": None, "größe.cm": 80},
            {"title": "Cafe\u0301", 'a"b\\c[0]': 1, "price": 10**19, "@product": "P1", "@width": 900},
        ]
    )
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        (Compare("price", "<", 500), [1, 2]),
        (Compare("price", "=", 499.5), [2]),
        (Compare("price", "=", "500"), [3]),  # a price kept as text is a text
        (Compare("price", ">", 10**18), [4]),
        (Compare("price", ">=", 10**19), [4]),
        (Compare("colour", "=", "RED"), [1]),
        (Compare("colour", "!=", "red"), [2, 3, 4]),  # what lacks a colour is not red
        (And((Compare("colour", "!=", "red"), Not(IsNull("colour")))), [2]),
        (Compare("colour", "=", None), [3, 4]),
        (Compare("colour", "!=", None), [1, 2]),
        (Compare("sale", "=", True), [1]),
        (Compare("sale", "!=", True), [2, 3, 4]),
        (Compare("sale", "=", 1), []),
        (In("colour", ("red", None)), [1, 3, 4]),
        (In("price", (120, "500")), [1, 3]),
        (In("sale", (False, 120)), [2]),
        (In("sale", ()), []),
        (Not(In("sale", ())), [1, 2, 3, 4]),
        (Between("price", 120, 499.5), [1, 2]),
        (Between("colour", "b", "c"), [2]),
        (Like("title", "oak%"), [1, 2]),
        (Like("title", r"%50\%"), [2]),
        (Like("title", "%gr_n"), [3]),
        (Contains("title", "grün"), [3]),
        (Contains("title", "%"), [2]),
        (Contains("title", "CAF\u00c9"), [4]),
        (Contains("title", ""), [1, 2, 3, 4]),
        (IsNull("größe.cm"), [1, 2, 4]),
        (Compare("größe.cm", ">", 79), [3]),
        (Compare('a"b\\c[0]', "=", 1), [4]),
        (Compare("id", ">=", 3), [3, 4]),
        (In("id", (1, 4.0)), [1, 4]),
        (Compare("source", "=", 1), [1, 2, 3, 4]),
        (Compare("width", ">", 100), [4]),
        (Compare("metadata.width", ">", 100), []),
        (Compare("metadata.price", "=", 120), [1]),
        (Compare("format", "=", "jpeg"), [1, 2, 3, 4]),
        (Compare("product", "=", "p1"), [4]),
        (IsNull("product"), [1, 2, 3]),
        (IsNull("width"), []),
        (Compare("added", "=", "2026-05-31"), [1, 2, 3, 4]),
        (Compare("added", ">", "2026-05-31"), []),
        (Compare("added", "<=", "2026-05-31"), [1, 2, 3, 4]),
        (Compare("added", "<", "2026-05-31"), []),
        (Compare("added", ">=", "2026-05-31T12:00"), [1, 2, 3, 4]),
        (Compare("added", "<", "2026-05-31T14:00+02:00"), []),
        (Between("updated", "2026-05-30", "2026-05-31"), [1, 2, 3, 4]),
        (In("updated", ("2026-05-30", "2026-06-01")), []),
        (Or(()), []),
        (And(()), [1, 2, 3, 4]),
    ],
)
def test_it_lets_through_what_it_says(shop: Engine, condition: Filter, ids: list[int]) -> None:
    assert found(shop, condition) == ids
    assert found(shop, Not(condition)) == [number for number in (1, 2, 3, 4) if number not in ids]


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        (Compare("price", "<", None), "price < with null, true or false has no meaning; compare them with = or !="),
        (Compare("sale", ">", True), "sale > with null, true or false has no meaning; compare them with = or !="),
        (
            Compare("width", "=", "wide"),
            "width is a number and takes no text; write 500, or metadata.width for your own column",
        ),
        (
            Compare("product", "=", 4711),
            "product is a text and takes no number; write '4711', or metadata.product for your own column",
        ),
        (
            Like("added", "2026%"),
            "added is a date and takes no text; write '2026-05-31', or metadata.added for your own column",
        ),
        (Compare("added", ">", "May"), "added is a date and 'May' is not; write it as '2026-05-31' in quotes"),
        (Compare("added", ">", 5), "added is a date and 5 is not; write it as '2026-05-31' in quotes"),
        (Compare("price", "<", 10**400), "the number price is compared with is too large; the limit is about 1.8e308"),
        (Between("price", 1, "b"), "between needs two numbers or two texts, not 1 and 'b'"),
        (Like("title", "50\\"), "the pattern '50\\\\' ends in a lone backslash; write two for a real one"),
    ],
)
def test_the_impossible_is_refused_in_a_sentence(condition: Filter, sentence: str) -> None:
    with pytest.raises(FilterError, match=f"^{re.escape(sentence)}$"):
        filters.compile(condition)


def test_depth_is_bounded() -> None:
    deep: Filter = Compare("a", "=", 1)
    for _ in range(10_000):
        deep = Not(deep)
    with pytest.raises(FilterError, match="nested more than 32 deep"):
        filters.compile(deep)


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE items; --", "' OR '1'='1", '") OR 1=1 --', "%' OR 1 --", ":x", "?", "%(x)s"]
)
def test_nothing_can_be_injected(text: str) -> None:
    engine = database([{"title": text, text: "here"}, {"title": "other"}])
    assert found(engine, Compare("title", "=", text)) == [1]
    assert found(engine, Contains("title", text)) == [1]
    assert found(engine, In("title", (text,))) == [1]
    assert found(engine, Compare(text, "=", "here")) == [1]
    assert found(engine, IsNull(text)) == [2]
    sql = str(filters.compile(And((Compare(text, "=", text), Like(text, text.replace("\\", ""))))))
    assert text in {"?", ":x"} or text not in sql
    engine.dispose()


def test_fields_are_the_metadata_keys_it_looks_at() -> None:
    condition = Or((Compare("price", "<", 5), Not(IsNull("metadata.width")), Compare("width", ">", 5)))
    assert filters.fields(condition) == {"price", "width"}
    assert filters.names(condition) == {"price", "metadata.width", "width"}


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("prise", "no item has a field named 'prise'; did you mean price?"),
        ("Price", "no item has a field named 'Price'; did you mean price?"),
        ("zzz", "no item has a field named 'zzz'; the metadata fields are: colour, price"),
        ("widht", "no item has a field named 'widht'; did you mean width?"),
    ],
)
def test_a_field_that_no_item_has_is_named_with_its_neighbours(field: str, sentence: str) -> None:
    with pytest.raises(FilterError, match=f"^{re.escape(sentence)}$"):
        filters.check_fields(Compare(field, "=", 1), {"price", "colour"})
    filters.check_fields(And((Compare("price", "=", 1), IsNull("width"))), {"price", "colour"})


def test_no_metadata_at_all_is_said() -> None:
    with pytest.raises(FilterError, match=r"the metadata fields are: none$"):
        filters.check_fields(Compare("zzz", "=", 1), set())


KEYS = ["a", "b", "größe", 'q"u\\o', "x.y", "metadata.w"]
WORDS = st.text(st.sampled_from("abAB%_\\ éÉß'\"1"), max_size=4)
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -1.5, 2.0, 2**53 + 1, 2**62, 1e300, 10**19])
SCALARS = st.none() | st.booleans() | NUMBERS | WORDS
METADATA = st.dictionaries(st.sampled_from([*KEYS[:-1], "w"]), SCALARS, max_size=4)


def leaves() -> st.SearchStrategy[Filter]:
    field = st.sampled_from(KEYS)
    orders = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
    return st.one_of(
        st.builds(Compare, field, orders, NUMBERS | WORDS),
        st.builds(Compare, field, st.sampled_from(["=", "!="]), st.none() | st.booleans()),
        st.builds(In, field, st.lists(SCALARS, max_size=3).map(tuple)),
        st.builds(Between, field, NUMBERS, NUMBERS) | st.builds(Between, field, WORDS, WORDS),
        st.builds(Like, field, WORDS.filter(lambda text: (len(text) - len(text.rstrip("\\"))) % 2 == 0)),
        st.builds(Contains, field, WORDS),
        st.builds(IsNull, field),
    )


CONDITIONS: st.SearchStrategy[Filter] = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def holds(condition: Filter, metadata: Mapping[str, object]) -> bool:
    """What docs/where.md promises, in plain Python."""
    if isinstance(condition, And):
        return all(holds(part, metadata) for part in condition.parts)
    if isinstance(condition, Or):
        return any(holds(part, metadata) for part in condition.parts)
    if isinstance(condition, Not):
        return not holds(condition.part, metadata)
    value = metadata.get(condition.field.removeprefix("metadata."))
    match condition:
        case Compare(_, "!=", wanted):
            return not equal(value, wanted)
        case Compare(_, "=", wanted):
            return equal(value, wanted)
        case Compare(_, op, wanted):
            return ordered(value, op, wanted)
        case In(_, values):
            return any(equal(value, wanted) for wanted in values)
        case Between(_, low, high):
            return ordered(value, ">=", low) and ordered(value, "<=", high)
        case Like(_, pattern):
            return isinstance(value, str) and bool(re.fullmatch(as_regex(pattern), filters.fold(value), re.DOTALL))
        case Contains(_, text):
            return isinstance(value, str) and filters.fold(text) in filters.fold(value)
        case IsNull():
            return value is None
    raise AssertionError(condition)


def kind(value: object) -> type | None:
    return (
        None
        if value is None
        else float
        if isinstance(value, int | float) and not isinstance(value, bool)
        else type(value)
    )


def comparable(value: object) -> object:
    if isinstance(value, int) and abs(value) >= 2**63:
        return float(value)
    return filters.fold(value) if isinstance(value, str) else value


def equal(value: object, wanted: object) -> bool:
    return kind(value) is kind(wanted) and comparable(value) == comparable(wanted)


def ordered(value: object, op: str, wanted: object) -> bool:
    if value is None or kind(value) is not kind(wanted):
        return False
    left, right = comparable(value), comparable(wanted)
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[op]  # type: ignore[operator]


def as_regex(pattern: str) -> str:
    parts = re.findall(r"\\.|.", filters.fold(pattern), re.DOTALL)
    return "".join(".*" if part == "%" else "." if part == "_" else re.escape(part[-1]) for part in parts)


@settings(max_examples=300, deadline=None)
@given(st.lists(METADATA, min_size=1, max_size=6), CONDITIONS)
def test_sql_and_python_agree(rows: list[dict[str, object]], condition: Filter) -> None:
    engine = database(rows)
    try:
        assert found(engine, condition) == [at for at, row in enumerate(rows, 1) if holds(condition, row)]
    finally:
        engine.dispose()


def test_case_does_not_count_but_accents_do() -> None:
    assert filters.fold("ÉCRU") == filters.fold("e\u0301cru") != filters.fold("ecru")
    assert filters.fold("STRASSE") == filters.fold("Straße")
