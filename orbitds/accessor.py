"""``ds.orbit.downscale()`` and ``da.orbit.downscale()``: thin doorways to inference."""

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
        factor: int | None = None,
        variables: "Sequence[str] | None" = None,
        tiles: "Literal['auto'] | tuple[int, int] | None" = None,
        batch_size: int | None = None,
        constraints: "Sequence[str]" = (),
        missing: "Literal['error', 'mask'] | None" = None,
        members: int | None = None,
        spread: bool = False,
        device: str | None = None,
        dtype: "Literal['float32', 'bfloat16'] | None" = None,
    ) -> xr.Dataset:
        """Return the dataset on the checkpoint's finer grid.

        Parameters
        ----------
        checkpoint
            Name of a shipped checkpoint, folder of one, or a loaded
            :class:`~orbitds.checkpoint.Checkpoint`.
        factor
            Which factor of a checkpoint that was trained for several; by default that of the
            training data whose coarse spacing is nearest to the dataset's. The history of the
            answer tells which; outputs whose own coarse field the dataset lacks are left out.
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
            What NaN in the dataset is: an error, or with ``"mask"`` cells without a value; by
            default what the catalog says of data that are opened by their name there (the attribute
            ``missing`` of the dataset), else an error. Cells without a value are filled from
            the nearest cell for the model, and the fine cells over them are NaN in the answer: of
            each variable where it is missing itself, or, if it is no input, where the inputs that
            are outputs are. They are counted in the attribute ``orbitds_masked_cells`` of each
            variable (not if lazy).
        members
            How many fields to draw for each time, along a dimension ``member``, from a checkpoint
            that was trained to give members; by default one, without the dimension.
        spread
            Whether to add the standard deviation of each variable as ``<name>_spread``: of the
            members (ten if none are asked for), or as predicted. A checkpoint that predicts no
            distribution refuses both.
        device
            ``"cpu"``, ``"cuda"``, ``"cuda:1"``; by default the first GPU if there is one.
        dtype
            In which products are computed: by default ``"bfloat16"`` on GPUs that are fast in it,
            ``"float32"`` elsewhere. Interpolation and physical values are in float32 at least.

        Returns
        -------
        xarray.Dataset
            Same dimension names, order, latitude direction, longitude convention and calendar;
            cell centres such that the mean of the children is the parent's centre (imported ORBIT-2
            models begin at it and go northeast). Backed by numpy if the dataset is, lazy if it is
            backed by dask: then nothing is read and no model runs before it is computed, by
            whatever scheduler; other processes load the checkpoint from its folder, once each, so
            that one which is in memory alone needs a scheduler of this process. Variables have the
            names and units of the vocabulary, and encodings by which ``to_netcdf`` and ``to_zarr``
            write them well.

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
            factor=factor,
            variables=variables,
            tiles=tiles,
            batch_size=batch_size,
            constraints=constraints,
            missing=missing,
            members=members,
            spread=spread,
            device=device,
            dtype=dtype,
        )


@xr.register_dataarray_accessor("orbit")
class OrbitArrayAccessor:
    """Downscaling of the variable it hangs on, for checkpoints that take no other."""

    def __init__(self, da: xr.DataArray) -> None:
        self._da = da

    def downscale(
        self,
        checkpoint: "str | PathLike[str] | Checkpoint",
        *,
        factor: int | None = None,
        variables: "Sequence[str] | None" = None,
        tiles: "Literal['auto'] | tuple[int, int] | None" = None,
        batch_size: int | None = None,
        constraints: "Sequence[str]" = (),
        missing: "Literal['error', 'mask'] | None" = None,
        members: int | None = None,
        device: str | None = None,
        dtype: "Literal['float32', 'bfloat16'] | None" = None,
    ) -> xr.DataArray:
        """Return the variable on the checkpoint's finer grid.

        Parameters
        ----------
        checkpoint, factor, tiles, batch_size, constraints, missing, members, device, dtype
            As for a dataset.
        variables
            The output variable to return; by default the array's own.

        Returns
        -------
        xarray.DataArray
            As in the answer to a dataset. What that says of its making stands in the attributes of
            the array.

        Raises
        ------
        ValueError
            As for a dataset; if the array has no name that is known, if the checkpoint takes more
            than it, or does not give it.
        """
        from orbitds.infer.single import downscale_variable

        return downscale_variable(
            self._da,
            checkpoint,
            factor=factor,
            variables=variables,
            tiles=tiles,
            batch_size=batch_size,
            constraints=constraints,
            missing=missing,
            members=members,
            device=device,
            dtype=dtype,
        )
