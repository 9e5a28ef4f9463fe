"""What a few times add to the sums of a variable: by region, as curves, by cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from orbitds.metrics import consistency, ensemble, fractions
from orbitds.metrics.cells import Cells
from orbitds.metrics.extremes import wet_sums
from orbitds.metrics.frame import Frame
from orbitds.metrics.moments import Sums, error_sums, truth_sums
from orbitds.metrics.structure import SSIM_WINDOW, fast_ssim_map, seven_sum
from orbitds.metrics.tails import Bins, histogram


@dataclass(frozen=True, eq=False)
class Step:
    """Fields of a few times, zero where the truth is missing.

    Parameters
    ----------
    valid
        Where there is truth; None where it is everywhere.
    offset
        A typical value, about which squares are taken.
    """

    truth: Float[Tensor, "T H W"]
    fields: dict[str, Float[Tensor, "T H W"]]
    valid: Bool[Tensor, "T H W"] | None
    cells: Cells
    offset: float
    coarse: Float[Tensor, "T Hc Wc"] | None = None
    members: Float[Tensor, "M T H W"] | None = None

    @classmethod
    def of(
        cls,
        truth: Float[Tensor, "T H W"],
        fields: dict[str, Float[Tensor, "T H W"]],
        cells: Cells,
        offset: float,
        *,
        coarse: Float[Tensor, "T Hc Wc"] | None = None,
        members: Float[Tensor, "M T H W"] | None = None,
    ) -> "Step":
        """Return the fields with zeros for what is missing."""
        missing = truth.isnan()
        if not missing.any():
            return cls(truth, fields, None, cells, offset, coarse, members)
        fields = {method: field.masked_fill(missing, 0) for method, field in fields.items()}
        members = None if members is None else members.masked_fill(missing, 0)
        truth = truth.masked_fill(missing, 0)
        return cls(truth, fields, ~missing, cells, offset, coarse, members)

    def at(self, places: list[int]) -> "Step":
        """Return some of the times, without what belongs to the coarse field and to members."""
        fields = {method: field[places] for method, field in self.fields.items()}
        valid = None if self.valid is None else self.valid[places]
        return type(self)(self.truth[places], fields, valid, self.cells, self.offset)

    @cached_property
    def valid_cells(self) -> Bool[Tensor, "T N"] | None:
        """Where there is truth, by sorted cell."""
        return None if self.valid is None else self.cells.sort(self.valid)

    @cached_property
    def stacked(self) -> Float[Tensor, "M T N"]:
        """Truth, then all methods, by sorted cell."""
        return torch.stack(
            [self.cells.sort(field) for field in (self.truth, *self.fields.values())]
        )

    @cached_property
    def centred(self) -> Float[Tensor, "T N"]:
        """Truth about the offset by sorted cell, zero where missing, float64."""
        truth = self.stacked[0].double() - self.offset
        return truth if self.valid_cells is None else truth * self.valid_cells

    @cached_property
    def errors(self) -> dict[str, Float[Tensor, "T N"]]:
        """Prediction minus truth by sorted cell, zero where missing, float64."""
        truth = self.stacked[0].double()
        return {
            method: field.double() - truth
            for method, field in zip(self.fields, self.stacked[1:], strict=True)
        }


def region_sums(step: Step, frame: Frame, *, is_rain: bool) -> Sums:
    """Return the sums of errors over regions of each time; those of a method carry its name."""
    cells = step.cells
    sums = truth_sums(step.centred, step.valid_cells, cells)
    for method, error in step.errors.items():
        sums |= _of(method, error_sums(error, step.centred, cells))
    if is_rain:
        sums |= wet_sums(step.stacked[0], cells)
        for method, amount in zip(step.fields, step.stacked[1:], strict=True):
            sums |= _of(method, wet_sums(amount, cells))
    if step.coarse is not None:
        sums |= _block_errors(step, step.coarse, frame)
    if step.members is not None:
        members = cells.sort(step.members).double()
        sums |= ensemble.ensemble_sums(members, step.stacked[0].double(), cells)
    return sums


def structure_sums(step: Step, data_range: float, *, is_rain: bool) -> Sums:
    """Return the sums of structure over regions of each time; those of a method carry its name."""
    sums = _similarity(step, data_range)
    return sums | _fractions(step) if is_rain else sums


def curve_sums(step: Step, frame: Frame) -> dict[str, Float[Tensor, "T M K"]]:
    """Return the spectra of each time, with 1 at their end if they count, and jumps at borders.

    Rows are the truth and all methods.
    """
    fields = (step.truth, *step.fields.values())
    power, counts = zip(*(frame.rings.power(field, step.valid) for field in fields), strict=True)
    known = torch.stack([count.double() for count in counts], dim=1)[..., None]
    curves = {"spectrum": torch.cat([torch.stack(power, dim=1) * known, known], dim=-1)}
    for name, borders in frame.borders.items():
        jumps = []
        for field in fields:
            shown = field if step.valid is None else field.where(step.valid, torch.nan)
            jumps.append(consistency.jump_sums(shown, frame.area[:, 0], borders))
        curves[name] = torch.stack(jumps, dim=1)
    return curves


def add_truth_fields(step: Step, fields: Float[Tensor, "2 N"]) -> None:
    """Add the number of times and the truth about its offset, by sorted cell, in place."""
    if step.valid_cells is None:
        fields[0].add_(len(step.centred))
    else:
        fields[0].add_(step.valid_cells.sum(dim=0))
    for truth in step.centred:
        fields[1].add_(truth)


def add_error_fields(step: Step, fields: Float[Tensor, "M 2 N"]) -> None:
    """Add the errors and squared errors of each method, by sorted cell, in place."""
    for row, errors in zip(fields, step.errors.values(), strict=True):
        for error in errors:
            row[0].add_(error)
            row[1].addcmul_(error, error)


def histograms(step: Step, bins: Bins) -> Float[Tensor, "K A N2"]:
    """Return the weight of values of truth and methods, then squared errors by bin of the truth."""
    weight = step.cells.weight.expand(step.centred.shape).contiguous()
    if step.valid_cells is not None:
        weight = weight * step.valid_cells
    places = [bins.index(field) for field in step.stacked]
    rows = [histogram(place, weight, step.cells, bins.count) for place in places]
    for error in step.errors.values():
        squared = error.square().mul_(step.cells.weight)
        rows.append(histogram(places[0], squared, step.cells, bins.count))
    return torch.stack(rows)


def ranks(step: Step) -> Float[Tensor, "M_1"]:
    """Return the weight of the ranks of the truth among the members."""
    assert step.members is not None
    members = step.cells.sort(step.members)
    return ensemble.rank_weights(members, step.stacked[0], step.valid_cells, step.cells)


def named(name: str, methods: Sequence[str]) -> list[str]:
    """Return what a sum is called for each method."""
    return [f"{name}|{method}" for method in methods]


def _of(method: str, sums: Sums) -> Sums:
    return {f"{name}|{method}": value for name, value in sums.items()}


def _similarity(step: Step, data_range: float) -> Sums:
    """Return the sums of structural similarity over centres of whole windows."""
    shape, cells = step.cells.shape, step.cells
    if min(shape) < SSIM_WINDOW:
        nothing = torch.zeros(len(step.truth), len(cells.members), dtype=torch.float64)
        return {"ssim_weight": nothing} | {f"ssim|{method}": nothing for method in step.fields}
    whole = None
    if step.valid is not None:
        whole = seven_sum(step.valid.float()) == SSIM_WINDOW**2
    sums = {}
    for method, field in step.fields.items():
        similarity = fast_ssim_map(field, step.truth, data_range, step.offset)
        if whole is not None:
            similarity = similarity.where(whole, 0)
        sums[f"ssim|{method}"] = cells.sums(_at_centres(similarity, cells, SSIM_WINDOW))
    counts = torch.ones(1, shape[0] - 6, shape[1] - 6) if whole is None else whole.float()
    weight = cells.sums(_at_centres(counts, cells, SSIM_WINDOW))
    return {"ssim_weight": weight.expand(len(step.truth), -1)} | sums


def _fractions(step: Step) -> Sums:
    """Return the sums of the fractions skill score over centres of whole windows.

    Counts stand for fractions, which the score does not tell from each other.
    """
    whole = None if step.valid is None else fractions.windows(step.valid.byte())

    def centres(field: Tensor) -> dict[str, Tensor]:
        found = {}
        for name, count in fractions.counts(field).items():
            width = int(name.rpartition("_")[2])
            kept = count if whole is None else count * (whole[width] == width**2)
            # float32 holds the squares of counts up to 255 exactly, and is sorted faster than bytes
            found[name] = _at_centres(kept.float(), step.cells, width)
        return found

    truth = centres(step.truth)
    squares = {name: step.cells.sums(count.square()) for name, count in truth.items()}
    sums = {}
    for method, field in step.fields.items():
        for name, count in centres(field).items():
            sums[f"{name}_apart|{method}"] = step.cells.sums((count - truth[name]).square_())
            sums[f"{name}_worst|{method}"] = step.cells.sums(count.square_()) + squares[name]
    return sums


def _block_errors(step: Step, coarse: Float[Tensor, "T Hc Wc"], frame: Frame) -> Sums:
    """Return the sums of squared errors of block means against the coarse field."""
    assert frame.factor is not None
    area = frame.area.double()
    weight = frame.coarse_weight.flatten(1).T
    sums, known = {}, ~coarse.isnan()
    for method, field in step.fields.items():
        shown = field if step.valid is None else field.where(step.valid, torch.nan)
        means, _ = consistency.block_means(shown.double(), area, frame.factor)
        apart = (means - coarse).square().nan_to_num(nan=0.0)
        sums[f"coarse_squared|{method}"] = apart.flatten(1) @ weight
        known = known & ~means.isnan()
    return {"coarse_weight": known.double().flatten(1) @ weight} | sums


def _at_centres(
    windows: Shaped[Tensor, "T H2 W2"], cells: Cells, width: int
) -> Shaped[Tensor, "T N"]:
    """Return values of whole windows at their centres by sorted cell, 0 at the rim."""
    return cells.sort(fractions.padded(windows, cells.shape, width))
