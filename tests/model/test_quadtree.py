"""The quadtree, against one that splits node after node, over odd grids, ties and sparse counts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config

from orbitds.model.quadtree import Quadtree, build_quadtree, leaf_count, root_size

RATIOS = (1.0, 1.1, 1.7, 2.0, 3.0, 4.0, 7.5, 16.0, 32.0)
KINDS = ("none", "one", "all", "sparse", "tied", "any")
PATCH = 2


def counts_of(kind, shape, seed):
    """Edge pixels of each patch, at most PATCH^2."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.zeros(shape, dtype=torch.int64)
    if kind == "one":
        cell = torch.randint(counts.numel(), (1,), generator=generator)
        counts.view(-1)[cell] = PATCH**2
    elif kind == "all":
        counts += PATCH**2
    elif kind == "sparse":
        counts += torch.rand(shape, generator=generator) < 0.1
    elif kind == "tied":
        counts += PATCH**2 * torch.randint(2, shape, generator=generator)
    elif kind == "any":
        counts += torch.randint(PATCH**2 + 1, shape, generator=generator)
    return counts


@st.composite
def batches(draw, most=13, batch=2):
    shape = (batch, draw(st.integers(1, most)), draw(st.integers(1, most)))
    return counts_of(draw(st.sampled_from(KINDS)), shape, draw(st.integers(0, 9999)))


# --- the reference ---


def z_order(row, column, root):
    """Where a cell stands: its root, then the bits of row and column in turn."""
    bits = [
        ((row % root) >> bit & 1, (column % root) >> bit & 1)
        for bit in reversed(range(root.bit_length() - 1))
    ]
    return (row // root, column // root, bits)


def leaves_by_greed(counts, root, splits, least=None):
    """Split the node of largest count, the coarser of equals, the first of these, and so on."""
    rows, columns = counts.shape
    nodes = [(r, c, root) for r in range(0, rows, root) for c in range(0, columns, root)]

    def total(node):
        row, column, edge = node
        return int(counts[row : row + edge, column : column + edge].sum())

    def urgency(node):
        return (-total(node), -node[2], z_order(node[0], node[1], root))

    for _ in range(splits):
        ready = [node for node in nodes if node[2] > 1]
        if least is not None:
            ready = [node for node in ready if total(node) > least * node[2] ** 2]
        if not ready:
            break
        row, column, edge = first = min(ready, key=urgency)
        half = edge // 2
        nodes.remove(first)
        nodes += [(r, c, half) for r in (row, row + half) for c in (column, column + half)]
    return sorted(nodes, key=lambda node: z_order(node[0], node[1], root))


def leaves_by_recursion(counts, node, least):
    """Split wherever the density is above the threshold, as the paper draws it."""
    row, column, edge = node
    inside = counts[row : row + edge, column : column + edge]
    if edge == 1 or int(inside.sum()) <= least * edge**2:
        return [node]
    half = edge // 2
    quarters = [(r, c, half) for r in (row, row + half) for c in (column, column + half)]
    return [leaf for quarter in quarters for leaf in leaves_by_recursion(counts, quarter, least)]


def leaves_in(tree):
    """Each sample's leaves as (row, column, edge), which tile the roots as its indices say."""
    edges = (2**tree.level).flatten()
    corners = tree.centre.flatten(0, 1) - (edges[:, None] - 1) / 2
    found = [
        (int(row), int(column), int(edge))
        for (row, column), edge in zip(corners.tolist(), edges, strict=True)
    ]
    start, samples = 0, []
    for cells, length in zip(tree.leaf, tree.lengths.tolist(), strict=True):
        covered = torch.full_like(cells, -1)
        for index in range(start, start + length):
            row, column, edge = found[index]
            block = covered[row : row + edge, column : column + edge]
            assert block.numel() == edge**2, "within the roots"
            assert bool((block == -1).all()), "no overlap"
            block.fill_(index)
        assert torch.equal(covered, cells)
        samples.append(found[start : start + length])
        start += length
    assert start == len(found)
    return samples


def fields_of(tree):
    return [value for value in tree if isinstance(value, torch.Tensor)]


# --- budget ---


@settings(deadline=None, max_examples=120)
@given(counts=batches(), ratio=st.sampled_from(RATIOS), periodic=st.booleans())
def test_splits_the_nodes_of_most_edges(counts, ratio, periodic):
    rows, columns = counts.shape[1:]
    tree = build_quadtree(counts, patch=PATCH, ratio=ratio, periodic=periodic)
    root, leaves = root_size(rows, columns, ratio), leaf_count(rows, columns, ratio)
    roots = math.ceil(rows / root) * math.ceil(columns / root)
    assert tree.level.shape == (2, leaves)
    assert tree.lengths.tolist() == [leaves] * 2
    for own, found in zip(counts, leaves_in(tree), strict=True):
        assert found == leaves_by_greed(own, root, (leaves - roots) // 3)


@pytest.mark.parametrize("ratio", [2.0, 4.0, 7.5])
@pytest.mark.parametrize("kind", KINDS)
def test_splits_the_nodes_of_most_edges_of_a_larger_grid(kind, ratio):
    counts = counts_of(kind, (1, 21, 34), seed=3)
    tree = build_quadtree(counts, patch=PATCH, ratio=ratio, periodic=True)
    root, leaves = root_size(21, 34, ratio), leaf_count(21, 34, ratio)
    splits = (leaves - math.ceil(21 / root) * math.ceil(34 / root)) // 3
    assert splits > 20
    assert leaves_in(tree) == [leaves_by_greed(counts[0], root, splits)]


@settings(deadline=None, max_examples=40)
@given(counts=batches(batch=3), ratio=st.sampled_from(RATIOS))
def test_samples_do_not_know_of_each_other(counts, ratio):
    together = build_quadtree(counts, patch=PATCH, ratio=ratio, periodic=True)
    for index, own in enumerate(counts):
        alone = build_quadtree(own[None], patch=PATCH, ratio=ratio, periodic=True)
        before = index * together.level.shape[1]
        assert torch.equal(together.leaf[index] - before, alone.leaf[0])
        assert torch.equal(together.level[index], alone.level[0])
        assert torch.equal(together.centre[index], alone.centre[0])


def test_leaves_of_a_small_grid():
    """Three rows of five patches in two roots; the edges lie in the lower right of the first."""
    counts = torch.zeros(1, 3, 5, dtype=torch.int64)
    counts[0, 2, 3] = 4
    tree = build_quadtree(counts, patch=PATCH, ratio=1.7, periodic=False)
    assert (tree.root, tree.level.shape) == (4, (1, 8))  # 8.8 patches: 2 roots, 2 splits
    assert tree.leaf_of_patch.view(3, 5).tolist() == [
        [0, 0, 1, 1, 7],
        [0, 0, 1, 1, 7],
        [2, 2, 3, 4, 7],
    ]
    assert tree.level.tolist() == [[1, 1, 1, 0, 0, 0, 0, 2]]
    centres = [[0.5, 0.5], [0.5, 2.5], [2.5, 0.5], [2, 2], [2, 3], [3, 2], [3, 3], [1.5, 5.5]]
    assert tree.centre.tolist() == [centres]


def test_the_outer_patches_beyond_the_border_have_no_edges():
    counts = torch.ones(1, 5, 5, dtype=torch.int64)
    tree = build_quadtree(counts, patch=1, ratio=3.0, periodic=True)
    (leaves,) = leaves_in(tree)
    # one root of 8 x 8 and two splits: the corner full of edges, not one that repeats them
    assert (tree.root, len(leaves)) == (8, 7)
    assert [leaf for leaf in leaves if leaf[2] == 2] == [(0, 0, 2), (0, 2, 2), (2, 0, 2), (2, 2, 2)]


@settings(deadline=None, max_examples=300)
@given(
    rows=st.integers(1, 400),
    columns=st.integers(1, 400),
    ratio=st.one_of(st.sampled_from(RATIOS), st.floats(1.0, 40.0)),
)
def test_roots_and_leaves_keep_to_the_budget(rows, columns, ratio):
    root, leaves = root_size(rows, columns, ratio), leaf_count(rows, columns, ratio)
    budget = rows * columns / ratio

    def roots(edge):
        return math.ceil(rows / edge) * math.ceil(columns / edge)

    assert math.log2(root).is_integer()
    assert roots(root) <= max(1, budget / 4)
    assert root == 1 or roots(root // 2) > max(1, budget / 4), "no larger than it must be"
    assert (leaves - roots(root)) % 3 == 0
    assert budget < 4 or leaves > budget - 3
    assert leaves <= max(1, budget)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ((90, 180, 4.0), (8, 4050)),
        ((90, 180, 32.0), (16, 504)),
        ((16, 32, 4.0), (4, 128)),
        ((1, 1, 4.0), (1, 1)),
        ((1, 7, 2.0), (8, 1)),
        ((1, 100, 4.0), (32, 25)),
        ((2, 2, 1.0), (2, 4)),
    ],
)
def test_sizes_of_known_grids(grid, expected):
    assert (root_size(*grid), leaf_count(*grid)) == expected


# --- density ---


@settings(deadline=None, max_examples=80)
@given(
    counts=batches(most=20),
    density=st.sampled_from([0.0, 0.05, 0.25, 0.6, 0.99]),
    periodic=st.booleans(),
)
def test_splits_while_the_density_is_above_the_threshold(counts, density, periodic):
    rows, columns = counts.shape[1:]
    tree = build_quadtree(counts, patch=PATCH, ratio=1.0, density=density, periodic=periodic)
    roots = [
        (row, column, tree.root)
        for row in range(0, rows, tree.root)
        for column in range(0, columns, tree.root)
    ]
    assert tree.level.shape == (1, int(tree.lengths.sum()))
    for own, found in zip(counts, leaves_in(tree), strict=True):
        parts = [leaves_by_recursion(own, node, density * PATCH**2) for node in roots]
        assert found == [leaf for part in parts for leaf in part]


@settings(deadline=None, max_examples=60)
@given(
    counts=batches(most=20),
    ratio=st.sampled_from(RATIOS[1:]),
    density=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_density_splits_no_more_than_the_budget(counts, ratio, density):
    rows, columns = counts.shape[1:]
    tree = build_quadtree(counts, patch=PATCH, ratio=ratio, density=density, periodic=False)
    most = leaf_count(rows, columns, ratio, density)
    roots = math.ceil(rows / tree.root) * math.ceil(columns / tree.root)
    assert tree.root == root_size(rows, columns, ratio, density)
    assert int(tree.lengths.max()) <= most
    for own, found in zip(counts, leaves_in(tree), strict=True):
        splits = (most - roots) // 3
        assert found == leaves_by_greed(own, tree.root, splits, least=density * PATCH**2)


def test_density_spares_where_the_budget_would_be_spent():
    counts = counts_of("sparse", (3, 32, 40), seed=5)
    counts[2] = 0
    tree = build_quadtree(counts, patch=PATCH, ratio=4.0, density=0.02, periodic=True)
    lengths = tree.lengths.tolist()
    assert lengths[2] == 6  # roots of 16 x 16 patches
    assert 6 < lengths[0] <= leaf_count(32, 40, 4.0, 0.02)
    full = build_quadtree(counts, patch=PATCH, ratio=1.0, density=0.02, periodic=True)
    assert full.lengths[0] > lengths[0]
    assert leaf_count(32, 40, 1.0, 0.02) == 32 * 48


# --- how it runs ---


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_as_one_graph(backend, monkeypatch):
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    torch.compiler.reset()

    def build(counts):
        return build_quadtree(counts, patch=PATCH, ratio=3.0, periodic=True)

    compiled = torch.compile(build, fullgraph=True, backend=backend)
    for shape in ((2, 7, 10), (3, 7, 10), (2, 9, 12)):  # other batches and grids after the first
        counts = counts_of("any", shape, seed=6)
        for got, expected in zip(
            fields_of(compiled(counts)), fields_of(build(counts)), strict=True
        ):
            assert torch.equal(got, expected)


def test_shapes_need_no_values():
    counts = torch.empty(4, 90, 180, dtype=torch.int64, device="meta")
    tree = build_quadtree(counts, patch=2, ratio=4.0, periodic=True)
    assert isinstance(tree, Quadtree)
    assert tree.leaf_of_patch.shape == (4, 16200)
    assert tree.level.shape == (4, 4050)
    assert tree.centre.shape == (4, 4050, 2)
    assert tree.lengths.shape == (4,)


@pytest.mark.parametrize("ratio", [0.5, 0.0, -4.0, math.nan])
def test_refuses_ratios_below_one(ratio):
    with pytest.raises(ValueError, match=r"ratio of at least 1 patch per token, got .*Give 4"):
        root_size(8, 8, ratio)


@pytest.mark.parametrize("density", [-0.1, 1.0, 5.0])
def test_refuses_densities_that_are_none(density):
    with pytest.raises(ValueError, match=r"density from 0 to below 1, got .*such as 0\.05"):
        leaf_count(8, 8, 4.0, density)
