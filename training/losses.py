"""Losses, as short pure functions of tensors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def normalised_mse(ours: Tensor, theirs: Tensor) -> Tensor:
    """Squared error between two activation maps [n, c, h, w] over the target's variance: 1 means nothing learnt."""
    theirs = theirs.float()
    return (ours.float() - theirs).pow(2).mean() / theirs.var().clamp_min(1e-6)


def soft_cross_entropy(logits: Tensor, target: Tensor, temperature: float = 1.0) -> Tensor:
    """KL divergence from target logits to ours, both [n, classes], softened (Hinton et al. 2015, arXiv 1503.02531)."""
    ours = functional.log_softmax(logits.float() / temperature, dim=1)
    theirs = functional.log_softmax(target.float() / temperature, dim=1)
    return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def multi_positive(logits: Tensor, positive: Tensor) -> Tensor:
    """Softmax contrast with several right answers a row (SupCon, Khosla et al. 2020, arXiv 2004.11362).

    `logits` [n, m]; `positive` bool [n, m], at least one true in each row. The target is spread evenly over them.
    """
    target = positive.float()
    target = target / target.sum(1, keepdim=True)
    return -(target * functional.log_softmax(logits.float(), dim=1)).sum(1).mean()


def both_ways(pictures: Tensor, texts: Tensor, positive: Tensor, scale: Tensor) -> Tensor:
    """CLIP's two-way loss (Radford et al. 2021, arXiv 2103.00020) of unit rows [n, d], with shared positives [n, n]."""
    logits = scale * pictures @ texts.T
    return (multi_positive(logits, positive) + multi_positive(logits.T, positive.T)) / 2
