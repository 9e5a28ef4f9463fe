"""The residual path: the best simple method as a base, and convolutions that correct it."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orbitds.interpolate import Method, delta_change, interpolate, pad


class Base(nn.Module):
    """What Reslim starts from: interpolation of the output variables, or delta change.

    Parameters
    ----------
    log_outputs
        For each output, whether it is normalised by log1p: such a variable is interpolated in its
        unit, and scaled by the ratio of the climatologies where the others are shifted.

    Notes
    -----
    Interpolation commutes with the affine z-score, so other variables stay normalised. An output
    that is no input starts from zero, to which the decoder's bias adds a learned constant, or, for
    delta change, from its climatology.
    """

    is_log: Tensor

    def __init__(
        self,
        outputs: Sequence[str],
        *,
        method: Literal["bilinear", "bicubic", "delta"],
        log_outputs: Sequence[bool],
    ) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        self.is_delta = method == "delta"
        self.interpolation: Method = "bicubic" if method == "delta" else method
        self.log_outputs = tuple(log_outputs)
        self.register_buffer("is_log", self.log_flags(), persistent=False)

    def forward(
        self,
        coarse: Float[Tensor, "B V H W"],
        variables: Sequence[str],
        climatology: tuple[Tensor, Tensor] | None,
        *,
        factor: int,
        periodic: bool,
    ) -> tuple[Float[Tensor, "B U Hf Wf"], Float[Tensor, "B U Hf Wf"]]:
        """Return the base and the fine structure of the climatology (zero without one).

        Parameters
        ----------
        climatology
            Fine and coarse climatology of the outputs for the sample's month, [B, U, Hf, Wf] and
            [B, U, H, W], normalised; NaN-free.
        """
        refine = partial(self._refine, factor=factor, periodic=periodic)
        fine = refine(self._select(coarse, variables, climatology))
        if climatology is None or not self.is_delta:
            return self._normalized(fine), torch.zeros_like(fine)
        fine_climatology = climatology[0].to(fine)
        smooth = refine(climatology[1].to(fine))
        base = delta_change(fine, self._linear(fine_climatology), smooth, self.is_log)
        return self._normalized(base), fine_climatology - self._normalized(smooth)

    def log_flags(self) -> Float[Tensor, " U"]:
        """Return one for each output that is normalised by log1p, and zero for the others."""
        return torch.tensor(self.log_outputs, dtype=torch.float32)

    def _select(
        self, coarse: Tensor, variables: Sequence[str], climatology: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Return the coarse field of each output, or what stands in for it."""
        fields = []
        for index, name in enumerate(self.outputs):
            if name in variables:
                fields.append(coarse[:, list(variables).index(name)])
            elif climatology is not None and self.is_delta:
                fields.append(climatology[1][:, index])
            else:
                fields.append(torch.zeros_like(coarse[:, 0]))
        chosen = torch.stack(fields, dim=1)
        return chosen.to(torch.promote_types(chosen.dtype, torch.float32))

    def _refine(self, normalized: Tensor, *, factor: int, periodic: bool) -> Tensor:
        """Interpolate, and leave the result in the unit in which that was done."""
        field = self._linear(normalized)
        return interpolate(field, factor, self.interpolation, periodic=periodic)

    def _linear(self, normalized: Tensor) -> Tensor:
        """Undo the one transform that interpolation does not commute with."""
        is_log = self.is_log[:, None, None] > 0
        return torch.where(is_log, torch.expm1(normalized), normalized)

    def _normalized(self, linear: Tensor) -> Tensor:
        is_log = self.is_log[:, None, None] > 0
        # clamped for the branch that is not taken: a NaN there would reach the gradient
        return torch.where(is_log, torch.log1p(linear.clamp(min=0)), linear)


class Correction(nn.Module):
    """Convolutions that see the base, the trunk's share and the fine statics.

    They work on the coarse grid, with the fine cells of a coarse one as channels: nothing of the
    fine fields is lost, and kernels are wide enough for the tensor cores of a GPU. On the fine grid
    the same took three times as long (8 to 16 channels, H100). The last convolution starts at
    zero, so that an untrained model equals its base.
    """

    def __init__(self, channels: int, outputs: int, *, factor: int, width: int, depth: int) -> None:
        super().__init__()
        self.factor = factor
        sizes = [channels * factor**2, *[width] * depth, outputs * factor**2]
        self.layers = nn.ModuleList(
            nn.Conv2d(size, following, kernel_size=3)
            for size, following in itertools.pairwise(sizes)
        )
        last = self.layers[-1]
        nn.init.zeros_(last.weight)  # pyright: ignore[reportArgumentType]  a Conv2d
        nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]  a Conv2d with bias

    def forward(
        self, fields: Float[Tensor, "B C Hf Wf"], *, periodic: bool
    ) -> Float[Tensor, "B U Hf Wf"]:
        """Return what to add to the base."""
        fields = nn.functional.pixel_unshuffle(fields, self.factor)
        fields = fields.contiguous(memory_format=torch.channels_last)
        *hidden, last = self.layers
        for layer in hidden:
            fields = nn.functional.gelu(layer(pad(fields, 1, periodic)))
        return nn.functional.pixel_shuffle(last(pad(fields, 1, periodic)), self.factor)
