"""The catalog: every shipped entry opens and says the truth; unsafe and wrong ones are refused."""

import warnings

import numpy as np
import pytest
import xarray as xr
import yaml
from dask.base import is_dask_collection

from orbitds.catalog import (
    CoarsenEntry,
    DatasetEntry,
    PairEntry,
    StaticsEntry,
    dataset_entry,
    dataset_names,
    describe,
    files_of,
    open_dataset,
    open_datasets,
    pair_entry,
    pair_names,
)
from orbitds.datasets import whereabouts
from orbitds.grid import Grid
from orbitds.periods import each
from orbitds.resources import share
from orbitds.schema import parse
from orbitds.sources import open_file
from orbitds.variables import variable

SHIPPED = [name for name in dataset_names() if whereabouts(name) == "shipped"]
DATASET = {
    "title": "noise",
    "path": "noise.nc",
    "licence": "CC0",
    "citation": "nobody",
    "resolution_deg": 10.0,
    "variables": ["eastward_wind"],
}
PAIR = {
    "title": "noise in blocks",
    "fine": "noise",
    "coarse": {"coarsen": 4},
    "inputs": ["eastward_wind"],
    "outputs": ["eastward_wind"],
    "split": {
        "train": ["1982", "1985"],
        "validate": ["1986-01", "1986-12"],
        "test": ["1987-01-01", "1987-12-31"],
    },
}


@pytest.fixture
def noise():
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    return xr.Dataset(
        {"eastward_wind": (("time", "latitude", "longitude"), values, {"units": "m s-1"})},
        coords={
            "time": np.array(["2001-01", "2001-02", "2001-03"], dtype="datetime64[ns]"),
            "latitude": np.linspace(20, -20, 5),
            "longitude": np.arange(0.0, 70, 10),
        },
    )


@pytest.fixture
def entry(tmp_path):
    def write(text=None, name="mine.yaml", **changes):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text or yaml.safe_dump(DATASET | changes), encoding="utf-8")
        return path

    return write


# --- shipped entries ---


def test_the_catalog_is_not_empty():
    assert SHIPPED
    assert pair_names()
    assert not set(dataset_names()) & set(pair_names()), "a name means one thing"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_dataset_opens_lazily_and_is_what_its_entry_says(name):
    entry = dataset_entry(name)
    with open_dataset(name) as ds:
        assert all(is_dask_collection(ds[field].data) for field in entry.variables)
        for field in entry.variables:
            row = variable(field)
            assert row.name == field
            assert ds[field].attrs["units"] == row.units
            assert {"latitude", "longitude"} <= set(ds[field].dims)
        grid = Grid.of(ds)
        assert grid.spacing_deg == pytest.approx((entry.resolution_deg,) * 2, rel=1e-4)
        if entry.period is not None:
            first, last = entry.period
            assert ds.sel(time=slice(first, last)).sizes["time"] == ds.sizes["time"]
            assert ds.sel(time=first).sizes["time"] >= 1
            assert ds.sel(time=last).sizes["time"] >= 1
        if entry.missing == "error":
            assert not ds[list(entry.variables)].isnull().any().to_array().any()
    assert entry.licence
    assert entry.citation


@pytest.mark.parametrize("name", pair_names())
def test_shipped_pair_fits_its_datasets(name):
    entry = pair_entry(name)
    assert entry.fine in dataset_names()
    fine = dataset_entry(entry.fine)
    assert set(entry.outputs) <= set(fine.variables)
    coarse = fine
    if isinstance(entry.coarse, CoarsenEntry):
        assert set(entry.inputs) <= set(fine.variables)
    else:
        coarse = dataset_entry(entry.coarse)
        assert set(entry.inputs) <= set(coarse.variables)
        assert 1 < coarse.resolution_deg / fine.resolution_deg < 33
        assert coarse.step == fine.step
    for dataset in (fine, coarse):
        if dataset.period is not None:
            first, last = dataset.period
            assert all(
                start >= first[: len(start)] and end[: len(last)] <= last[: len(end)]
                for periods in entry.split.values()
                for start, end in each(periods)
            ), f"{name} is split beyond {dataset.title}"
    if isinstance(entry.statics, StaticsEntry):
        source = dataset_entry(entry.statics.dataset)
        assert set(entry.statics.variables) <= set(source.variables)
        assert all(variable(static).kind == "static" for static in entry.statics.variables)


@pytest.mark.parametrize("name", [*dataset_names(), *pair_names()])
def test_describe_gives_plain_values(name):
    told = describe(name)
    assert told["title"]
    # as a page of YAML or JSON, without objects of ours
    assert yaml.safe_load(yaml.safe_dump(told)) == told


def test_describe_tells_the_terms_of_a_pairs_data():
    for name in pair_names():
        fine = pair_entry(name).fine
        assert describe(name)["terms"][fine]["licence"] == dataset_entry(fine).licence


# --- opening ---


def test_own_entry_leads_to_the_data_beside_it(entry, noise, tmp_path):
    (tmp_path / "deep").mkdir()
    noise.to_netcdf(tmp_path / "noise.nc")
    noise.to_netcdf(tmp_path / "deep" / "noise.nc")
    for path in ("noise.nc", "deep/noise.nc", "deep/../noise.nc"):
        with open_dataset(str(entry(path=path))) as ds:
            xr.testing.assert_identical(ds.compute(), noise)


def test_data_whose_entry_has_a_mask_say_so(entry, noise, tmp_path):
    noise.to_netcdf(tmp_path / "noise.nc")
    told = {}
    for missing in ("error", "mask"):
        path = entry(path="noise.nc", missing=missing)
        with open_dataset(str(path)) as ds:
            told[missing] = ds.attrs.get("missing")
    assert told == {"error": None, "mask": "mask"}


def test_netcdf_by_its_path(noise, tmp_path):
    noise.to_netcdf(tmp_path / "noise.nc")
    for path in (tmp_path / "noise.nc", str(tmp_path / "noise.nc")):
        with open_dataset(path) as ds:
            assert is_dask_collection(ds["eastward_wind"].data)
            xr.testing.assert_identical(ds.compute(), noise)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_zarr_by_its_path_without_a_warning(noise, tmp_path, zarr_format, consolidated):
    with warnings.catch_warnings():
        # zarr warns of what it writes here on purpose: consolidated metadata of format 3
        warnings.simplefilter("ignore")
        noise.to_zarr(tmp_path / "noise", zarr_format=zarr_format, consolidated=consolidated)
    ds = open_dataset(tmp_path / "noise")
    assert is_dask_collection(ds["eastward_wind"].data)
    xr.testing.assert_equal(ds.compute(), noise)


def test_unknown_name_is_told_with_the_nearest():
    known = dataset_names()[0]
    wrong = known[:-1] + "_"
    for call in (open_dataset, describe):
        with pytest.raises(FileNotFoundError, match=f"got '{wrong}'.*Did you mean '{known}'"):
            call(wrong)
    with pytest.raises(FileNotFoundError, match="Wanted a NetCDF file, a Zarr store or one of"):
        open_dataset("no/such/file.nc")
    with pytest.raises(FileNotFoundError, match="Wanted one of .*got 'quite_else'"):
        dataset_entry("quite_else")
    with pytest.raises(FileNotFoundError, match=f"Did you mean '{pair_names()[0]}'"):
        pair_entry(pair_names()[0][1:])


@pytest.mark.parametrize("content", [b"", b"time,wind\n1,2\n", b"\x89HDF\r\n\x1a\n" + bytes(64)])
def test_file_that_is_no_netcdf_is_refused(tmp_path, content):
    path = tmp_path / "data.nc"
    path.write_bytes(content)
    message = r"Wanted a NetCDF file or a Zarr store, got .*data\.nc.* neither .*file is complete"
    with pytest.raises(ValueError, match=message):
        open_dataset(path)


def test_truncated_netcdf_is_refused(noise, tmp_path):
    path = tmp_path / "data.nc"
    noise.to_netcdf(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="Wanted a NetCDF file or a Zarr store"):
        open_dataset(path)


def test_folder_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "zarr.json").write_text("{", encoding="utf-8")
    for name in ("empty", "broken"):
        with pytest.raises(ValueError, match=f"Zarr store, got .*{name}, which opens as neither"):
            open_file(tmp_path / name)


def test_nothing_is_said_of_another_product_unless_the_pair_says_it():
    own = PAIR | {"coarse": "other"}
    assert not parse(PairEntry, own, source="own.yaml").same_product
    assert parse(PairEntry, own | {"same_product": True}, source="own.yaml").same_product
    with pytest.raises(ValueError, match="Did you mean 'same_product'"):
        parse(PairEntry, own | {"same_products": True}, source="own.yaml")


# --- entries that are refused ---


@pytest.mark.parametrize(
    "path", ["../secret.nc", "deep/../../secret.nc", "/etc/hostname", "link.nc", "linked/secret.nc"]
)
def test_path_that_leaves_the_entrys_folder_is_refused(entry, noise, tmp_path, path):
    noise.to_netcdf(tmp_path / "secret.nc")
    mine = entry(name="mine/mine.yaml", path=path)
    (mine.parent / "link.nc").symlink_to(tmp_path / "secret.nc")
    (mine.parent / "linked").symlink_to(tmp_path)
    with pytest.raises(ValueError, match=r"Wanted a path inside .*leaves it\. Move the YAML"):
        open_dataset(mine)


def test_shipped_entries_stay_among_the_shipped_files():
    files = share("data_catalog/files").resolve()
    paths = [path for name in dataset_names() if (path := dataset_entry(name).path)]
    assert paths
    for path in paths:
        assert (files / path).resolve().is_relative_to(files)


@pytest.mark.parametrize("read", [dataset_entry, pair_entry, open_dataset])
def test_tags_and_duplicates_are_refused(entry, read):
    tagged = entry("title: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ValueError, match=r"Wanted plain YAML in .*mine\.yaml.*python/object"):
        read(tagged)
    twice = entry(yaml.safe_dump(DATASET) + "path: other.nc\n")
    with pytest.raises(ValueError, match=r"mine\.yaml.*the key 'path' stands twice"):
        read(twice)
    with pytest.raises(ValueError, match="Wanted `key: value` lines"):
        read(entry("- noise.nc"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence_": "CC0"}, r"mine\.yaml: unknown name 'licence_'\. Did you mean 'licence'"),
        ({"missing": "drop"}, "missing: .*'error' or 'mask'.*got 'drop'"),
        ({"resolution_deg": "fine"}, "resolution_deg: .*number.*got 'fine'"),
        ({"period": ["1982"]}, "period"),
        ({"variables": 3}, "variables: .*got 3"),
    ],
)
def test_dataset_entry_that_does_not_fit_is_told(entry, changes, message):
    with pytest.raises(ValueError, match=message):
        dataset_entry(entry(**changes))


def test_dataset_entry_must_state_its_terms(entry):
    for key in ("licence", "citation", "title"):
        text = yaml.safe_dump({name: value for name, value in DATASET.items() if name != key})
        with pytest.raises(ValueError, match=f"{key}: Field required"):
            dataset_entry(entry(text))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": ["eastward_wind"]}, "unknown name 'input'. Did you mean 'inputs'"),
        ({"coarse": {"coarsen": 0}}, "coarse.CoarsenEntry.coarsen: .*greater than 0 .got 0"),
        ({"coarse": {"coarsn": 4}}, "unknown name 'coarse.CoarsenEntry.coarsn'.*'coarse.coarsen'"),
        (
            {"statics": {"dataset": "noise", "variables_": []}},
            "'statics.StaticsEntry.variables_'.*'statics.variables'",
        ),
        ({"split": {"train": ["1982", "1985"]}}, r"train, validate and test .*got \['train'\]"),
        ({"split": PAIR["split"] | {"tests": ["1", "2"]}}, "split.tests"),
        ({"split": PAIR["split"] | {"test": ["1987"]}}, "split.test"),
    ],
)
def test_pair_entry_that_does_not_fit_is_told(entry, changes, message):
    with pytest.raises(ValueError, match=message):
        pair_entry(entry(yaml.safe_dump(PAIR | changes)))


def test_pair_entry_by_path_is_what_stands_there(entry):
    got = pair_entry(entry(yaml.safe_dump(PAIR)))
    assert got == PairEntry(
        title="noise in blocks",
        fine="noise",
        coarse=CoarsenEntry(coarsen=4),
        inputs=("eastward_wind",),
        outputs=("eastward_wind",),
        split={name: tuple(period) for name, period in PAIR["split"].items()},
    )


@pytest.mark.parametrize(
    ("train", "validate", "test"),
    [
        (("1982", "1985"), ("1985", "1986"), ("1987", "1988")),
        (("1982", "1987"), ("1983", "1984"), ("1988", "1988")),
        (("1986", "1989"), ("1982", "1983"), ("1984", "1986-06")),
        # a year's end is its last day: its months are within it
        (("1982", "1985"), ("1985-06", "1986"), ("1987", "1988")),
        (("1982", "1985-06"), ("1985-06-15", "1986"), ("1987", "1988")),
        (("1982", "1985-06-15"), ("1985", "1986"), ("1987", "1988")),
        (("1982", "1985-06-15"), ("1985-06", "1986"), ("1987", "1988")),
    ],
)
def test_periods_that_share_a_time_are_refused(train, validate, test):
    # what xarray would select agrees that they do
    days = xr.DataArray(
        np.zeros(8 * 366),
        dims="time",
        coords={"time": np.datetime64("1982-01-01", "ns") + np.arange(8 * 366).astype("m8[D]")},
    )
    split = {"train": train, "validate": validate, "test": test}
    chosen = [days.sel(time=slice(*period))["time"].values for period in split.values()]
    assert len(np.unique(np.concatenate(chosen))) < sum(part.size for part in chosen)
    with pytest.raises(ValueError, match=r"periods that do not overlap, got \w+ to \d.* and \w+"):
        parse(PairEntry, PAIR | {"split": split}, source="here")


@pytest.mark.parametrize(
    ("train", "validate", "test"),
    [
        (("1982", "1985"), ("1986", "1986"), ("1987", "1987")),
        (("1986-07", "1987"), ("1982", "1983"), ("1984", "1986-06")),
        (("1982", "1985-06-15"), ("1985-06-16", "1985-12"), ("1986", "1986-01-31")),
    ],
)
def test_periods_may_follow_each_other_closely_in_any_order(train, validate, test):
    split = {"train": train, "validate": validate, "test": test}
    assert parse(PairEntry, PAIR | {"split": split}, source="here").split == split


SEVERAL = [["1982-01", "1982-03"], ["1983", "1984"]]


def test_a_part_may_be_several_periods():
    split = PAIR["split"] | {"train": SEVERAL, "validate": ["1982-04", "1982-06"]}
    meant = parse(PairEntry, PAIR | {"split": split}, source="here").split
    assert meant["train"] == (("1982-01", "1982-03"), ("1983", "1984"))
    split["validate"] = ["1982-03", "1982-06"]
    with pytest.raises(
        ValueError, match=r"overlap, got train to 1982-03 and validate from 1982-03"
    ):
        parse(PairEntry, PAIR | {"split": split}, source="here")


@pytest.mark.parametrize("period", [["1982", "1985"], SEVERAL])
def test_validation_may_be_the_training_period_itself(period):
    split = PAIR["split"] | {"train": period, "validate": period}
    parse(PairEntry, PAIR | {"split": split}, source="here")
    with pytest.raises(ValueError, match="do not overlap"):
        parse(PairEntry, PAIR | {"split": split | {"test": period}}, source="here")


@pytest.mark.parametrize(
    "period",
    [["1985", "1982"], ["1985-03", "1985-02"], ["1985-03", "1984"], ["1986-01-02", "1985"]],
)
def test_a_period_that_ends_before_it_begins_is_refused(period):
    message = f"end after they begin, got train from {period[0]} to {period[1]}"
    with pytest.raises(ValueError, match=message):
        parse(PairEntry, PAIR | {"split": PAIR["split"] | {"train": period}}, source="here")


@pytest.mark.parametrize("period", [["1985", "1985"], ["1985-03", "1985"], ["1984", "1985-03"]])
def test_a_period_may_end_in_the_year_in_which_it_begins(period):
    split = PAIR["split"] | {"train": period}
    assert parse(PairEntry, PAIR | {"split": split}, source="here").split["train"] == tuple(period)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, None),
        ("none", ()),
        ([], ()),
        (["orography"], ("orography",)),
        (
            {"dataset": "noise", "variables": ["orography"]},
            StaticsEntry(dataset="noise", variables=("orography",)),
        ),
    ],
)
def test_statics_left_out_come_by_themselves_and_none_is_none(written, meant):
    assert parse(PairEntry, PAIR | {"statics": written}, source="here").statics == meant
    assert parse(PairEntry, PAIR, source="here").statics is None
    assert parse(PairEntry, yaml.safe_load("statics: none") | PAIR, source="here").statics == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"north": 10, "south": 20}, "north above its south"),
        ({"west": 20, "east": 20}, "of some width"),
        ({"north": 100}, "region.north: .*less than or equal to 90"),
        ({"nord": 10}, "unknown name 'region.nord'"),
    ],
)
def test_a_region_that_is_none_is_refused(changes, message):
    region = {"north": 50, "south": 40, "west": 170, "east": -170}
    assert parse(PairEntry, PAIR | {"region": region}, source="here").region.east == -170
    with pytest.raises(ValueError, match=message):
        parse(PairEntry, PAIR | {"region": region | changes}, source="here")


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_of_valid_area_lies_between_zero_and_one(share):
    coarse = {"coarsen": 4, "least_valid": share}
    with pytest.raises(ValueError, match=r"least_valid.*than or equal to [01]"):
        parse(PairEntry, PAIR | {"coarse": coarse}, source="here")


def test_entries_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        parse(DatasetEntry, DATASET, source="here").path = "other.nc"


def test_several_files_are_one_dataset_and_names_stand_alone(tmp_path, coarse):
    for number in range(2):
        part = coarse.isel(time=slice(6 * number, 6 * number + 6))
        part.to_netcdf(tmp_path / f"part{number}.nc")
    names = [str(tmp_path / f"part{number}.nc") for number in range(2)]
    with open_datasets(names) as both, open_datasets([str(tmp_path / "part?.nc")]) as found:
        assert both.sizes["time"] == 12
        xr.testing.assert_equal(both, found)
    assert files_of(str(tmp_path / "part?.nc")) == [tmp_path / "part0.nc", tmp_path / "part1.nc"]
    for name in ("fnoc_navy_winds_2p5deg", "gs://a/b.zarr", "own.yaml"):
        with pytest.raises(ValueError, match="Wanted files where there are several inputs, got"):
            open_datasets([names[0], name])
    with pytest.raises(FileNotFoundError, match="got '.*none.nc', which does not exist"):
        open_datasets([names[0], str(tmp_path / "none.nc")])
