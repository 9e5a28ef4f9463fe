"""What a job will be, and what it was: for people, and as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass

from orbitds.infer.job import Job
from orbitds.infer.pipeline import Spent
from orbitds.infer.seams import Seams
from orbitds.infer.shares import Share
from orbitds.infer.writers import Output
from orbitds.sources import address


@dataclass(frozen=True)
class Plan:
    """A job before it begins; sizes in bytes."""

    output: list[str]
    """What is written: files, or a store."""
    variables: list[str]
    shape: list[int]
    """Of a variable."""
    coarse: list[int]
    """Coarse rows and columns."""
    tiles: list[int]
    """Rows and columns of tiles of a field."""
    factor: int
    """Fine cells along the edge of a coarse cell."""
    choice: str | None
    """How factor and variables were chosen, where the checkpoint has several sets."""
    units: int
    """Blocks that are computed, written and noted as one."""
    unit_times: int
    unit_rows: int
    """Coarse rows of a unit."""
    unit_bytes: int
    """Fine values of a unit; some of them are in memory at once, beside what the model takes."""
    memory_bytes: int
    """Of the device, predicted: weights, windows at work, fields of one time of a unit."""
    bytes: int
    """Fine values of the output, before compression."""
    parts_bytes: int
    """What the finished units of NetCDF files take beside them until these are put together."""
    files: int
    """Files of values."""
    share: str
    """Which share of the units is this process's."""
    share_units: int

    def describe(self) -> str:
        """Return the plan for people."""
        form, cells = (" x ".join(map(str, sizes)) for sizes in (self.shape, self.coarse))
        shown = self.output if len(self.output) < 4 else [self.output[0], "...", self.output[-1]]
        lines = [
            f"{', '.join(shown)}: {', '.join(self.variables)}, each {form}",
            f"{cells} coarse cells in {self.tiles[0]} x {self.tiles[1]} tiles",
            f"{_bytes(self.bytes)} in {self.files} files of values, before compression",
            f"{self.units} unit{'s' * (self.units > 1)} of {self.unit_times} times and "
            f"{self.unit_rows} coarse rows, {_bytes(self.unit_bytes)} each",
        ]
        if self.choice is not None:
            lines.insert(1, self.choice)
        lines.append(f"{_bytes(self.memory_bytes)} of the device's memory, predicted")
        if self.parts_bytes:
            lines.append(f"{_bytes(self.parts_bytes)} beside it until it is put together")
        if self.share_units != self.units:
            lines.append(f"{self.share_units} of the units in share {self.share}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Summary:
    """What this process did."""

    output: list[str]
    is_whole: bool
    """Whether the output is finished and in its place."""
    units: int
    """Units of the job."""
    finished: int
    """Those that are finished, by whichever process."""
    done: int
    """Those that were done by this process now."""
    failed: Mapping[str, str]
    """Why units were left out, by number."""
    times: int
    """Times that were done now."""
    cells: int
    """Fine cells that were done now, over all variables."""
    cells_per_s: float
    seconds: float
    """From the beginning of reading to the end of writing."""
    reading_s: float
    computing_s: float
    writing_s: float
    seam_index: Mapping[str, float | None]
    """How much a variable jumps where tiles meet, over what is expected there: 1 is no seam. Of all
    units that are finished; empty without tiles."""

    def describe(self) -> str:
        """Return the summary for people."""
        lines = []
        if self.done:
            lines.append(
                f"{self.done} of {self.units} units, {self.times} times in {self.seconds:.1f} s: "
                f"{self.cells_per_s:.3g} cells/s; reading {self.reading_s:.1f} s, computing "
                f"{self.computing_s:.1f} s, writing {self.writing_s:.1f} s, beside each other"
            )
        if self.seam_index:
            told = (
                f"{name} {'unknown' if index is None else f'{index:.3f}'}"
                for name, index in self.seam_index.items()
            )
            lines.append(f"seam index (1 is none): {', '.join(told)}")
        if self.is_whole:
            shown = self.output if len(self.output) < 4 else [self.output[0], "to", self.output[-1]]
            lines.append(f"wrote {' '.join(shown)}")
        elif self.finished < self.units:
            lines.append(
                f"{self.finished} of {self.units} units are finished; the process that does the "
                f"last one puts {self.output[0]} in its place. If none is at work any more, go on "
                "with --resume."
            )
        else:
            lines.append(f"another process puts {self.output[0]} in its place")
        return "\n".join(lines)


def plan_of(job: Job, output: Output, share: Share) -> Plan:
    """Return what a job will be."""
    fields = job.fine.data_vars
    choice = job.engine.downscaler.checkpoint.choice
    units, first = job.units, next(iter(fields.values()))
    total = 4 * sum(field.size for field in fields.values())
    per_row = total // (units.times * units.rows)
    is_netcdf = job.config.output.suffix == ".nc"
    return Plan(
        output=targets(job, output),
        variables=[str(name) for name in fields],
        shape=list(first.shape),
        coarse=list(job.engine.grid.shape),
        tiles=list(job.engine.tiles),
        factor=job.engine.factor,
        choice=None if choice is None else choice.told,
        units=len(units),
        unit_times=units.block_times,
        unit_rows=units.block_rows,
        unit_bytes=per_row * units.block_times * units.block_rows,
        memory_bytes=job.engine.memory_of(units[0]),
        bytes=total,
        parts_bytes=total if is_netcdf else 0,
        files=len(output.targets) if is_netcdf else len(units) * len(fields),
        share=str(share),
        share_units=len(share.of(len(units))),
    )


def summary_of(
    job: Job,
    output: Output,
    spent: Spent,
    *,
    finished: int,
    is_whole: bool,
    seconds: float,
    seams: Seams | None = None,
) -> Summary:
    """Return what this process did."""
    fields = job.fine.data_vars.values()
    per_row = sum(field.size for field in fields) // (job.units.times * job.units.rows)
    cells = per_row * sum(len(unit.times) * len(unit.rows) for unit in spent.done)
    times = {time for unit in spent.done for time in unit.times}
    return Summary(
        output=targets(job, output),
        is_whole=is_whole,
        units=len(job.units),
        finished=finished,
        done=len(spent.done),
        failed={str(number): told for number, told in sorted(spent.failed.items())},
        times=len(times),
        cells=cells,
        cells_per_s=cells / seconds if seconds > 0 else 0.0,
        seconds=seconds,
        reading_s=spent.reading_s,
        computing_s=spent.computing_s,
        writing_s=spent.writing_s,
        seam_index={} if seams is None else {name: seams.index(name) for name in seams.lines},
    )


def targets(job: Job, output: Output) -> list[str]:
    """Return what is written, as it is called."""
    return [str(path) for path in output.targets] or [str(address(job.config.output))]


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
