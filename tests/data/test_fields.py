import dask.array
import numpy as np
import pytest
import torch
import zarr

from orbitds.data.fields import Fields
from orbitds.data.packing import Packing

NAMES = ("2m_temperature", "total_precipitation_24hr")
VALUES = np.random.default_rng(0).uniform(200, 300, (3, 2, 9, 14)).astype(np.float32)


@pytest.fixture(params=["numpy", "dask", "zarr"])
def array(request, tmp_path):
    if request.param == "numpy":
        return VALUES
    if request.param == "dask":
        return dask.array.from_array(VALUES, chunks=(1, 2, 4, 5))
    store = zarr.create_array(
        tmp_path / "a.zarr", shape=VALUES.shape, chunks=(1, 2, 4, 5), dtype="f4"
    )
    store[:] = VALUES
    return store


@pytest.mark.parametrize(
    "columns", [np.arange(3, 8), np.arange(11, 17) % 14, np.arange(-2, 30) % 14, np.array([13])]
)
def test_reads_a_window_that_may_go_round_the_globe(array, columns):
    fields = Fields(array, NAMES)
    assert len(fields) == 3
    window = fields.read(1, slice(2, 7), columns)
    assert isinstance(window, np.ndarray)
    assert window.flags.c_contiguous
    np.testing.assert_array_equal(window, VALUES[1][:, 2:7][:, :, columns])


def test_physical_values_are_float32():
    whole = Fields(VALUES.astype(np.float64), NAMES).physical(torch.from_numpy(VALUES).double())
    assert whole.dtype == torch.float32
    packing = Packing.of(NAMES)
    packed = Fields(packing.pack(VALUES), NAMES, packing)
    window = torch.from_numpy(packed.read(2, slice(0, 9), np.arange(14)))
    assert window.dtype == torch.int16
    np.testing.assert_allclose(packed.physical(window)[0], VALUES[2, 0], atol=2e-3)
