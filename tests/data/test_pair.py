"""A coarse and a fine dataset of the same weather: aligned, consistent, cut without overlap."""

import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from orbitds.data.pair import on_grid, open_pair, stack
from orbitds.data.statics import statics_for
from orbitds.grid import TIE, Grid

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


def edited(files, **lines):
    """The pair's YAML with some lines exchanged; None drops the line."""
    kept = [
        line
        for line in files.read_text(encoding="utf-8").splitlines()
        if line.partition(":")[0] not in lines
    ]
    added = [f"{name}: {text}" for name, text in lines.items() if text is not None]
    files.write_text("\n".join([*kept, *added]) + "\n", encoding="utf-8")
    return files


def rewrite(files, name, change):
    """Change a dataset of the pair on disk."""
    path = files.parent / f"{name}.nc"
    with xr.open_dataset(path) as ds:
        changed = change(ds.load())
    path.unlink()
    changed.to_netcdf(path)


def test_statics_come_by_themselves_and_say_where_from(files, pair):
    opened = open_pair(edited(files, statics=None))
    expected = statics_for(pair.fine_grid)
    assert opened.static_names == ("orography", "land_sea_mask")
    for name in opened.static_names:
        np.testing.assert_array_equal(opened.statics[name], expected[name])
    assert opened.statics.attrs["source"].count("etopo5_globe_0p1deg") == 2
    np.testing.assert_array_equal(opened.statics["latitude"], opened.fine["latitude"])


@pytest.mark.parametrize(
    ("statics", "names"), [("[latitude_field]", ("latitude_field",)), ("none", ()), ("[]", ())]
)
def test_statics_that_ship_by_name_or_none(files, statics, names):
    assert open_pair(edited(files, statics=statics)).static_names == names


def test_statics_of_the_user_are_the_users(files, winds):
    opened = open_pair(files)
    for place in (opened.statics, opened.statics["orography"]):
        assert place.attrs["source"] == f"{files.parent}/static.yaml"
    assert winds.statics.attrs["source"] == "fnoc_navy_winds_2p5deg"


def test_different_times_are_cut_to_the_common_ones_and_it_is_said(files, pair):
    rewrite(files, "coarse", lambda ds: ds.isel(time=slice(5, None)))
    rewrite(files, "fine", lambda ds: ds.isel(time=slice(0, 45)))
    opened = open_pair(files)
    np.testing.assert_array_equal(opened.fine["time"], pair.fine["time"][5:45])
    np.testing.assert_array_equal(opened.fine["eastward_wind"], pair.fine["eastward_wind"][5:45])
    assert opened.notes == (
        "coarse: 40 of 43 times kept, 2001-06-01 to 2004-09-01",
        "fine: 40 of 45 times kept, 2001-06-01 to 2004-09-01",
    )


def test_no_common_time_is_refused(files):
    rewrite(files, "coarse", lambda ds: ds.assign_coords(time=ds["time"] + np.timedelta64(9, "D")))
    with pytest.raises(ValueError, match="common times of both datasets, got none"):
        open_pair(files)


def test_different_regions_are_cut_to_whole_coarse_cells(files, pair):
    rewrite(files, "coarse", lambda ds: ds.isel(latitude=slice(1, 6), longitude=slice(0, 9)))
    rewrite(files, "fine", lambda ds: ds.isel(latitude=slice(0, 17), longitude=slice(4, 33)))
    opened = open_pair(files)
    assert (opened.coarse_grid.shape, opened.fine_grid.shape) == ((4, 7), (12, 21))
    rain = "total_precipitation_24hr"
    np.testing.assert_array_equal(opened.coarse[rain], pair.coarse[rain][:, 1:5, 2:9])
    np.testing.assert_array_equal(opened.fine[rain], pair.fine[rain][:, 3:15, 6:27])
    np.testing.assert_array_equal(
        opened.statics["orography"], pair.statics["orography"][3:15, 6:27]
    )
    assert [note.partition(",")[0] for note in opened.notes] == [
        "coarse: 4 x 7 of 5 x 9 cells kept",
        "fine: 12 x 21 of 17 x 29 cells kept",
    ]


def test_globes_from_different_sides_of_greenwich(files, pair):
    def turn(ds):
        """Start within the coarse cell at Greenwich, ten fine cells further west."""
        return ds.roll(longitude=10, roll_coords=True)

    rewrite(files, "fine", turn)
    rewrite(files, "static", turn)
    opened = open_pair(files)
    assert opened.factor == 3
    for name in opened.outputs:
        np.testing.assert_array_equal(opened.fine[name], pair.fine[name])


def test_a_region_is_kept_to_and_another_pair_has_the_rest(files, pair):
    north, south = 90, -90
    edge = 5 * 360 / 11
    parts = []
    for west, east in ((0, edge), (edge, 360)):
        box = f"{{north: {north}, south: {south}, west: {west}, east: {east}}}"
        parts.append(open_pair(edited(files, region=box)))
    assert [part.coarse_grid.shape for part in parts] == [(7, 5), (7, 6)]
    for name in parts[0].outputs:
        both = np.concatenate([part.fine[name] for part in parts], axis=-1)
        np.testing.assert_array_equal(both, pair.fine[name])


@pytest.mark.parametrize("least", [None, 0.1, 1.0])
def test_own_blocks_of_any_size_over_valid_cells(files, pair, least):
    holes = pair.fine["eastward_wind"].isel(time=0).values > 8
    holes[:4, 4:8] = True  # a block without any
    assert 0.05 < holes.mean() < 0.6

    rewrite(
        files, "fine", lambda ds: ds.where(~xr.DataArray(holes, dims=("latitude", "longitude")))
    )
    threshold = "" if least is None else f", least_valid: {least}"
    inputs = {"inputs": "[eastward_wind]", "outputs": "[eastward_wind]"}
    opened = open_pair(edited(files, coarse=f"{{coarsen: 4{threshold}}}", **inputs))
    assert (opened.fine_grid.shape, opened.coarse_grid.shape) == ((20, 32), (5, 8))
    assert opened.notes[0].startswith("fine: 20 x 32 of 21 x 33 cells kept, 20 x 32 cells of")
    assert opened.coarse.attrs["missing"] == opened.fine.attrs["missing"] == "mask"
    values = opened.fine["eastward_wind"].values.astype(np.float64)
    np.testing.assert_array_equal(
        values, pair.fine["eastward_wind"].where(~holes)[:, :20, :32].values
    )
    blocks = values.reshape(-1, 5, 4, 8, 4)
    area = np.repeat(pair.fine_grid.area[:20, :1], 32, axis=1).reshape(1, 5, 4, 8, 4)
    area = np.where(np.isnan(blocks), 0, area)
    valid = area.sum(axis=(2, 4))
    whole = pair.fine_grid.area[:20, 0].reshape(5, 4).sum(axis=1)[:, None] * 4
    share = valid / whole
    expected = np.where(
        (share > 0) & (share >= (0.5 if least is None else least) - TIE),
        (np.nan_to_num(blocks) * area).sum(axis=(2, 4)) / np.maximum(valid, 1e-9),
        np.nan,
    )
    assert np.isnan(expected).any()
    np.testing.assert_allclose(opened.coarse["eastward_wind"], expected, rtol=1e-5, atol=1e-5)


def test_where_nothing_may_be_missing_a_hole_is_not_averaged_away(files):
    entry = files.parent / "fine.yaml"
    entry.write_text(
        entry.read_text(encoding="utf-8").replace("missing: mask", ""), encoding="utf-8"
    )
    cell = {"time": 3, "latitude": 4, "longitude": 5}

    def hole(ds):
        ds["eastward_wind"][cell] = np.nan
        return ds

    rewrite(files, "fine", hole)
    inputs = {"inputs": "[eastward_wind]", "outputs": "[eastward_wind]"}
    opened = open_pair(edited(files, coarse="{coarsen: 3}", **inputs))
    assert np.isnan(opened.coarse["eastward_wind"].values[3, 1, 1])
    assert int(opened.coarse["eastward_wind"].isnull().sum()) == 1


def test_parts_cut_the_stored_fields_too(pair):
    class Stored:
        """Fields of a training store, as far as a pair knows them."""

        def __init__(self, months):
            self.months = months

        def at(self, times):
            return Stored(self.months[times])

    stored = {name: Stored(np.arange(48)) for name in ("coarse_fields", "fine_fields")}
    part = replace(pair, **stored).part("validate")
    np.testing.assert_array_equal(part.coarse_fields.months, np.arange(24, 36))
    np.testing.assert_array_equal(part.fine_fields.months, np.arange(24, 36))
    assert pair.part("validate").fine_fields is None


def test_a_training_store_is_opened_as_one(monkeypatch, tmp_path, pair):
    store = types.ModuleType("orbitds.data.store")
    store.open_store = {tmp_path / "winds.zarr": pair}.__getitem__
    monkeypatch.setitem(sys.modules, "orbitds.data.store", store)
    assert open_pair(tmp_path / "winds.zarr") is pair
    assert open_pair(str(tmp_path / "winds.zarr")) is pair


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
