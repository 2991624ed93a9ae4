"""Training rows: pictures decoded once into a memory-mapped array, words beside them.

Knows the pairs tables (`key`, `source`, `label`, `texts`, `image` bytes) and the letterbox the encoder sees at
inference. Knows nothing of models.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from PIL import Image

WHITE = 255
CACHE_SIDE = 160  # pixels of a cached picture: no source is much larger

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One picture's words: where it came from, its class name (may be empty) and its texts (at least one)."""

    source: str
    label: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """All rows of a split: `pixels` uint8 [n, side, side, 3] (memory-mapped) and `words`, one `Row` each."""

    pixels: Pixels
    words: list[Row]

    def __len__(self) -> int:
        return len(self.words)


def letterbox(picture: Image.Image, side: int) -> Image.Image:
    """The whole picture, longest side `side` pixels, centred on white [side, side]; open_clip's `longest` mode."""
    picture = picture.convert("RGB")
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    sheet = Image.new("RGB", (side, side), (WHITE, WHITE, WHITE))
    sheet.paste(picture.resize(size, Image.Resampling.BICUBIC), ((side - size[0]) // 2, (side - size[1]) // 2))
    return sheet


def tables(data: Path, split: str) -> list[Path]:
    """Parquet files of a split: `train` is `train-*.parquet`, `dev` is `dev.parquet`.

    Raises FileNotFoundError when the folder holds none.
    """
    found = sorted(data.glob(f"{split}-*.parquet")) + sorted(data.glob(f"{split}.parquet"))
    if not found:
        raise FileNotFoundError(f"no {split}*.parquet in {data}; point --data at the folder that holds the tables")
    return found


def _decode_table(table: Path, target: Path, start: int, count: int, side: int) -> list[dict[str, Any]]:
    pixels = np.lib.format.open_memmap(target, mode="r+")
    words: list[dict[str, Any]] = []
    for batch in pq.ParquetFile(table).iter_batches(batch_size=256):
        for row in batch.to_pylist()[: count - len(words)]:
            with Image.open(io.BytesIO(row["image"])) as picture:
                pixels[start + len(words)] = np.asarray(letterbox(picture, side))
            texts = [text for text in row["texts"] if text] or [row["label"]]
            words.append({"source": row["source"], "label": row["label"], "texts": texts})
        if len(words) == count:
            break
    pixels.flush()
    return words


def _shares(paths: Sequence[Path], limit: int | None) -> list[int]:
    counts = [pq.ParquetFile(path).metadata.num_rows for path in paths]
    if limit is None:
        return counts
    each = -(-limit // len(paths))
    return [min(count, each) for count in counts]


def cache(data: Path, split: str, folder: Path, side: int, limit: int | None = None, workers: int = 2) -> Rows:
    """Decodes a split once into `folder`; later calls open what is there.

    `limit` takes about that many rows, spread over the files. The word file is written last, so a half-made cache is
    made again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pixel_file, word_file = folder / f"{split}-{side}.npy", folder / f"{split}-{side}.json"
    if not word_file.exists():
        paths = tables(data, split)
        counts = _shares(paths, limit)
        starts = np.cumsum([0, *counts])
        np.lib.format.open_memmap(pixel_file, mode="w+", dtype=np.uint8, shape=(int(starts[-1]), side, side, 3))
        with ProcessPoolExecutor(workers) as pool:
            jobs = [
                pool.submit(_decode_table, path, pixel_file, int(start), count, side)
                for path, start, count in zip(paths, starts, counts, strict=False)
            ]
            words = [row for job in jobs for row in job.result()]
        word_file.write_text(json.dumps(words))
    stored = json.loads(word_file.read_text())
    words_out = [Row(row["source"], row["label"], tuple(row["texts"])) for row in stored]
    return Rows(np.load(pixel_file, mmap_mode="r"), words_out)
