"""Read datasets in blocks of time: in bounded memory, and not once per time step."""

from collections.abc import Iterator

import xarray as xr

# Cells of a variable read at once: 64 MiB in float32.
BLOCK_CELLS = 2**24


def time_blocks(*datasets: xr.Dataset) -> Iterator[tuple[xr.Dataset, ...]]:
    """Yield consecutive blocks of datasets with the same times, read into memory."""
    for block in block_slices(*datasets):
        yield tuple(ds.isel(time=block).load() for ds in datasets)


def block_slices(*datasets: xr.Dataset) -> list[slice]:
    """Return the time slices of the blocks: as many steps as the largest dataset allows."""
    cells = max(
        ds.sizes["latitude"] * ds.sizes["longitude"] * max(len(ds.data_vars), 1) for ds in datasets
    )
    steps = max(1, BLOCK_CELLS // cells)
    return [slice(at, at + steps) for at in range(0, datasets[0].sizes["time"], steps)]
