"""Fields as 16-bit integers: half the bytes of float32, with an error that is known beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor

from orbitds.variables import variable

# The smallest 16-bit integer stands for a missing value, the others for the plausible interval.
MISSING = -(2**15)
LARGEST = 2**15 - 1


@dataclass(frozen=True, eq=False)
class Packing:
    """The interval of each variable that the integers cover, after the variable's transform.

    A variable of transform ``log1p`` is packed as log(1 + x), so that small amounts keep their
    relative precision. Values outside the interval are clipped to it: it is the plausible one of
    the variable's row, outside which a value is a mistake.
    """

    low: Float[np.ndarray, " V"]
    """Value of ``-LARGEST``, transformed."""
    high: Float[np.ndarray, " V"]
    """Value of ``LARGEST``, transformed."""
    is_log: np.ndarray
    """Whether the logarithm was taken, [V]."""

    @classmethod
    def of(cls, names: Sequence[str]) -> "Packing":
        """Return the packing of variables by their rows."""
        is_log = np.array([variable(name).transform == "log1p" for name in names])
        ends = np.array([variable(name).plausible for name in names], dtype=np.float64).T
        low, high = np.where(is_log, np.log1p(ends.clip(min=0)), ends)
        return cls(low, high, is_log)

    @property
    def step(self) -> np.ndarray:
        """Width of an integer in transformed units, [V]: the error is at most half of it."""
        return (self.high - self.low) / (2 * LARGEST)

    def pack(self, physical: Float[np.ndarray, "*B V H W"]) -> Int16[np.ndarray, "*B V H W"]:
        """Return the integers of physical values; NaN becomes ``MISSING``."""
        values = physical.astype(np.float64)
        log = np.log1p(values, out=values.copy(), where=_beside(self.is_log) & (values > -1))
        middle = _beside((self.low + self.high) / 2)
        codes = np.rint((log - middle) / _beside(self.step)).clip(-LARGEST, LARGEST)
        return np.where(np.isnan(codes), MISSING, codes).astype(np.int16)

    def unpack(self, stored: Int16[Tensor, "*B V H W"]) -> Float[Tensor, "*B V H W"]:
        """Return physical values in float32 on the device of the integers."""
        middle, step, is_log = (
            torch.as_tensor(_beside(part), device=stored.device)
            for part in ((self.low + self.high) / 2, self.step, self.is_log)
        )
        # float64 for the sum: 280 K in float32 would add its own rounding
        values = (stored.double() * step + middle).where(stored != MISSING, torch.nan)
        return torch.where(is_log, torch.expm1(values), values).float()


def _beside(of_variable: np.ndarray) -> np.ndarray:
    return of_variable[:, None, None]
