"""Pieces of a self-contained HTML page: tables, figures, sections, and the style sheet."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Okabe and Ito's colours, which the colour-blind can tell apart; each also has its own dashes.
_COLOURS = (
    ("#0072b2", "#56b4e9", ""),
    ("#d55e00", "#ff8c42", "7 3"),
    ("#009e73", "#2fd0a0", "2 3"),
    ("#cc79a7", "#e79cc6", "9 3 2 3"),
    ("#b8860b", "#f0c942", "5 2 1 2 1 2"),
    ("#6a51a3", "#b5a4e3", "12 4"),
    ("#8c564b", "#d2a297", "3 2"),
    ("#555555", "#bbbbbb", "1 2"),
)
STYLES = len(_COLOURS)

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --paper: #ffffff;
  --panel: #f5f7f9; --rule: #d4dae0; --good: #e3f2e6; %LIGHT% }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa7b3; --paper: #0f141a;
  --panel: #171e26; --rule: #323c47; --good: #163322; %DARK% } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1.2rem 4rem; max-width: 76rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.6rem 0 0.2rem; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 0.6rem; padding-top: 0.8rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 0.4rem; }
p, ul { max-width: 48rem; }
.soft, figcaption, caption { color: var(--soft); font-size: 0.88rem; }
.verdict { background: var(--panel); border-left: 4px solid var(--m0); padding: 0.6rem 1rem;
  max-width: none; }
.verdict p { margin: 0.4rem 0; max-width: 62rem; }
nav { margin: 0.7rem 0; } nav a { margin-right: 0.9rem; }
a { color: var(--m0); }
.scroll { overflow-x: auto; margin: 0.6rem 0 1rem; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.3rem; }
th, td { padding: 0.28rem 0.6rem; text-align: right; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; white-space: normal; }
th[scope=row], thead th.text { text-align: left; font-weight: 400; }
th[scope=row] { vertical-align: top; }
td { vertical-align: top; } th[scope=row] { white-space: normal; min-width: 7.5rem; }
td strong { background: var(--good); border-radius: 3px; padding: 0 0.2rem; }
td small { display: block; color: var(--soft); font-size: 0.8em; }
tr.own th { font-weight: 700; }
th[scope=rowgroup] { text-align: left; padding-top: 0.9rem; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem),
  1fr)); }
figure { margin: 0; background: var(--panel); border-radius: 6px; padding: 0.7rem; min-width: 0; }
figure.map { margin: 1rem 0; overflow-x: auto; }
figure.map img { min-width: 44rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
svg.chart { width: 100%; height: auto; display: block; }
svg.chart text { fill: var(--ink); font-size: 12px; }
svg.chart .axis, svg.chart .grid, svg.chart .line, svg.chart .equal { fill: none; }
svg.chart .axis { stroke: var(--soft); } svg.chart .grid { stroke: var(--rule); opacity: 0.7; }
svg.chart .equal { stroke: var(--soft); stroke-dasharray: 2 4; }
svg.chart .line { stroke-width: 1.8; } svg.chart .truth { stroke: var(--ink);
  stroke-width: 4.5; opacity: 0.4; }
%LINES%
details { margin: 0.6rem 0; } summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; font-size: 0.9rem; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
@media (max-width: 32rem) { body { padding: 0.8rem 0.8rem 3rem; } dl { display: block; }
  dd { margin-bottom: 0.5rem; } h1 { font-size: 1.35rem; } }
@media print { body { max-width: none; font-size: 11px; } figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; } th, td { white-space: normal; padding: 0.15rem 0.35rem; } }
"""


@dataclass(frozen=True)
class Cell:
    """One value of a table."""

    text: str
    note: str = ""
    """In small print behind it, such as an interval."""
    is_best: bool = False


@dataclass(frozen=True)
class Row:
    """One row of a table: a heading, then values; without values the heading of those below."""

    head: str
    cells: Sequence[Cell] = ()
    is_own: bool = False
    """Whether it is of what the report is about."""


def page(title: str, body: Sequence[str]) -> str:
    """Return a whole page, which needs no network and no script."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def table(
    heads: Sequence[tuple[str, str]], rows: Sequence[Row], *, caption: str, label: str
) -> str:
    """Return a table that scrolls sideways by itself where the page is narrow.

    Parameters
    ----------
    heads
        Heading and definition of each column of values.
    label
        Heading of the column of headings.
    """
    top = f'<th scope="col" class="text">{escape(label)}</th>'
    top += "".join(
        f'<th scope="col" title="{escape(meaning)}">{escape(title)}</th>'
        for title, meaning in heads
    )
    lines = "".join(_row(row, len(heads) + 1) for row in rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def paragraph(text: str, style: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{style}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def figure(content: str, caption: str, style: str = "") -> str:
    """Return a figure of SVG or of an image, with its caption."""
    start = f'<figure class="{style}">' if style else "<figure>"
    return f"{start}{content}<figcaption>{escape(caption)}</figcaption></figure>"


def image(png: bytes, alt: str) -> str:
    """Return an image that the page itself holds."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'


def folded(summary: str, content: str) -> str:
    """Return what opens at a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def terms(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a list of terms and what they are."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs) + "</dl>"


def _row(row: Row, columns: int) -> str:
    start = '<tr class="own">' if row.is_own else "<tr>"
    if not row.cells:
        return f'{start}<th scope="rowgroup" colspan="{columns}">{escape(row.head)}</th></tr>'
    return f'{start}<th scope="row">{escape(row.head)}</th>{"".join(map(_cell, row.cells))}</tr>'


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    text = f"<strong>{text}</strong>" if cell.is_best else text
    return (
        f"<td>{text} <small>{escape(cell.note)}</small></td>" if cell.note else f"<td>{text}</td>"
    )


def _style() -> str:
    light, dark, lines = [], [], []
    for number, (bright, dim, dashes) in enumerate(_COLOURS):
        light.append(f"--m{number}: {bright};")
        dark.append(f"--m{number}: {dim};")
        dashed = f" stroke-dasharray: {dashes};" if dashes else ""
        lines.append(f"svg.chart .m{number} {{ stroke: var(--m{number});{dashed} }}")
    parts = {"%LIGHT%": light, "%DARK%": dark, "%LINES%": lines}
    style = _STYLE
    for mark, content in parts.items():
        style = style.replace(mark, "\n".join(content) if mark == "%LINES%" else " ".join(content))
    return style
