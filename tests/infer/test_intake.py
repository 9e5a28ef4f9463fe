"""The intake: what arrives is what was given, and is refused with the words of every other door."""

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.data.values import check_values
from orbitds.infer.courier import Courier
from orbitds.infer.intake import Intake, side_by_side

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


@pytest.fixture
def block():
    generator = np.random.default_rng(0)
    dims = ("time", "latitude", "longitude")
    fields = {name: (dims, generator.random((5, 4, 6))) for name in (WIND, RAIN)}
    return xr.Dataset(fields).transpose("latitude", "time", "longitude")


def intake(block, missing="error"):
    return Intake(block, (RAIN, WIND), missing=missing, courier=Courier(torch.device("cpu")))


def test_fields_arrive_in_order_and_in_float32(block):
    now = intake(block).bring(slice(1, 4))
    wanted = block[[RAIN, WIND]].to_dataarray().transpose("time", "variable", ...)[1:4]
    np.testing.assert_array_equal(now.host, wanted.values.astype(np.float32))
    np.testing.assert_array_equal(now.fields.numpy(), now.host)
    assert (now.fields.dtype, now.gaps) == (torch.float32, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [(WIND, np.nan), (WIND, np.inf), (RAIN, -np.inf), (RAIN, 1e20), (WIND, -9999.0), (RAIN, -5.0)],
)
def test_what_is_wrong_is_told_of_the_whole_block(block, name, value):
    block[name][{"time": 4, "latitude": 1}] = value
    with pytest.raises(ValueError, match=f"Wanted {name}") as other:
        check_values(name, block[name].values.astype(np.float32))
    taken = intake(block)
    assert taken.bring(slice(0, 4)).gaps is None
    with pytest.raises(ValueError, match=f"Wanted {name}") as error:
        taken.bring(slice(4, 5))
    assert str(error.value) == str(other.value)
    assert "120 cells" in str(error.value)


def test_declared_gaps_arrive_as_such_and_hide_nothing(block):
    block[WIND][{"time": 2, "latitude": 1, "longitude": 3}] = np.nan
    taken = intake(block, "mask")
    assert taken.bring(slice(0, 2)).gaps is None
    gaps = taken.bring(slice(2, 5)).gaps
    assert np.argwhere(gaps).tolist() == [[0, 1, 1, 3]]
    block[RAIN][{"time": 4, "latitude": 0, "longitude": 0}] = 1e20
    with pytest.raises(ValueError, match="stands in 1 of them"):
        intake(block, "mask").bring(slice(0, 5))


@pytest.mark.parametrize("times", [1, 3])
def test_fields_of_one_array_are_taken_as_they_lie(times):
    held = np.random.default_rng(0).random((times, 2, 4, 6), dtype=np.float32)
    found = side_by_side([held[:, 0], held[:, 1]])
    assert found.ctypes.data == held.ctypes.data
    np.testing.assert_array_equal(found, held)
    dims = ("time", "latitude", "longitude")
    block = xr.Dataset({RAIN: (dims, held[:, 0]), WIND: (dims, held[:, 1])})
    now = intake(block).bring(slice(0, times))
    assert np.shares_memory(now.host, held)
    np.testing.assert_array_equal(now.fields.numpy(), held)


def test_fields_that_do_not_lie_side_by_side_are_copied():
    held = np.random.default_rng(0).random((3, 4, 4, 6), dtype=np.float32)
    assert side_by_side([held[:, 1], held[:, 0]]) is None  # another order
    assert side_by_side([held[:, 0], held[:, 2]]) is None  # one between them
    assert side_by_side([held[:, 0], held[:, 1]]) is None  # further ones behind them
    assert side_by_side([held[:, 0, :, ::2], held[:, 1, :, ::2]]) is None
    assert side_by_side([held[..., 0].copy(), held[..., 1].copy()]) is None
    pair = held[:, :2].astype(np.float64)
    assert side_by_side([pair[:, 0], pair[:, 1]]) is None
    fixed = held[:, :2].copy()
    fixed.flags.writeable = False
    assert side_by_side([fixed[:, 0], fixed[:, 1]]) is None
