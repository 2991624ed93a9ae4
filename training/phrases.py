"""Sentence-encoder vectors of every phrase the recipe uses, computed once and kept beside the pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.rows import Row
from training.words import ENSEMBLE, Phrases, gather, sentence_vectors, vocabulary_words

TARGET_WIDTH = 384  # of the sentence encoder


@dataclass(frozen=True)
class Targets:
    """What phrases should be near: sentence vectors as float16 tensors.

    `plain` [T, 384] of `phrases.texts`; `photo` [T, 384] of class names in "a photo of a ..." (zero elsewhere);
    `names` [classes, 384] of the picture teacher's class names, averaged over the ensemble of prompts;
    `vocabulary` [V, 384] of `vocabulary_words()`.
    """

    phrases: Phrases
    plain: Tensor
    photo: Tensor
    names: Tensor
    vocabulary: Tensor


class Bridge(nn.Module):
    """Sentence vectors [n, 384] to unit vectors of the shared space [n, dim]: the text side until a text tower exists.

    A locked text tower under a small head, the mirror of LiT (Zhai et al. 2022, arXiv 2111.07991).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(TARGET_WIDTH, 768), nn.GELU(), nn.Linear(768, dim))
        self.log_scale = nn.Parameter(torch.tensor(2.6592))

    def forward(self, vectors: Tensor) -> Tensor:
        """Unit rows [n, dim] of sentence vectors [n, 384]."""
        return nn.functional.normalize(self.layers(vectors.float()), dim=-1)


def targets(rows: list[Row], names: list[str], file: Path) -> Targets:
    """The targets of `rows`, read from `file` or computed into it."""
    phrases = gather(rows)
    if not file.exists():
        chosen = np.flatnonzero(phrases.is_class)
        photo = np.zeros((len(phrases.texts), TARGET_WIDTH), np.float32)
        photo[chosen] = sentence_vectors([f"a photo of a {phrases.texts[i]}" for i in chosen])
        each = [sentence_vectors([prompt.format(name) for name in names]) for prompt in ENSEMBLE]
        mean = np.mean(each, axis=0)
        kept = {
            "plain": sentence_vectors(phrases.texts),
            "photo": photo,
            "names": mean / np.linalg.norm(mean, axis=1, keepdims=True),
            "vocabulary": sentence_vectors(vocabulary_words()),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({name: torch.from_numpy(array).half() for name, array in kept.items()}, file)
    return Targets(phrases, **torch.load(file, weights_only=True))
