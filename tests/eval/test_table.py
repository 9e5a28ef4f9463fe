"""The table of scores: its shape, its names, and that it survives a file."""

import numpy as np
import xarray as xr

from orbitds.eval.metric import METRICS
from orbitds.eval.table import PROBABILITIES, SEASONS, blank, long_name_of, plain_name, units_of

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"


def example(*, members=0, rows=6, columns=9, times=24, seed=0):
    """A made-up table with all curves and maps, for tests of what reads one."""
    rng = np.random.default_rng(seed)
    curves = {
        "wavenumber": np.linspace(0.05, 0.5, 10),
        "probability": np.array(PROBABILITIES),
        "time": np.datetime64("2004-01-01", "ns") + np.arange(times) * np.timedelta64(31, "D"),
        "latitude": 90 - (np.arange(rows) + 0.5) * 180 / rows,
        "longitude": (np.arange(columns) + 0.5) * 360 / columns,
    }
    if members:
        curves["rank"] = np.arange(members + 1)
    names = [WARM, RAIN, f"log1p({RAIN})"]
    methods = ["Reslim", "bilinear", "delta change"]
    ds = blank(names, methods, ["all", "land", "sea"], curves=curves)
    for name in ("spectrum", "spectrum_truth"):
        ds[name][:] = np.exp(rng.normal(0, 0.2, ds[name].shape)) * curves["wavenumber"] ** -3
    for name in ("quantile", "quantile_truth"):
        ds[name][:] = np.sort(rng.normal(280, 15, ds[name].shape), axis=-1)
    for name in ("time_series", "time_series_truth", "bias_map", "rmse_map"):
        ds[name][:] = rng.normal(0, 1, ds[name].shape) + (280 if "series" in name else 0)
    ds["rmse_map"][:] = abs(ds["rmse_map"])
    value = rng.uniform(0.1, 0.9, ds["value"].shape)
    # all of what temperature has not, and what needs members
    rainy = [metric for metric, row in METRICS.items() if row.group == "rain"]
    ds["value"][:] = value
    ds["value"].loc[{"variable": WARM, "metric": rainy}] = np.nan
    if members:
        ds["rank_histogram"][:] = 1 / (members + 1)
    else:
        ds["value"].loc[{"metric": ["crps", "spread_skill"]}] = np.nan
    ds["low"][:], ds["high"][:] = ds["value"] - 0.05, ds["value"] + 0.05
    return ds.assign_attrs(
        times=times, first="2004-01-01", last="2005-12-14", grid="6 x 9 cells", blocks=times,
        block="month", detailed_times=times, ssim_window="7 x 7 cells",
    )  # fmt: skip


def test_a_blank_table_is_nan_throughout_and_has_its_dimensions():
    ds = blank([WARM], ["Reslim", "bilinear"], ["all", "land"])
    assert ds["value"].dims == ("variable", "method", "region", "season", "metric")
    assert ds["value"].shape == (1, 2, 2, len(SEASONS), len(METRICS))
    assert set(ds.data_vars) == {"value", "low", "high"}
    assert ds["value"].isnull().all()
    assert ds["value"].dtype == np.float64


def test_curves_are_there_where_their_coordinates_are():
    ds = example()
    assert "rank_histogram" not in ds
    assert ds["spectrum"].dims == ("variable", "method", "wavenumber")
    assert ds["bias_map"].shape == (3, 3, 6, 9)
    assert example(members=4)["rank_histogram"].sizes["rank"] == 5


def test_a_table_survives_a_file(tmp_path):
    ds = example(members=3)
    ds.to_netcdf(tmp_path / "scores.nc")
    with xr.open_dataset(tmp_path / "scores.nc") as back:
        xr.testing.assert_identical(back.load(), ds)


def test_the_logarithm_of_a_variable_has_its_own_name_and_unit():
    assert plain_name(f"log1p({RAIN})") == (RAIN, True)
    assert plain_name(RAIN) == (RAIN, False)
    assert units_of(f"log1p({RAIN})") == "log1p(mm)"
    assert units_of(WARM) == "K"
    assert long_name_of(f"log1p({RAIN})") == "logarithm of 1 + precipitation of 24 hours"
