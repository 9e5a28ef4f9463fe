"""A coarse and a fine dataset of the same weather: aligned, consistent, cut without overlap."""

from dataclasses import replace

import numpy as np
import pytest

from orbitds.data.pair import on_grid, open_pair, stack
from orbitds.grid import Grid

SHIPPED = "navy_winds_10deg_to_2p5deg"


def block_means(fine, latitude_deg, factor):
    """Means over blocks of [T, Hf, Wf], weighted by area, in plain numpy."""
    half = abs(latitude_deg[1] - latitude_deg[0]) / 2
    edges = np.deg2rad(np.stack([latitude_deg - half, latitude_deg + half]))
    area = np.sin(edges[1]) - np.sin(edges[0])
    steps, height, width = fine.shape
    rows, columns = height // factor, width // factor
    blocks = fine.astype(np.float64).reshape(steps, rows, factor, columns, factor)
    weight = area.reshape(1, rows, factor, 1, 1)
    return (blocks * weight).sum(axis=(2, 4)) / (weight.sum(axis=(2, 4)) * factor)


@pytest.fixture(scope="module")
def winds():
    return open_pair(SHIPPED)


@pytest.fixture
def files(pair, tmp_path):
    """The synthetic pair as files with catalog entries beside them; returns the pair's YAML."""
    for name, ds in (("fine", pair.fine), ("coarse", pair.coarse), ("static", pair.statics)):
        ds.to_netcdf(tmp_path / f"{name}.nc")
        (tmp_path / f"{name}.yaml").write_text(
            f"title: {name}\npath: {name}.nc\nlicence: none\ncitation: none\n"
            f"resolution_deg: 1\nvariables: [{', '.join(map(str, ds.data_vars))}]\n"
            + ("missing: mask\n" if name == "fine" else ""),
            encoding="utf-8",
        )
    entry = (
        f"title: test\nfine: {tmp_path}/fine.yaml\ncoarse: {tmp_path}/coarse.yaml\n"
        "inputs: [total_precipitation_24hr]\noutputs: [eastward_wind, total_precipitation_24hr]\n"
        f"statics: {{dataset: {tmp_path}/static.yaml, variables: [orography]}}\n"
        "split: {train: ['2001', '2002'], validate: ['2003', '2003'], test: ['2004', '2004']}\n"
    )
    (tmp_path / "pair.yaml").write_text(entry, encoding="utf-8")
    return tmp_path / "pair.yaml"


# --- the shipped pair ---------------------------------------------------------------------------


def test_the_shipped_pair_opens_lazily_under_its_names(winds):
    assert winds.inputs == winds.outputs == ("eastward_wind", "northward_wind")
    assert winds.static_names == ("orography", "land_sea_mask")
    assert (winds.factor, winds.coarse_grid.shape, winds.fine_grid.shape) == (
        4,
        (18, 36),
        (72, 144),
    )
    assert winds.coarse_grid.periodic
    for ds in (winds.coarse, winds.fine, winds.statics):
        assert all(field.chunks is not None for field in ds.data_vars.values())


def test_times_of_the_shipped_pair_are_the_same(winds):
    np.testing.assert_array_equal(winds.coarse["time"], winds.fine["time"])
    assert winds.coarse.sizes["time"] == 132


def test_coarse_fields_are_the_block_means_of_the_fine_ones(winds):
    chosen = [0, 57, 131]
    for name in winds.inputs:
        fine = winds.fine[name].isel(time=chosen).values
        expected = block_means(fine, winds.fine["latitude"].values, 4)
        np.testing.assert_allclose(winds.coarse[name].isel(time=chosen), expected, atol=2e-5)


def test_statics_lie_on_the_fine_grid(winds):
    for axis in ("latitude", "longitude"):
        np.testing.assert_array_equal(winds.statics[axis], winds.fine[axis])
    # the Tibetan Plateau and the Pacific
    heights = winds.statics["orography"].sel(latitude=33.75, longitude=[90.0, 180.0])
    assert heights[0] > 4000
    assert heights[1] == 0


def test_parts_share_no_time_and_leave_none_out(winds):
    parts = [winds.part(name) for name in ("train", "validate", "test")]
    assert [part.fine.sizes["time"] for part in parts] == [96, 12, 24]
    times = np.concatenate([part.fine["time"].values for part in parts])
    np.testing.assert_array_equal(np.sort(times), winds.fine["time"])
    assert np.unique(times).size == times.size
    for part in parts:
        np.testing.assert_array_equal(part.coarse["time"], part.fine["time"])


# --- pairs of one's own -------------------------------------------------------------------------


def test_a_pair_of_files_equals_what_was_written(files, pair):
    opened = open_pair(files)
    assert opened.inputs == ("total_precipitation_24hr",)
    assert opened.outputs == ("eastward_wind", "total_precipitation_24hr")
    assert opened.factor == pair.factor
    for name in opened.outputs:
        np.testing.assert_array_equal(opened.fine[name], pair.fine[name])
    rain = "total_precipitation_24hr"
    np.testing.assert_array_equal(opened.coarse[rain], pair.coarse[rain])
    np.testing.assert_array_equal(opened.statics["orography"], pair.statics["orography"])
    assert opened.fine.attrs["missing"] == "mask"
    assert opened.coarse.attrs["missing"] == "error"


def test_a_pair_knows_whether_its_coarse_fields_are_means_of_the_fine_product(files, winds):
    assert winds.same_product, "made by coarsening"
    assert winds.part("test").same_product
    assert not open_pair(files).same_product, "another dataset, of which nothing is said"
    text = files.read_text(encoding="utf-8")
    files.write_text(text + "same_product: true\n", encoding="utf-8")
    assert open_pair(files).same_product


def test_a_pair_without_statics_has_none(files):
    lines = files.read_text(encoding="utf-8").splitlines()
    kept = "\n".join(line for line in lines if not line.startswith("statics"))
    files.write_text(kept, encoding="utf-8")
    assert open_pair(files).static_names == ()


def test_an_output_need_not_be_an_input(pair):
    other = replace(pair, coarse=pair.coarse[["eastward_wind"]])
    assert other.inputs == ("eastward_wind",)
    assert other.outputs == ("eastward_wind", "total_precipitation_24hr")


def test_variables_stack_in_the_order_asked_for(pair):
    names = ("total_precipitation_24hr", "eastward_wind")
    stacked = stack(pair.coarse, names)
    assert stacked.dims == ("time", "variable", "latitude", "longitude")
    assert stacked.dtype == np.float32
    for place, name in enumerate(names):
        np.testing.assert_array_equal(stacked[:, place], pair.coarse[name])
    assert stack(pair.statics, ("orography",), np.float64).shape == (1, 21, 33)


@pytest.mark.parametrize("fits", [True, False])
def test_what_fits_is_held_in_memory(pair, monkeypatch, fits):
    # the fine fields are nine times as large as the coarse ones
    limit = pair.fine.nbytes if fits else pair.fine.nbytes - 1
    monkeypatch.setattr("orbitds.data.pair.IN_MEMORY_BYTES", limit)
    lazy = replace(pair, coarse=pair.coarse.chunk(time=7), fine=pair.fine.chunk(time=7))
    held = lazy.held()
    assert not held.coarse.chunks
    assert bool(held.fine.chunks) != fits
    assert held.fine.identical(pair.fine)


# --- cells of a larger grid ---------------------------------------------------------------------


@pytest.mark.parametrize("turn", [-360, 0, 360])
@pytest.mark.parametrize("first", [0, 4, 29])
def test_on_grid_cuts_the_same_cells_across_greenwich_too(pair, turn, first):
    columns = (np.arange(7) + first) % 33
    longitude = pair.fine["longitude"].values[first] + np.arange(7) * 360 / 33 + turn
    like = pair.statics.isel(latitude=slice(2, 7), longitude=columns)
    like = like.assign_coords(longitude=longitude)
    cut = on_grid(pair.statics, Grid.of(like), like)
    np.testing.assert_array_equal(cut["orography"], like["orography"])
    np.testing.assert_array_equal(cut["longitude"], longitude)


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.assign_coords(longitude=ds["longitude"] + 3),
        lambda ds: ds.assign_coords(latitude=ds["latitude"] / 2),
        lambda ds: ds.coarsen(latitude=3, longitude=3).mean(),
    ],
    ids=["shifted", "squeezed", "coarser"],
)
def test_on_grid_refuses_other_cells(pair, change):
    like = change(pair.statics)
    with pytest.raises(ValueError, match=r"Wanted the cells .*got a dataset of 21 x 33.*Regrid"):
        on_grid(pair.statics, Grid.of(like), like)


# --- refusals -----------------------------------------------------------------------------------


def test_different_times_are_refused(pair):
    with pytest.raises(
        ValueError, match=r"same times.*47 coarse and 48 fine, 47 in common.*Select"
    ):
        replace(pair, coarse=pair.coarse.isel(time=slice(1, None)))


def test_times_in_another_order_are_refused(pair):
    with pytest.raises(ValueError, match=r"same times.*48 in common"):
        replace(pair, coarse=pair.coarse.isel(time=slice(None, None, -1)))


def test_different_calendars_are_refused(pair):
    with pytest.raises(ValueError, match=r"same times.*0 in common"):
        replace(pair, coarse=pair.coarse.convert_calendar("noleap"))


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.isel(latitude=slice(3, None)),
        lambda ds: ds.isel(longitude=slice(1, None)),
        lambda ds: ds.assign_coords(longitude=ds["longitude"] + 4),
        lambda ds: ds.assign_coords(latitude=ds["latitude"] - 4),
    ],
    ids=["fewer rows", "no whole cell", "east", "south"],
)
def test_grids_that_do_not_nest_are_refused(pair, change):
    with pytest.raises(ValueError, match=r"divide the coarse cells evenly.*7 x 11.*Regrid"):
        replace(pair, fine=change(pair.fine))


def test_an_empty_part_is_refused(pair):
    split = {**pair.split, "test": ("2031", "2032")}
    with pytest.raises(ValueError, match=r"2031 to 2032 for the test part.*run from 2001.*Correct"):
        replace(pair, split=split).part("test")


def test_an_unknown_pair_names_the_shipped_ones():
    with pytest.raises(FileNotFoundError, match=SHIPPED):
        open_pair("navy_winds")
