"""Many terms into one vector. Pure functions over unit rows.

Pictures and texts live in two separate cones of the space (the modality gap), so that a mixture of the raw vectors says
more about the gap than about what is asked. Before mixing, each kind is centred on its own mean, after GR-CLIP
(Li et al., "Closing the Modality Gap for Mixed Modality Search", arXiv 2507.19054).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from indexer.seams import Floats
from search.errors import QueryError

CANCELLED = 0.01  # length of the sum beside the sum of the lengths, below which only noise is left
FEWEST = 32  # stored vectors; the mean of fewer is not a mean but those pictures

# What texts are about on average: things, scenes, people and styles, in the forms in which people type them.
PROMPTS = (
    "a photo of a chair",
    "red leather sofa",
    "a wooden table in a bright kitchen",
    "a pair of running shoes",
    "blue cotton dress with long sleeves",
    "a dog playing in the park",
    "city street at night",
    "a bowl of fruit",
    "portrait of an old man",
    "mountains and a lake",
    "a red car parked outside",
    "white ceramic vase",
    "children on a beach",
    "modern living room",
    "a cup of coffee on a desk",
    "black and white photograph",
    "a close-up of a flower",
    "vintage lamp made of brass",
    "a plane in the sky",
    "people at a concert",
    "a watch with a steel strap",
    "an abstract painting",
    "an old stone church",
    "striped rug",
    "a plate of pasta",
    "a bicycle against a wall",
    "garden with trees and a bench",
    "a cat asleep on a bed",
    "a computer on a desk",
    "bird on a branch",
    "product photo on a white background",
    "a drawing of a house",
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Where the two kinds of vectors have their middle: both ``[dim]``, not of unit length."""

    pictures: Floats
    texts: Floats


def unit(rows: Floats) -> Floats:
    """Rows ``[..., dim]`` at length 1; a zero row stays zero."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return cast("Floats", np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-12))


def compose(
    vectors: Floats, weights: Sequence[float], pictures: npt.NDArray[np.bool_], gap: Gap | None = None
) -> Floats:
    """One unit vector ``[dim]`` from unit rows ``[t, dim]``, their weights ``[t]`` and which are pictures ``[t]``.

    With a ``gap`` and terms of both kinds the gap is removed first. Raises QueryError when the terms cancel out.
    """
    if gap is not None and pictures.any() and not pictures.all():
        vectors = unit(vectors - np.where(pictures[:, None], gap.pictures, gap.texts))  # [t, dim]
    shares = np.asarray(weights, np.float64) / np.abs(weights).max()  # weights near the limit of floats do not overflow
    total = shares @ vectors  # [dim]
    if np.linalg.norm(total) < CANCELLED * np.abs(shares).sum():
        raise QueryError("the terms of the query cancel each other out; change a weight or leave one out")
    return unit(total).astype(np.float32)
