"""What a job reads and computes."""

import dask.array
import numpy as np
import pytest

from orbitds.infer.units import Unit, Units
from tests.infer.laying import laid_out


@pytest.mark.parametrize("rising", [False, True])
def test_rows_of_tiles_are_told_in_the_order_of_the_caller(
    coarse, checkpoint_folder, tmp_path, rising
):
    ds = coarse.isel(latitude=slice(None, None, -1)) if rising else coarse
    engine = laid_out(ds, checkpoint_folder, tmp_path, tiles="2x1").engine
    assert engine.tiles == (2, 1)
    assert engine.row_edges == ([0, 4, 7] if rising else [0, 3, 7])


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize(
    "order", [("time", "latitude", "longitude"), ("longitude", "latitude", "time")]
)
def test_units_are_cut_out_of_the_answer(coarse, checkpoint_folder, tmp_path, rising, order):
    ds = coarse.isel(latitude=slice(None, None, -1)) if rising else coarse
    ds = ds.transpose(*order)
    engine = laid_out(ds, checkpoint_folder, tmp_path, batch_size=1).engine
    unit = Unit(0, range(3, 5), range(2, 5))
    fields, seams = engine.compute(engine.read(unit), unit)
    assert seams is None
    whole = ds.orbit.downscale(checkpoint_folder, batch_size=1)
    wanted = whole.isel(time=slice(3, 5), latitude=slice(6, 15))
    for name, values in fields.items():
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        np.testing.assert_array_equal(values, wanted[name].values)


def test_a_field_is_read_once_for_several_units(coarse, checkpoint_folder, tmp_path, monkeypatch):
    """As many as may be read at once; never more."""
    engine = laid_out(coarse, checkpoint_folder, tmp_path).engine
    read = []

    def note(block, block_info=None):
        read.append(block.shape[0])
        return block

    lazy = coarse["eastward_wind"].chunk(time=1)
    noted = lazy.copy(
        data=dask.array.map_blocks(note, lazy.data, dtype=lazy.dtype, meta=lazy.data._meta)
    )
    engine.coarse = engine.coarse.assign(eastward_wind=noted)
    per_time = engine._bytes(range(1))
    monkeypatch.setattr("orbitds.infer.engine.READ_BYTES", 5 * per_time)
    units = list(Units(12, 7, 2, 7))
    for unit in units:
        block = engine.read(unit, units[unit.number + 1 :])
        np.testing.assert_array_equal(
            block["eastward_wind"], coarse["eastward_wind"][unit.times.start : unit.times.stop]
        )
    assert len(read) == 12  # each once
    engine.read(units[0], [units[4]])  # which does not follow it
    assert len(read) == 14
