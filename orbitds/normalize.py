"""Normalisation of variables for the model, and its exact inverse."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field, FiniteFloat
from torch import Tensor

from orbitds.schema import Frozen
from orbitds.variables import variable


class Statistics(Frozen):
    """Mean and standard deviation of one variable over the training period."""

    mean: FiniteFloat
    """Area-weighted mean in the variable's unit; 0 where the transform needs none."""
    std: float = Field(gt=0, allow_inf_nan=False)
    """Area-weighted standard deviation in the variable's unit; 1 where none is needed."""
    threshold: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Amounts up to this, in the variable's unit, count as none before the logarithm; 0 is off."""


class Normalizer:
    """Physical values to normalised ones and back, for variables in a fixed order.

    A variable's row says how: ``zscore`` subtracts the mean and divides by the standard deviation,
    ``log1p`` takes log(1 + x) and nothing else. Amounts up to the threshold of the statistics, if
    there is one, are taken for none; the inverse cannot bring them back.
    """

    def __init__(self, names: Sequence[str], statistics: dict[str, Statistics]) -> None:
        missing = [name for name in names if name not in statistics]
        if missing:
            raise ValueError(
                f"Wanted statistics of {list(names)}, got none for {missing}. "
                "Compute them from the training period."
            )
        self.names = tuple(names)
        is_log = [variable(name).transform == "log1p" for name in names]
        rows = [statistics[name] for name in names]
        # float64: a temperature of 280 K in float32 would lose digits twice on the way and back
        self.mean = torch.tensor([row.mean for row in rows], dtype=torch.float64)[:, None, None]
        self.std = torch.tensor([row.std for row in rows], dtype=torch.float64)[:, None, None]
        self.any_log = any(is_log)
        self.is_log = torch.tensor(is_log)[:, None, None]
        self.threshold = torch.tensor([row.threshold for row in rows])[:, None, None].double()
        self._there: dict[torch.device, tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    def __call__(self, physical: Float[Tensor, "*B V H W"]) -> Float[Tensor, "*B V H W"]:
        """Return normalised values in the dtype of the input."""
        mean, std, is_log, threshold = self._beside(physical)
        standard = (physical - mean) / std
        if self.any_log:
            amount = physical.double().clamp(min=0)
            # `where` the amount is small, not a product with a mask: NaN stays NaN
            none = amount <= threshold
            logarithm = torch.log1p(torch.where(none, torch.zeros_like(amount), amount))
            standard = torch.where(is_log, logarithm, standard)
        return standard.to(physical.dtype)

    def inverse(self, normalized: Float[Tensor, "*B V H W"]) -> Float[Tensor, "*B V H W"]:
        """Return physical values in the dtype of the input."""
        mean, std, is_log, _ = self._beside(normalized)
        standard = normalized * std + mean
        if self.any_log:
            standard = torch.where(is_log, torch.expm1(normalized.double()), standard)
        return standard.to(normalized.dtype)

    def _beside(self, field: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the numbers on the device of a field; a copy there makes the device wait."""
        device = field.device
        if device not in self._there:
            self._there[device] = (
                self.mean.to(device),
                self.std.to(device),
                self.is_log.to(device),
                self.threshold.to(device),
            )
        return self._there[device]
