"""Published arrays: the numbers and fields in them, and what is refused."""

import shutil

import numpy as np
import pytest

from orbitds.orbit2.arrays import read_statics, read_statistics

NAMES = ("temperature_850", "latitude_field", "total_precipitation_24hr", "temperature_850")


def test_statistics_are_those_of_the_files(published):
    rows = read_statistics(published.folder / "stats", NAMES)
    assert list(rows) == list(NAMES[:3])
    assert rows["temperature_850"].mean == pytest.approx(published.mean["temperature_850"])
    assert rows["temperature_850"].std == pytest.approx(published.std["temperature_850"])
    assert rows["latitude_field"].mean == pytest.approx(published.mean["lattitude"])
    rain = rows["total_precipitation_24hr"]
    assert (rain.mean, rain.std, rain.threshold) == (0, 1, 0.25)
    assert rows["latitude_field"].threshold == 0


def test_the_published_folders_will_do(published):
    inner = published.folder / "all" / "mean_std" / "era5" / "0.25_deg"
    shutil.copytree(published.folder / "stats", inner)
    assert read_statistics(published.folder / "all", NAMES) == read_statistics(inner, NAMES)
    shutil.copytree(published.folder / "statics", published.folder / "all" / "static_variables")
    fields = read_statics(published.folder / "all")
    np.testing.assert_array_equal(fields, read_statics(published.folder / "statics"))


def write(folder, which, **change):
    path = folder / "stats" / f"normalize_{which}.npz"
    with np.load(path) as old:
        arrays = dict(old) | change
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("which", "change", "told"),
    [
        ("mean", None, r"Wanted the statistics of 'temperature_850' in .*mean.npz, got .*\. Give"),
        ("std", np.array([0.0]), r"one finite, positive number for 'temperature_850' .*0\.0\]\. C"),
        ("mean", np.array([np.nan]), r"Wanted one finite number for 'temperature_850' .*nan\]\. C"),
        ("std", np.array([1.0, 2.0]), r"number for 'temperature_850' in .*got \[1\.0, 2\.0\]\. C"),
    ],
)
def test_wrong_statistics_are_refused(published, which, change, told):
    write(published.folder, which, temperature_850=change)
    with pytest.raises(ValueError, match=told):
        read_statistics(published.folder / "stats", NAMES)
    kept = read_statistics(published.folder / "stats", ["2m_temperature"])
    assert kept["2m_temperature"].mean == pytest.approx(278)


def test_static_fields_are_those_of_the_files(published):
    fields = read_statics(published.folder / "statics")
    assert fields.shape == (4, *published.shape)
    for field, name in zip(fields, published.network.default_vars[:4], strict=True):
        np.testing.assert_array_equal(field, published.statics[name])


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("lattitude", lambda field: field[::-1], r"rows from south to north, got .*75 to -90\. Ch"),
        ("orography", lambda field: field[:, :-1], r"n x 2n points.*\(12, 23\).*Copy"),
        ("orography", lambda field: field[None], r"n x 2n points.*\(1, 12, 24\).*Copy"),
        (
            "landcover",
            lambda field: np.where(field > 3, np.nan, field),
            r"finite .*landcover.*Fill",
        ),
        ("landcover", lambda field: field.astype(str), r"one array of numbers in .*Copy"),
    ],
)
def test_wrong_static_fields_are_refused(published, name, change, told):
    path = published.folder / "statics" / f"{name}_15deg.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(ValueError, match=told):
        read_statics(published.folder / "statics")


def test_two_files_of_one_field_are_refused(published):
    folder = published.folder / "statics"
    shutil.copy(folder / "landcover_15deg.npy", folder / "landcover_0.25deg.npy")
    told = r"one file such as landcover_0\.25deg\.npy in .*got \['landcover_0\.25deg\.npy', 'land"
    with pytest.raises(FileNotFoundError, match=told):
        read_statics(folder)
