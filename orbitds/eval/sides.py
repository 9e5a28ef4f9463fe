"""Prediction, truth and coarse data of an evaluation, brought to one grid and common times."""

from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from orbitds.data.align import start_with
from orbitds.data.door import enter
from orbitds.data.values import Missing
from orbitds.grid import Grid
from orbitds.variables import table, variable

# Names of a dimension of members.
MEMBER_DIMENSIONS = ("member", "number", "realization", "ensemble", "sample")


@dataclass(frozen=True, eq=False)
class Sides:
    """Canonical, lazy datasets with the same times; prediction and truth on the same cells."""

    names: tuple[str, ...]
    """Common variables."""
    grid: Grid
    members: tuple[xr.Dataset, ...]
    """The members of the prediction; one where it is no ensemble."""
    truth: xr.Dataset
    coarse: xr.Dataset | None

    @property
    def prediction(self) -> xr.Dataset:
        """The prediction, or the first of its members."""
        return self.members[0]

    @classmethod
    def of(
        cls,
        prediction: xr.Dataset,
        truth: xr.Dataset,
        coarse: xr.Dataset | None = None,
        *,
        missing: Missing = "error",
    ) -> "Sides":
        """Return the sides of an evaluation.

        Parameters
        ----------
        missing
            Whether NaN in prediction and coarse data is an error or a mask.

        Raises
        ------
        ValueError
            If there is no common variable or time, or the grids differ.
        """
        names = common_variables(prediction, truth)
        parts = [enter(part, names, missing=missing).ds for part in _members(prediction)]
        canonical = enter(truth, names, missing="mask").ds
        grid, theirs = Grid.of(canonical), Grid.of(parts[0])
        if not grid.matches(theirs):
            raise ValueError(
                f"Wanted prediction and truth on one grid, got prediction {theirs} and truth "
                f"{grid}. Regrid one of the two."
            )
        sides = {"prediction": parts[0], "truth": canonical}
        sides |= {f"member {place}": part for place, part in enumerate(parts[1:], start=2)}
        if coarse is not None:
            own = enter(coarse, _shared_with(coarse, names), missing=missing).ds
            cells = Grid.of(own)
            sides = {name: start_with(ds, cells) for name, ds in sides.items()} | {"coarse": own}
        sides = at_common_times(sides)
        truth, own = sides.pop("truth"), sides.pop("coarse", None)
        return cls(tuple(names), Grid.of(truth), tuple(sides.values()), truth, own)

    def coarse_factor(self) -> int | None:
        """Return the fine cells along the edge of a coarse one; None without coarse data.

        Raises
        ------
        ValueError
            If the coarse data are not coarser.
        """
        if self.coarse is None:
            return None
        factor = Grid.of(self.coarse).factor_to(self.grid)
        if factor == 1:
            raise ValueError(
                f"Wanted coarse data coarser than the truth, got both on {self.grid}. "
                "Give the data that the prediction was made from, or leave `coarse` out."
            )
        return factor


def common_variables(prediction: xr.Dataset, truth: xr.Dataset) -> list[str]:
    """Return the names of the variables that both have, static ones aside."""
    names = [name for name in table() if _has(prediction, name) and _has(truth, name)]
    names = [name for name in names if variable(name).kind != "static"]
    if not names:
        raise ValueError(
            f"Wanted a common variable of prediction and truth, got {list(prediction.data_vars)} "
            f"and {list(truth.data_vars)}. Rename them to names of data_catalog/variables.yaml."
        )
    return names


def at_common_times(sides: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Return datasets at the times that all of them have."""
    common = next(iter(sides.values())).indexes["time"]
    for ds in sides.values():
        common = common.intersection(ds.indexes["time"])
    if len(common) == 0:
        spans = ", ".join(
            f"{side} {ds['time'].values[0]} to {ds['time'].values[-1]}"
            for side, ds in sides.items()
        )
        raise ValueError(f"Wanted common times, got none: {spans}. Select the same period.")
    # data that have these times and no others keep their chunks
    return {
        side: ds if common.equals(ds.indexes["time"]) else ds.sel(time=common)
        for side, ds in sides.items()
    }


def _members(prediction: xr.Dataset) -> list[xr.Dataset]:
    """Return the members of an ensemble apart, or the prediction."""
    dim = next((dim for dim in MEMBER_DIMENSIONS if prediction.sizes.get(dim, 1) > 1), None)
    if dim is None:
        return [prediction]
    return [prediction.isel({dim: place}, drop=True) for place in range(prediction.sizes[dim])]


def _shared_with(coarse: xr.Dataset, names: Sequence[str]) -> list[str]:
    shared = [name for name in names if _has(coarse, name)]
    if not shared:
        raise ValueError(
            f"Wanted one of {list(names)} in the coarse data, got {list(coarse.data_vars)}: there "
            "is nothing to interpolate. Leave `coarse` out, or give the data that hold it."
        )
    return shared


def _has(ds: xr.Dataset, name: str) -> bool:
    return any(key in ds.data_vars for key in (name, *variable(name).aliases))
