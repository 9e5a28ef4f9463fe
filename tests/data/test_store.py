"""What opens as a training store, and what is refused."""

import pickle
import re

import numpy as np
import pytest
import xarray as xr

from orbitds.data.skeleton import Layout, Skeleton, create_store, finish_store, write_about
from orbitds.data.store import open_store, read_about, store_statistics

ABOUT = {
    "recipe": {"pair": "some_pair"},
    "split": {"train": ["2001", "2002"], "validate": ["2003", "2003"], "test": ["2004", "2004"]},
    "same_product": True,
    "sha256": "0" * 64,
    "statics": ["orography"],
}


@pytest.fixture
def store(pair, tmp_path):
    """A store of int16 without its values, not finished."""
    layout = Layout(dtype="int16", times=8, tiles=(2, 3))
    create_store(tmp_path / "a.zarr", Skeleton(pair.coarse, pair.fine, pair.statics, layout, ABOUT))
    row = '{"mean": 3.5, "std": 2.0}'
    (tmp_path / "a.zarr/statistics.json").write_text(f'{{"orography": {row}}}', encoding="utf-8")
    return tmp_path / "a.zarr"


def test_values_that_are_not_there_are_missing(store, pair):
    finish_store(store, ABOUT)
    opened = open_store(store)
    assert np.isnan(opened.fine["eastward_wind"].values).all()
    assert opened.coarse_grid.matches(pair.coarse_grid)
    xr.testing.assert_equal(opened.statics, pair.statics)
    assert opened.fine["eastward_wind"].data.chunksize == (8, 21, 33)


def test_packing_is_that_of_writing_whatever_the_vocabulary_says_now(store):
    finish_store(store, ABOUT)
    meta = store / "zarr.json"
    text = meta.read_text(encoding="utf-8")
    assert open_store(store).coarse_fields.packing.low.tolist() == [-120, 0]
    for path in (meta, store / "coarse/values/zarr.json"):
        content = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"-120(\.0)?", "-99", content), encoding="utf-8")
    assert meta.read_text(encoding="utf-8") != text
    packing = open_store(store).coarse_fields.packing
    assert packing.low.tolist() == [-99, 0]
    np.testing.assert_array_equal(packing.is_log, [False, True])


def test_fields_travel_to_other_processes(store):
    finish_store(store, ABOUT)
    fields = pickle.loads(pickle.dumps(open_store(store).fine_fields))
    assert fields.read(3, slice(0, 2), np.arange(4)).shape == (2, 2, 4)


def test_an_incomplete_store_tells_how_to_go_on(store):
    with pytest.raises(
        ValueError, match=r"complete training store, got .*a\.zarr, .*prepare --pair some_pair"
    ):
        open_store(store)


def test_what_is_no_store_is_refused(store, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_store(tmp_path / "b.zarr")
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(ValueError, match="training store of `orbitds prepare`, got .*none"):
        open_store(tmp_path / "b.zarr")
    write_about(store, ABOUT | {"format": 99, "complete": True})
    with pytest.raises(ValueError, match="format 1, got .* of format 99"):
        read_about(store)


def test_statistics_are_read_from_beside_the_values(store, pair):
    assert store_statistics(store)["orography"].mean == 3.5
    finish_store(store, ABOUT)
    summary = open_store(store).summary
    assert summary.statistics == store_statistics(store)
    assert summary.times.equals(pair.part("train").fine.indexes["time"])
