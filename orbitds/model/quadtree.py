"""The quadtree of a field: small leaves where it has edges, large ones where it is smooth.

A node's count of edge pixels is never above its parent's, so the nodes of largest count are a valid
set of splits: the tree is one ``topk``, without recursion, and as many leaves for every field.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Least edge of the root blocks where a density decides, in patches: what a calm field shrinks by.
RAGGED_ROOT = 16


class Quadtree(NamedTuple):
    """The leaves of a batch of fields, in Morton (Z) order within a root, roots row by row.

    Of a fixed budget each of the ``G = B`` samples has its row of ``M`` leaves. Under a density
    threshold samples differ in length: ``G = 1``, and the leaves stand one after another, the first
    ``lengths[0]`` those of the first sample. Leaves may lie beyond the last row and column of
    patches, where the roots do.
    """

    leaf_of_patch: Int[Tensor, "B N"]
    """Leaf of each patch, row by row, as an index into the leaves of all samples (``G M``)."""
    leaf: Int[Tensor, "B h w"]
    """The same of each cell of the roots, of which the first rows and columns are the patches."""
    node: Int[Tensor, "G M"]
    """Where each leaf stands in the pyramid of all nodes, finest level first."""
    level: Int[Tensor, "G M"]
    """Binary logarithm of the leaf's edge in patches: 0 is a single patch."""
    centre: Float[Tensor, "G M 2"]
    """Row and column of the leaf's centre, in patches from the centre of the first patch."""
    lengths: Int[Tensor, " B"]
    """Leaves of each sample."""
    source: Int[Tensor, " C"]
    """Patch that stands for each cell of the roots, in Morton order, roots row by row."""
    inside: Bool[Tensor, " C"]
    """Whether that is the cell's own patch, not one that repeats beyond the border."""
    rows: int
    columns: int
    root: int
    """Edge of a root block in patches, a power of two."""
    periodic: bool
    """Whether the first columns of patches repeat beyond the last one."""


def root_size(rows: int, columns: int, ratio: float, density: float | None = None) -> int:
    """Return the edge of the root blocks in patches, a power of two.

    The smallest that leaves three quarters of the budget of ``rows * columns / ratio`` leaves to
    splits, or one root for all where the grid is too small for that. With a density blocks are at
    least ``RAGGED_ROOT`` wide, unless one root covers the grid.
    """
    check_ratio(ratio, density)
    edge, least = 1, 1 if density is None else RAGGED_ROOT
    while edge < max(rows, columns) and (
        edge < least or 4 * ratio * _roots(rows, columns, edge) > rows * columns
    ):
        edge *= 2
    return edge


def leaf_count(rows: int, columns: int, ratio: float, density: float | None = None) -> int:
    """Return the leaves of each field: exactly, or at most where a density stops splitting.

    At most ``rows * columns / ratio``, but for a grid of fewer patches than ``ratio``: one.
    """
    edge = root_size(rows, columns, ratio, density)
    return _roots(rows, columns, edge) + 3 * _split_count(rows, columns, ratio, density)


@torch.no_grad()
def build_quadtree(
    counts: Int[Tensor, "B h w"],
    *,
    patch: int,
    ratio: float,
    density: float | None = None,
    periodic: bool,
) -> Quadtree:
    """Split the blocks with most edges until the budget is spent; of equals the coarser, the first.

    Parameters
    ----------
    counts
        Edge pixels of each patch.
    density
        Split only blocks with more edge pixels per pixel than this, in blocks that are split.
        As the number of leaves then depends on the field, the host waits for the device here.
    periodic
        Whether the last column is a neighbour of the first: what fills the roots there.
    """
    # a range has torch.compile work the sizes out for each grid, which it would leave symbolic
    batch, (rows, columns) = len(counts), (len(range(size)) for size in counts.shape[1:])
    root = root_size(rows, columns, ratio, density)
    cell, position = _morton(counts, rows, columns, root)
    source, inside = _sources(cell, rows, columns, root, periodic=periodic)
    counts = (counts.flatten(1)[:, source] * inside).long()  # B cells, in Morton order
    splits = _split_count(rows, columns, ratio, density)
    least = None if density is None else density * patch**2
    level = _levels(counts, root, splits, least)  # B cells
    # a cell whose place is a multiple of its leaf's size is the leaf's first
    is_first = torch.arange(cell.numel(), device=cell.device) % 4**level == 0
    leaf = is_first.flatten().cumsum(0)  # from 1
    shape = (batch, leaf_count(rows, columns, ratio)) if density is None else (1, int(leaf[-1]))
    first = torch.searchsorted(leaf, torch.arange(1, math.prod(shape) + 1, device=cell.device))
    level = level.flatten()[first]
    across = _filled(columns, root)
    leaf = (leaf - 1).view(batch, -1)[:, position].unflatten(1, (-1, across))
    return Quadtree(
        leaf_of_patch=leaf[:, :rows, :columns].flatten(1),
        leaf=leaf,
        node=_node(first, level, batch * cell.numel()).view(shape),
        level=level.view(shape),
        centre=_centre(cell[first % cell.numel()], level, across).view(*shape, 2),
        lengths=is_first.sum(dim=1),
        source=source,
        inside=inside,
        rows=rows,
        columns=columns,
        root=root,
        periodic=periodic,
    )


# An operator of its own, which torch.compile leaves alone: Inductor (2.11) would fold these views
# of a range into an index that it then fails to simplify.
@torch.library.custom_op("orbitds::morton", mutates_args=())
def _morton(counts: Tensor, rows: int, columns: int, root: int) -> tuple[Tensor, Tensor]:
    """Return the cells in Morton order, numbered row by row, and each cell's place in that order.

    There are whole roots of cells: beyond the last row and column of patches, too.
    """
    down, across = _filled(rows, root) // root, _filled(columns, root) // root
    levels = root.bit_length() - 1
    # row by row: root row, bits of the row; root column, bits of the column, each from high to low
    bits = [axis for bit in range(1, levels + 1) for axis in (bit, levels + 1 + bit)]
    order = [0, levels + 1, *bits]
    edges = [down, *[2] * levels, across, *[2] * levels]
    number = torch.arange(down * across * root**2, device=counts.device)
    cell = number.view(edges).permute(order).reshape(-1)
    back = sorted(range(len(order)), key=order.__getitem__)
    position = number.view([edges[axis] for axis in order]).permute(back).reshape(-1)
    return cell.clone(), position.clone()  # an operator may not give one tensor twice


@_morton.register_fake
def _(counts: Tensor, rows: int, columns: int, root: int) -> tuple[Tensor, Tensor]:
    cells = _filled(rows, root) * _filled(columns, root)
    return counts.new_empty(cells, dtype=torch.long), counts.new_empty(cells, dtype=torch.long)


def _sources(
    cell: Int[Tensor, " C"], rows: int, columns: int, root: int, *, periodic: bool
) -> tuple[Int[Tensor, " C"], Bool[Tensor, " C"]]:
    """Return the patch that stands for each cell, and whether it is the cell's own.

    Beyond the last row the last one repeats, beyond the last column too, or the first follow where
    longitude is periodic.
    """
    across = _filled(columns, root)
    row, column = cell // across, cell % across
    inside = (row < rows) & (column < columns)
    column = column % columns if periodic else column.clamp(max=columns - 1)
    return row.clamp(max=rows - 1) * columns + column, inside


def _levels(counts: Tensor, root: int, splits: int, least: float | None) -> Int[Tensor, "B C"]:
    """Return the level of each cell's leaf; blocks split above ``least`` edge pixels per patch."""
    pyramid = [counts]  # in Morton order four siblings stand in a row
    for _ in range(root.bit_length() - 1):
        pyramid.append(pyramid[-1].unflatten(1, (-1, 4)).sum(dim=2))
    level = torch.full_like(pyramid[-1], len(pyramid) - 1)
    if splits == 0:
        return level.repeat_interleave(root**2, dim=1)
    candidates = pyramid[:0:-1]  # coarse to fine, without the single patches
    allowed = None if least is None else torch.cat(_admissible(candidates, least), dim=1)
    chosen = _largest(torch.cat(candidates, dim=1), splits, allowed)
    for split in chosen.split([nodes.shape[1] for nodes in candidates], dim=1):
        level = (level - split.long()).repeat_interleave(4, dim=1)
    return level


def _admissible(candidates: list[Tensor], least: float) -> list[Tensor]:
    """Tell which nodes exceed the density together with all their ancestors."""
    admissible: list[Tensor] = []
    for depth, nodes in enumerate(candidates):
        cells = 4 ** (len(candidates) - depth)
        allowed = nodes > least * cells
        if admissible:
            allowed = allowed & admissible[-1].repeat_interleave(4, dim=1)
        admissible.append(allowed)
    return admissible


def _largest(counts: Tensor, splits: int, allowed: Tensor | None) -> Bool[Tensor, "B n"]:
    """Choose so many nodes of largest count, of equal ones the first, and only allowed ones."""
    nodes = counts.shape[1]
    # distinct keys, because topk leaves equals in any order, and would split orphans
    keys = counts * (nodes + 1) - torch.arange(nodes, device=counts.device)
    if allowed is not None:
        keys = torch.where(allowed, keys, -nodes)
    last = keys.topk(splits, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    chosen = keys >= last
    return chosen if allowed is None else chosen & allowed


def _node(first: Tensor, level: Tensor, cells: int) -> Tensor:
    """Return the place in the pyramid, finest level first, of leaves with these first cells."""
    size = 4**level
    # before a level stand all cells, a fourth of them, a sixteenth ...: a geometric series
    return (cells - cells // size) * 4 // 3 + first // size


def _centre(corner: Tensor, level: Tensor, across: int) -> Float[Tensor, "M 2"]:
    place = torch.stack([corner // across, corner % across], dim=-1)
    return place + (2**level - 1)[:, None] / 2


def _split_count(rows: int, columns: int, ratio: float, density: float | None) -> int:
    edge = root_size(rows, columns, ratio, density)
    roots = _roots(rows, columns, edge)
    if density is not None and ratio == 1:
        return roots * (edge**2 - 1) // 3  # all nodes of two patches and more
    return max(0, math.floor((rows * columns / ratio - roots) / 3))


def _roots(rows: int, columns: int, edge: int) -> int:
    return _filled(rows, edge) * _filled(columns, edge) // edge**2


def _filled(size: int, edge: int) -> int:
    """Round up to whole roots."""
    return -(-size // edge) * edge


def check_ratio(ratio: float, density: float | None) -> None:
    """Refuse what is no ratio of patches to tokens, or no share of pixels."""
    if not ratio >= 1:
        raise ValueError(
            f"Wanted a compression ratio of at least 1 patch per token, got {ratio}. "
            "Give 4 for a fourth of the tokens."
        )
    if density is not None and not 0 <= density < 1:
        raise ValueError(
            f"Wanted an edge density from 0 to below 1, got {density}. It is the share of edge "
            "pixels above which a block is split, such as 0.05; None splits by budget alone."
        )
