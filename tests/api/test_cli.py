"""The command line, as a user types it; the encoder is a fake, the rest is real."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import indexer.encoder
from api.cli import app, main
from tests.fakes import FakeEncoder
from tests.worlds import plain, write

COLOURS = ("red", "green", "blue", "yellow", "white", "black")
Run = Callable[..., Result]


class Loaded(FakeEncoder):
    """A fake as the command line sees an encoder."""

    note = "fake (for tests)"
    letterbox = None

    @property
    def spec(self) -> str:
        return self.name


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command over a library of this test's own; its exit status must be as told."""
    monkeypatch.setenv("DIPTYCH_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setattr(
        indexer.encoder, "load_encoder", lambda name, **_: Loaded("fake" if name in {"auto", "fake"} else name)
    )

    def run(*words: object, status: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for colour in COLOURS:
        write(tmp_path / "pictures" / f"{colour}.png", plain(colour))
    return tmp_path / "pictures"


def test_index_then_search_finds_the_colour(run: Run, folder: Path) -> None:
    told = run("index", folder).stderr
    assert "6 items" in told
    assert "6 embedded" in told
    first = run("search", "red", "-k", 2).stdout.splitlines()[0].split("\t")
    assert first[2].endswith("red.png")


def test_search_by_picture_item_and_mixture(run: Run, folder: Path) -> None:
    run("index", folder)
    assert run("search", "--image", folder / "blue.png").stdout.splitlines()[0].endswith("blue.png\t")
    answer = json.loads(run("search", "id:1", "--json").stdout)
    assert 1 not in [hit["id"] for hit in answer["hits"]]
    mixed = run("search", "2:red", "+", folder / "blue.png", "-", "green", "-k", "1").stdout
    assert len(mixed.splitlines()) == 1


def test_json_is_one_object_with_the_promised_keys(run: Run, folder: Path) -> None:
    run("index", folder)
    answer = json.loads(run("search", "red", "--json", "-k", 3).stdout)
    assert {"query", "verdict", "hits"} <= answer.keys()
    assert answer["verdict"]["verdict"] == "uncalibrated"
    assert len(answer["hits"]) == 3
    assert {"id", "score", "path", "metadata"} <= answer["hits"][0].keys()


def test_a_table_with_metadata_can_be_filtered(run: Run, folder: Path) -> None:
    rows = ["image,price,colour,sku", *(f"{c}.png,{n * 100},{c},S{n}" for n, c in enumerate(COLOURS))]
    write(folder / "products.csv", "\n".join(rows).encode())
    run("index", folder / "products.csv", "--id-column", "sku")
    answer = json.loads(run("search", "red", "--where", "price < 300 and colour != 'red'", "--json").stdout)
    assert {hit["metadata"]["colour"] for hit in answer["hits"]} == {"green", "blue"}


def test_failures_are_listed_at_the_end_and_by_status(run: Run, folder: Path) -> None:
    write(folder / "bad.jpg", b"no picture")
    told = run("index", folder).stderr
    assert "1 could not be indexed" in told
    assert "bad.jpg" in told
    line = run("status", "--failures").stdout.strip().split("\t")
    assert line[0].endswith("bad.jpg")
    assert all(line)
    assert json.loads(run("status", "--failures", "--json").stdout)["failures"][0]["reason"] == line[1]


def test_status_tells_items_model_index_and_sources(run: Run, folder: Path) -> None:
    run("index", folder)
    facts = json.loads(run("status", "--json").stdout)
    assert (facts["items"], facts["model"], facts["index"], facts["recall@10"]) == (6, "fake", "flat", 1.0)
    assert facts["sources"][0]["location"] == str(folder)
    assert str(folder) in run("status").stdout


def test_rm_takes_items_and_sources(run: Run, folder: Path) -> None:
    run("index", folder)
    assert json.loads(run("rm", "id:2", "--json").stdout) == {"removed": 1}
    assert json.loads(run("rm", folder, "--json").stdout) == {"removed": 5}
    assert json.loads(run("status", "--json").stdout)["items"] == 0


def test_reindex_switches_and_rolls_back(run: Run, folder: Path) -> None:
    run("index", folder)
    run("reindex", "--model", "other")
    assert json.loads(run("status", "--json").stdout)["model"] == "other"
    write(folder / "new.png", plain("purple"))
    run("index")
    told = json.loads(run("reindex", "--rollback", "--json").stdout)
    assert told == {"model": "fake", "missing": 1}
    run("index")
    facts = json.loads(run("status", "--json").stdout)
    assert (facts["model"], facts["vectors"], facts["previous model"]) == ("fake", 7, "other")
    run("doctor")


def test_doctor_is_quiet_when_all_is_well_and_fails_when_not(run: Run, folder: Path, tmp_path: Path) -> None:
    run("index", folder)
    assert "nothing wrong" in run("doctor").stdout
    for path in (tmp_path / "library" / "index").iterdir():
        path.unlink()
    assert "index-missing" in run("doctor", status=1).stdout
    assert "nothing wrong" in run("doctor", "--repair").stdout


def test_export_and_import_keep_everything(run: Run, folder: Path, tmp_path: Path) -> None:
    write(folder / "bad.jpg", b"no picture")
    run("index", folder)
    before = run("search", "red").stdout
    assert "6 items" in run("export", tmp_path / "out").stderr
    run("import", tmp_path / "out", "--library", tmp_path / "copy")
    assert run("search", "red", "--library", tmp_path / "copy").stdout == before
    assert len(run("status", "--failures", "--library", tmp_path / "copy").stdout.splitlines()) == 1
    run("doctor", "--library", tmp_path / "copy")
    assert "0 embedded" not in run("index", "--library", tmp_path / "copy").stderr


def test_embed_writes_what_index_reads(run: Run, folder: Path, tmp_path: Path) -> None:
    run("embed", folder, "-o", tmp_path / "vectors", "--shard-size", 4)
    assert sorted(p.name for p in (tmp_path / "vectors" / "img_emb").iterdir()) == ["img_emb_0.npy", "img_emb_1.npy"]
    run("index", tmp_path / "vectors")
    assert run("search", "red", "-k", 1).stdout.splitlines()[0].split("\t")[2].endswith("red.png")


def test_embed_texts(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "texts.txt", b"red\n\nblue sofa\n")
    told = json.loads(run("embed", "--texts", tmp_path / "texts.txt", "-o", tmp_path / "out", "--json").stdout)
    assert told == {"embedded": 2, "failed": 0}
    assert (tmp_path / "out" / "text_emb" / "text_emb_0.npy").exists()


def test_a_sheet_is_written(run: Run, folder: Path, tmp_path: Path) -> None:
    run("index", folder)
    run("search", "red", "+", "id:2", "--sheet", tmp_path / "sheet.jpg")
    assert (tmp_path / "sheet.jpg").stat().st_size > 5_000


def test_a_sheet_needs_a_folder_to_lie_in(run: Run, folder: Path, tmp_path: Path) -> None:
    run("index", folder)
    assert "does not exist; make it" in run("search", "red", "--sheet", tmp_path / "no" / "s.jpg", status=2).stderr


def test_the_index_kind_can_be_forced_and_is_remembered(run: Run, folder: Path) -> None:
    run("index", folder, "--index", "hnsw32")
    assert json.loads(run("status", "--json").stdout)["index"].startswith("hnsw32")
    write(folder / "more.png", plain("purple"))
    run("index")
    assert json.loads(run("status", "--json").stdout)["index"].startswith("hnsw32")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["search", "red"], "there is no library at"),
        (["index", "nowhere"], "nowhere does not exist"),
        (["search", "red", "--where", "price <"], "expected"),
        (["import", "nowhere"], "nowhere is not an export"),
        (["rm", "nothing"], "there is no library at"),
    ],
)
def test_refusals_are_one_sentence_on_stderr(
    words: list[str], sentence: str, run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["diptych", *words])
    with pytest.raises(SystemExit) as left:
        main()
    told = capfd.readouterr()
    assert left.value.code == 1
    assert told.out == ""
    assert told.err.startswith("diptych: ")
    assert sentence in told.err
    assert len(told.err.strip().splitlines()) == 1


def test_a_library_of_another_model_is_refused(run: Run, folder: Path) -> None:
    run("index", folder)
    with pytest.raises(indexer.errors.EncoderMismatch, match="made with fake, and other was asked for"):
        run("index", folder, "--model", "other")


def test_a_pipe_that_closes_early_is_no_error(folder: Path, tmp_path: Path) -> None:
    code = f"{sys.executable} -m api.cli --help | head -1"
    ran = subprocess.run(["sh", "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert "Traceback" not in ran.stderr
