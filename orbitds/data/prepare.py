"""Make a training store of a pair: block by block, restartable, in bounded memory."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import xarray as xr

from orbitds.data.block import Block, read_block
from orbitds.data.door import check_values
from orbitds.data.journal import Journal, only_writer
from orbitds.data.packing import Packing
from orbitds.data.plan import Plan, plan, training_times
from orbitds.data.recipe import Recipe
from orbitds.data.skeleton import create_store, finish_store, replace_file
from orbitds.data.stats import Moments
from orbitds.data.store import GROUPS, STATISTICS, read_about
from orbitds.grid import Grid
from orbitds.output import check_place, naming
from orbitds.progress import progress


def prepare(recipe: Recipe, output: Path, *, workers: int = 2) -> Path:
    """Write the training store of a recipe; after a kill, go on where it ended.

    A block appears whole or not at all, and the store says that it is complete at the end.

    Parameters
    ----------
    output
        Folder of the store, ending in .zarr: new, or left by the same recipe.
    workers
        Threads that read and compute.

    Raises
    ------
    FileExistsError
        If the output is something else, or was begun from another pair, data or options; the
        message says which.
    ValueError
        If values are missing or implausible; the message says where.
    OSError
        If it cannot be written; the message names the file.
    """
    check_place(output, (".zarr",))
    planned = plan(recipe)
    for name, field in planned.skeleton.statics.data_vars.items():
        check_values(str(name), field.values)
    with only_writer(output):
        if _begin(planned, output):
            return output
        journal = Journal(output)
        records = journal.begin()
        is_training = training_times(planned.source)
        with progress("prepare", len(planned.blocks)) as report:
            for number, steps in enumerate(planned.blocks):
                if number not in records:
                    block = read_block(planned.source, steps, workers=workers)
                    moments = block.moments(is_training[steps])
                    names = _write(output, planned, number, block)
                    records[number] = journal.finish(
                        number,
                        names,
                        missing=block.missing,
                        moments={name: asdict(part) for name, part in moments.items()},
                    )
                report(number + 1, str(planned.source.times[steps][-1])[:10])
        _finish(planned, output, journal, records)
    return output


def _begin(planned: Plan, output: Path) -> bool:
    """Make the store, or go on with what is there; return whether it is complete already."""
    if not output.exists():
        partial = output.with_name(f".{output.name}.partial")
        if partial.exists():
            shutil.rmtree(partial)
        with naming(partial):
            create_store(partial, planned.skeleton)
            partial.rename(output)
        return False
    try:
        about = read_about(output)
    except ValueError as error:
        raise FileExistsError(
            f"Wanted a new output, got {output}, which exists and is no training store. "
            "Choose another name."
        ) from error
    before = about["identity"]
    changed = [
        part
        for part in {**before, **planned.identity}
        if before.get(part) != planned.identity.get(part)
    ]
    if changed:
        raise FileExistsError(
            f"Wanted to go on with {output}, got other contents of: {', '.join(changed)}. "
            "Choose another output, remove this one, or give what it was begun with."
        )
    if about["complete"]:
        Journal(output).clear()
    return bool(about["complete"])


def _write(output: Path, planned: Plan, number: int, block: Block) -> list[str]:
    """Write the shards of a block; return their names in the store."""
    import zarr

    steps, names = planned.blocks[number], []
    for group in GROUPS:
        values = block.values[group]
        if planned.skeleton.layout.dtype == "int16":
            values = Packing.of(block.names[group]).pack(values)
        name = f"{group}/values/c/{number}/0/0/0"
        with naming(output / name), zarr.config.set({"array.write_empty_chunks": True}):
            array = zarr.open_array(output, path=f"{group}/values", mode="r+")
            array[steps] = values
        names.append(name)
    return names


def _finish(planned: Plan, output: Path, journal: Journal, records: dict[int, dict]) -> None:
    rows = {
        str(name): _of_static(field, planned).statistics(str(name))
        for name, field in planned.skeleton.statics.data_vars.items()
    }
    parts = [records[number]["moments"] for number in sorted(records)]
    for name in dict.fromkeys(key for part in parts for key in part):
        moments = Moments.merged(Moments(**part[name]) for part in parts if name in part)
        rows[name] = moments.statistics(name)
    plain = {name: row.model_dump(mode="json") for name, row in rows.items()}
    replace_file(output / STATISTICS, json.dumps(plain, indent=2) + "\n")
    missing: dict[str, int] = {}
    for record in records.values():
        for name, count in record["missing"].items():
            missing[name] = missing.get(name, 0) + count
    manifest = journal.close(records)
    about = read_about(output)
    finish_store(output, about | {"sha256": manifest, "missing_values": missing})
    journal.clear()


def _of_static(field: xr.DataArray, planned: Plan) -> Moments:
    moments = Moments()
    moments.add(field.values, Grid.of(planned.skeleton.fine).area)
    return moments
