"""How a filter is written: ``price < 500 and colour = 'red'`` to a tree, and a tree back to text.

Knows the grammar (``where.lark``, explained in docs/where.md) and says where a filter goes wrong. What a filter means
is ``indexer/catalog/filters.py``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

from indexer.catalog.filters import (
    MAX_DEPTH,
    And,
    Between,
    Compare,
    Comparison,
    Contains,
    Filter,
    In,
    IsNull,
    Like,
    Not,
    Or,
    depth,
)
from indexer.catalog.records import Scalar
from search.errors import QueryError

if TYPE_CHECKING:
    from lark import Lark, Token

MAX_LENGTH = 4_096  # characters
KEYWORDS = frozenset(["and", "or", "not", "in", "between", "like", "contains", "is", "null", "true", "false"])
SAME = {"==": "=", "<>": "!="}
TOKENS = {
    "_AND": "and",
    "_OR": "or",
    "_CLOSE": ")",
    "_COMMA": "a comma",
    "_NULL": "null",
    "_OPEN": "(",
    "$END": "the end",
}


def parse(text: str) -> Filter:
    """The filter that ``text`` writes. Raises QueryError, which names the column and what was expected there."""
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the filter has {len(text)} characters and the limit is {MAX_LENGTH}; shorten it")
    if not text.strip():
        raise QueryError("the filter is empty; write one such as price < 500, or leave it out")
    odd = re.search(r"[\x00\ud800-\udfff]", text)
    if odd:
        raise QueryError(f"column {odd.start() + 1} of the filter: a character that is not text; leave it out")

    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    try:
        condition = cast("Filter", _parser().parse(text))
    except UnexpectedCharacters as error:
        raise QueryError(_stray(text, error.pos_in_stream or 0)) from None
    except UnexpectedToken as error:
        at = len(text) if error.token.type == "$END" else error.token.start_pos or 0
        raise QueryError(_unexpected(text, at, str(error.token), error.accepts)) from None
    if depth(condition) > MAX_DEPTH:
        raise QueryError(f"the filter is nested more than {MAX_DEPTH} deep; write it with fewer parentheses")
    return condition


@cache
def _parser() -> Lark:
    from lark import Lark  # only a query with a filter needs it

    # LALR needs no recursion, so a thousand parentheses are no danger; and the tree is never built, only the filter.
    return Lark.open(
        "where.lark",
        rel_to=__file__,
        parser="lalr",
        lexer="basic",
        transformer=cast("Any", _Tree()),
        maybe_placeholders=False,
    )


class _Tree:
    """Called by the parser, bottom up, with what each rule and token stands for."""

    def NAME(self, token: str) -> str:  # noqa: N802 - lark's convention for tokens
        return str(token)

    def BACKQUOTED(self, token: str) -> str:  # noqa: N802
        return token[1:-1].replace("``", "`")

    def BRACKETED(self, token: str) -> str:  # noqa: N802
        return token[1:-1].strip()

    def SINGLE(self, token: str) -> str:  # noqa: N802
        return token[1:-1].replace("''", "'")

    def DOUBLE(self, token: str) -> str:  # noqa: N802
        return token[1:-1].replace('""', '"')

    def NUMBER(self, token: Token) -> int | float:  # noqa: N802
        if not isfinite(float(token)):
            at = (token.start_pos or 0) + 1
            raise QueryError(f"column {at} of the filter: the number is too large; the limit is about 1.8e308")
        return int(token) if re.fullmatch(r"[+-]?\d+", token) else float(token)

    def COMPARISON(self, token: str) -> str:  # noqa: N802
        return SAME.get(token, str(token))

    def true(self, _: list[Any]) -> bool:
        return True

    def false(self, _: list[Any]) -> bool:
        return False

    def null(self, _: list[Any]) -> None:
        return None

    def choices(self, values: list[Scalar]) -> tuple[Scalar, ...]:
        return tuple(values)

    def either(self, parts: list[Filter]) -> Filter:
        return Or(tuple(parts))

    def both(self, parts: list[Filter]) -> Filter:
        return And(tuple(parts))

    def negate(self, parts: list[Filter]) -> Filter:
        return parts[0].part if isinstance(parts[0], Not) else Not(parts[0])

    def compare(self, parts: tuple[str, Comparison, Scalar]) -> Filter:
        return Compare(*parts)

    def among(self, parts: tuple[str, tuple[Scalar, ...]]) -> Filter:
        return In(*parts)

    def between(self, parts: tuple[str, Any, Any]) -> Filter:
        return Between(*parts)

    def like(self, parts: tuple[str, str]) -> Filter:
        return Like(*parts)

    def contains(self, parts: tuple[str, str]) -> Filter:
        return Contains(*parts)

    def is_null(self, parts: tuple[str]) -> Filter:
        return IsNull(*parts)

    def not_among(self, parts: tuple[str, tuple[Scalar, ...]]) -> Filter:
        return Not(In(*parts))

    def not_between(self, parts: tuple[str, Any, Any]) -> Filter:
        return Not(Between(*parts))

    def not_like(self, parts: tuple[str, str]) -> Filter:
        return Not(Like(*parts))

    def not_contains(self, parts: tuple[str, str]) -> Filter:
        return Not(Contains(*parts))

    def is_not_null(self, parts: tuple[str]) -> Filter:
        return Not(IsNull(*parts))


def _stray(text: str, at: int) -> str:
    """The sentence for a place where no word of the language begins."""
    found = text[at]
    if found in "'\"`[":
        return f"column {at + 1} of the filter: {found} is opened and never closed; close it"
    if found in "‘’“”„«»":
        return f"column {at + 1} of the filter: {found} is not a straight quotation mark; use ' around texts"
    if found.isdecimal() or found in "+-.":
        word = text[at:].split(maxsplit=1)[0]
        return f"column {at + 1} of the filter: {word!r} is not a number; if it is a text, put ' around it"
    return f"column {at + 1} of the filter: {found!r} is not understood here; put texts in ' and odd field names in `"


def _unexpected(text: str, at: int, found: str, accepted: Collection[str]) -> str:
    """The sentence for a word in the wrong place."""
    said = repr(found) if at < len(text) else "the end"
    if "NUMBER" in accepted:
        wanted = "a value (a number, a text in quotes, true, false or null)"
    elif "SINGLE" in accepted:
        wanted = "a text in quotes"
    elif "COMPARISON" in accepted:
        wanted = "a comparison (=, !=, <, <=, >, >=, in, between, like, contains, is null)"
    elif "NAME" in accepted:
        wanted = "the name of a field"
    else:
        words = sorted(TOKENS.get(name, name.strip("_").lower()) for name in accepted)
        wanted = words[0] if len(words) == 1 else f"one of [{', '.join(words)}]"
    return f"column {at + 1} of the filter: expected {wanted} but found {said}{_hint(found, accepted)}"


def _hint(found: str, accepted: Collection[str]) -> str:
    if "SINGLE" in accepted and re.fullmatch(r"[^\W\d][\w.-]*", found):
        return f"; if it is a text, write '{found}'"
    if "NAME" in accepted and found[:1] in {"'", '"'}:
        return f"; quotes make it a text, so write the field as [{found[1:-1]}]"
    if "NAME" in accepted and found.lower() in KEYWORDS:
        return f"; if a field is called so, write [{found}]"
    return ""


def write(condition: Filter) -> str:  # noqa: PLR0911 - one for each kind of part
    """A filter as text that ``parse`` reads back to the same filter."""
    match condition:
        case Or(parts):
            return " or ".join(_inner(part) for part in parts)
        case And(parts):
            return " and ".join(_inner(part) for part in parts)
        case Not(part):
            return f"not {_inner(part)}"
        case Compare(field, op, value):
            return f"{_field(field)} {op} {_value(value)}"
        case In(field, values):
            return f"{_field(field)} in ({', '.join(map(_value, values))})"
        case Between(field, low, high):
            return f"{_field(field)} between {_value(low)} and {_value(high)}"
        case Like(field, pattern):
            return f"{_field(field)} like {_value(pattern)}"
        case Contains(field, text):
            return f"{_field(field)} contains {_value(text)}"
        case IsNull(field):
            return f"{_field(field)} is null"


def _inner(part: Filter) -> str:
    return f"({write(part)})" if isinstance(part, And | Or) else write(part)


def _field(name: str) -> str:
    plain = re.fullmatch(r"[^\W\d][\w-]*(\.[\w-]+)*", name) and name.lower() not in KEYWORDS
    return name if plain else "`" + name.replace("`", "``") + "`"


def _value(value: Scalar) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)
    )
