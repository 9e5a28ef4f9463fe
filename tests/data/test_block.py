"""One block: its values in order, its sums, and where a wrong value is."""

from dataclasses import replace

import numpy as np
import pytest

from orbitds.catalog import pair_entry
from orbitds.data.block import _groups, read_block
from orbitds.data.source import Source


def source_of(pair):
    """The synthetic pair as a source."""
    return Source(
        times=pair.fine.indexes["time"],
        read=lambda steps: (pair.coarse.isel(time=steps), pair.fine.isel(time=steps)),
        statics=pair.statics,
        entry=pair_entry("navy_winds_10deg_to_2p5deg"),
        same_product=True,
        chunk=1,
        done=(),
        fingerprints={},
    )


@pytest.mark.parametrize("chunks", [None, 3])
def test_a_block_is_a_stack(pair, chunks):
    lazy = pair if chunks is None else replace(pair, fine=pair.fine.chunk(time=chunks))
    block = read_block(source_of(lazy), slice(2, 9), workers=2)
    expected = pair.fine.isel(time=slice(2, 9)).to_dataarray("variable").transpose("time", ...)
    np.testing.assert_array_equal(block.values["fine"], expected.values)
    assert block.values["coarse"].shape == (7, 2, 7, 11)
    assert block.names["fine"] == pair.outputs
    assert block.missing == {}


def test_sums_are_those_of_the_times_chosen(pair):
    block = read_block(source_of(pair), slice(0, 6), workers=1)
    moments = block.moments(np.arange(6) < 4)["eastward_wind"]
    wind = pair.fine["eastward_wind"].values[:4].astype(np.float64)
    area = pair.fine_grid.area
    assert moments.weight == pytest.approx(4 * area.sum())
    assert moments.total == pytest.approx((area * (wind - moments.guess)).sum())
    assert block.moments(np.zeros(6, bool))["eastward_wind"].guess is None


def test_a_wrong_value_is_told_with_its_place(pair):
    wind = pair.fine["eastward_wind"].copy()
    wind[5, 4, 30] = 500
    wrong = replace(pair, fine=pair.fine.assign(eastward_wind=wind))
    told = r"between -120 and 120 m s-1.*first is at 2001-06-01T00:00:00, latitude 51.4.*332.7"
    with pytest.raises(ValueError, match=told):
        read_block(source_of(wrong), slice(3, 7), workers=1)


def test_what_reads_the_same_is_computed_together(pair):
    fine = pair.fine.chunk(time=4)
    wind, rain = (fine[name].data for name in ("eastward_wind", "total_precipitation_24hr"))
    arrays = {
        "wind": wind,
        "rain": rain,
        "double": 2 * wind,
        "both": wind + rain,
        "numpy": wind[:1],
    }
    del arrays["both"]
    assert sorted(map(sorted, _groups(arrays))) == [["double", "numpy", "wind"], ["rain"]]
    arrays["both"] = wind + rain
    assert sorted(map(sorted, _groups(arrays))) == [["both", "double", "numpy", "rain", "wind"]]
