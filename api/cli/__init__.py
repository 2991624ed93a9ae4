"""The command line. Importing it loads no torch, faiss, open_clip or diffusers: ``--help`` is instant."""

from __future__ import annotations

import sys

import typer

from api.cli import indexing, looking, models, moving, searching
from api.cli.common import say
from api.settings import read_settings

app = typer.Typer(
    name="diptych",
    help="Search your pictures by words, by picture, or by both at once.\n\n"
    'Start with `diptych index FOLDER`, then `diptych search "red leather sofa"`.',
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(indexing.index)
app.command()(searching.search)
app.command()(looking.status)
app.command()(indexing.rm)
app.command()(looking.doctor)
app.command()(indexing.reindex)
app.command()(moving.embed)
app.command()(moving.export)
app.command("import")(moving.import_)
app.add_typer(models.app, name="models")


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and leave."),  # noqa: FBT001
) -> None:
    """Search your pictures by words, by picture, or by both at once.

    Start with `diptych index FOLDER`, then `diptych search "red leather sofa"`.
    """
    if version:
        from importlib.metadata import version as installed

        print(installed("diptych"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


LOCKED = 75  # EX_TEMPFAIL of sysexits.h: try again later


def main() -> None:
    """Run a command; one clear sentence and an exit status for everything that can go wrong.

    0 done, 1 refused or failed, 2 wrong usage, 75 another process is writing, 130 interrupted.
    """
    from indexer.errors import IndexerError, LibraryLocked
    from search.errors import SearchError

    try:
        app()
    except LibraryLocked as error:
        sys.exit(_refuse(error, LOCKED))
    except (IndexerError, SearchError) as error:
        sys.exit(_refuse(error, 1))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe had enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        sys.exit(_refuse(error, 1))


def _refuse(error: Exception, status: int) -> int:
    if read_settings().debug:
        raise error
    say(f"diptych: {error}")
    return status
