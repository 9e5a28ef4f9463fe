"""``ds.orbit.downscale()``: a thin doorway to inference."""

from os import PathLike
from typing import TYPE_CHECKING, Literal

import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orbitds.checkpoint import Checkpoint


@xr.register_dataset_accessor("orbit")
class OrbitAccessor:
    """Downscaling of the dataset it hangs on; the dataset itself is never changed."""

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def downscale(
        self,
        checkpoint: "str | PathLike[str] | Checkpoint",
        *,
        variables: "Sequence[str] | None" = None,
        tiles: "Literal['auto'] | tuple[int, int] | None" = None,
        batch_size: int | None = None,
        constraints: "Sequence[str]" = (),
        missing: "Literal['error', 'mask']" = "error",
        device: str | None = None,
    ) -> xr.Dataset:
        """Return the dataset on the checkpoint's finer grid.

        Parameters
        ----------
        checkpoint
            Name of a shipped checkpoint, folder of one, or a loaded
            :class:`~orbitds.checkpoint.Checkpoint`.
        variables
            Output variables to return; all of the checkpoint's by default.
        tiles
            How many tiles to cut each field into, ``(rows, columns)``; ``"auto"`` chooses by size.
            By default the whole field is worked on at once.
        batch_size
            Tiles run at once; chosen from the field's size by default.
        constraints
            What shall hold of the answer besides the physical bounds, which always do:
            ``"order"``, minimum <= mean <= maximum temperature; ``"conserve"``, the area-weighted
            mean of the fine cells of a coarse cell is its value. The second wants a checkpoint
            whose coarse fields are means of the product it was trained to give.
        missing
            What NaN in the dataset is: an error, or with ``"mask"`` cells without a value. These
            are filled from the nearest cell for the model, and the fine cells over them are NaN in
            the answer: of each variable where it is missing itself, or, if it is no input, where
            the inputs that are outputs are. They are counted in the attribute
            ``orbitds_masked_cells`` of each variable (not if lazy).
        device
            ``"cpu"``, ``"cuda"``, ``"cuda:1"``; by default the first GPU if there is one.

        Returns
        -------
        xarray.Dataset
            Same dimension names, order, latitude direction, longitude convention and calendar;
            cell centres such that the mean of the children is the parent's centre (imported ORBIT-2
            models begin at it and go northeast). Backed by numpy if the dataset is, lazy if it is
            backed by dask: then no model runs before it is computed.

        Raises
        ------
        ValueError
            If a variable, unit, coordinate or value does not fit; the message says what was
            wanted, what was found and what to do.

        Examples
        --------
        >>> import orbitds, xarray as xr
        >>> fine = xr.open_dataset("coarse.nc").orbit.downscale("checkpoint")  # doctest: +SKIP
        """
        from orbitds.infer.lazy import downscale

        return downscale(
            self._ds,
            checkpoint,
            variables=variables,
            tiles=tiles,
            batch_size=batch_size,
            constraints=constraints,
            missing=missing,
            device=device,
        )
