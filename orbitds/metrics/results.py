"""From sums to scores: by method, region and season, with intervals over blocks of time."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float

from orbitds.metrics import consistency, fractions, moments
from orbitds.metrics.bootstrap import interval, redraw
from orbitds.metrics.ensemble import spread_skill
from orbitds.metrics.frame import SEASONS
from orbitds.metrics.moments import ratio
from orbitds.metrics.rare import Three, tail_scores, without_interval, yearly_scores
from orbitds.metrics.scores import Scores
from orbitds.metrics.spectrum import log_spectral_distance

EVER = "all"
# With as many months blocks are months, else thirds of them.
ENOUGH_MONTHS = 12
# By metric: value, low and high end of the interval, [3, M, R, S]; NaN where undefined.
Scalars = dict[str, Float[np.ndarray, "3 M R S"]]
Found = dict[str, Float[np.ndarray, "M *D R"]]
# The same of one method.
Own = dict[str, Float[np.ndarray, "*D R"]]


def scalars(scores: Scores, references: Mapping[str, str] | None = None) -> Scalars:
    """Return all scores with their 95 % intervals.

    Intervals are those of a bootstrap over months, or thirds of a month where there are few. That
    of anomaly R2 holds the variance of the truth fixed. Those of tails are of the whole grid alone,
    over months always; those of yearly extremes are over years.

    Parameters
    ----------
    references
        By the name of a skill score, the method that it is measured against.
    """
    shape = (3, len(scores.methods), len(scores.frame.regions), 1 + len(SEASONS))
    result: Scalars = {}
    for place, season in enumerate((EVER, *SEASONS)):
        groups = _groups(list(scores.of("regions")), season)
        if not groups:
            continue
        found = _with_intervals(scores, groups, season, references or {})
        found |= tail_scores(scores, None if season == EVER else season)
        if season == EVER:
            found |= yearly_scores(scores)
        for name, three in found.items():
            row = result.setdefault(name, np.full(shape, np.nan))
            row[..., place] = np.stack(three)
    return result


def blocks_of(scores: Scores) -> tuple[int, str]:
    """Return the number of blocks of a bootstrap over all times, and what one is."""
    labels = list(scores.of("regions"))
    are_months = _has_months(labels)
    return len(_groups(labels, EVER)), "month" if are_months else "third of a month"


def _with_intervals(
    scores: Scores, groups: list[list[str]], season: str, references: Mapping[str, str]
) -> dict[str, Three]:
    """Return the scores that follow from sums by block, and both ends of their intervals."""
    kinds = ("regions", "structure", "spectrum", *scores.frame.borders)
    sums = {kind: _stacked(scores.of(kind), groups) for kind in kinds}
    fixed = _anomaly_variance(scores, season)
    whole = _scores(
        {kind: values.sum(axis=0) for kind, values in sums.items()}, fixed, scores, references
    )
    # the same seed: all kinds of sums are drawn together
    drawn = {kind: redraw(values) for kind, values in sums.items()}
    known = {kind: values for kind, values in drawn.items() if values is not None}
    if not known:
        return {name: without_interval(value) for name, value in whole.items()}
    draws = _scores(known, fixed, scores, references)
    return {
        name: (value, *interval(np.moveaxis(draws[name], 1, 0))) for name, value in whole.items()
    }


def _scores(
    sums: dict[str, np.ndarray], fixed: np.ndarray, scores: Scores, references: Mapping[str, str]
) -> Found:
    """Return scores by method and region of sums, of one total or of many draws."""
    rows = {
        name: values
        for kind, names in scores.names.items()
        for name, values in zip(names, np.moveaxis(sums[kind], -2, 0), strict=True)
    }
    by_method = {
        method: {
            name.partition("|")[0]: values
            for name, values in rows.items()
            if name.partition("|")[2] in ("", method)
        }
        for method in scores.methods
    }
    found: dict[str, list[np.ndarray]] = {}
    for place, own in enumerate(by_method.values()):
        one = _errors(own, fixed, scores.traits.data_range)
        for name, reference in references.items():
            if reference in by_method:
                one[name] = moments.skill(own, by_method[reference])
        if scores.traits.is_rain:
            one |= _rain(own, rows)
        if "coarse_weight" in own:
            one["consistency_rmse"] = np.sqrt(ratio(own["coarse_squared"], own["coarse_weight"]))
        if scores.members:
            one |= _ensemble(own, scores.members, is_ensemble=place == 0)
        one |= _everywhere(sums, place, own["weight"].shape, list(scores.frame.borders))
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return {name: np.stack(values) for name, values in found.items()}


def _errors(own: dict[str, np.ndarray], fixed: np.ndarray, data_range: float) -> Own:
    mse = ratio(own["error_squared"], own["weight"])
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(data_range**2 / mse)
    return {
        "rmse": moments.rmse(own),
        "mae": moments.mae(own),
        "bias": moments.bias(own),
        "r2": moments.r2(own),
        "r2_anomaly": 1 - mse / fixed,
        "pearson": moments.pearson(own),
        "psnr": psnr,
        "ssim": ratio(own["ssim"], own["ssim_weight"]),
    }


def _rain(own: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> Own:
    frequency = ratio(own["wet"] - rows["wet"], rows["weight"])
    intensity = ratio(own["wet_amount"], own["wet"]) - ratio(rows["wet_amount"], rows["wet"])
    found = {"wet_day_frequency_bias": frequency, "wet_day_intensity_bias": intensity}
    for threshold in fractions.THRESHOLDS_MM:
        for width in fractions.WIDTHS:
            name = f"fss_{threshold}mm_{width}"
            found[name] = fractions.skill(own[f"{name}_apart"], own[f"{name}_worst"])
    return found


def _ensemble(own: dict[str, np.ndarray], members: int, *, is_ensemble: bool) -> Own:
    """Return what members add; a method that is no ensemble has none of it."""
    crps = ratio(own["crps"], own["weight"])
    spread = spread_skill(own["member_variance"], own["error_squared"], members)
    if not is_ensemble:
        crps, spread = np.full_like(crps, np.nan), np.full_like(spread, np.nan)
    return {"crps": crps, "spread_skill": spread}


def _everywhere(
    sums: dict[str, np.ndarray], place: int, shape: tuple[int, ...], borders: Sequence[str]
) -> Own:
    """Return scores that the whole grid has, and no region: NaN elsewhere."""
    spectra = sums["spectrum"]
    found = {
        "spectral_distance": log_spectral_distance(
            spectra[..., 1 + place, :-1], spectra[..., 0, :-1]
        )
    }
    for name in borders:
        mine, truth = (consistency.jump_index(sums[name][..., row, :]) for row in (1 + place, 0))
        found[f"{name}_index"] = ratio(mine, truth)
    result = {}
    for name, value in found.items():
        result[name] = np.full(shape, np.nan)
        result[name][..., 0] = value
    return result


def _anomaly_variance(scores: Scores, season: str) -> Float[np.ndarray, "R"]:
    """Return the variance of the truth about each cell's own mean, by region."""
    parts = [value for key, value in scores.of("cells").items() if season in (EVER, key)]
    count, total = torch.stack(parts).sum(dim=0)
    blocks = _groups(list(scores.of("regions")), season)
    sums = _stacked(scores.of("regions"), blocks).sum(axis=0)
    rows = dict(zip(scores.names["regions"], sums, strict=True))
    means = total.square() / torch.where(count > 0, count, 1)
    square = rows["truth_squared"]
    variance = ratio(square - scores.frame.cells.sums(means).numpy(), rows["weight"])
    floor = moments.ROUNDING * ratio(square, rows["weight"])
    return np.where(variance > floor, variance, np.nan)


def _stacked(kept: dict[str, torch.Tensor], groups: list[list[str]]) -> Float[np.ndarray, "B *K"]:
    """Return the sums of each block; a block in which nothing was measured has zeros."""
    result = np.zeros((len(groups), *next(iter(kept.values())).shape))
    for row, group in zip(result, groups, strict=True):
        for label in group:
            if label in kept:
                row += kept[label].numpy()
    return result


def _groups(labels: list[str], season: str) -> list[list[str]]:
    """Return the labels of a season by block: months if there are enough, else thirds."""
    months: dict[str, list[str]] = {}
    for label in labels:
        if season in (EVER, SEASONS[int(label[5:7]) % 12 // 3]):
            months.setdefault(label[:7], []).append(label)
    if _has_months(labels):
        return list(months.values())
    return [[label] for group in months.values() for label in group]


def _has_months(labels: list[str]) -> bool:
    return len({label[:7] for label in labels}) >= ENOUGH_MONTHS
