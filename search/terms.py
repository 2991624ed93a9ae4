"""What a question is made of: terms with weights, and the query that holds them.

Knows how terms are written on a command line (docs/queries.md); knows nothing of vectors or libraries.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

from indexer.catalog.filters import Filter
from search.errors import QueryError
from search.where import write

Kind = Literal["text", "image", "item", "vector"]

MAX_K = 10_000
MAX_REACH = 20_000  # offset + k: everything before a page must be ranked and folded to know where the page begins
MAX_TERMS = 64

PREFIX = re.compile(r"(?P<weight>[+-]?(\d+\.?\d*|\.\d+)):(?P<rest>.*)", re.DOTALL)
URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to look for, or with a negative weight to stay away from.

    ``value`` is the words of a ``text``; the Path, URL or bytes of an ``image``; the id of an ``item``; the numbers
    of a ``vector``, which counts as a picture's.
    """

    kind: Kind
    value: str | Path | bytes | int | tuple[float, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not isfinite(self.weight) or self.weight == 0:
            raise QueryError(f"the weight of {self.label} is {self.weight:g}; it must be a number other than 0")
        if isinstance(self.value, str) and not self.value.strip():
            raise QueryError("a text to search for is empty; write some words")
        if self.kind == "text" and re.search(r"[\ud800-\udfff]", str(self.value)):
            raise QueryError("a text to search for holds bytes that are not UTF-8; write it in UTF-8")

    @property
    def label(self) -> str:
        """The term as people call it, without its weight."""
        if self.kind == "item":
            return f"id:{self.value!s}"
        if self.kind == "vector":
            return "(a vector)"
        if isinstance(self.value, bytes):
            return "(a picture)"
        return str(self.value).encode("utf-8", "backslashreplace").decode()  # paths need not be UTF-8

    def to_json(self) -> dict[str, object]:
        """The term as JSON; raw pictures and vectors are only named."""
        value = self.value if self.kind == "item" else self.label
        return {"kind": self.kind, "value": value, "weight": self.weight}


@dataclass(frozen=True, slots=True)
class Query:
    """A whole question. ``fold`` folds near-duplicates, ``group`` shows one picture a product."""

    terms: tuple[Term, ...]
    filter: Filter | None = None
    k: int = 10
    offset: int = 0
    fold: bool = True
    group: bool = True

    def __post_init__(self) -> None:
        if not self.terms:
            raise QueryError("there is nothing to look for; give words, a picture or id:NUMBER")
        if len(self.terms) > MAX_TERMS:
            raise QueryError(f"the query has {len(self.terms)} terms and the limit is {MAX_TERMS}; leave some out")
        if all(term.weight < 0 for term in self.terms):
            raise QueryError("everything in the query is subtracted; add at least one thing to look for")
        if not 1 <= self.k <= MAX_K:
            raise QueryError(f"{self.k} results were asked for and the limits are 1 and {MAX_K}; choose between them")
        if self.offset < 0:
            raise QueryError(f"the offset is {self.offset} and cannot be below 0; the first page has offset 0")
        if self.offset + self.k > MAX_REACH:
            raise QueryError(
                f"offset {self.offset} with {self.k} results reaches past the limit of {MAX_REACH}; narrow the search "
                "with a filter instead"
            )

    def to_json(self) -> dict[str, object]:
        """The query as JSON, the filter as text."""
        return {
            "terms": [term.to_json() for term in self.terms],
            "where": None if self.filter is None else write(self.filter),
            "k": self.k,
            "offset": self.offset,
        }


def parse(words: Sequence[str]) -> tuple[Term, ...]:
    """Terms from command-line words: ``["2:sofa", "+", "chair.jpg", "-", "leather"]``. Raises QueryError.

    A lone ``+`` or ``-`` begins a term; so does a picture, and a word with a prefix. Other words join the text before.
    """
    terms: list[Term] = []
    sign: str | None = None  # the operator that waits for its term
    for word in words:
        if word in {"+", "-"}:
            if sign is not None:
                raise QueryError(f"{sign} is followed by {word}; write one thing to look for between them")
            sign = word
            continue
        term, joins = _term(word)
        if joins and sign is None and terms and terms[-1].kind == "text":
            terms[-1] = Term("text", f"{terms[-1].label} {term.label}", terms[-1].weight)
        else:
            terms.append(Term(term.kind, term.value, -term.weight if sign == "-" else term.weight))
        sign = None
    if sign is not None:
        raise QueryError(
            f"the query ends in {sign}; write after it what to {'add' if sign == '+' else 'stay away from'}"
        )
    return tuple(terms)


def _term(word: str) -> tuple[Term, bool]:
    """One word as a term, and whether it is a plain word that may join the text before it."""
    weight, rest = 1.0, word
    weighted = PREFIX.fullmatch(word)
    if weighted:
        weight, rest = float(weighted["weight"]), weighted["rest"]
        if weighted["weight"][0] in "+-":
            raise QueryError(f"the weight of {word} has a sign; write {word[0]} {word[1:]}")
    kind, colon, value = rest.partition(":")
    if colon and kind in {"text", "image", "id"}:
        return _forced(kind, value, weight), False
    if URL.match(rest) or _is_file(rest):
        return picture(rest, weight), False
    if _looks_like_a_picture(rest):
        raise QueryError(f"there is no picture {rest}; write text:{rest} if the words are meant")
    return Term("text", rest, weight), weighted is None


def picture(name: str, weight: float = 1.0) -> Term:
    """The picture at a path or URL as a term. Raises QueryError when there is no such file."""
    if URL.match(name):
        return Term("image", name, weight)
    if not _is_file(name):
        raise QueryError(f"there is no picture {name}; give the path or URL of one")
    return Term("image", Path(name), weight)


def _forced(kind: str, value: str, weight: float) -> Term:
    if kind == "text":
        return Term("text", value, weight)
    if kind == "image":
        return picture(value, weight)
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise QueryError(f"id:{value} is not an item; write its number, such as id:123")
    return Term("item", int(value), weight)


def _is_file(name: str) -> bool:
    return os.path.isfile(name)  # noqa: PTH113 - Path.is_file raises for names too long to be one


def _looks_like_a_picture(name: str) -> bool:
    from indexer.images import SUFFIXES  # loads Pillow, which parsing plain words does without

    stem, dot, suffix = name.rpartition(".")
    return bool(stem and dot) and f".{suffix.lower()}" in SUFFIXES
