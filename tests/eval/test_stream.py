"""Blocks of time: all of them once, at the borders of chunks, shared out among processes."""

import itertools

import numpy as np
import pytest
import xarray as xr

from orbitds.eval import stream as module
from orbitds.eval.stream import dates, stream, tensor, time_slices


def field(times=37, chunk=None, rows=4, columns=5):
    values = np.arange(times * rows * columns, dtype=np.float32).reshape(times, rows, columns)
    time = np.datetime64("2001-01-01", "ns") + np.arange(times) * np.timedelta64(1, "D")
    found = xr.DataArray(values, {"time": time}, ("time", "latitude", "longitude"), name="x")
    return found.chunk(time=chunk) if chunk else found


@pytest.mark.parametrize("chunk", [None, 1, 3, 8, 20, 37, (5, 1, 30, 1)])
@pytest.mark.parametrize("steps", [1, 4, 7, 100])
def test_slices_cover_all_times_once_and_stay_small(chunk, steps, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_CELLS", steps * 20)
    slices = time_slices([field(chunk=chunk)])
    assert [at for part in slices for at in range(37)[part]] == list(range(37))
    longest = max(part.stop - part.start for part in slices)
    assert longest <= max(steps, module.LARGEST_CHUNK * steps)


def test_blocks_end_where_chunks_do(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_CELLS", 7 * 20)
    for chunk, borders in ((3, {6, 12, 18, 24, 30, 37}), (20, {20, 37})):
        assert {part.stop for part in time_slices([field(chunk=chunk)])} == borders


def test_processes_share_the_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_CELLS", 5 * 20)
    sides = {"truth": field(), "prediction": field(chunk=4) + 1}
    for processes in (1, 2, 3, 11):
        parts = [list(stream(sides, "x", (each, processes))) for each in range(processes)]
        read = xr.concat([block["truth"] for _, block in itertools.chain(*parts)], "time")
        xr.testing.assert_identical(read, field())
        for part, block in itertools.chain(*parts):
            xr.testing.assert_identical(block["prediction"], (field() + 1).isel(time=part))


def test_an_error_of_reading_comes_through():
    def broken(values):
        raise OSError("gone")

    lazy = field(chunk=4)
    lazy = lazy.copy(data=lazy.data.map_blocks(broken, dtype="f4", meta=np.empty((0, 0, 0), "f4")))
    with pytest.raises(OSError, match="gone"):
        list(stream({"truth": lazy}, "x"))


def test_labels_are_in_order_in_any_calendar():
    for calendar in ("standard", "noleap", "360_day"):
        time = xr.date_range(
            "1999-11-29", periods=70, freq="6h", calendar=calendar, use_cftime=True
        )
        when = dates(xr.DataArray(time, dims="time", name="time"))
        labels = [at.label for at in when]
        assert labels == sorted(set(labels))
        assert (when[0].year, when[0].month, when[0].day) == (1999, 11, 29)
    plain = dates(field(3)["time"])
    assert plain[1].label == "2001-01-02T00:00:00"


def test_detailed_times_are_spread_over_the_hours_of_the_day():
    time = np.datetime64("2001-01-01", "ns") + np.arange(8760) * np.timedelta64(1, "h")
    when = dates(xr.DataArray(time, dims="time", name="time"), 1000)
    chosen = np.array([int(at.label[11:13]) for at in when if at.is_detailed])
    assert len(chosen) == pytest.approx(1000, abs=5)
    assert np.bincount(chosen, minlength=24).min() > 35
    assert when[0].is_detailed
    assert all(at.is_detailed for at in dates(field()["time"], 1000))


def test_maps_without_a_time_have_no_date():
    assert dates(xr.DataArray([0], dims="time"))[0].year == 0


def test_tensors_of_any_layout():
    one = field(3)
    flipped = one.isel(latitude=slice(None, None, -1)).transpose("latitude", "time", "longitude")
    np.testing.assert_array_equal(tensor(flipped).numpy(), one.values[:, ::-1])
    big = one.astype(">f4")
    np.testing.assert_array_equal(tensor(big).numpy(), one.values)
    frozen = one.copy()
    frozen.values.flags.writeable = False
    np.testing.assert_array_equal(tensor(frozen).numpy(), one.values)
