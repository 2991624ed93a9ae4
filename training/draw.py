"""Drawing rows and texts for a batch, sources balanced."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.phrases import Targets
from training.rows import Rows
from training.words import source_weights


class Draw:
    """Draws rows in proportion to their sources' weights, with their pixels and one text each; `only` those rows."""

    def __init__(self, rows: Rows, targets: Targets, generator: torch.Generator, only: Tensor | None = None) -> None:
        self.rows, self.targets, self.generator = rows, targets, generator
        self.chance = torch.from_numpy(source_weights(rows.words))
        if only is not None:
            kept = torch.zeros_like(self.chance)
            kept[only] = 1.0
            self.chance *= kept

    def ids(self, count: int) -> Tensor:
        """Row numbers int64 [count], sorted so that a memory-mapped read runs forward."""
        return torch.multinomial(self.chance, count, replacement=True, generator=self.generator).sort().values

    def pixels(self, ids: Tensor) -> Tensor:
        """uint8 [n, side, side, 3]."""
        return torch.from_numpy(np.asarray(self.rows.pixels[ids.numpy()]))

    def texts(self, ids: Tensor) -> Tensor:
        """One phrase id for each row, int64 [n]."""
        mine = [self.targets.phrases.of_row[int(i)] for i in ids]
        dice = torch.rand(len(mine), generator=self.generator).tolist()
        return torch.tensor([int(choice[int(roll * len(choice))]) for choice, roll in zip(mine, dice, strict=True)])
