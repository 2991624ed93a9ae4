"""Building a model without drawing random numbers that the weights replace a moment later.

For ViT-B-16-SigLIP2 that is 0.1 s instead of 4.7 s. Knows torch only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# what torch, timm and open_clip draw initial weights with; each returns the tensor it fills
_DRAWS = frozenset({"normal_", "uniform_", "erfinv_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_",
                    "xavier_uniform_", "xavier_normal_"})  # fmt: skip


@contextmanager
def hollow() -> Iterator[None]:
    """Leave parameters that would be drawn at random as they come; the caller must load every one of them."""
    from torch.overrides import TorchFunctionMode

    class Hollow(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if getattr(func, "__name__", "") in _DRAWS:
                return args[0] if args else kwargs["tensor"]
            return func(*args, **kwargs)

    with Hollow():
        yield
