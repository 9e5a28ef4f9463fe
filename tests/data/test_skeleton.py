"""Chunks and shards of a store, and replacing a file at once."""

import pytest
import zarr

from orbitds.data.skeleton import Layout, Skeleton, create_store, replace_file
from orbitds.data.store import read_about


def test_a_chunk_is_one_time_and_a_shard_some_times_of_the_whole_field():
    layout = Layout(times=8, tiles=(2, 3))
    assert layout.chunks((48, 4, 21, 33)) == (1, 4, 11, 11)
    assert layout.shards((48, 4, 21, 33)) == (8, 4, 22, 33)


@pytest.mark.parametrize(("dtype", "fill"), [("float32", None), ("int16", -(2**15))])
def test_an_unfinished_store_has_everything_but_values(pair, tmp_path, dtype, fill):
    skeleton = Skeleton(
        pair.coarse, pair.fine, pair.statics, Layout(dtype=dtype, times=5), {"a": 1}
    )
    create_store(tmp_path / "a.zarr", skeleton)
    array = zarr.open_array(tmp_path / "a.zarr", path="fine/values", mode="r")
    assert (array.dtype, array.shape) == (dtype, (48, 2, 21, 33))
    assert array.metadata.dimension_names == ("time", "variable", "latitude", "longitude")
    assert array.attrs["units"] == {"eastward_wind": "m s-1", "total_precipitation_24hr": "mm"}
    assert array.fill_value == fill if fill else array.fill_value != array.fill_value  # NaN
    assert read_about(tmp_path / "a.zarr") == {
        "a": 1,
        "statics": ["orography"],
        "format": 1,
        "complete": False,
    }
    assert not (tmp_path / "a.zarr/fine/values/c").exists()


def test_a_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "a.json"
    replace_file(path, "one")
    replace_file(path, "two")
    assert path.read_text(encoding="utf-8") == "two"
    assert list(tmp_path.iterdir()) == [path]
