"""Checkpoints on the Hugging Face Hub: from a name to a folder in the Hub's cache on this machine.

A name is ``hf://owner/name``, then ``@revision`` (a branch, a tag or a commit; by default the main
branch), then the folder of the repository in which the checkpoint lies, if it is not the topmost.
The Hub's own client fetches the files and keeps them, and its settings hold: HF_HOME, HF_ENDPOINT,
HF_TOKEN, HF_HUB_OFFLINE.
"""

import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from orbitds.resources import shown

CLIENT = "huggingface_hub"
# Digits of a commit in the name of a checkpoint.
DIGITS = 12
# A part of a path: neither hidden nor a step upwards, of letters that mean nothing else.
_PART = r"(?!\.)(?:[\w-]|\.(?!\.))+(?<!\.)"
_REVISION = rf"refs/pr/\d+|refs/convert/{_PART}|{_PART}"
_NAME = re.compile(
    rf"hf://(?P<owner>{_PART})/(?P<name>{_PART})(?:@(?P<revision>{_REVISION}))?"
    rf"(?P<folder>(?:/{_PART})*)",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{7,39}")


def is_hub_name(name: object) -> bool:
    """Tell whether a name is meant for the Hub, well formed or not."""
    return str(name).startswith("hf:")


def fetch(name: str, files: Sequence[str]) -> Path:
    """Return the folder of a checkpoint, fetched unless the cache has it.

    A branch is looked up once in a process: all of a job has the same checkpoint.

    Parameters
    ----------
    name
        As of the module.
    files
        Names of the files that are wanted; no others are fetched.

    Raises
    ------
    ValueError
        If the name is none.
    ImportError
        If the Hub's client is not installed.
    OSError
        If there is no such repository or revision, it may not be read, or neither the Hub nor the
        cache has it.
    """
    found = _NAME.fullmatch(name.replace("hf:/", "hf://", 1) if name[:5] != "hf://" else name)
    if found is None or any("--" in found[part] for part in ("owner", "name")):
        raise ValueError(
            f"Wanted a name as hf://owner/name, hf://owner/name@revision or one of the two with a "
            f"/folder, got {shown(name)}. Correct the name."
        )
    return _fetch(found["owner"], found["name"], found["revision"], found["folder"], tuple(files))


@cache
def _fetch(
    owner: str, name: str, revision: str | None, folder: str, files: tuple[str, ...]
) -> Path:
    written = f"hf://{owner}/{name}{f'@{revision}' if revision else ''}{folder}"
    try:
        client = import_module(CLIENT)
    except ImportError as error:
        raise ImportError(
            f"Wanted {CLIENT} for {written}, got {error}. Install the extra: "
            "pip install 'orbitds[hub]'."
        ) from error
    inside = folder.strip("/")
    try:
        snapshot = client.snapshot_download(
            f"{owner}/{name}",
            revision=_whole_commit(_cache() / f"models--{owner}--{name}", revision),
            allow_patterns=[f"{inside}/{file}" if inside else file for file in files],
            library_name="orbitds",
        )
    except Exception as error:  # the client's own, those of its transport, and the system's
        raise _told(error, written) from error
    found = Path(snapshot) / inside
    if snapshot_name(found) is None:
        raise ConnectionError(
            f"Wanted {written} at a commit, got the folder {shown(str(found))} from the Hub's "
            "client. Check that HF_ENDPOINT is a Hub."
        )
    return found


def snapshot_name(folder: Path) -> str | None:
    """Return the name of a checkpoint in the Hub's cache, ``owner/name@commit``, or None."""
    place = _place(folder)
    if place is None:
        return None
    repository, commit, inside = place
    _, owner, name = repository.name.split("--")
    return "/".join([owner, f"{name}@{commit[:DIGITS]}", *inside])


def stores(folder: Path) -> tuple[Path, ...]:
    """Return the folders that files of a folder in the Hub's cache are links to."""
    place = _place(folder)
    # the second holds what several repositories have in common
    return () if place is None else (place[0] / "blobs", place[0].parent / "blobs")


def cached(file: str) -> dict[str, Path]:
    """Return the folders in the Hub's cache that hold a file, by their names."""
    if find_spec(CLIENT) is None:
        return {}
    places = sorted(_cache().glob(f"models--*--*/snapshots/*/**/{file}"))
    names = {snapshot_name(path.parent): path.parent for path in places}
    return {f"hf://{name}": folder for name, folder in names.items() if name is not None}


def _place(folder: Path) -> tuple[Path, str, tuple[str, ...]] | None:
    """Return repository, commit and inner folder of a folder of the cache, which its path says."""
    parts = folder.parts
    for at in range(len(parts) - 2):
        is_repository = (
            re.fullmatch(r"models--[^-].*--.+", parts[at]) and parts[at].count("--") == 2
        )
        if is_repository and parts[at + 1] == "snapshots" and _COMMIT.fullmatch(parts[at + 2]):
            return Path(*parts[: at + 1]), parts[at + 2], parts[at + 3 :]
    return None


def _cache() -> Path:
    return Path(import_module(f"{CLIENT}.constants").HF_HUB_CACHE).expanduser().resolve()


def _whole_commit(repository: Path, revision: str | None) -> str | None:
    """Return the revision, or the only commit in the cache that it is the beginning of.

    So the name that an output carries leads back to the checkpoint, without a network too.
    """
    if revision is None or not _SHORT.fullmatch(revision):
        return revision
    commits = [path.name for path in (repository / "snapshots").glob(f"{revision}*")]
    return commits[0] if len(commits) == 1 else revision


def _told(error: Exception, name: str) -> OSError:
    """Return an error that says what was wanted, what came and what to do."""
    errors = import_module(f"{CLIENT}.errors")
    constants = import_module(f"{CLIENT}.constants")
    if isinstance(error, errors.GatedRepoError):
        return PermissionError(
            f"Wanted {name}, got a repository whose terms have to be accepted first. Accept them "
            "on its page, and log in with `hf auth login`."
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.RepositoryNotFoundError) or status == HTTPStatus.UNAUTHORIZED:
        return FileNotFoundError(
            f"Wanted {name}, got the answer that there is no such repository, or that it is "
            "private. Check the name; for a private one log in with `hf auth login`, or set "
            "HF_TOKEN."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return FileNotFoundError(
            f"Wanted {name}, got a repository without that revision. Check the branch, tag or "
            "commit."
        )
    if isinstance(error, errors.LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return FileNotFoundError(
            f"Wanted {name} in the cache {_cache()}, got no whole copy, and HF_HUB_OFFLINE forbids "
            "to fetch one. Fetch it once with a network, or copy the folder of the checkpoint and "
            "give its path."
        )
    cause = error
    if isinstance(error, errors.LocalEntryNotFoundError):  # why it did not ask, or got no answer
        cause = error.__cause__ or error
    lines = str(cause).splitlines() or [""]
    return ConnectionError(
        f"Wanted {name} from {constants.ENDPOINT}, got {type(cause).__name__}: {shown(lines[0])}, "
        f"and no whole copy in the cache {_cache()}. Check network and free space, and "
        "run it again; without a network, copy the folder of the checkpoint and give its path."
    )
