"""Draw what the shipped checkpoint makes of a field that it has not seen: the README's map.

    ORBITDS_DATA=... python eval/foundation_figure.py

Mean temperature of February 1895 over the southern Rocky Mountains: block means of 16 km, what
`foundation` makes of them, and the field of 4 km itself, with what is left of the error. Needs
matplotlib (`orbitds[maps]`) and the nClimGrid fields that `orbitds catalog show
nclimgrid_us_means` tells of.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr

from orbitds.data.pair import open_pair

mpl.use("agg")
import matplotlib.pyplot as plt

FIGURE = Path(__file__).parent / "figures" / "foundation_us.png"
PAIR, VARIABLE = "nclimgrid_us_five_4x", "2m_temperature"
PLACE = {"latitude": slice(41.5, 35.5), "longitude": slice(-112.5, -103.5)}
ZERO_K = 273.15


def main() -> None:
    """Downscale the field and draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--figure", type=Path, default=FIGURE, help="the image to write")
    figure = parser.parse_args().figure
    test = open_pair(PAIR).part("test")
    coarse, truth = test.coarse.load(), test.fine.load()
    fine = coarse.orbit.downscale("foundation")
    fine = fine.assign_coords(latitude=truth["latitude"], longitude=truth["longitude"])  # rounding
    fields = [ds[VARIABLE].isel(time=0).sel(PLACE) - ZERO_K for ds in (coarse, fine, truth)]
    titles = [
        "16 km, given",
        f"4 km, foundation (RMSE here {_rmse(fields[1], fields[2]):.2f} K, bilinear "
        f"{_rmse(_bilinear(fields[0], fields[2]), fields[2]):.2f})",
        "4 km, nClimGrid",
    ]
    low, high = np.nanquantile(fields[2], [0.002, 0.998])
    drawn, axes = plt.subplots(1, 3, figsize=(13, 3.9), sharey=True, constrained_layout=True)
    for axis, field, title in zip(axes, fields, titles, strict=True):
        image = axis.pcolormesh(
            field["longitude"], field["latitude"], field, vmin=low, vmax=high, cmap="RdYlBu_r"
        )
        axis.set_title(title, fontsize=10)
        axis.set_aspect(1 / np.cos(np.deg2rad(38.5)))
        axis.set_xlabel("longitude")
    axes[0].set_ylabel("latitude")
    drawn.colorbar(image, ax=axes, label="February 1895 (degC)", shrink=0.9)
    drawn.savefig(figure, dpi=80)


def _bilinear(coarse: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    return coarse.interp(latitude=like["latitude"], longitude=like["longitude"])


def _rmse(field: xr.DataArray, truth: xr.DataArray) -> float:
    weight = np.cos(np.deg2rad(truth["latitude"]))
    return float(np.sqrt(((field - truth) ** 2).weighted(weight).mean()))


if __name__ == "__main__":
    main()
