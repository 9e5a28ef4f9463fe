"""Coarse fields on their way in: read from the dataset, carried to the device, checked there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.data.values import Missing, check_values
from orbitds.infer.courier import Courier
from orbitds.variables import variable


@dataclass(frozen=True, eq=False)
class Arrived:
    """Coarse fields of some times of a window, in physical units."""

    host: Float[np.ndarray, "t V h w"]
    """In memory."""
    fields: Float[Tensor, "t V h w"]
    """On the device."""
    gaps: Bool[np.ndarray, "t V h w"] | None
    """Where values are missing; None if nowhere."""


class Intake:
    """The coarse fields of a block, brought to a device a few times at once.

    They are checked there, which costs one pass and a read-back of two numbers for each variable;
    only where these show that something is wrong the host looks at the values of all times, and
    says what.

    Parameters
    ----------
    coarse
        The block: canonical fields of a window.
    names
        The V inputs.
    missing
        Whether NaN is an error.
    courier
        To the device.
    """

    def __init__(
        self, coarse: xr.Dataset, names: Sequence[str], *, missing: Missing, courier: Courier
    ) -> None:
        self.names = tuple(names)
        self.missing: Missing = missing
        times = coarse.sizes["time"]
        self._arrays = [at_all_times(coarse[name], times).values for name in names]
        self._stack = side_by_side(self._arrays)
        self._courier = courier
        self._plausible = [variable(name).plausible for name in names]
        self._is_looked_at = False

    def bring(self, times: slice) -> Arrived:
        """Return the fields of some times; what is launched until ``arrived`` runs beside them.

        Raises
        ------
        ValueError
            If values are missing where none may be, or implausible, at any time of the block.
        """
        host = self._host(times)
        fields = self._courier.bring(torch.from_numpy(host))
        with self._courier.beside():
            # NaN is the minimum and the maximum of all that it is among
            extremes = torch.stack([fields.amin(dim=(0, 2, 3)), fields.amax(dim=(0, 2, 3))])
            lows, highs = extremes.tolist()
        gaps = None
        if not self._is_plain(lows, highs):
            self._look()
            gaps = np.isnan(host)
            gaps = gaps if gaps.any() else None
        return Arrived(host, fields, gaps)

    def _host(self, times: slice) -> Float[np.ndarray, "t V h w"]:
        if self._stack is not None:
            return self._stack[times]
        parts = [array[times] for array in self._arrays]
        host = self._courier.empty(len(parts[0]), len(parts), *parts[0].shape[1:]).numpy()
        for place, part in enumerate(parts):
            host[:, place] = part
        return host

    def _is_plain(self, lows: list[float], highs: list[float]) -> bool:
        pairs = zip(lows, highs, self._plausible, strict=True)
        return all(low <= least and most <= high for least, most, (low, high) in pairs)

    def _look(self) -> None:
        """Refuse the block, or find that nothing but the declared gaps is wrong with it."""
        if not self._is_looked_at:
            for name, array in zip(self.names, self._arrays, strict=True):
                check_values(name, array.astype(np.float32, copy=False), missing=self.missing)
            self._is_looked_at = True


def at_all_times(field: xr.DataArray, times: int) -> xr.DataArray:
    """Return a field [T, h, w]; one without a time, such as relief, is the same at all."""
    if "time" not in field.dims:
        field = field.expand_dims(time=times)
    return field.transpose("time", "latitude", "longitude")


def side_by_side(arrays: Sequence[np.ndarray]) -> Float[np.ndarray, "T V h w"] | None:
    """Return fields [T, h, w] as the one array in whose memory they lie; None if they do not."""
    first = arrays[0]
    times, height, width = first.shape
    cell = first.itemsize
    row, field = width * cell, height * width * cell
    place = first.ctypes.data
    for number, array in enumerate(arrays):
        lies_there = array.ctypes.data == place + number * field
        # the step of an axis of one cell says nothing
        steps = times == 1 or array.strides[0] == len(arrays) * field
        if not (lies_there and steps and array.strides[1:] == (row, cell)):
            return None
        if array.dtype != np.float32 or array.shape != first.shape or not array.flags.writeable:
            return None
    return np.lib.stride_tricks.as_strided(
        first, (times, len(arrays), height, width), (len(arrays) * field, field, row, cell)
    )
