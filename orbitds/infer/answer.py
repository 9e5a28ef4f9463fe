"""From blended fields to the answer: physical, masked, held to constraints, told with spread."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.checkpoint import Checkpoint
from orbitds.config import Constraint
from orbitds.constraints import Blocks
from orbitds.data.values import Missing
from orbitds.grid import Grid
from orbitds.infer.constrain import constrained
from orbitds.infer.distribution import SPREAD, Distribution, physical_spread
from orbitds.infer.intake import Arrived
from orbitds.infer.mask import missing_cells, on_fine_cells
from orbitds.infer.part import Frame
from orbitds.infer.precision import Dtype
from orbitds.resources import did_you_mean


@dataclass(frozen=True)
class Wish:
    """What is wanted of a checkpoint's outputs, whatever the field."""

    variables: tuple[str, ...]
    constraints: tuple[Constraint, ...] = ()
    missing: Missing = "error"
    distribution: Distribution = field(default_factory=Distribution)
    dtype: Dtype = "float32"
    compile: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Variables of the answer, spreads too."""
        ends = ("", SPREAD) if self.distribution.spread else ("",)
        return tuple(name + end for name in self.variables for end in ends)

    def dims(self, name: str) -> tuple[str, ...]:
        """Return the canonical dimensions of a variable of the answer."""
        has_members = self.distribution.members is not None and not name.endswith(SPREAD)
        return ("time", *(("member",) if has_members else ()), "latitude", "longitude")


class Answer:
    """What is done to the blended fields of a frame; made once for a job.

    Parameters
    ----------
    checkpoint
        Whose outputs they are.
    fine_grid
        Of the whole field.
    frame
        What is computed.
    wish
        What is wanted of the outputs.
    device
        Where the fields are.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        fine_grid: Grid,
        frame: Frame,
        wish: Wish,
        device: torch.device,
    ) -> None:
        self.checkpoint, self.frame, self.wish, self.device = checkpoint, frame, wish, device
        factor = checkpoint.factor
        rows = slice(frame.rows.start * factor, frame.rows.stop * factor)
        area = torch.tensor(fine_grid.row_area[rows]).to(device)
        self._blocks = Blocks(
            area=area[:, None].expand(-1, frame.shape[1] * factor),
            factor=factor,
            periodic=frame.is_circle,
        )
        self._normalizer = checkpoint.normalizer(checkpoint.outputs)
        self._rows, self._columns = frame.in_window(frame.rows, frame.columns)
        is_all = self._columns.size == frame.window[1].size and not self._columns[0]
        self._places = None if is_all else torch.tensor(self._columns, device=device)

    def finished(
        self,
        blended: Float[Tensor, "S C Hf Wf"],
        now: Arrived,
        empty: Bool[np.ndarray, " t"] | None,
    ) -> dict[str, Float[Tensor, "S Hf Wf"]]:
        """Return physical fields of the frame, of all that was drawn, and predicted spreads.

        Parameters
        ----------
        blended
            Normalised fields, and behind them their variances where a spread is from these.
        now
            The coarse fields.
        empty
            Times that have no answer; see ``missing_cells``.
        """
        checkpoint, wish = self.checkpoint, self.wish
        count = len(checkpoint.outputs)
        fine, spread = self._normalizer.inverse(blended[:, :count]), None
        if wish.distribution.spread == "variance":
            spread = physical_spread(blended[:, :count], blended[:, count:], self._normalizer)
        if now.gaps is not None:
            mask = self._mask(now.gaps, empty)
            fine = fine.masked_fill(mask, torch.nan)
            spread = None if spread is None else spread.masked_fill(mask, torch.nan)
        coarse = self.coarse(now)
        answer = constrained(
            fine, coarse, self._blocks, checkpoint, wish.variables, wish.constraints
        )
        if spread is not None:
            fields = dict(zip(checkpoint.outputs, spread.unbind(1), strict=True))
            answer |= {name + SPREAD: fields[name] for name in wish.variables}
        return answer

    def coarse(self, now: Arrived) -> Float[Tensor, "S V H W"]:
        """Return the coarse fields beneath the frame, one for each that was drawn."""
        fields = now.fields[:, :, self._rows]
        if self._places is not None:
            fields = fields.index_select(-1, self._places)
        drawn = self.wish.distribution.drawn
        return fields if drawn == 1 else fields.repeat_interleave(drawn, dim=0)

    def told(self, fields: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Yield what is told of finished fields: those of the part, by name of the answer."""
        factor, distribution = self.checkpoint.factor, self.wish.distribution
        cells = [slice(k.start * factor, k.stop * factor) for k in self.frame.part_in_frame]
        for name in self.wish.variables:
            values, spread = distribution.told(fields[name][:, *cells])
            yield name, values
            if distribution.spread == "variance":
                spread = fields[name + SPREAD][:, *cells]
            if spread is not None:
                yield name + SPREAD, spread

    def shapes(self, times: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each variable of the answer."""
        part, factor = self.frame.part, self.checkpoint.factor
        sizes = {
            "time": times,
            "member": self.wish.distribution.members,
            "latitude": len(part.rows) * factor,
            "longitude": len(part.columns) * factor,
        }
        return {
            name: tuple(sizes[dim] or 0 for dim in self.wish.dims(name)) for name in self.wish.names
        }

    def _mask(self, gaps: np.ndarray, empty: np.ndarray | None) -> Tensor:
        inputs, outputs = self.checkpoint.inputs, self.checkpoint.outputs
        cells = missing_cells(gaps, inputs, outputs, empty)[..., self._rows, :]
        mask = torch.tensor(on_fine_cells(cells[..., self._columns], self.checkpoint.factor))
        return mask.to(self.device).repeat_interleave(self.wish.distribution.drawn, dim=0)


def check_variables(variables: Sequence[str] | None, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the outputs that are wanted of a checkpoint, all by default.

    Raises
    ------
    ValueError
        If it has no such output.
    """
    outputs = checkpoint.outputs
    if isinstance(variables, str):
        variables = (variables,)
    for name in variables or ():
        if name not in outputs:
            raise ValueError(
                f"Wanted output variables of checkpoint {checkpoint.name!r}, some of "
                f"{list(outputs)}, got {name!r}.{did_you_mean(name, outputs)}"
            )
    return tuple(variables) if variables else outputs
