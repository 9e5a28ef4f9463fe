"""Lay out a submission to CORDEX-ML-Bench: predictions for all of its test predictors.

    python eval/cordex_submission.py --data Bench-data --output my_model \
        --checkpoint NZ/ESD_pseudo_reality=nz_checkpoint SA/ESD_pseudo_reality=sa_checkpoint

Names, folders and the one file for both variables are those of submission/README.md of
github.com/WCRP-CORDEX/ml-benchmark, whose templates (format_predictions/templates) give coordinates
and attributes: --templates. Predictors are regridded conservatively to the coarse cells of the
checkpoint, as `orbitds prepare --factor` did for its training. Not confirmed, for want of the data:
that their files are read as they are. The folder is then to be zipped, and registered by an issue
there.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from orbitds.checkpoint import Checkpoint, load_checkpoint
from orbitds.data.door import enter
from orbitds.data.regrid import regrid
from orbitds.grid import TOLERANCE_CELLS, Grid

DOMAINS = ("ALPS", "NZ", "SA")
EXPERIMENTS = ("ESD_pseudo_reality", "Emulator_hist_future")
NAMES = {"total_precipitation_24hr": "pr", "2m_temperature_max": "tasmax"}
# What our values are, in the words that templates may have for it.
UNITS = {"pr": ("mm", "mm d-1", "mm day-1", "mm/day", "mm/d"), "tasmax": ("K",)}
# The rules ask for so many of a generative model.
MEMBERS = 10


class Predictor(NamedTuple):
    """A file of test predictors."""

    path: Path
    domain: str
    period: str
    """As `historical`, `mid_century`, `end_century`."""
    condition: str
    """`perfect` or `imperfect`."""

    def place(self, output: Path, experiment: str) -> Path:
        """Return where its prediction lies in a submission."""
        folder = output / f"{self.domain}_Domain" / experiment / self.period / self.condition
        return folder / f"Predictions_pr_tasmax_{self.path.name}"


def main(arguments: list[str] | None = None) -> int:
    """Write the predictions; return 1 if the submission is not whole."""
    options = _options(arguments)
    found = predictors(options.data)
    if not found:
        raise FileNotFoundError(
            f"Wanted DOMAIN_domain/test/PERIOD/predictors/CONDITION/*.nc somewhere in "
            f"{options.data}, got none. Unpack the archives of the benchmark there."
        )
    known = dict(part.split("=", 1) for part in options.checkpoint)
    missing = []
    for domain in DOMAINS:
        files = [one for one in found if one.domain == domain]
        for experiment in EXPERIMENTS:
            name = known.pop(f"{domain}/{experiment}", None)
            if name is None or not files:
                missing.append(f"{domain}/{experiment}: {'predictors' if name else 'checkpoint'}")
                continue
            checkpoint = load_checkpoint(name)
            for one in files:
                path = one.place(options.output, experiment)
                write(predict(one.path, checkpoint), path, options.templates, domain)
                print(path, flush=True)
    if known:
        raise ValueError(
            f"Wanted checkpoints for DOMAIN/EXPERIMENT of {DOMAINS} and {EXPERIMENTS}, got "
            f"{sorted(known)}. Correct the names."
        )
    if missing:
        print(f"not whole, the rules ask for all domains and experiments; without: {missing}")
    return 1 if missing else 0


def predictors(data: Path) -> list[Predictor]:
    """Return the files of test predictors in a folder, of all domains."""
    return [
        Predictor(path, domain, path.parts[-4], path.parts[-2])
        for domain in DOMAINS
        for path in sorted(data.glob(f"**/{domain}_domain/test/*/predictors/*/*.nc"))
    ]


def predict(path: Path, checkpoint: Checkpoint) -> xr.Dataset:
    """Return pr and tasmax on latitude and longitude from a file of predictors.

    Raises
    ------
    ValueError
        If the checkpoint gives other variables, or knows no region.
    """
    description = checkpoint.description
    if checkpoint.region is None or not set(NAMES) <= set(description.outputs):
        raise ValueError(
            f"Wanted a checkpoint of a region with {list(NAMES)}, got {checkpoint.name} with "
            f"{list(description.outputs)}. Train on a pair of cordex_ml_bench."
        )
    cells = checkpoint.region.grid.coarsen(description.factor)
    with xr.open_dataset(path) as ds:
        coarse = regrid(enter(ds, description.inputs).ds, cells).load()
    is_ensemble = getattr(description.model, "predicts", "field") == "members"
    fine = coarse.orbit.downscale(checkpoint, members=MEMBERS if is_ensemble else None)
    renamed = fine[list(NAMES)].rename(NAMES | {"latitude": "lat", "longitude": "lon"})
    return renamed.sortby("lat")


def write(fine: xr.Dataset, path: Path, templates: Path | None, domain: str) -> None:
    """Write a prediction under its name, when it is whole."""
    if templates is not None:
        fine = dressed(fine, templates, domain)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    encoding = {name: {"zlib": True, "dtype": "float32"} for name in NAMES.values()}
    fine.drop_encoding().to_netcdf(partial, encoding=encoding)
    partial.replace(path)


def dressed(fine: xr.Dataset, templates: Path, domain: str) -> xr.Dataset:
    """Return a prediction with the coordinates and attributes of the benchmark's templates.

    Raises
    ------
    ValueError
        If the template has another grid or another unit.
    """
    for name in NAMES.values():
        with xr.open_dataset(templates / f"{name}_{domain}.nc") as template:
            wanted = template[["lat", "lon"]].load()
            attributes = template[name].attrs
        for axis in ("lat", "lon"):
            own, theirs = fine[axis].values, wanted[axis].values
            slack = TOLERANCE_CELLS * abs(own[1] - own[0])
            if own.shape != theirs.shape or not np.allclose(own, theirs, rtol=0, atol=slack):
                raise ValueError(
                    f"Wanted the {axis} of {name}_{domain}.nc, {_grid(wanted)}, got "
                    f"{_grid(fine)}. Train on the target of this domain."
                )
        if attributes.get("units", UNITS[name][0]) not in UNITS[name]:
            raise ValueError(
                f"Wanted a unit of {name} in the template that our values have, one of "
                f"{UNITS[name]}, got {attributes['units']!r}. Convert the prediction."
            )
        fine = fine.assign_coords(lat=wanted["lat"], lon=wanted["lon"])
        fine[name].attrs = dict(attributes)
    return fine


def _grid(ds: xr.Dataset) -> Grid:
    return Grid.on(np.sort(ds["lat"].values)[::-1], ds["lon"].values)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    told = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    told.add_argument("--data", type=Path, required=True, help="where the archives are unpacked")
    told.add_argument("--output", type=Path, required=True, help="folder of the submission")
    told.add_argument("--templates", type=Path, help="folder of pr_DOMAIN.nc and tasmax_DOMAIN.nc")
    told.add_argument(
        "--checkpoint",
        nargs="+",
        required=True,
        metavar="DOMAIN/EXPERIMENT=CHECKPOINT",
        help="each gives total_precipitation_24hr and 2m_temperature_max on the target's cells",
    )
    return told.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
