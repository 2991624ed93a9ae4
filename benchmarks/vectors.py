"""Every kind of our vector index beside hnswlib, usearch and exact search, on the same vectors in one run.

    python -m benchmarks.vectors [--sizes 10000,100000,1000000] [--dim 512] [--only hnsw32,usearch] [--add] [--out FILE]

Prints a Markdown table and writes it with the raw figures to ``benchmarks/results/vectors.md`` and ``.json`` (the JSON
after every contender, so an interrupted run leaves what it has). The thresholds of ``choose_kind`` come from here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.vectors_data import make
from indexer.vectors_kinds import choose_kind, lists_for

HEADS = (
    *(
        "index",
        "setting",
        "recall@10 pictures",
        "texts",
        "ms, one query",
        "p95",
        "queries/s, 1 thread",
        "x exact",
        "x hnswlib",
    ),
    *("queries/s, batch", "MB", "build s", "load ms", "MB when mapped"),
)
RESULTS = Path(__file__).parent / "results" / "vectors"
EXACT = "faiss IndexFlatIP (fp32)"


def main() -> None:
    options = arguments()
    report = earlier(options.out) if options.add else {"results": []}
    report |= {"machine": machine("faiss-cpu", "hnswlib", "usearch", "numpy"), "dim": options.dim}
    for rows in options.sizes:
        with tempfile.TemporaryDirectory(prefix="vectors-") as folder:
            make(Path(folder), rows, options.dim)
            for name in contenders(rows, options.dim, options.only):
                result = run(folder, name)
                rest = [r for r in report["results"] if (r["name"], r.get("rows")) != (name, rows)]
                report["results"] = [*rest, result]
                write(report, options.out)
                print(json.dumps(result), file=sys.stderr, flush=True)
    print(markdown(report))


def earlier(out: Path) -> dict[str, Any]:
    """What an earlier run wrote; the vectors are the same in every run, so its rows can stand beside new ones."""
    report: dict[str, Any] = json.loads(out.with_suffix(".json").read_text())
    return report


def contenders(rows: int, dim: int, only: list[str]) -> list[str]:
    """Names of what is measured at this size."""
    lists = lists_for(rows)
    pq = f"ivf{lists},pq{dim // 8}"
    names = ["flat", EXACT, f"ivf{lists},sq8", pq, "hnsw32", "hnswlib", "usearch"]
    return [name for name in names if not only or any(name.startswith(start) for start in only)]


def run(folder: str, name: str) -> dict[str, Any]:
    """Measure in a child process; a failure becomes a line of the table."""
    command = [sys.executable, "-m", "benchmarks.vectors_contenders", folder, name]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"name": name, "rows": 0, "error": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout) | {"load_before": load}


def markdown(report: dict[str, Any]) -> str:
    """The tables of one report."""
    sizes = sorted({result["rows"] for result in report["results"] if "error" not in result})
    parts = [f"# Vector indexes\n\n{report['machine']}; vectors of {report['dim']}, see `benchmarks/vectors_data.py`."]
    parts += [table(rows, [r for r in report["results"] if r.get("rows") == rows], report["dim"]) for rows in sizes]
    parts += [
        filters(rows, [r for r in report["results"] if r.get("rows") == rows and "filters" in r]) for rows in sizes
    ]
    failed = [f"- {r['name']}: {r['error']}" for r in report["results"] if "error" in r]
    notes = [f"- {note}" for note in report.get("notes", [])]
    return "\n\n".join([*parts, *failed, *notes]) + "\n"


def table(rows: int, results: list[dict[str, Any]], dim: int) -> str:
    """Recall, speed, memory and build time; speed also as a ratio to the exact fp32 scan."""
    bases = [next((r["p50_ms"] for r in results if r["name"] == name), 0) for name in (EXACT, "hnswlib")]
    lines = [
        f"## {rows:,} vectors (`auto` takes {choose_kind(rows, dim)})\n",
        f"| {' | '.join(HEADS)} |",
        "|---|---" + "|--:" * (len(HEADS) - 2) + "|",
    ]
    for r in results:
        cells = [r["name"], r["setting"]]
        cells += [f"{r[key]:.3f}" for key in ("recall_pictures", "recall_texts")]
        cells += [f"{r[key]:.2f}" for key in ("p50_ms", "p95_ms")]
        rate = 1000 / r["p50_ms"]  # of the median, as others use the machine too
        cells += [
            f"{rate:.0f}",
            *(f"{base / r['p50_ms']:.2g}" if base else "" for base in bases),
            f"{r['qps_batch']:.0f}",
        ]
        cells += [f"{r['memory_mb']:.0f}", f"{r['build_s']:.1f}"]
        cells += [f"{r[key]:.0f}" if key in r else "" for key in ("load_ms", "mapped_mb")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def filters(rows: int, results: list[dict[str, Any]]) -> str:
    """Recall and time under filters, random and opposed to the query."""
    heads = (
        [f"{f['share']:.1%} {'far' if f['related'] else 'random'}" for f in results[0]["filters"]] if results else []
    )
    lines = [
        f"## Filtered, {rows:,} vectors: recall@10 / ms\n",
        "| index | " + " | ".join(heads) + " |",
        "|---|" + "--:|" * len(heads),
    ]
    for r in results:
        cells = [f"{f['recall']:.3f} / {f['ms']:.1f}" for f in r["filters"]]
        lines.append(f"| {r['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(report: dict[str, Any], out: Path) -> None:
    """Replace both result files."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(report, indent=1))
    out.with_suffix(".md").write_text(markdown(report))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="numbers of vectors")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--only", default="", help="beginnings of the names to measure")
    parser.add_argument("--add", action="store_true", help="keep what an earlier run wrote of other sizes and names")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file to write, .md and .json are added")
    options = parser.parse_args()
    options.sizes = [int(size) for size in options.sizes.split(",")]
    options.only = [name for name in options.only.split(",") if name]
    return options


if __name__ == "__main__":
    main()
