"""From a query to an answer: terms to a vector, filter to ids, nearest neighbours, folded and cut into pages.

Knows the order of things and the sentences a user should read beside the answer; the steps are in their own files.
Calibration, fusion and explanation will come between ``_ranking`` and ``Answer``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from indexer.catalog import records
from indexer.catalog.filters import BUILT_IN, OWN, Filter, IsNull, Not, check_fields, names
from indexer.errors import EncoderMismatch, PictureError
from indexer.seams import Encoder, Floats, Ids, VectorIndex
from search.compose import FEWEST, PROMPTS, Gap, compose, unit
from search.errors import QueryError
from search.fold import Group, fold
from search.results import UNCALIBRATED, Answer, Hit
from search.terms import Query, Term

SAMPLE = 1_024  # stored vectors from which the middle of the pictures is estimated
FIRST_FETCH = 256  # one size for the first pages, so that an approximate index ranks them all from one search
GROWTH = 4
MAX_FETCH = 16_384  # ranked for one page, unless the page itself lies deeper


class Library(Protocol):
    """What a search needs of ``indexer.library.Library``."""

    def active_encoder(self) -> records.Encoder | None:
        """The encoder whose vectors answer, or None while the library is empty."""
        ...

    def index(self) -> VectorIndex:
        """The vector index, in step with the catalogue."""
        ...

    def ids_where(self, condition: Filter) -> Ids:
        """Sorted ids of the items for which a filter holds."""
        ...

    def metadata_keys(self) -> set[str]:
        """Every key that some item's metadata has."""
        ...

    def items(self, ids: Sequence[int]) -> dict[int, records.Item]:
        """Items by id; unknown ids are left out."""
        ...

    def vectors(self, ids: Sequence[int]) -> tuple[Ids, Floats]:
        """Stored vectors: sorted ids ``[n]`` and unit rows ``[n, dim]``; unknown ids are left out."""
        ...


@dataclass(frozen=True, slots=True)
class _Ranking:
    items: list[records.Item]
    scores: Floats  # [n]
    groups: list[Group]
    complete: bool  # everything there is was ranked


def search(
    library: Library,
    encoder: Encoder,
    query: Query,
    *,
    fetch: Callable[[str], bytes] | None = None,
    gap: Gap | None = None,
) -> Answer:
    """Answer a query.

    ``fetch`` gets the bytes of a picture by its URL; ``gap`` is what ``measure_gap`` gave earlier, measured here when
    it is needed and not given. Raises QueryError, FilterError and EncoderMismatch.
    """
    active = library.active_encoder()
    if active is None:
        return Answer(query, UNCALIBRATED, (), 0, ("the library is empty; fill it with `diptych index FOLDER`",))
    check_encoder(active, encoder)
    notes = _cut_off(query.terms, encoder)
    vector = _vector(library, encoder, query.terms, fetch, gap)
    own = {term.value for term in query.terms if isinstance(term.value, int)}
    only = None if query.filter is None else _allowed(library, query.filter, own, notes)
    index = library.index()
    total = max(0, len(index) - len(own)) if only is None else len(only)
    ranking = _ranking(library, index, vector, query, own, only)
    page = ranking.groups[query.offset : query.offset + query.k]
    if not page and query.offset and ranking.complete:
        notes.append(f"the answer ends after {len(ranking.groups)} results; ask for a smaller offset")
    elif len(page) < query.k and not ranking.complete:
        notes.append(f"the best {len(ranking.items)} pictures fold into {len(ranking.groups)}; see all without folding")
    return Answer(query, UNCALIBRATED, tuple(_hit(ranking, group) for group in page), total, tuple(notes))


def check_encoder(active: records.Encoder, encoder: Encoder) -> None:
    """Raise EncoderMismatch unless the library's vectors were made by this encoder."""
    if active.fingerprint != encoder.fingerprint:
        raise EncoderMismatch(
            f"the library's vectors were made by {active.spec} ({active.fingerprint[:12]}) and the query would be "
            f"encoded by {encoder.name} ({encoder.fingerprint[:12]}); search with the library's encoder, or reindex"
        )


def encode(
    library: Library, encoder: Encoder, terms: Sequence[Term], fetch: Callable[[str], bytes] | None = None
) -> Floats:
    """Terms as unit rows ``[t, dim]``, weights left out."""
    rows = np.zeros((len(terms), encoder.dim), np.float32)
    texts = [at for at, term in enumerate(terms) if term.kind == "text"]
    if texts:
        rows[texts] = encoder.encode_texts([str(terms[at].value) for at in texts])
    for at, term in enumerate(terms):
        if term.kind == "image":
            rows[at] = _picture(encoder, term, fetch)
        elif term.kind == "item":
            rows[at] = _stored(library, term)
        elif term.kind == "vector":
            rows[at] = _given(encoder, term)
    return rows


def measure_gap(library: Library, encoder: Encoder) -> Gap | None:
    """The middle of the library's pictures and of texts; None while the library has too few pictures to tell."""
    ids = library.ids_where(Not(IsNull("id")))
    even = np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.int64)
    _, vectors = library.vectors([int(i) for i in ids[even]])
    if len(vectors) < FEWEST:
        return None
    return Gap(vectors.mean(axis=0), encoder.encode_texts(PROMPTS).mean(axis=0))


def _vector(
    library: Library, encoder: Encoder, terms: Sequence[Term], fetch: Callable[[str], bytes] | None, gap: Gap | None
) -> Floats:
    vectors = encode(library, encoder, terms, fetch)
    pictures = np.array([term.kind != "text" for term in terms])
    if gap is None and pictures.any() and not pictures.all():
        gap = measure_gap(library, encoder)
    return compose(vectors, [term.weight for term in terms], pictures, gap)


def _allowed(library: Library, condition: Filter, own: set[int], notes: list[str]) -> Ids:
    """Ids that the filter lets through, the query's own items left out; adds what the user should know of it."""
    keys = library.metadata_keys()
    check_fields(condition, keys)
    notes.extend(
        f"{name} in the filter is Diptych's own; write {OWN}{name} for the column of your data"
        for name in sorted(names(condition) & BUILT_IN & keys)
    )
    ids = library.ids_where(condition)
    if not len(ids):
        notes.append("the filter lets no item through; numbers compare only with numbers, texts only with texts")
    return ids[~np.isin(ids, list(own))]


def _picture(encoder: Encoder, term: Term, fetch: Callable[[str], bytes] | None) -> Floats:
    value = cast("str | Path | bytes", term.value)
    hint = "" if isinstance(value, bytes) else "; write text: before it if the words are meant"
    try:
        if isinstance(value, str):
            if fetch is None:
                raise QueryError(f"pictures are not fetched from the web here; download {value} and give the file")
            value = fetch(value)
        return encoder.encode_images([value])
    except (PictureError, OSError) as error:
        raise QueryError(f"{term.label} cannot be used as a query picture: {error}{hint}") from error


def _stored(library: Library, term: Term) -> Floats:
    _, vectors = library.vectors([cast("int", term.value)])
    if not len(vectors):
        raise QueryError(f"{term.label} is not in the library; search for it in words to see its number")
    return vectors


def _given(encoder: Encoder, term: Term) -> Floats:
    vector = np.asarray(term.value, np.float64)
    if vector.shape != (encoder.dim,) or not np.isfinite(vector).all() or not vector.any():
        raise QueryError(
            f"the query vector has {vector.size} numbers; {encoder.name} needs {encoder.dim} finite ones, not all 0"
        )
    return unit((vector / np.abs(vector).max()).astype(np.float32))


def _cut_off(terms: Sequence[Term], encoder: Encoder) -> list[str]:
    """A sentence for each text of which the encoder does not read the end."""
    tails = [encoder.truncated(str(term.value)) for term in terms if term.kind == "text"]
    return [
        f"{encoder.name} reads {encoder.context_length} tokens of a text; this was cut off: {tail}"
        for tail in tails
        if tail
    ]


def _ranking(
    library: Library, index: VectorIndex, vector: Floats, query: Query, own: set[int], only: Ids | None
) -> _Ranking:
    """Rank more and more until enough is left after folding. Each round ranks from the top, so pages fit together."""
    reach = query.offset + query.k
    count = len(index) if only is None else len(only)
    most = max(MAX_FETCH, 2 * reach)
    size = FIRST_FETCH
    while size < min(2 * reach + len(own), most):
        size *= GROWTH
    while True:
        ids, scores = _nearest(index, vector, min(size, count), only)
        complete = size >= count
        if not complete:  # ties with the last one may be cut anywhere: what is below them is for the next round
            inside = scores > scores[-1:] if len(scores) else scores > 0
            ids, scores = ids[inside], scores[inside]
        ranking = _grouped(library, query, own, ids, scores, complete=complete)
        if complete or len(ranking.groups) >= reach or size >= most:
            return ranking
        size *= GROWTH


def _nearest(index: VectorIndex, vector: Floats, size: int, only: Ids | None) -> tuple[Ids, Floats]:
    """Ids and scores ``[n]``, best first and equals by id, so that the order is the same every time."""
    if size == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    found, ranked = index.search(vector[None, :], size, only)
    scores, ids = found[0][ranked[0] >= 0], ranked[0][ranked[0] >= 0]
    order = np.lexsort((ids, -scores))
    return ids[order], scores[order]


def _grouped(library: Library, query: Query, own: set[int], ids: Ids, scores: Floats, *, complete: bool) -> _Ranking:
    known = library.items([int(i) for i in ids])
    here = [at for at, i in enumerate(ids) if int(i) in known and int(i) not in own]  # not those removed meanwhile
    items = [known[int(ids[at])] for at in here]
    rows = _rows(library, ids[here]) if query.fold else np.empty((len(items), 0), np.float32)
    groups = fold(items, rows, duplicates=query.fold, products=query.group)
    return _Ranking(items, scores[here], groups, complete)


def _rows(library: Library, ids: Ids) -> Floats:
    """Stored vectors in the order of ``ids``: ``[n, dim]``, zeros for those removed meanwhile."""
    found, vectors = library.vectors([int(i) for i in ids])
    rows = np.zeros((len(ids), vectors.shape[1]), np.float32)
    order = np.argsort(ids)
    present = order[np.isin(ids[order], found)]
    rows[present] = vectors
    return rows


def _hit(ranking: _Ranking, group: Group) -> Hit:
    item = ranking.items[group.best]
    return Hit(
        id=item.id,
        score=float(ranking.scores[group.best]),
        path=item.path,
        metadata=item.metadata,
        text=item.text,
        product=item.product,
        width=item.width,
        height=item.height,
        duplicates=tuple(ranking.items[at].id for at in group.duplicates),
        others=tuple(ranking.items[at].id for at in group.others),
    )
