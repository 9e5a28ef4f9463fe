"""How a process enters a job: begins it, joins it, goes on with it, or is refused."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from orbitds.infer.claims import BEGIN, PRESENCE, Claims
from orbitds.infer.job import Job
from orbitds.infer.manifest import Manifest, differences
from orbitds.infer.mask import told
from orbitds.infer.notes import LocalNotes
from orbitds.infer.shares import Share
from orbitds.infer.writers import Output

# How long a process waits for the first one to begin, where nothing can be locked.
PATIENCE_S = 600.0
BEGINNING = "beginning"

Settle = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Entry:
    """A job that this process takes part in."""

    manifest: Manifest
    claims: Claims
    settled: dict[str, Any]
    """What the first process settled for all."""


def enter_job(job: Job, output: Output, share: Share, settle: Settle) -> Entry | None:
    """Begin a job or take part in it; None if its output is whole already.

    Parameters
    ----------
    settle
        Gives what is the same for all processes and takes long to find.

    Raises
    ------
    FileExistsError
        If the output exists, or there is an unfinished job that may not be gone on with.
    ValueError
        If that job is of another input, checkpoint or options; the message says which.
    BlockingIOError
        If others work on a job that is to be forgotten.
    """
    config = job.config
    if config.overwrite and not share.is_alone:
        raise ValueError(
            f"Wanted --overwrite from a process that is alone, got it from share {share}: the "
            "others would lose what they do. Remove the output, and leave --overwrite out."
        )
    manifest = Manifest(output.notes)
    joins = config.resume or not share.is_alone
    # notes without a job are those of one that begins, or was killed when it had finished
    if not output.notes.exist() and _is_whole(job, output, joins=joins):
        return None
    waits = not isinstance(output.notes, LocalNotes) and share.rank > 0
    if waits and _wait_for_first(job, output, manifest, share):
        return None
    claims = _claims(output)
    try:
        settled = _begun(job, manifest, claims, joins=joins)
        if settled is None:
            settled = _begin(job, output, manifest, settle, joins=joins)
        claims.join()
        claims.release(BEGIN)
    except BaseException:
        claims.close()
        raise
    if settled is None:
        claims.close()
        return None
    return Entry(manifest, claims, settled)


def _claims(output: Output) -> Claims:
    """Return locks of which this process has that of beginning."""
    while True:
        claims = output.claims()
        claims.wait(BEGIN)
        if claims.is_current():
            return claims
        claims.close()  # the job was finished or forgotten meanwhile


def _begun(job: Job, manifest: Manifest, claims: Claims, *, joins: bool) -> dict[str, Any] | None:
    """Return what was settled in a job that this process may go on with; None without one."""
    begun = manifest.begun()
    if begun is None:
        return None
    if job.config.overwrite and not job.config.resume:
        if not claims.take(PRESENCE):
            raise BlockingIOError(
                f"Wanted to forget the unfinished job in {manifest.notes}, got other processes "
                "that work on it. Wait for them, or choose another output."
            )
        return None
    if not joins:
        done = len(manifest.records(len(job.units)))
        raise FileExistsError(
            f"Wanted a new output, got {job.config.output}, of which {done} of {len(job.units)} "
            f"units are finished, noted in {manifest.notes}. Go on with --resume, or begin anew "
            "with --overwrite."
        )
    if changed := differences(begun["identity"], job.identity):
        raise ValueError(
            f"Wanted to go on with the job noted in {manifest.notes}, got other contents of: "
            f"{'; '.join(changed)}. Give what it was begun with, choose another output, or begin "
            "anew with --overwrite."
        )
    return begun["settled"]


def _begin(
    job: Job, output: Output, manifest: Manifest, settle: Settle, *, joins: bool
) -> dict[str, Any] | None:
    """Begin the job; return what was settled, None if its output has come to be meanwhile."""
    try:
        if _is_whole(job, output, joins=joins):
            output.notes.remove()
            return None
        output.notes.clear()
        # behind an address the store is there now, and nobody may take it for a whole one
        output.notes.write(BEGINNING, b"")
        settled = settle() | {"overwrite": job.config.overwrite}
        output.create(told_of(job, settled))
        manifest.begin(job.identity, settled)
    except BaseException:
        output.discard()
        raise
    return settled


def told_of(job: Job, settled: dict[str, Any]) -> xr.Dataset:
    """Return the output before its values, with what was settled told in its attributes."""
    return told(job.fine, settled["masked"]) if settled.get("masked") else job.fine


def _is_whole(job: Job, output: Output, *, joins: bool) -> bool:
    """Whether the output is there already, finished by others; refuse one that is in the way."""
    there = output.exists()
    if there is None or job.config.overwrite:
        return False
    if joins and output.is_whole(job.fine):
        return True
    raise FileExistsError(
        f"Wanted a new output, got {there}, which exists. Choose another name, or replace it "
        "with --overwrite."
    )


def _wait_for_first(job: Job, output: Output, manifest: Manifest, share: Share) -> bool:
    """Wait until the first process has begun, where nothing can be locked; True if all is done."""
    since = time.monotonic()
    while manifest.begun() is None:
        if not output.notes.exist() and _is_whole(job, output, joins=True):
            return True
        if time.monotonic() - since > PATIENCE_S:
            raise TimeoutError(
                f"Wanted share 1/{share.world} to begin the job, got nothing in {manifest.notes} "
                f"for {PATIENCE_S:.0f} s. Start that share too; it may end before the others."
            )
        time.sleep(1)
    return False
