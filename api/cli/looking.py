"""Commands that look at a library: status, doctor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.common import AsJson, LibraryPath, library_path, print_json, say, stoppable, table
from api.progress import Show

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.upkeep.doctor import Finding


def status(
    library: LibraryPath = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="List everything that could not be indexed, with reason and remedy.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a library holds: items, sources, model, vector index and its recall, sizes, failures."""
    from api.wiring import open_library

    with open_library(library_path(library)) as opened:
        facts = _facts(opened)
        if failures:
            with opened.catalog.read() as reader:
                listed = reader.failures()
            rows = [[f.path, f.reason, f.message, f.remedy] for f in listed]
            names = ["path", "reason", "message", "remedy"]
            if as_json:
                print_json({"failures": [dict(zip(names, row, strict=True)) for row in rows]})
            else:
                table(rows, names)
            return
    if as_json:
        print_json(facts)
        return
    sources = facts.pop("sources")
    table([[name, _plain(value)] for name, value in facts.items()])
    for source in sources:
        read = f"read {_ago(source['finished_at'])}" if source["finished_at"] else "not read to its end yet"
        there = "" if source["reachable"] else ", cannot be reached now"
        print(f"  {source['kind']} {source['location']}: {source['items']:,} items, {read}{there}")


def _facts(library: Library) -> dict[str, Any]:
    from indexer.sources import reopen_source

    with library.catalog.read() as reader:
        encoder, previous = reader.encoder_in("active"), reader.encoder_in("previous")
        facts: dict[str, Any] = {"library": str(library.path), "items": reader.count_items()}
        facts["model"] = encoder.spec if encoder else None
        if encoder:
            facts |= {"fingerprint": encoder.fingerprint, "dimensions": encoder.dim}
            facts["vectors"] = reader.count_vectors(encoder.id)
        if previous:
            facts["previous model"] = previous.spec
        if building := reader.encoder_in("building"):
            facts["being embedded with"] = f"{building.spec} ({reader.count_vectors(building.id):,} so far)"
        facts["failures"] = len(reader.failures())
        facts["sources"] = [
            {
                "kind": s.kind, "location": s.location, "items": reader.count_items(s.id), "finished_at": s.finished_at,
                "reachable": reopen_source(s.kind, s.location, s.options).exists(),
            }
            for s in reader.sources()
        ]  # fmt: skip
    if encoder:
        index = library.index()
        facts["index"] = index.kind
        facts["recall@10"] = index.recall_at_10 if len(index) else None
    facts["database bytes"] = sum(f.stat().st_size for f in library.path.glob("library.sqlite*"))
    facts["index bytes"] = sum(f.stat().st_size for f in (library.path / "index").glob("**/*") if f.is_file())
    return facts


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "-")


def _ago(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def doctor(
    library: LibraryPath = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is found, instead of only telling.")] = False,
    hashes: Annotated[
        bool, typer.Option("--hashes", help="Also read every picture and compare its bytes with what was indexed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare disk, database, vector index and model; say what is wrong and what would mend it.

    Exits with status 1 while something is wrong.
    """
    from api.wiring import Wiring, open_library
    from indexer.pipeline import Session
    from indexer.upkeep.doctor import examine
    from indexer.upkeep.doctor import repair as mend

    with open_library(library_path(library)) as opened:
        wiring = Wiring(opened, say=say)
        findings = examine(opened, lambda: wiring.encoder, hashes=hashes)
        _show(findings, opened.path, as_json=as_json and not repair)
        faults = [f for f in findings if not f.note]
        if repair:
            with opened.writer():
                mend(findings)
            with stoppable("Go on later with `diptych doctor --repair`.") as stop, Show(as_json=as_json) as show:
                if opened.active_encoder() is not None and faults:
                    Session(opened, lambda: wiring.encoder, stop=stop, report=show, started=show.started).index()
            after = examine(opened, lambda: wiring.encoder, hashes=hashes)
            say("After the repair:")
            _show(after, opened.path, as_json=as_json)
            faults = [f for f in after if not f.note]
    if faults:
        raise typer.Exit(1)


def _show(findings: list[Finding], path: Path, *, as_json: bool) -> None:
    if as_json:
        names = ("code", "message", "remedy", "count", "note")
        print_json({"findings": [{name: getattr(finding, name) for name in names} for finding in findings]})
        return
    if not findings:
        print(f"{path}: nothing wrong")
    for finding in findings:
        print(f"{'note' if finding.note else 'fault'} {finding.code}: {finding.message}; {finding.remedy}")
