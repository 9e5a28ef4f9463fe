"""Read one variable of all sides in blocks of time, the next while one is worked on."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from orbitds.metrics.frame import When
from orbitds.progress import progress

Read = dict[str, xr.DataArray]
# Cells read at once on each side: 32 MiB in float32, twice since the next block is read ahead.
BLOCK_CELLS = 2**23
# Chunks of up to so many blocks are read whole, rather than once for each of their blocks.
LARGEST_CHUNK = 4
# Times at which structure is measured: spectra and similarity of more of them say the same.
DETAILED_TIMES = 365


def stream(
    sides: Mapping[str, xr.DataArray],
    name: str,
    share: tuple[int, int] = (0, 1),
    *,
    check: Callable[[Read], None] | None = None,
) -> Iterator[tuple[slice, Read]]:
    """Yield the slices of consecutive blocks of time, and the fields in memory.

    Parameters
    ----------
    share
        This process and how many there are: each takes some of the blocks, which others do not.
    check
        Refuses blocks, while others are worked on.
    """
    slices = time_slices(list(sides.values()))
    process, processes = share
    first, last = (len(slices) * end // processes for end in (process, process + 1))
    mine = slices[first:last]

    def read(block: slice) -> Read:
        fields = {side: field.isel(time=block).load() for side, field in sides.items()}
        if check is not None:
            check(fields)
        return fields

    with progress(f"score {name}", len(mine)) as report, ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(read, block) for block in mine[:1]]
        for done, following in enumerate([*mine[1:], None], start=1):
            if not ahead:
                return
            block = ahead.pop().result()
            part = mine[done - 1]
            if following is not None:
                ahead.append(reader.submit(read, following))
            yield part, block
            report(done, "")


def time_slices(fields: list[xr.DataArray]) -> list[slice]:
    """Return slices of time that end with chunks of the largest field, as memory allows."""
    largest = max(fields, key=lambda field: field[0].size)
    steps = max(1, BLOCK_CELLS // largest[0].size)
    chunks = largest.chunksizes.get("time") or (largest.sizes["time"],)
    slices, start, stop = [], 0, 0
    for chunk in chunks:
        most = steps if start < stop else max(steps, min(chunk, LARGEST_CHUNK * steps))
        if stop + chunk - start > most and start < stop:
            slices.append(slice(start, stop))
            start, most = stop, max(steps, min(chunk, LARGEST_CHUNK * steps))
        stop += chunk
        while stop - start > most:
            slices.append(slice(start, start + most))
            start += most
    return [*slices, slice(start, stop)] if start < stop else slices


def dates(time: xr.DataArray, most_detailed: int = DETAILED_TIMES) -> list[When]:
    """Return the labels and dates of times in any calendar; maps without a time have the year 0.

    About so many of them are detailed, spread so evenly that no hour or weekday is preferred.
    """
    if time.dtype.kind not in "MO":
        return [When(str(value), 0, 1, 1) for value in time.values]
    # multiples of the golden ratio fall evenly between 0 and 1, however many are taken
    golden = (np.arange(time.size) * (np.sqrt(5) - 1) / 2) % 1
    detailed = golden * time.size < most_detailed
    if time.dtype.kind == "M":
        labels = np.datetime_as_string(time.values, unit="s")
    else:
        labels = [value.isoformat() for value in time.values]
    parts = (getattr(time.dt, part).values for part in ("year", "month", "day"))
    return [
        When(str(label), int(year), int(month), int(day), bool(chosen))
        for label, year, month, day, chosen in zip(labels, *parts, detailed, strict=True)
    ]


def tensor(field: xr.DataArray) -> Tensor:
    """Return a field in memory as a tensor, without a copy where its layout allows it."""
    values = field.transpose("time", "latitude", "longitude").values
    native = values.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(values, native, ["C", "W"]))
