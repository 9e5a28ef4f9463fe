"""Fields of a few times: their bands, and the sums that need whole fields."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from orbitds.metrics import consistency, fractions
from orbitds.metrics.bands import Band
from orbitds.metrics.cells import Cells, Strip
from orbitds.metrics.frame import Frame, Traits
from orbitds.metrics.structure import WIDTHS, fast_ssim_map, gaussian_ssim_map

# Values of a strip that are worked on at once.
BAND_CELLS = 2**19
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
        # a sum is quicker than a search: it is NaN where a value is
        valid = None if truth.sum().isfinite() else ~truth.isnan()
        return cls(truth, fields, valid, cells, coarse, members)

    def bands(self, strip: Strip, blocks: Sequence[slice]) -> Iterator[Band]:
        """Yield a strip of the fields, a few times of one block at once."""
        fields = [field.flatten(1)[:, strip.place] for field in (self.truth, *self.fields.values())]
        most = max(1, BAND_CELLS // len(strip.label))
        for place, block in enumerate(blocks):
            for start in range(block.start, block.stop, most):
                times = slice(start, min(start + most, block.stop))
                values = torch.stack([field[times] for field in fields])
                valid, members = None, None
                if self.members is not None:
                    members = self.members.flatten(2)[:, times, strip.place]
                if self.valid is not None:
                    valid = self.valid.flatten(1)[times, strip.place]
                    values.masked_fill_(~valid, 0)
                    members = None if members is None else members.masked_fill(~valid, 0)
                yield Band(strip, place, times, values, valid, members)

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


def structure(
    step: Step, places: list[int], traits: Traits, frame: Frame, *, is_logarithm: bool
) -> tuple[RegionSums, dict[str, Float[Tensor, "T M K"]]]:
    """Return what is measured on whole fields of some times, or of their log1p.

    Returns
    -------
    Sums over regions of similarity and fractions, and the sums of ``curve_sums``.
    """
    whole = step.whole(places)
    whole = whole.logarithm() if is_logarithm else whole
    return similarity(whole, traits) | fraction_sums(whole, traits), curve_sums(whole, frame)


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
    maps = []
    for field in step.fields.values():
        found = similar(field, step.truth, traits.data_range, traits.offset)
        maps.append((found if step.valid is None else found.where(whole, 0)).flatten(1))
    maps.append(whole.expand(len(step.truth), -1, -1).flatten(1))

    def rows(place: slice) -> Tensor:
        return torch.cat([found[:, place] for found in maps])

    count = len(maps) * len(step.truth)
    *sums, weight = cells.sums_of(rows, count, margin=width // 2).chunk(len(maps))
    return {"ssim_weight": weight} | {
        f"ssim|{method}": found for method, found in zip(step.fields, sums, strict=True)
    }


def fraction_sums(step: Step, traits: Traits) -> RegionSums:
    """Return the sums of the fractions skill score over centres of whole windows; none but of rain.

    Counts stand for fractions, which the score does not tell from each other.
    """
    if not traits.is_rain:
        return {}
    whole = None if step.valid is None else fractions.windows(step.valid.byte())
    fields = (step.truth, *step.fields.values())
    # [K H T N] of truth and methods, and of thresholds
    counts = [fractions.counts(field, whole) for field in fields]
    sums = {}
    for width in fractions.WIDTHS:
        sums |= _fractions_apart(step, [each[width].flatten(2) for each in counts], width)
    return sums


def _fractions_apart(step: Step, counts: list[UInt8[Tensor, "H T N"]], width: int) -> RegionSums:
    """Return sums over squares of the counts of truth and methods, and over those of differences.

    Parameters
    ----------
    counts
        For truth and methods, at each threshold and time, around the centre of each window.
    """

    def rows(place: slice) -> Tensor:
        found = torch.stack([each[..., place] for each in counts]).float()
        apart = found[1:] - found[0]
        # squares of counts up to 225 are exact
        return torch.cat([found.square_(), apart.square_()]).flatten(0, 2)

    shape = 2 * len(counts) - 1, len(fractions.THRESHOLDS_MM), len(step.truth)
    found = step.cells.sums_of(rows, math.prod(shape), margin=width // 2)
    truth, *rest = found.unflatten(0, shape)
    own, apart = rest[: len(step.fields)], rest[len(step.fields) :]
    sums = {}
    for at, threshold in enumerate(fractions.THRESHOLDS_MM):
        name = f"fss_{threshold}mm_{width}"
        for row, method in enumerate(step.fields):
            sums[f"{name}_apart|{method}"] = apart[row][at]
            sums[f"{name}_worst|{method}"] = own[row][at] + truth[at]
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
