"""The Hugging Face hub: what is already on disk, whether the hub answers, and fetching what is not.

The only file that knows huggingface_hub. Knows repositories and files, not models.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from indexer.encoding.quiet import quiet
from indexer.errors import EncoderError

# called with the file's name, bytes so far and bytes in all (0 when unknown)
Progress = Callable[[str, int, int], None]
HUB_NAME = "hf-hub"


class Store:
    """Gives files of repositories: from the cache, or else from the hub if it answers within ``timeout`` seconds.

    ``model`` is what the user asked for, for the sentence of an error. Whether the hub answers is asked once at most.
    """

    def __init__(
        self, model: str, *, cache_dir: str | None = None, timeout: float = 3.0, progress: Progress | None = None
    ) -> None:
        self.model = model
        self.cache_dir = cache_dir
        self.timeout = timeout
        self.progress = progress

    @cached_property
    def online(self) -> bool:
        """Whether the hub answers."""
        return hub_answers(self.timeout)

    def file(self, repo: str, names: Sequence[str], revision: str | None = None) -> Path:
        """Give the first of ``names`` that there is.

        Raises:
            EncoderError: not on disk and not to be had.

        """
        found = find_file(repo, names, revision=revision, cache_dir=self.cache_dir)
        if found is not None:
            return found
        self._need_hub(repo)
        return fetch_file(repo, names, revision=revision, cache_dir=self.cache_dir, progress=self.progress)

    def folder(self, repo: str, patterns: Sequence[str], marks: Sequence[str]) -> Path:
        """Give the folder with the files that match ``patterns``; one of ``marks`` shows that it is on disk.

        Raises:
            EncoderError: not on disk and not to be had.

        """
        found = find_file(repo, marks, cache_dir=self.cache_dir)
        if found is not None:
            return found.parent
        self._need_hub(repo)
        return fetch_folder(repo, patterns, cache_dir=self.cache_dir, progress=self.progress)

    def _need_hub(self, repo: str) -> None:
        if not self.online:
            raise EncoderError(
                f"{self.model!r} needs files of {HUB_NAME}:{repo} that are not on this machine, and the hub did not "
                f"answer within {self.timeout:g} s; run `diptych models pull {self.model}` where there is a network, "
                "or use `--model compact`"
            )


def find_file(
    repo: str, names: Sequence[str], *, revision: str | None = None, cache_dir: str | None = None
) -> Path | None:
    """The first of ``names`` that is in the local cache, or None. Never touches the network."""
    from huggingface_hub import try_to_load_from_cache  # slow to import

    for name in names:
        found = try_to_load_from_cache(repo, name, cache_dir=cache_dir, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def hub_answers(timeout: float) -> bool:
    """Whether the hub answers within ``timeout`` seconds; False at once when HF_HUB_OFFLINE is set.

    Asked in a thread, because a name server that is away can hold a call longer than any timeout given to it.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE or timeout <= 0:
        return False
    answers: list[int] = []

    def ask() -> None:
        try:
            answers.append(get_session().head(constants.ENDPOINT, timeout=timeout).status_code)
        except Exception:  # noqa: BLE001 - whatever went wrong, the hub did not answer
            return

    thread = threading.Thread(target=ask, name="diptych-hub", daemon=True)
    thread.start()
    thread.join(timeout)
    return bool(answers) and (answers[0] < 400 or answers[0] == 405)  # a mirror may not know HEAD


def fetch_file(
    repo: str,
    names: Sequence[str],
    *,
    revision: str | None = None,
    cache_dir: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download the first of ``names`` that the repository has.

    Raises:
        EncoderError: the repository has none of them, is private or unknown, or the download broke.

    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    for name in names:
        try:
            with quiet():
                return Path(
                    hf_hub_download(repo, name, revision=revision, cache_dir=cache_dir, tqdm_class=_bar(progress))
                )
        except EntryNotFoundError:
            continue
        except Exception as error:
            raise EncoderError(_sentence(repo, revision, error)) from error
    raise EncoderError(f"{HUB_NAME}:{repo} has none of {', '.join(names)}, so it is no open_clip model; check the name")


def fetch_folder(
    repo: str, patterns: Sequence[str], *, cache_dir: str | None = None, progress: Progress | None = None
) -> Path:
    """Download the small files that match ``patterns`` and return their folder.

    Raises:
        EncoderError: the repository is private or unknown, or the download broke.

    """
    from huggingface_hub import snapshot_download

    try:
        with quiet():
            return Path(
                snapshot_download(repo, allow_patterns=list(patterns), cache_dir=cache_dir, tqdm_class=_bar(progress))
            )
    except Exception as error:
        raise EncoderError(_sentence(repo, None, error)) from error


def _sentence(repo: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return f"{HUB_NAME}:{repo} wants its licence accepted; accept it on its page, then log in with `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return f"{HUB_NAME}:{repo} does not exist on the hub or is private; check the name"
    if isinstance(error, RevisionNotFoundError):
        return f"{HUB_NAME}:{repo} has no revision {revision!r}; check the name after the @"
    reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    return f"downloading {HUB_NAME}:{repo} failed ({reason}); try again, what has arrived is kept"


def _bar(progress: Progress | None) -> type[Any]:
    """Make a tqdm class that draws nothing and tells ``progress`` instead."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def display(self, *_: Any, **__: Any) -> None:
            return

        def update(self, n: float | None = 1) -> Any:
            shown = super().update(n)
            if progress is not None:
                progress(str(self.desc or "").rstrip(": "), int(self.n), int(self.total or 0))
            return shown

    return Bar
