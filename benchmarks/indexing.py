"""How fast pictures become searchable: the whole pipeline beside its parts, on this machine, in one run.

    python -m benchmarks.indexing [--folder PICTURES] [--count 1500] [--out benchmarks/results/indexing]

Three tables: (1) pictures a second of the encoder alone on ready pixels, of reading and decoding alone, and of the
whole pipeline; (2) peak memory while indexing 1,000 and 20,000 pictures; (3) a run in which nothing changed over
100,000 files beside ``find -printf '%s %T@'``.

Encoder and decoders share the same cores here, so besides "the slower of the two" the table gives what is left when
both must be paid for with the same cores: 1 / (1/encoder + 1/decoding).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import machine
from indexer.encoder import load_encoder
from indexer.images import Limits, content_hash, decode, difference_hash, read_bytes
from indexer.library import Library
from indexer.pipeline import Options, Session
from indexer.pipeline.ahead import ahead
from indexer.sources import open_source

MODELS = ("compact", "ViT-B-32/random")
CORES = os.cpu_count() or 1
BATCH = 64
MEMORY = """
import re, sys
from pathlib import Path
from indexer.encoder import load_encoder
from indexer.library import Library
from indexer.pipeline import Session
from indexer.sources import open_source
encoder = load_encoder("compact")
encoder.encode_pixels(__import__("numpy").zeros((64, encoder.image_size, encoder.image_size, 3), "uint8"))
with Library.open(Path(sys.argv[2]), create=True) as library:
    tally = Session(library, lambda: encoder).index([open_source(sys.argv[1])])
status = Path("/proc/self/status").read_text()  # ru_maxrss would be that of the parent, if larger
print(tally.embedded, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="real photographs to index copies of [default: made ones]")
    parser.add_argument("--count", type=int, default=1500, help="pictures in the speed table")
    parser.add_argument("--many", type=int, default=20_000, help="pictures in the memory table")
    parser.add_argument("--files", type=int, default=100_000, help="files in the no-change table")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/indexing"))
    told = parser.parse_args()
    results: dict[str, Any] = {
        "machine": machine("torch", "pillow", "sqlalchemy"),
        "command": "python -m benchmarks.indexing" + (" --folder PICTURES" if told.folder else ""),
    }
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        originals = photographs(told.folder)
        results["speed"] = speed(home, originals, told.count)
        write(results, told.out)
        results["unchanged"] = unchanged(home, told.files)
        write(results, told.out)
        results["memory"] = memory(home, originals, (1_000, told.many))
        write(results, told.out)
    print(markdown(results))


def write(results: dict[str, Any], out: Path) -> None:
    """Write what there is so far, so that an interrupted run leaves something."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")
    out.with_suffix(".md").write_text(markdown(results))


def photographs(folder: Path | None) -> list[bytes]:
    """JPEGs to copy: those below a folder, or made ones of 640 x 480 with the detail of a photograph."""
    if folder is not None:
        return [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    made = []
    for seed in range(60):
        chance = np.random.default_rng(seed)
        coarse = Image.fromarray(chance.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480), 3)
        noisy = np.asarray(coarse, np.int16) + chance.normal(0, 9, (480, 640, 3))
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=88)
        made.append(file.getvalue())
    return made


def copies(folder: Path, originals: list[bytes], count: int) -> Path:
    """``count`` files with bytes of their own: the originals, each with a number behind its end mark."""
    for number in range(count):
        place = folder / f"{number // 500:03}" / f"{number:06}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(originals[number % len(originals)] + number.to_bytes(8, "big"))
    return folder


def speed(home: Path, originals: list[bytes], count: int) -> list[dict[str, Any]]:
    """Pictures a second, parts and whole, in turn and three times over; the median counts."""
    folder = copies(home / "speed", originals, count)
    return [compare(home, folder, name, count if name == "compact" else count // 3) for name in MODELS]


def compare(home: Path, folder: Path, name: str, count: int) -> dict[str, Any]:
    """One model: the encoder alone on ready pixels, reading and decoding alone, and the whole pipeline."""
    encoder = load_encoder(name)
    paths = sorted(folder.rglob("*.jpg"))[:count]
    part = home / name.replace("/", "-")
    for path in paths:
        target = part / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    few = [encoder.prepare(decode(path.read_bytes(), at_least=encoder.image_size).image) for path in paths[:256]]
    pixels = np.stack(few)

    def embed() -> None:
        for start in range(0, count, BATCH):
            encoder.encode_pixels(pixels[[i % len(pixels) for i in range(start, min(start + BATCH, count))]])

    def read(path: Path) -> None:
        data = read_bytes(path, Limits())
        content_hash(data)
        image = decode(data, at_least=encoder.image_size).image
        difference_hash(image)
        encoder.prepare(image)

    def decode_all() -> None:
        with ThreadPoolExecutor(CORES) as pool:
            for _ in ahead(pool, read, iter(paths), 4 * CORES):
                pass

    def whole() -> None:
        shutil.rmtree(home / "library", ignore_errors=True)
        with Library.open(home / "library", create=True) as library:
            tally = Session(library, lambda: encoder, Options(batch=BATCH)).index([open_source(str(part))])
            assert tally.embedded == count, tally

    embed()
    times = [(clock(embed), clock(decode_all), clock(whole)) for _ in range(3)]
    alone, decoding, pipeline = (count / statistics.median(column) for column in zip(*times, strict=True))
    shared = 1 / (1 / alone + 1 / decoding)
    return {
        "model": name, "precision": encoder.precision, "side": encoder.image_size, "pictures": count,
        "encoder": alone, "decoding": decoding, "pipeline": pipeline,
        "of the slower": pipeline / min(alone, decoding), "of both on shared cores": pipeline / shared,
    }  # fmt: skip


def clock(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def memory(home: Path, originals: list[bytes], counts: tuple[int, ...]) -> list[dict[str, Any]]:
    """Peak resident memory of a process that indexes this many pictures, in MiB."""
    rows = []
    for count in counts:
        folder = copies(home / f"memory-{count}", originals, count)
        ran = subprocess.run(
            [sys.executable, "-c", MEMORY, str(folder), str(home / f"library-{count}")],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        embedded, peak = map(int, ran.stdout.split())
        rows.append({"pictures": embedded, "peak_mib": peak})
        shutil.rmtree(folder)
    return rows


def unchanged(home: Path, count: int) -> dict[str, Any]:
    """Whole-process seconds of a run that finds nothing to do, and of ``find``, in turn five times over."""
    folder, library = home / "files", home / "unchanged"
    contents = []
    for shade in range(100):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (shade, 2 * shade, 255 - shade)).save(file, "PNG")
        contents.append(file.getvalue())
    for number in range(count):
        place = folder / f"{number // 1000:03}" / f"{number:06}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(contents[number % 100])
    index = [sys.executable, "-m", "api.cli", "index", str(folder), "--library", str(library)]
    environment = {**os.environ, "DIPTYCH_MODEL": "compact"}

    def ours() -> None:
        subprocess.run(index, check=True, capture_output=True, env=environment)

    def find() -> None:
        subprocess.run(["find", str(folder), "-printf", "%s %T@\n"], check=True, stdout=subprocess.DEVNULL)

    first = clock(ours)
    find()
    times = [(clock(ours), clock(find)) for _ in range(5)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    bare = [sys.executable, "-m", "api.cli", "index", "--help"]
    start = statistics.median(clock(lambda: subprocess.run(bare, check=True, capture_output=True)) for _ in range(3))
    return {
        "files": count, "first_s": first, "diptych_s": mine, "find_s": theirs, "ratio": mine / theirs,
        "start_s": start, "ratio_without_start": (mine - start) / theirs,
    }  # fmt: skip


def markdown(results: dict[str, Any]) -> str:
    return "\n".join([*_lines(results), ""])


def _lines(results: dict[str, Any]) -> Iterator[str]:
    yield "# Indexing"
    yield ""
    yield f"`{results['command']}` on {results['machine']}."
    yield ""
    yield (
        "| model | precision | pictures | encoder alone /s | decoding alone /s | pipeline /s | of the slower "
        "| of both on shared cores |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for row in results["speed"]:
        yield (
            f"| {row['model']} ({row['side']} px) | {row['precision']} | {row['pictures']:,} | {row['encoder']:.0f} "
            f"| {row['decoding']:.0f} | {row['pipeline']:.0f} | {row['of the slower']:.0%} "
            f"| {row['of both on shared cores']:.0%} |"
        )
    yield ""
    yield "| pictures indexed | peak memory, MiB |"
    yield "|---|---|"
    for row in results.get("memory", []):
        yield f"| {row['pictures']:,} | {row['peak_mib']:,} |"
    yield ""
    row = results.get("unchanged")
    if row is None:
        return
    yield f"A run over {row['files']:,} files in which nothing changed: {row['diptych_s']:.2f} s as a whole process "
    yield f"(of it {row['start_s']:.2f} s are Python and imports), `find -printf '%s %T@'` {row['find_s']:.2f} s: "
    yield f"{row['ratio']:.1f} times, {row['ratio_without_start']:.1f} times without the start. "
    yield f"The first run took {row['first_s']:.0f} s."


if __name__ == "__main__":
    main()
