"""The report as one HTML page: verdict, key table, a section for each variable, provenance."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
import xarray as xr

from orbitds.eval import charts
from orbitds.eval.charts import spelled
from orbitds.eval.html import Cell, Row, figure, folded, image, page, paragraph, table, terms
from orbitds.eval.metric import METRICS
from orbitds.eval.table import EVERYWHERE, SCALARS, SEASONS
from orbitds.eval.verdict import best_of, verdict

# Metrics of the key table, and how those of a group are called.
KEY = ("rmse", "skill", "skill_delta", "bias", "r2_anomaly", "ssim", "spectral_distance")
GROUPS = {
    "error": "Errors",
    "structure": "Structure",
    "tail": "Tails and distribution",
    "rain": "Wet days and heavy rain",
    "extreme": "Extremes of a year",
    "ensemble": "Ensemble",
    "consistency": "Consistency with the coarse input",
}
# Maps of methods side by side.
MOST_MAPS = 3
WITHOUT_MAPS = (
    "There are no maps: cartopy or matplotlib is not installed. pip install orbitds[maps], and run "
    "this again."
)


def render(
    scores: xr.Dataset, *, provenance: Sequence[tuple[str, str]] = (), maps: bool = True
) -> str:
    """Return the page.

    Parameters
    ----------
    scores
        A table of scores, see ``table.blank``; the first method is what the report is about.
    provenance
        Further terms and what they are, for its end.
    maps
        Whether the page shows maps of the errors.
    """
    own = str(scores["method"].values[0])
    names = [str(name) for name in scores["variable"].values]
    links = "".join(
        f'<a href="#variable-{n}">{escape(str(scores["long_name"].values[n]))}</a>'
        for n in range(len(names))
    )
    attrs = scores.attrs
    over = (
        f"{own}, scored over {attrs['times']} times, {attrs['first']} to {attrs['last']}, on "
        f"{attrs['grid']}; weighted by area. Similarity (windows of {attrs['ssim_window']}), "
        f"fractions, spectra and borders are those of {attrs['detailed_times']} of these times."
    )
    body = [
        "<header>",
        f"<h1>{escape(own)}: evaluation</h1>",
        paragraph(over, "soft"),
        '<section class="verdict" aria-label="Verdict">',
        *map(paragraph, verdict(scores)),
        *map(paragraph, filter(None, [str(attrs.get("notes", ""))])),
        "</section>",
        f'<nav aria-label="Variables">{links}<a href="#provenance">Provenance</a></nav>',
        "</header>",
        "<main>",
        _key_table(scores, own),
        *(_section(scores, name, n, own, maps=maps) for n, name in enumerate(names)),
        "</main>",
        "<footer>",
        _provenance(scores, provenance),
        "</footer>",
    ]
    return page(f"{own}: evaluation", body)


def number(value: float, metric: str, extra: int = 0) -> str:
    """Return a value as text, with the digits of its metric.

    Parameters
    ----------
    extra
        Further digits of what is in the unit of a variable whose errors are small numbers.
    """
    if np.isnan(value):
        return "-"
    if np.isinf(value):
        return "∞" if value > 0 else "-∞"
    if metric.startswith("skill"):
        return f"{value:.1%}"
    row = METRICS[metric]
    digits = row.digits + (extra if row.unit == "variable" else 0)
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def extra_digits(part: xr.Dataset) -> int:
    """Return how many more digits a variable needs than one of errors of 0.1 and above."""
    errors = part["value"].sel(region=EVERYWHERE, season="all", metric="rmse").values
    errors = errors[np.isfinite(errors) & (errors > 0)]
    return max(0, -int(np.floor(np.log10(errors.min()))) - 1) if errors.size else 0


def _key_table(scores: xr.Dataset, own: str) -> str:
    parts = [scores.sel(variable=name) for name in scores["variable"].values]
    columns = [_columns(part) for part in parts]
    metrics = [m for m in KEY if any(_is_known(found[m]) for found in columns)]
    rows = []
    for part, found in zip(parts, columns, strict=True):
        rows += [Row(_labelled(part)), *_method_rows(part, found, metrics, own)]
    told = (
        "The smallest RMSE of each variable comes first, and the best value of each column is "
        "marked. In small print: the 95 % interval of a bootstrap over blocks of time. Skill is "
        "the share of the squared error of bilinear interpolation, or of delta change, that a "
        "method takes away; below zero it adds to it."
    )
    content = table(_heads(metrics), rows, caption="All methods", label="method")
    return paragraph(told, "soft") + content


def _section(scores: xr.Dataset, name: str, place: int, own: str, *, maps: bool) -> str:
    part = scores.sel(variable=name)
    columns = _columns(part)
    parts = [
        f'<section id="variable-{place}">',
        f"<h2>{escape(_labelled(part))}</h2>",
        *(_maps(part, own) if maps else ()),
        _charts(part, own),
    ]
    for group, title in GROUPS.items():
        metrics = [m for m, row in METRICS.items() if row.group == group and _is_known(columns[m])]
        if metrics:
            caption = f"{title}: {_labelled(part)}"
            content = table(
                _heads(metrics),
                _method_rows(part, columns, metrics, own),
                caption=caption,
                label="method",
            )
            meanings = terms([(METRICS[m].title, METRICS[m].meaning) for m in metrics])
            parts += [f"<h3>{title}</h3>", content, folded("What these mean", meanings)]
    parts += [_split(part, own, "season"), _split(part, own, "region"), "</section>"]
    return "\n".join(parts)


def _columns(part: xr.Dataset) -> dict[str, np.ndarray]:
    """Return a variable's values, lower and upper ends [3, methods] over the whole, by metric.

    Plain arrays: to select each cell by its labels takes a page longer than to score its data.
    """
    whole = part[list(SCALARS)].sel(region=EVERYWHERE, season="all")
    ends = [whole[end].transpose("metric", "method").values for end in SCALARS]
    return dict(zip(map(str, whole["metric"].values), np.stack(ends, axis=1), strict=True))


def _is_known(ends: np.ndarray) -> bool:
    """Return whether a metric is defined for a method at least."""
    return not np.isnan(ends[0]).all()


def _method_rows(
    part: xr.Dataset, columns: Mapping[str, np.ndarray], metrics: Sequence[str], own: str
) -> list[Row]:
    """Return a row for each method, the smallest RMSE first."""
    extra = extra_digits(part)
    methods = [str(name) for name in part["method"].values]
    best = {m: best_of(columns[m][0], m) for m in metrics}
    rows = []
    for place in np.argsort(columns["rmse"][0], kind="stable"):
        cells = [
            _cell(columns[m][:, place], m, extra, is_best=bool(best[m][place])) for m in metrics
        ]
        rows.append(Row(methods[place], cells, is_own=methods[place] == own))
    return rows


def _cell(ends: np.ndarray, metric: str, extra: int, *, is_best: bool) -> Cell:
    value, low, high = map(float, ends)
    note = ""
    if np.isfinite([value, low, high]).all() and low < high:
        note = f"{number(low, metric, extra)} to {number(high, metric, extra)}"
    return Cell(number(value, metric, extra), note, is_best)


def _split(part: xr.Dataset, own: str, dim: str) -> str:
    """Return RMSE and skill by season or region, where there is more than the whole."""
    other = {"season": {"region": EVERYWHERE}, "region": {"season": "all"}}[dim]
    keys = [str(key) for key in (SEASONS if dim == "season" else part["region"].values)]
    found = part["value"].sel(other)
    scored = found.sel({"metric": "rmse", dim: keys}).notnull().any("method").values
    keys = [key for key, is_scored in zip(keys, scored, strict=True) if is_scored]
    if len(keys) < 2:
        return ""
    tables, extra = [], extra_digits(part)
    for metric in ("rmse", "skill"):
        values = found.sel({"metric": metric, dim: keys}).transpose(dim, "method").values
        if np.isnan(values).all():
            continue
        best = np.stack([best_of(of_key, metric) for of_key in values])
        rows = []
        for place, method in enumerate(map(str, part["method"].values)):
            cells = [
                Cell(number(value, metric, extra), is_best=is_best)
                for value, is_best in zip(
                    values[:, place].tolist(), best[:, place].tolist(), strict=True
                )
            ]
            rows.append(Row(method, cells, is_own=method == own))
        unit = f" ({spelled(part['units'].item())})" if metric == "rmse" else ""
        caption = f"{METRICS[metric].title}{unit} by {dim}"
        tables.append(table([(k, k) for k in keys], rows, caption=caption, label="method"))
    return f"<h3>By {dim}</h3>" + "".join(tables)


def _maps(part: xr.Dataset, own: str) -> list[str]:
    if "bias_map" not in part or not part["bias_map"].notnull().any():
        return []
    from orbitds.eval.maps import error_maps

    methods = charts.chosen(part, own)[:MOST_MAPS]
    fields = {
        kind: {
            name: part[f"{kind}_map"].sel({"method": name}).assign_attrs(units=part["units"].item())
            for name in methods
        }
        for kind in ("bias", "rmse")
    }
    try:
        png = error_maps(fields["bias"], fields["rmse"], title=_labelled(part))
    except ImportError:
        return [paragraph(WITHOUT_MAPS, "soft")]
    listed = ", ".join(methods)
    alt = f"Maps of the mean error and of the RMSE of {listed}: {_labelled(part)}"
    caption = "Mean error (above) and RMSE (below) of each cell over time, each on one scale."
    return [figure(image(png, alt), caption, "map")]


def _charts(part: xr.Dataset, own: str) -> str:
    kinds: list[tuple[Callable[[xr.Dataset, str], str | None], str]] = [
        (charts.spectra, "Mean spectrum: below the truth's line, detail is missing."),
        (charts.quantile_quantile, "Quantiles of all values: on the dotted line where they agree."),
        (charts.series, "Area mean over time."),
        (charts.errors_over_time, "Area mean over time, prediction minus truth."),
        (charts.ranks, "Rank of the truth among the members: flat where the spread is right."),
    ]
    drawn = [(chart(part, own), caption) for chart, caption in kinds]
    figures = "".join(figure(svg, caption) for svg, caption in drawn if svg is not None)
    return f'<div class="charts">{figures}</div>' if figures else ""


def _provenance(scores: xr.Dataset, further: Sequence[tuple[str, str]]) -> str:
    shown = [(key.replace("_", " "), str(value)) for key, value in scores.attrs.items()]
    return '<h2 id="provenance">Provenance</h2>' + terms([*shown, *further])


def _heads(metrics: Sequence[str]) -> list[tuple[str, str]]:
    units = {"dB": " (dB)", "1": "", "variable": ""}
    return [(METRICS[m].title + units[METRICS[m].unit], METRICS[m].meaning) for m in metrics]


def _labelled(part: xr.Dataset) -> str:
    return f"{part['long_name'].item()} ({spelled(part['units'].item())})"
