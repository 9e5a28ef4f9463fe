"""What a table of scores says in words: whether a model earns its place, and where it does not."""

import math

import numpy as np
import xarray as xr

from orbitds.eval.metric import METRICS
from orbitds.eval.table import EVERYWHERE, plain_name

# The simple methods a model is held against, and the metrics that do so.
RIVALS = {"bilinear": "skill", "delta change": "skill_delta"}
# Interpolation of block means has no bias by construction: no merit, no fault.
UNJUDGED = ("bias",)
_ENDS = ("value", "low", "high")
# Metrics that are named one by one; the tables have all.
_LISTED = 6


def verdict(scores: xr.Dataset, own: str | None = None) -> list[str]:
    """Return a sentence or two on each variable.

    Parameters
    ----------
    own
        The method that is judged; the first of the table by default.
    """
    own = str(scores["method"].values[0]) if own is None else own
    names = [str(name) for name in scores["variable"].values if not plain_name(str(name))[1]]
    return [_of_variable(scores.sel(variable=name), own) for name in names]


def best_of(values: np.ndarray, metric: str) -> np.ndarray:
    """Return which of the methods' values are the best, if there are two at least to compare."""
    values = np.asarray(values, float)
    known = ~np.isnan(values)
    if metric in UNJUDGED or known.sum() < 2:
        return np.zeros(values.shape, dtype=bool)
    badness = {
        "lower": values,
        "higher": -values,
        "zero": np.abs(values),
        "one": np.abs(values - 1),
    }[METRICS[metric].better]
    return known & (badness == np.nanmin(badness))


def _of_variable(scores: xr.Dataset, own: str) -> str:
    whole = scores.sel(region=EVERYWHERE, season="all")
    label = f"{scores['long_name'].item()}".capitalize()
    if math.isnan(float(whole["value"].sel({"method": own, "metric": "rmse"}))):
        return f"{label}: there is nothing to score."
    told = [_against(whole, own, rival, metric) for rival, metric in RIVALS.items()]
    told = [text for text in told if text]
    if not told:
        return (
            f"{label}: no simple method was scored beside {own}, so nothing is said of its skill."
        )
    sentences = [f"{label}: {own} {' and '.join(told)}.", *_worse_parts(scores, own)]
    sentences += [_best_method(whole, own), _not_best(whole, own)]
    return " ".join(filter(None, sentences))


def _against(whole: xr.Dataset, own: str, rival: str, metric: str) -> str:
    if rival not in whole["method"].values or rival == own:
        return ""
    value, low, high = (float(whole[end].sel({"method": own, "metric": metric})) for end in _ENDS)
    if math.isnan(value):
        return ""
    interval = "" if math.isnan(low) else f", {low:.0%} to {high:.0%}"
    if math.isnan(low):
        low = high = value
    skill = f"(skill {value:.0%}{interval})"
    if low > 0:
        return f"is better than {rival} {skill}"
    if high < 0:
        return f"is worse than {rival} {skill} and does not earn its place"
    return f"cannot be told from {rival} {skill}"


def _worse_parts(scores: xr.Dataset, own: str) -> list[str]:
    """Return where the model is worse than a rival, of seasons and regions."""
    told = []
    for rival, metric in RIVALS.items():
        if rival == own:
            continue
        skill = scores["value"].sel({"method": own, "metric": metric})
        parts = [(skill.sel(region=EVERYWHERE), "season"), (skill.sel(season="all"), "region")]
        worse = [str(part[d].values[i]) for part, d in parts for i in np.flatnonzero(part < 0)]
        worse = [name for name in worse if name != EVERYWHERE]
        if worse:
            told.append(f"It is worse than {rival} in: {', '.join(worse)}.")
    return told


def _best_method(whole: xr.Dataset, own: str) -> str:
    errors = whole["value"].sel(metric="rmse")
    best = str(errors["method"].values[int(errors.argmin("method"))])
    if best == own:
        return "No other method has a smaller RMSE."
    return f"The smallest RMSE is that of {best}."


def _not_best(whole: xr.Dataset, own: str) -> str:
    """Return the metrics in which another method is better."""
    others = []
    methods = [str(name) for name in whole["method"].values]
    judged = [m for m in METRICS if m not in (*RIVALS.values(), "rmse")]
    columns = whole["value"].sel(metric=judged).transpose("metric", "method").values
    for metric, values in zip(judged, columns, strict=True):
        best = best_of(values, metric)
        if best.any() and not best[methods.index(own)]:
            others.append(f"{METRICS[metric].title} ({methods[best.argmax()]})")
    if len(others) > _LISTED:
        others[_LISTED:] = [f"and {len(others) - _LISTED} more of the metrics below"]
    return f"Others are better in: {', '.join(others)}." if others else ""
