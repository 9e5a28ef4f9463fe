"""Jobs on a small coarse dataset, for the tests of what is done with them."""

from orbitds.config import InferConfig
from orbitds.infer.job import plan_job


def laid_out(ds, checkpoint, folder, name="fine.zarr", **options):
    """Return the job of a dataset that lies in a folder as a file."""
    path = folder / "coarse.nc"
    if not path.exists():
        ds.to_netcdf(path)
    settings = {"input": str(path), "checkpoint": str(checkpoint), "output": folder / name}
    config = InferConfig(**(settings | {"device": "cpu"} | options))
    return plan_job(config, ds.chunk(), missing=config.missing or "error", device="cpu")
