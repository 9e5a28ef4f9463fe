"""Batch inference: files in, files out; in units, restartable, by any number of processes."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial, reduce

import numpy as np
import torch
import xarray as xr

from orbitds.catalog import open_datasets
from orbitds.config import InferConfig
from orbitds.data.door import declared_missing
from orbitds.data.layout import MEMBER
from orbitds.data.values import Missing
from orbitds.infer.claims import BEGIN, END, PRESENCE
from orbitds.infer.distribution import SPREAD
from orbitds.infer.engine import Computed
from orbitds.infer.entry import Entry, enter_job, told_of
from orbitds.infer.job import Job, plan_job
from orbitds.infer.manifest import Manifest
from orbitds.infer.mask import count_masked
from orbitds.infer.netcdf_output import NetcdfOutput
from orbitds.infer.pipeline import Spent, work
from orbitds.infer.seams import Seams
from orbitds.infer.shares import Share, share_of
from orbitds.infer.summary import Plan, Summary, plan_of, summary_of, targets
from orbitds.infer.units import Unit
from orbitds.infer.writers import Output, check_output
from orbitds.infer.zarr_output import ZarrOutput
from orbitds.mistakes import explain
from orbitds.progress import progress
from orbitds.stop import Left, Signals


def plan(config: InferConfig) -> Plan:
    """Return what ``run`` would do; nothing is written, and what it would refuse is refused."""
    share = share_of(os.environ, config.share)
    check_output(config.output, config.split)
    with open_datasets(config.input) as coarse:
        job, output = _laid_out(config, coarse, share)
        return plan_of(job, output, share)


def run(config: InferConfig) -> Summary:
    """Downscale files, unit by unit, and put the output in its place when all units are finished.

    Several processes may do it at once, each with its share; the one that does the last unit puts
    the output in its place. A process that was killed is started again with ``resume``.

    Raises
    ------
    ValueError, OSError
        If input, checkpoint or output do not fit; nothing is left half-written. What is finished
        of a larger job stays, to go on with.
    Left
        After SIGTERM, SIGUSR1 or Ctrl-C, when what was being written is written.
    """
    share = share_of(os.environ, config.share)
    check_output(config.output, config.split)
    with open_datasets(config.input) as coarse:
        job, output = _laid_out(config, coarse, share)
        if choice := job.engine.downscaler.checkpoint.choice:
            sys.stderr.write(f"{choice.told}\n")
        entry = enter_job(job, output, share, partial(_settle, job))
        spent = Spent()
        if entry is None:
            sys.stderr.write(
                f"{targets(job, output)[0]} is there already, with the variables, axes and "
                "attributes of this job\n"
            )
            count = len(job.units)
            return summary_of(job, output, spent, finished=count, is_whole=True, seconds=0.0)
        try:
            return _carried_out(job, output, entry, share, spent)
        finally:
            entry.claims.close()


def _laid_out(config: InferConfig, coarse: xr.Dataset, share: Share) -> tuple[Job, Output]:
    missing: Missing = config.missing or declared_missing(config.input[0])
    told = {"missing": missing, "device": _device(config.device, share)}
    job = plan_job(config, coarse, **told)
    output = _output(job)
    begun = Manifest(output.notes).begun()
    if begun is not None and config.tiles == "auto":
        # chosen by the memory that was free where the job was begun
        tiles = tuple(begun["settled"].get("tiles", job.engine.tiles))
        if tiles != job.engine.tiles:
            job = plan_job(config, coarse, **told, tiles=tiles)
            output = _output(job)
    return job, output


def _output(job: Job) -> Output:
    return NetcdfOutput(job) if job.config.output.suffix == ".nc" else ZarrOutput(job)


def _device(name: str, share: Share) -> str | None:
    """Return the device of a process: with several on a host one GPU each."""
    if name in {"auto", "cuda"} and share.local_rank is not None and torch.cuda.is_available():
        return f"cuda:{share.local_rank % torch.cuda.device_count()}"
    return None if name == "auto" else name


def _settle(job: Job) -> dict:
    """Fix what all processes need alike: tiles, and cells without a value.

    These are counted beforehand: attributes are written before the values.
    """
    engine = job.engine
    settled: dict = {"tiles": list(engine.tiles)}
    if engine.downscaler.missing != "mask":
        return settled
    checkpoint = engine.downscaler.checkpoint
    counts, empty = count_masked(
        engine.coarse, checkpoint.inputs, checkpoint.outputs, engine.factor
    )
    masked = {}
    for name, field in job.fine.data_vars.items():
        count = counts[str(name).removesuffix(SPREAD)] * field.sizes.get(MEMBER, 1)
        masked[str(name)] = count
        sys.stderr.write(f"masked: {count} cells of {name} ({count / field.size:.1%})\n")
    return settled | {"masked": masked, "empty": empty}


def _carried_out(job: Job, output: Output, entry: Entry, share: Share, spent: Spent) -> Summary:
    """Do what is left of this process's share; finish the output if nothing is left at all."""
    started = time.monotonic()
    count, manifest = len(job.units), entry.manifest
    finished = _finished(job, output, entry)
    with Signals() as signals:
        try:
            _work(job, output, entry, share, spent, finished, signals)
        except KeyboardInterrupt:
            raise _left(job, entry, "got SIGINT") from None
        except Exception:
            _leave_in_order(job, output, entry, share)
            raise
        finished = _finished(job, output, entry)
        if (reason := signals.reason()) and len(finished) < count:
            raise _left(job, entry, reason)
        _check_failures(job, entry, spent, finished)
        seams = _seams(job, entry)
        is_whole = len(finished) == count and entry.claims.take(END)
        if is_whole and entry.claims.is_current() and manifest.begun() is not None:
            fine = told_of(job, entry.settled)
            output.finish(fine, manifest, overwrite=entry.settled["overwrite"])
            entry.claims.wait(BEGIN)  # whoever comes waits, and finds either the notes or none
            manifest.notes.remove()
    seconds = time.monotonic() - started
    return summary_of(
        job,
        output,
        spent,
        finished=len(finished),
        is_whole=is_whole,
        seconds=seconds,
        seams=seams,
    )


def _seams(job: Job, entry: Entry) -> Seams | None:
    """Return the sums of all units that are finished, by whichever process; None without tiles."""
    records = entry.manifest.records(len(job.units)).values()
    found = [Seams.of(record["seams"]) for record in records if record.get("seams")]
    return reduce(Seams.merge, found) if found else None


def _work(
    job: Job,
    output: Output,
    entry: Entry,
    share: Share,
    spent: Spent,
    finished: set[int],
    signals: Signals,
) -> None:
    own = [number for number in share.of(len(job.units)) if number not in finished]
    units = _claimed(job, output, entry, own)
    if "empty" in entry.settled:
        empty = np.isin(np.arange(job.units.times), entry.settled["empty"])
        job.engine.empty_times = empty

    def write(unit: Unit, computed: Computed) -> None:
        files = output.write(unit, computed.fields)
        seams = computed.seams
        entry.manifest.finish(unit.number, files, seams=None if seams is None else seams.values)
        entry.claims.release_unit(unit.number)

    def read(unit: Unit) -> xr.Dataset:
        following = [job.units[number] for number in own if number > unit.number]
        return job.engine.read(unit, following)

    def failed(unit: Unit, error: Exception) -> bool:
        if not (job.config.keep_going and isinstance(error, ValueError)):
            return False
        spent.failed[unit.number] = explain(error)
        times = f"times {unit.times.start} to {unit.times.stop - 1}"
        sys.stderr.write(f"left out: {times}: {explain(error)}\n")
        return True

    with progress(job.config.output.name, len(own)) as report:
        work(
            units,
            read,
            job.engine.compute,
            write,
            spent=spent,
            stops=lambda: signals.reason() is not None,
            failed=failed,
            report=lambda count: report(count, ""),
        )


def _claimed(job: Job, output: Output, entry: Entry, numbers: list[int]) -> Iterator[Unit]:
    """Yield units that no other process is at, and that none has finished meanwhile."""
    for number in numbers:
        if not entry.claims.take_unit(number):
            continue
        if entry.manifest.is_finished(number, output.size):
            entry.claims.release_unit(number)
            continue
        if not entry.claims.is_current() or _is_over(output, entry):
            return
        yield job.units[number]


def _finished(job: Job, output: Output, entry: Entry) -> set[int]:
    """Return the numbers of the units that are finished."""
    count = len(job.units)
    records = entry.manifest.records(count, output.size)
    return set(range(count)) if _is_over(output, entry) else set(records)


def _is_over(output: Output, entry: Entry) -> bool:
    """Whether the output is being put in its place, or is there.

    It is asked after units: then they have none of their files any more.
    """
    if entry.manifest.is_ending:
        return True
    return entry.manifest.begun() is None and output.exists() is not None


def _left(job: Job, entry: Entry, reason: str) -> Left:
    done = len(entry.manifest.records(len(job.units)))
    return Left(
        f"kept {done} of {len(job.units)} units and stopped: {reason}. "
        "Start the same command with --resume to go on."
    )


def _leave_in_order(job: Job, output: Output, entry: Entry, share: Share) -> None:
    """After an error: say what is kept of the job; remove one of which nothing is finished."""
    entry.claims.wait(BEGIN)  # nobody joins meanwhile
    done = len(entry.manifest.records(len(job.units)))
    if done or not share.is_alone or not entry.claims.take(PRESENCE):
        sys.stderr.write(
            f"kept {done} of {len(job.units)} units in {entry.manifest.notes}: the same command "
            "with --resume goes on\n"
        )
        return
    with suppress(OSError):  # of the same disk: the first error is to be told
        output.discard()


def _check_failures(job: Job, entry: Entry, spent: Spent, finished: set[int]) -> None:
    """Refuse to call done what is not."""
    if lost := {unit.number for unit in spent.done} - finished:
        raise FileNotFoundError(
            f"Wanted the units that were written, noted in {entry.manifest.notes}, got {len(lost)} "
            "of them removed or changed meanwhile. Leave that folder alone, and go on with "
            "--resume."
        )
    if not spent.failed:
        return
    done = len(entry.manifest.records(len(job.units)))
    first = spent.failed[min(spent.failed)]
    raise ValueError(
        f"Wanted all {len(job.units)} units, got {done}, and {len(spent.failed)} that were left "
        f"out. The first: {first}"
    )
