"""A model's preprocessing: the square it looks at, how a picture is fitted in, and its colours' mean and spread.

Knows open_clip's ``preprocess_cfg``; the geometry itself is ``indexer.images.resize``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, get_args

from indexer.errors import EncoderError
from indexer.images import Interpolation, Mode, resize
from indexer.seams import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

_OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
_OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_WHITE = 255


@dataclass(frozen=True, slots=True)
class Frame:
    """``mean`` and ``std`` belong to pixels in 0..1; the defaults are open_clip's."""

    side: int
    mean: tuple[float, ...] = _OPENAI_MEAN
    std: tuple[float, ...] = _OPENAI_STD
    interpolation: Interpolation = "bicubic"
    resize_mode: Mode = "shortest"
    fill_color: int = 0

    def __call__(self, image: Image) -> Pixels:
        """Fit one upright RGB picture into uint8 ``[side, side, 3]``, as open_clip's transform would. Thread-safe."""
        return resize(image, self.side, self.resize_mode, self.interpolation, self.fill_color)

    def facts(self) -> dict[str, Any]:
        """Give what of this changes a vector."""
        facts = asdict(self)
        if self.resize_mode != "longest":
            del facts["fill_color"]
        return facts


def read_frame(config: Mapping[str, Any], image_size: int | tuple[int, int], *, letterbox: bool | None) -> Frame:
    """Read a ``preprocess_cfg``; ``letterbox`` True fits the whole picture in, False cuts its middle out.

    Raises:
        EncoderError: the configuration asks for something this program or open_clip does not have.

    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if height != width:
        raise EncoderError(f"the model looks at {width} x {height} pixels, but only square models are supported")
    wanted = {field.name: config[field.name] for field in fields(Frame) if config.get(field.name) is not None}
    for key in {"mean", "std"} & wanted.keys():
        value = wanted[key]
        wanted[key] = (float(value),) * 3 if isinstance(value, int | float) else tuple(float(part) for part in value)
    if wanted.get("interpolation") == "random":  # a training augmentation; open_clip itself infers with bicubic then
        wanted["interpolation"] = "bicubic"
    frame = Frame(**{**wanted, "side": int(height)})
    for value, known in ((frame.resize_mode, get_args(Mode)), (frame.interpolation, get_args(Interpolation))):
        if value not in known:
            raise EncoderError(f"the model's preprocess_cfg says {value!r}, which must be one of {', '.join(known)}")
    return _with_letterbox(frame, letterbox=letterbox)


def _with_letterbox(frame: Frame, *, letterbox: bool | None) -> Frame:
    if letterbox is None or letterbox == (frame.resize_mode == "longest"):
        return frame
    if not letterbox:
        return replace(frame, resize_mode="shortest")
    # White bars continue the background of product pictures; a model trained with bars brings its own colour.
    return replace(frame, resize_mode="longest", fill_color=_WHITE)
