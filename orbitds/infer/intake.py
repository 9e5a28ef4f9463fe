"""Coarse fields on their way in: read from the dataset, carried to the device, checked there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float, Shaped
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
        self._arrays = [_of_all_times(coarse[name], coarse.sizes["time"]) for name in names]
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
        parts = [array[times] for array in self._arrays]
        held = self._courier.empty(len(parts[0]), len(parts), *parts[0].shape[1:])
        host = held.numpy()
        for place, part in enumerate(parts):
            host[:, place] = part
        fields = self._courier.bring(held)
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

    def _is_plain(self, lows: list[float], highs: list[float]) -> bool:
        pairs = zip(lows, highs, self._plausible, strict=True)
        return all(low <= least and most <= high for least, most, (low, high) in pairs)

    def _look(self) -> None:
        """Refuse the block, or find that nothing but the declared gaps is wrong with it."""
        if not self._is_looked_at:
            for name, array in zip(self.names, self._arrays, strict=True):
                check_values(name, array.astype(np.float32, copy=False), missing=self.missing)
            self._is_looked_at = True


def _of_all_times(field: xr.DataArray, times: int) -> Shaped[np.ndarray, "T h w"]:
    """Return the values of a field; one without a time, such as relief, is the same at all."""
    values = field.transpose(..., "latitude", "longitude").values
    return values if "time" in field.dims else np.broadcast_to(values, (times, *values.shape))


def _at_all_times(field: xr.DataArray, times: int) -> np.ndarray:
    """Return values [T, h, w]; a static field is the same at all times, without a copy of it."""
    if "time" not in field.dims:
        field = field.expand_dims(time=times)
    return field.transpose("time", "latitude", "longitude").values
