"""The text tower without the padding: the same vectors for a fraction of the work.

CLIP pads every text to 77 tokens, looks at the end mark alone, and lets no token see a later one; so what comes
after the longest text of a batch changes nothing. Knows open_clip's two text towers by their attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def can_shorten(model: Any) -> bool:
    """Whether padding is without effect in this model's text tower."""
    tower = _tower(model)
    if type(tower).__name__ not in {"CLIP", "TextTransformer"} or getattr(tower, "attn_mask", None) is None:
        return False
    if getattr(tower, "cls_emb", None) is not None or getattr(tower, "use_pad_mask", False):
        return False
    return _pool(tower) in {"argmax", "eos"}


def encode_shortened(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Embed tokens ``[n, context]`` -> ``[n, dim]``, not yet of unit length."""
    tower = _tower(model)
    end = tokens if _pool(tower) == "argmax" else (tokens == _mark(tower)).int()
    last = end.argmax(dim=-1)  # [n], where the end mark is
    length = int(last.max()) + 1
    kind = tower.transformer.get_cast_dtype()
    x = tower.token_embedding(tokens[:, :length]).to(kind) + tower.positional_embedding[:length].to(kind)
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    x = tower.ln_final(x[range(len(x)), last])  # [n, width]
    if tower.text_projection is None:
        return x  # type: ignore[no-any-return]
    projection = tower.text_projection
    return projection(x) if callable(projection) else x @ projection  # type: ignore[no-any-return]


def _tower(model: Any) -> Any:
    return getattr(model, "text", model)


def _pool(tower: Any) -> str:
    return str(getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", ""))


def _mark(tower: Any) -> int:
    return int(getattr(tower, "text_eos_id", None) or tower.eos_id)
