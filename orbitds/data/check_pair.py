"""Look through a pair before it is trained on: both sides, and whether they belong together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import xarray as xr

from orbitds.data.check import check
from orbitds.data.pair import Pair, open_pair
from orbitds.data.report import Report
from orbitds.data.values import missing_of
from orbitds.grid import Grid

# Data in the place of the coarse side have its spacing, rounding of coordinates aside.
SPACING_TOLERANCE = 0.05


@dataclass(frozen=True)
class PairCheck:
    """What was found on the sides of a pair, and what data in place of the coarse side must be."""

    reports: Mapping[str, Report]
    """By side: ``coarse``, ``fine``, and ``statics`` where there are any."""
    inputs: tuple[str, ...] = ()
    fits: Callable[[Grid], Sequence[str]] | None = None


def check_pair(name_or_path: str, *, without_coarse: bool = False) -> PairCheck:
    """Open a pair as training does, and look at the values of its sides.

    Parameters
    ----------
    without_coarse
        Leave the coarse side out, where other data are to take its place.

    Returns
    -------
    PairCheck
        Where the pair cannot be opened, a report of side ``pair`` says why.
    """
    try:
        pair = open_pair(name_or_path)
        for part in pair.split:
            pair.part(part)
    except ValueError as error:
        return PairCheck({"pair": Report(variables=(), problems=(str(error),))})
    sides = {} if without_coarse else {"coarse": pair.coarse}
    sides |= {"fine": pair.fine} | ({"statics": pair.statics} if pair.static_names else {})
    reports = {
        f"{name_or_path}: {side}": _side(ds, _notes(pair, side)) for side, ds in sides.items()
    }
    return PairCheck(reports, pair.inputs, _like(pair))


def _side(ds: xr.Dataset, notes: tuple[str, ...]) -> Report:
    names = [str(name) for name in ds.data_vars]
    report = check(ds, names, missing=missing_of(ds))
    return report.model_copy(update={"notes": (*report.notes, *notes)})


def _notes(pair: Pair, side: str) -> tuple[str, ...]:
    """Return what of a side is left out, and where the statics are from."""
    if side == "statics":
        source = pair.statics.attrs.get("source")
        return (f"from {source}",) if source else ()
    mark = f"{side}: "
    return tuple(note.removeprefix(mark) for note in pair.notes if note.startswith(mark))


def _like(pair: Pair) -> Callable[[Grid], Sequence[str]]:
    wanted = pair.coarse_grid.spacing_km

    def fits(grid: Grid) -> Sequence[str]:
        if abs(grid.spacing_km / wanted - 1) > SPACING_TOLERANCE:
            raise ValueError(
                f"Wanted a grid spacing of {wanted:.0f} km, that of the coarse side of "
                f"{pair.name}, got {grid.spacing_km:.0f} km ({grid}). Coarsen or regrid the input."
            )
        return ()

    return fits
