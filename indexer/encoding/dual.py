"""The encoder itself: a built model, its tokenizer and its preprocessing, behind the ``Encoder`` seam.

Knows torch and numpy. Does not know open_clip: ``indexer.encoder`` finds and builds what is handed in here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.encoding import precision as formats
from indexer.encoding.crew import Crew
from indexer.encoding.frame import read_frame
from indexer.encoding.plan import Plan
from indexer.encoding.short_texts import can_shorten, encode_shortened
from indexer.encoding.tokens import readable, tail
from indexer.encoding.weights import fingerprint, hash_aside
from indexer.errors import EncoderError
from indexer.images import open_picture
from indexer.seams import Floats, Pixels

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_BATCH = {"cpu": 32, "mps": 64, "cuda": 256}  # pictures of 224 x 224 at once; larger ones in proportion
_TEXTS = {"cpu": 64, "mps": 256, "cuda": 1024}


class OpenClipEncoder:
    """A built open_clip model behind the ``Encoder`` seam. May be used from several threads at once.

    Besides the seam: ``spec`` (the spelling that loads the same model later), ``note`` (one sentence: which model and
    why, on what), ``device``, ``precision`` (of the image tower), ``logit_bias`` (None unless SigLIP-like), ``frame``
    (its preprocessing).
    """

    def __init__(
        self, plan: Plan, model: Any, tokenizer: Any, *, name: str, device: torch.device, precision: str, why: str = ""
    ) -> None:
        import torch

        self.name = name
        self.spec = plan.model.spec
        self.frame = read_frame(plan.preprocess, model.visual.image_size, letterbox=plan.model.letterbox)
        self.context_length = int(tokenizer.context_length)
        self.logit_scale = float(model.logit_scale.detach().exp())
        self.logit_bias = None if model.logit_bias is None else float(model.logit_bias.detach())
        self._config = plan.config
        self._seed = plan.model.seed
        self._hash = None if plan.weights is None else hash_aside(plan.weights)
        self._device = device
        self._tokenizer = tokenizer
        self._tokenizing = threading.Lock()  # fast Hugging Face tokenizers refuse a second thread
        self._shorten = can_shorten(model)
        self._crew = Crew(self._embed)
        self._model = model.to(device, memory_format=torch.channels_last)
        # one entry for each value of a row of pixels, so that normalising runs along memory
        mean, std = (
            torch.tensor(part).repeat(self.image_size).to(device) * 255 for part in (self.frame.mean, self.frame.std)
        )
        self._scale, self._shift = 1 / std, -mean / std  # [3 * side]
        settled = self._settle(precision)
        self.precision = settled.images
        why += "" if plan.weights else ", whose random weights are good for measuring speed only"
        self.note = f"{plan.model.base}{why}; on {device} in {settled.remark(precision)}."

    @property
    def device(self) -> str:
        """The device the model is on, as torch spells it."""
        return str(self._device)

    @property
    def image_size(self) -> int:
        """Side of a prepared picture, in pixels."""
        return self.frame.side

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._config["embed_dim"])

    @property
    def fingerprint(self) -> str:
        """Architecture, weights and preprocessing as 32 hex digits; the same on every device and in every precision."""
        if self._hash is None:  # the numbers drawn depend on torch's version too
            import torch

            return fingerprint(self._config, self.frame.facts(), f"random {self._seed} {torch.__version__}")
        return fingerprint(self._config, self.frame.facts(), self._hash.result())

    def prepare(self, image: Image) -> Pixels:
        """Fit one upright RGB picture into uint8 ``[side, side, 3]``. Thread-safe."""
        return self.frame(image)

    def encode_pixels(self, pixels: Pixels) -> Floats:
        """Embed prepared pictures, uint8 ``[n, side, side, 3]`` -> float32 ``[n, dim]`` unit rows.

        Raises:
            EncoderError: the pixels have another shape or type.

        """
        side = self.image_size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (side, side, 3):
            raise EncoderError(f"pixels must be uint8 [n, {side}, {side}, 3], not {pixels.dtype} {list(pixels.shape)}")
        if not len(pixels):
            return np.empty((0, self.dim), np.float32)
        if self._device.type == "cpu":
            return self._crew(pixels)
        step = max(1, int(_BATCH[self._device.type] * 224**2 / side**2))
        return np.concatenate([self._embed(pixels[start : start + step]) for start in range(0, len(pixels), step)])

    def _embed(self, pixels: Pixels) -> Floats:
        import torch

        with torch.inference_mode():
            part = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
            return _unit(self._model.encode_image(self._normalised(part)))

    def encode_images(self, images: Sequence[Image | Path | str | bytes]) -> Floats:
        """Embed pictures (PIL, path or bytes) -> float32 ``[n, dim]`` unit rows.

        Raises:
            PictureError: one of them cannot be read.

        """
        step = _BATCH[self._device.type]
        rows = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), step):
            prepared = [self.prepare(open_picture(picture)) for picture in images[start : start + step]]
            rows[start : start + step] = self.encode_pixels(np.stack(prepared))
        return rows

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Embed texts -> float32 ``[n, dim]`` unit rows; what lies past the context is cut (see ``truncated``)."""
        import torch

        if isinstance(texts, str):
            raise TypeError("encode_texts takes a list of texts, not one text")
        step = _TEXTS[self._device.type]
        rows = np.empty((len(texts), self.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), step):
                with self._tokenizing:
                    tokens = self._tokenizer([readable(text) for text in texts[start : start + step]])
                encode = encode_shortened if self._shorten else type(self._model).encode_text
                rows[start : start + step] = _unit(encode(self._model, tokens.to(self._device)))
        return rows

    def truncated(self, text: str) -> str:
        """Give the tail of ``text`` that does not fit into ``context_length``; empty when all of it fits."""
        with self._tokenizing:
            return tail(self._tokenizer, text, self.context_length)

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn uint8 ``[n, side, side, 3]`` into the tower's type, ``[n, 3, side, side]`` in channels-last order."""
        rows = pixels.to(self._device).reshape(len(pixels), self.image_size, -1).float()
        rows = rows.mul_(self._scale).add_(self._shift).to(next(self._model.visual.parameters()).dtype)
        return rows.view(pixels.shape).permute(0, 3, 1, 2)

    def _settle(self, precision: str) -> formats.Settled:
        probe = formats.probe_pictures(self.image_size)
        return formats.settle(
            self._model,
            precision,
            pictures=lambda: self.encode_pixels(probe),
            texts=lambda: self.encode_texts(formats.PROBE_TEXTS),
        )


def _unit(features: torch.Tensor) -> Floats:
    """Bring features ``[n, dim]`` to unit length in fp32, whatever they were computed in."""
    rows = features.float()
    unit: Floats = (rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)).cpu().numpy()
    return unit
