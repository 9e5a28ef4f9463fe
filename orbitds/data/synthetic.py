"""An analytic coarse and fine pair for tests, documentation and smoke runs."""

import numpy as np
import xarray as xr

from orbitds.data.pair import Pair
from orbitds.grid import block_mean

YEARS = 4


def synthetic_pair(
    *, rows: int = 12, columns: int = 24, factor: int = 4, years: int = YEARS, seed: int = 0
) -> Pair:
    """Return a global pair of monthly wind and precipitation with a terrain to learn.

    Waves travel eastward over the globe; the terrain deflects the wind and wets the windward
    slopes, so the fine structure follows from the coarse field and the orography.

    Parameters
    ----------
    rows, columns
        Coarse grid; the fine one is ``factor`` times as fine.
    years
        Full years from 2001; the last but one validates, the last tests.
    """
    rng = np.random.default_rng(seed)
    height, width = rows * factor, columns * factor
    latitude = 90 - (np.arange(height) + 0.5) * 180 / height
    longitude = (np.arange(width) + 0.5) * 360 / width
    lat, lon = np.deg2rad(latitude)[:, None], np.deg2rad(longitude)[None, :]
    terrain = sum(
        np.cos(lat) * np.sin(k * lon + rng.uniform(0, 6)) * np.cos(k * lat + rng.uniform(0, 6))
        for k in (5, 7, 11, columns // 2 + 3)
    )
    orography = np.clip(600 * np.asarray(terrain), 0, None)
    slope = np.gradient(orography, axis=1) / 100
    time = xr.date_range("2001-01-01", periods=12 * years, freq="MS")
    wind, rain = [], []
    for month in range(12 * years):
        phase = 2 * np.pi * month / 12
        flow = 8 * np.cos(2 * lat + 0.3 * np.cos(phase)) + 3 * np.sin(
            3 * lon - phase + rng.normal()
        ) * np.cos(lat)
        wind.append(flow * (1 - orography / 3000))
        rain.append(np.clip(3 + 2 * np.cos(lat) * np.cos(phase) + flow * slope, 0, None))
    dims = ("time", "latitude", "longitude")
    fine = xr.Dataset(
        {
            "eastward_wind": (dims, np.stack(wind).astype(np.float32), {"units": "m s-1"}),
            "total_precipitation_24hr": (dims, np.stack(rain).astype(np.float32), {"units": "mm"}),
        },
        coords={
            "time": time,
            "latitude": ("latitude", latitude, {"standard_name": "latitude"}),
            "longitude": ("longitude", longitude, {"standard_name": "longitude"}),
        },
    )
    statics = xr.Dataset(
        {"orography": (dims[1:], orography.astype(np.float32), {"units": "m"})},
        coords={name: fine[name] for name in dims[1:]},
    )
    last = 2000 + years
    return Pair(
        "synthetic",
        block_mean(fine, factor),
        fine,
        statics,
        {
            "train": ("2001", str(last - 2)),
            "validate": (str(last - 1), str(last - 1)),
            "test": (str(last), str(last)),
        },
        same_product=True,
    )
