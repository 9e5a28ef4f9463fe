"""A graph before its values: nothing is read, no model runs, and the answer is that of numpy."""

import dask.array
import numpy as np
import pytest

from orbitds.infer.lazy import downscale

WIND = "eastward_wind"


def unreadable(coarse):
    """The dataset with fields that cannot be read."""

    def read(*_):
        raise OSError("read")

    return coarse.map(
        lambda field: field.copy(
            data=dask.array.map_blocks(
                read, chunks=((5, 7), *((size,) for size in field.shape[1:])), dtype=np.float32
            )
        ),
        keep_attrs=True,
    )


@pytest.mark.parametrize("missing", ["error", "mask"])
def test_a_graph_is_made_without_reading(coarse, checkpoint_folder, missing):
    fine = downscale(unreadable(coarse), checkpoint_folder, missing=missing)
    assert fine[WIND].chunks == ((5, 7), (21,), (33,))
    with pytest.raises(OSError, match="read"):
        fine.compute(scheduler="synchronous")
