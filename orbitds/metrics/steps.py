"""Fields of a few times: their bands, and the sums that need whole fields."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from orbitds.metrics import consistency, fractions
from orbitds.metrics.bands import Band
from orbitds.metrics.cells import Cells
from orbitds.metrics.frame import Frame, Traits
from orbitds.metrics.structure import WIDTHS, fast_ssim_map, gaussian_ssim_map

# Sums over regions at each time, by name.
RegionSums = dict[str, Float[Tensor, "T R"]]


@dataclass(frozen=True, eq=False)
class Step:
    """Fields of a few times as they come.

    Parameters
    ----------
    valid
        Where there is truth; None where it is everywhere.
    """

    truth: Float[Tensor, "T H W"]
    fields: dict[str, Float[Tensor, "T H W"]]
    valid: Bool[Tensor, "T H W"] | None
    cells: Cells
    coarse: Float[Tensor, "T Hc Wc"] | None = None
    members: Float[Tensor, "M T H W"] | None = None

    @classmethod
    def of(
        cls,
        truth: Float[Tensor, "T H W"],
        fields: dict[str, Float[Tensor, "T H W"]],
        cells: Cells,
        *,
        coarse: Float[Tensor, "T Hc Wc"] | None = None,
        members: Float[Tensor, "M T H W"] | None = None,
    ) -> "Step":
        """Return the fields with the cells where there is truth."""
        missing = truth.isnan()
        return cls(truth, fields, ~missing if missing.any() else None, cells, coarse, members)

    def band(self, patch: int, place: slice) -> Band:
        """Return some sorted cells of one patch."""
        sort, valid, members = self.cells.sort, None, None
        fields = (self.truth, *self.fields.values())
        weight = self.cells.weight[place]
        values = self.truth.new_empty(len(fields), len(self.truth), len(weight))
        for field, out in zip(fields, values, strict=True):
            sort(field, place, out=out)
        if self.members is not None:
            members = sort(self.members, place)
        if self.valid is not None:
            valid = sort(self.valid, place)
            values.masked_fill_(~valid, 0)
            members = None if members is None else members.masked_fill(~valid, 0)
        return Band(patch, place, weight, values, valid, members)

    def whole(self, places: list[int]) -> "Step":
        """Return some of the times, zero where the truth is missing, without coarse and members."""
        valid = None if self.valid is None else self.valid[places]

        def chosen(field: Tensor) -> Tensor:
            own = field if places == list(range(len(field))) else field[places]
            return own if valid is None else own.masked_fill(~valid, 0)

        fields = {method: chosen(field) for method, field in self.fields.items()}
        return type(self)(chosen(self.truth), fields, valid, self.cells)

    def logarithm(self) -> "Step":
        """Return log1p of all fields; what a method leaves below zero is none of the amount."""
        fields = {method: field.clamp(min=0).log1p_() for method, field in self.fields.items()}
        return replace(self, truth=self.truth.clamp(min=0).log1p_(), fields=fields)


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


def similarity(step: Step, traits: Traits) -> RegionSums:
    """Return the sums of structural similarity over centres of whole windows.

    Those of a method carry its name.
    """
    cells, width = step.cells, WIDTHS[traits.window]
    if min(cells.shape) < width:
        nothing = torch.zeros(len(step.truth), len(cells.members), dtype=torch.float64)
        return {"ssim_weight": nothing} | {f"ssim|{method}": nothing for method in step.fields}
    if step.valid is None:
        whole = torch.ones(1, *(size - width + 1 for size in cells.shape), dtype=torch.bool)
    else:
        share = F.avg_pool2d(step.valid.float()[:, None], width, stride=1)[:, 0]
        whole = share > 1 - 0.5 / width**2
    similar = fast_ssim_map if traits.window == "uniform" else gaussian_ssim_map
    sums = {}
    for method, field in step.fields.items():
        found = similar(field, step.truth, traits.data_range, traits.offset)
        sums[f"ssim|{method}"] = _at_centres(found.where(whole, 0), cells, width)
    weight = _at_centres(whole.float(), cells, width)
    return {"ssim_weight": weight.expand(len(step.truth), -1)} | sums


def fraction_sums(step: Step, traits: Traits) -> RegionSums:
    """Return the sums of the fractions skill score over centres of whole windows; none but of rain.

    Counts stand for fractions, which the score does not tell from each other.
    """
    if not traits.is_rain:
        return {}
    whole = None if step.valid is None else fractions.windows(step.valid.byte())

    def counts(field: Tensor) -> dict[tuple[str, int], Tensor]:
        found = {}
        for name, count in fractions.counts(field).items():
            width = int(name.rpartition("_")[2])
            kept = count if whole is None else count * (whole[width] == width**2)
            found[name, width] = kept.float()  # holds the squares of counts up to 255 exactly
        return found

    truth = counts(step.truth)
    squares = {key: _at_centres(count.square(), step.cells, key[1]) for key, count in truth.items()}
    sums = {}
    for method, field in step.fields.items():
        for key, count in counts(field).items():
            name, width = key
            apart = _at_centres((count - truth[key]).square_(), step.cells, width)
            own = _at_centres(count.square_(), step.cells, width)
            sums[f"{name}_apart|{method}"] = apart
            sums[f"{name}_worst|{method}"] = own + squares[key]
    return sums


def block_errors(step: Step, frame: Frame) -> RegionSums:
    """Return the sums of squared errors of block means against the coarse field, if any."""
    if step.coarse is None:
        return {}
    assert frame.factor is not None
    area = frame.area.double()
    weight = frame.coarse_weight.flatten(1).T
    sums, known = {}, ~step.coarse.isnan()
    for method, field in step.fields.items():
        shown = field if step.valid is None else field.where(step.valid, torch.nan)
        means, _ = consistency.block_means(shown.double(), area, frame.factor)
        apart = (means - step.coarse).square().nan_to_num(nan=0.0)
        sums[f"coarse_squared|{method}"] = apart.flatten(1) @ weight
        known = known & ~means.isnan()
    return {"coarse_weight": known.double().flatten(1) @ weight} | sums


def _at_centres(
    windows: Shaped[Tensor, "T H2 W2"], cells: Cells, width: int
) -> Float[Tensor, "T R"]:
    """Return the sums over regions of values of whole windows, each at its centre."""
    return cells.field_sums(fractions.padded(windows, cells.shape, width))
