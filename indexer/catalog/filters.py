"""Which items a filter lets through: the filter as a small tree, and the tree as SQL.

Knows what each comparison means (docs/where.md says it to users); knows nothing of how a filter is written down,
which is ``search/where.py``. Every test is plainly true or false: a missing value fails each comparison, and
``!=``, ``not in``... are exactly the opposite of ``=``, ``in``..., so SQL's third truth value never shows.
"""

from __future__ import annotations

import difflib
import operator
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import inf, isfinite, nextafter
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, false, func, literal, not_, or_, select, true

from indexer.catalog.records import Scalar
from indexer.catalog.tables import items
from indexer.errors import FilterError

Comparison = Literal["=", "!=", "<", "<=", ">", ">="]
Kind = Literal["number", "text", "boolean"]

MAX_DEPTH = 32  # and/or/not inside one another; SQLite gives up at 1,000 and Python's stack not much later
LARGEST = 2**63  # integers from here on are bound as floats, which is what SQLite makes of them in JSON
OWN = "metadata."  # prefix for a metadata field that is named like a built-in one
ESCAPE = "\\"

NUMBERS = {name: items.c[name] for name in ("id", "width", "height", "size")} | {"source": items.c.source_id}
TEXTS = {name: items.c[name] for name in ("path", "text", "product", "format")}
TIMES = {"added": items.c.added_at, "updated": items.c.updated_at}
BUILT_IN = frozenset({*NUMBERS, *TEXTS, *TIMES})
OPERATORS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
JSON_TYPES = {"number": ("integer", "real"), "text": ("text",), "boolean": ("true", "false")}


@dataclass(frozen=True, slots=True)
class Compare:
    """``price < 500``. Numbers compare with numbers, texts with texts whatever their case."""

    field: str
    op: Comparison
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """``colour in ('red', 'blue')``: equal to one of them."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """``price between 100 and 500``, both ends included."""

    field: str
    low: str | float
    high: str | float


@dataclass(frozen=True, slots=True)
class Like:
    r"""``title like '%oak%'``: % is any text, _ any one character, ``\%`` a percent sign; whatever the case."""

    field: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Contains:
    """``title contains 'oak'``: the text occurs in it, whatever the case."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class IsNull:
    """The item lacks this field, or has null in it (the built-in texts: or an empty text)."""

    field: str


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a filter."""

    part: Filter


@dataclass(frozen=True, slots=True)
class And:
    """All of these."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of these."""

    parts: tuple[Filter, ...]


Test = Compare | In | Between | Like | Contains | IsNull
Filter = Test | Not | And | Or


def names(condition: Filter) -> set[str]:
    """The fields a filter names, as it names them."""
    return {part.field for part, _ in _walk(condition) if not isinstance(part, Not | And | Or)}


def fields(condition: Filter) -> set[str]:
    """The metadata keys a filter looks at; built-in fields are left out."""
    return {name.removeprefix(OWN) for name in names(condition) if name not in BUILT_IN}


def check_fields(condition: Filter, known: Collection[str]) -> None:
    """Raise FilterError when a filter looks at metadata that no item has; ``known`` are the keys that some item has."""
    for key in sorted(fields(condition) - set(known)):
        spelling = {name.casefold(): name for name in sorted({*BUILT_IN, *known})}
        near = [spelling[name] for name in difflib.get_close_matches(key.casefold(), list(spelling), n=3)]
        some = ", ".join(sorted(known)[:12]) or "none"
        hint = f"did you mean {' or '.join(near)}?" if near else f"the metadata fields are: {some}"
        raise FilterError(f"no item has a field named {key!r}; {hint}")


def fold(text: str) -> str:
    """The form in which texts are compared: letter case and the two ways to write an accent do not count."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def teach(connection: Any) -> None:
    """Give a new SQLite connection (the driver's own) the function that compiled filters call: ``diptych_fold``."""
    connection.create_function("diptych_fold", 1, lambda value: value and fold(str(value)), deterministic=True)


def compile(condition: Filter) -> ColumnElement[bool]:  # noqa: A001 - reads well as filters.compile
    """The filter as a condition over ``tables.items``, every name and value bound. Raises FilterError."""
    if depth(condition) > MAX_DEPTH:
        raise FilterError(f"the filter is nested more than {MAX_DEPTH} deep; write it with fewer parentheses")
    return _clause(condition)


def depth(condition: Filter) -> int:
    """How deep and, or and not are nested; 1 for a single comparison."""
    return max(level for _, level in _walk(condition))


def _walk(condition: Filter) -> Iterator[tuple[Filter, int]]:
    """Every part of a filter with its depth, without recursion: a filter may come from a stranger."""
    waiting: list[tuple[Filter, int]] = [(condition, 1)]
    while waiting:
        part, level = waiting.pop()
        yield part, level
        below = part.parts if isinstance(part, And | Or) else (part.part,) if isinstance(part, Not) else ()
        waiting.extend((inner, level + 1) for inner in below)


def _clause(condition: Filter) -> ColumnElement[bool]:  # noqa: PLR0911 - one for each kind of part
    match condition:
        case And(parts):
            return and_(true(), *map(_clause, parts))
        case Or(parts):
            return or_(false(), *map(_clause, parts))
        case Not(part):
            return not_(_clause(part))
        case Compare(field, "!=", value):
            return not_(_compare(field, "=", value))
        case Compare(field, op, value):
            return _compare(field, op, value)
        case In(field, values):
            return _among(field, values)
        case Between(field, low, high):
            if isinstance(low, str) is not isinstance(high, str):
                raise FilterError(f"between needs two numbers or two texts, not {low!r} and {high!r}")
            return and_(_compare(field, ">=", low), _compare(field, "<=", high))
        case Like(field, pattern):
            if (len(pattern) - len(pattern.rstrip(ESCAPE))) % 2:
                raise FilterError(f"the pattern {pattern!r} ends in a lone backslash; write two for a real one")
            return _holds(field, "text", lambda text: _fold(text).like(fold(pattern), escape=ESCAPE))
        case Contains(field, text):
            return _holds(field, "text", lambda value: _fold(value).contains(fold(text), autoescape=True))
        case IsNull(field):
            return _missing(field)


def _compare(field: str, op: Comparison, value: Scalar) -> ColumnElement[bool]:
    if value is None or isinstance(value, bool):
        if op != "=":
            raise FilterError(f"{field} {op} with null, true or false has no meaning; compare them with = or !=")
        return _missing(field) if value is None else _holds(field, "boolean", lambda truth: truth == int(value))
    if field in TIMES:
        return _in_time(field, op, value)
    if isinstance(value, str):
        return _holds(field, "text", lambda text: OPERATORS[op](_fold(text), literal(fold(value))))
    bound = literal(_number(field, value))
    return _holds(field, "number", lambda number: OPERATORS[op](number, bound))


def _among(field: str, values: Sequence[Scalar]) -> ColumnElement[bool]:
    apart = [value for value in values if value is None or isinstance(value, bool) or field in TIMES]
    rest = [value for value in values if value is not None and not isinstance(value, bool) and field not in TIMES]
    texts = [fold(value) for value in rest if isinstance(value, str)]
    numbers = [_number(field, value) for value in rest if not isinstance(value, str)]
    tests = [_compare(field, "=", value) for value in apart]
    if texts:
        tests.append(_holds(field, "text", lambda text: _fold(text).in_(texts)))
    if numbers:
        tests.append(_holds(field, "number", lambda number: number.in_(numbers)))
    return or_(false(), *tests)


def _holds(field: str, kind: Kind, test: Callable[[ColumnElement[Any]], ColumnElement[bool]]) -> ColumnElement[bool]:
    """The item has a value of this kind in this field, and the test holds for it."""
    if field not in BUILT_IN:
        return _entry(field, lambda type_, value: and_(type_.in_(JSON_TYPES[kind]), test(value)))
    if field in NUMBERS and kind == "number":
        return test(NUMBERS[field])
    if field in TEXTS and kind == "text":
        return test(TEXTS[field])
    is_a = "a number" if field in NUMBERS else "a date" if field in TIMES else "a text"
    example = "500" if field in NUMBERS else "'2026-05-31'" if field in TIMES else "'4711'"
    raise FilterError(f"{field} is {is_a} and takes no {kind}; write {example}, or {OWN}{field} for your own column")


def _entry(
    field: str, test: Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[bool]]
) -> ColumnElement[bool]:
    """The item's metadata has this key, and the test holds for the entry's JSON type and value.

    ``json_each`` takes any key as a bound value, where a JSON path has no way to write some of them (a quotation mark
    before SQLite 3.46). The one place that knows SQLite's JSON: PostgreSQL's ``json_each`` wants ``json_typeof`` here.
    """
    each = func.json_each(items.c.metadata).table_valued("key", "value", "type").alias()
    found = (
        select(literal(1))
        .select_from(each)
        .where(each.c.key == field.removeprefix(OWN), test(each.c.type, each.c.value))
    )
    return found.correlate(items).exists()


def _missing(field: str) -> ColumnElement[bool]:
    if field in TEXTS:
        return TEXTS[field] == ""
    if field in BUILT_IN:
        return false()
    return not_(_entry(field, lambda type_, _: type_ != "null"))


def _in_time(field: str, op: Comparison, value: str | float) -> ColumnElement[bool]:
    """Compare with a stretch of time: a date stands for its whole day, UTC unless it says otherwise."""
    start, end = _stretch(field, value)
    column = TIMES[field]
    if op == "=":
        return and_(column >= start, column < end)
    return {"<": column < start, "<=": column < end, ">": column >= end, ">=": column >= start}[op]


def _stretch(field: str, value: str | float) -> tuple[float, float]:
    """First second of a date or moment, and the first after it."""
    try:
        moment = datetime.fromisoformat(str(value))
        start = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise FilterError(f"{field} is a date and {value!r} is not; write it as '2026-05-31' in quotes") from None
    try:
        date.fromisoformat(str(value))
    except ValueError:
        return start, nextafter(start, inf)
    return start, start + timedelta(days=1).total_seconds()


def _number(field: str, value: float) -> float:
    try:
        number = float(value) if abs(value) >= LARGEST else value
    except OverflowError:
        number = inf
    if not isfinite(number):
        raise FilterError(f"the number {field} is compared with is too large; the limit is about 1.8e308")
    return number


def _fold(text: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.diptych_fold(text, type_=TEXTS["text"].type)
