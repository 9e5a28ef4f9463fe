"""The command infer."""

from dataclasses import asdict
from json import dumps
from typing import Annotated

from cyclopts import Parameter

from orbitds.cli_data import tell
from orbitds.config import InferConfig, InferOptions


def infer(
    input: tuple[str, ...],
    *,
    options: Annotated[InferOptions, Parameter(name="*")],
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Downscale coarse files to fine ones.

    The input is worked through in units, blocks of times that are read, computed and written beside
    each other, so it may be larger than memory. The output appears under its name when it is whole;
    a job that was interrupted goes on with --resume. Several processes may share one output.

    Parameters
    ----------
    input
        Coarse NetCDF files, Zarr stores or patterns such as 'era5/*.nc', opened together; an
        address or a catalog name.
    dry_run
        Compute and write nothing: tell output, tiles, units and sizes, and refuse what a job would
        refuse.
    json
        What was done, or with --dry-run would be, as JSON; sizes in bytes.
    """
    from orbitds.infer import run as job

    config = InferConfig(input=input, **dict(options))
    told = job.plan(config) if dry_run else job.run(config)
    tell(dumps(asdict(told), indent=2) if json else told.describe())
