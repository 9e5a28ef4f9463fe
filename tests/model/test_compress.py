"""Pooling by leaf and its inverse, against sums written out, and the module around them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config

from orbitds.model import compress as module
from orbitds.model.compress import LEVELS, Compression, expand, pool
from orbitds.model.quadtree import build_quadtree, leaf_count

# Rows and columns of patches: whole roots, border on both axes, narrower than the padding, one row.
GRIDS = [(4, 8), (5, 6), (9, 2), (1, 7), (1, 1)]
B, D = 2, 3


def tree_of(rows, columns, *, ratio=2.0, density=None, periodic=False, batch=B, seed=0):
    """A tree of few patches with edges, so that it has leaves of many sizes."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 5, (batch, rows, columns), generator=generator)
    counts = counts * (torch.rand(counts.shape, generator=generator) < 0.3)
    return build_quadtree(counts, patch=2, ratio=ratio, density=density, periodic=periodic)


def random(*shape, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def outer(cells, size, axis, *, wraps):
    """Extend an axis to as many cells cell by cell: by the first ones, or the last one again."""
    own = cells.shape[axis]
    index = [i % own if wraps else min(i, own - 1) for i in range(size)]
    return cells.index_select(axis, torch.tensor(index))


def pool_by_leaf(tokens, tree):
    """The mean over the cells of each leaf, one leaf at a time, by plain indexing."""
    cells = tokens.unflatten(1, (tree.rows, tree.columns))
    cells = outer(cells, tree.leaf.shape[1], 1, wraps=False)
    cells = outer(cells, tree.leaf.shape[2], 2, wraps=tree.periodic)
    leaves = range(tree.level.numel())
    means = [cells[tree.leaf == leaf].mean(dim=0) for leaf in leaves]
    return torch.stack(means).unflatten(0, tree.level.shape)


def expand_by_patch(leaves, tree):
    flat = leaves.flatten(0, 1)
    return torch.stack([torch.stack([flat[i] for i in row]) for row in tree.leaf_of_patch])


def ragged(density):
    return {"ratio": 1.0, "density": density}


settings_of_trees = pytest.mark.parametrize("cut", [{"ratio": 2.0}, {"ratio": 4.0}, ragged(0.3)])
grids = pytest.mark.parametrize("grid", GRIDS)
periodicity = pytest.mark.parametrize("periodic", [False, True])


# --- pool and expand ---


@grids
@settings_of_trees
@periodicity
def test_equal_the_sums_written_out_with_their_gradients(grid, cut, periodic):
    tree = tree_of(*grid, **cut, periodic=periodic)
    tokens = random(B, grid[0] * grid[1], D).requires_grad_()
    leaves = random(*tree.level.shape, D, seed=2).requires_grad_()
    for source, got, expected in (
        (tokens, pool(tokens, tree), pool_by_leaf(tokens, tree)),
        (leaves, expand(leaves, tree), expand_by_patch(leaves, tree)),
    ):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)
        direction = random(*got.shape, seed=3)
        (ours,) = torch.autograd.grad((got * direction).sum(), source)
        (theirs,) = torch.autograd.grad((expected * direction).sum(), source)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)
        assert bool((theirs != 0).any())


@pytest.mark.parametrize("grid", [(5, 6), (3, 1)])
@settings_of_trees
@periodicity
def test_gradients_are_those_of_finite_differences(grid, cut, periodic):
    tree = tree_of(*grid, **cut, periodic=periodic, batch=1)
    tokens = random(1, grid[0] * grid[1], 2).requires_grad_()
    leaves = random(*tree.level.shape, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda tokens: pool(tokens, tree), tokens)
    assert torch.autograd.gradcheck(lambda leaves: expand(leaves, tree), leaves)
    # linear in the gradient, so that penalties on gradients work
    assert torch.autograd.gradgradcheck(lambda tokens: pool(tokens, tree) ** 2, tokens)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 13),
    columns=st.integers(1, 13),
    ratio=st.sampled_from([1.0, 1.5, 4.0, 32.0]),
    density=st.sampled_from([None, 0.2]),
    periodic=st.booleans(),
)
def test_a_uniform_field_comes_back_bit_for_bit(rows, columns, ratio, density, periodic):
    tree = tree_of(rows, columns, ratio=ratio, density=density, periodic=periodic)
    for dtype in (torch.float32, torch.bfloat16):
        token = random(B, 1, 8, dtype=dtype, seed=rows)
        tokens = token.expand(B, rows * columns, 8)
        assert torch.equal(expand(pool(tokens, tree), tree), tokens)


def test_fine_places_keep_their_tokens():
    tree = tree_of(12, 10)
    tokens = random(B, 120, D, dtype=torch.float32)
    is_fine = tree.level.flatten()[tree.leaf_of_patch] == 0
    assert 0 < int(is_fine.sum()) < is_fine.numel()
    assert torch.equal(expand(pool(tokens, tree), tree)[is_fine], tokens[is_fine])


@settings_of_trees
def test_pool_inverts_expand_where_roots_fit_the_grid(cut):
    tree = tree_of(16, 32, **cut)
    assert tree.leaf.shape == (B, 16, 32)
    leaves = random(*tree.level.shape, D, dtype=torch.float32)
    assert torch.equal(pool(expand(leaves, tree), tree), leaves)


def test_sums_in_float32_for_bfloat16():
    tree = build_quadtree(torch.zeros(1, 32, 32).long(), patch=2, ratio=1024.0, periodic=True)
    assert tree.level.tolist() == [[5]]
    tokens = 1 + random(1, 1024, D, dtype=torch.bfloat16).abs().requires_grad_()
    pooled = pool(tokens, tree)
    assert pooled.dtype == torch.bfloat16
    assert torch.equal(pooled, tokens.double().mean(dim=1, keepdim=True).bfloat16())
    # a sum that stops growing in bfloat16, at 256 ones
    leaves = torch.zeros(1, 1, D, dtype=torch.bfloat16, requires_grad=True)
    expand(leaves, tree).sum().backward()
    assert leaves.grad is not None
    assert leaves.grad.tolist() == [[[1024.0] * D]]


def test_a_patch_without_value_spoils_its_leaf_alone():
    tree = tree_of(9, 10)
    tokens = random(B, 90, D)
    tokens[1, 44] = torch.nan
    spoilt = pool(tokens, tree).isnan().all(dim=-1).flatten().nonzero().flatten()
    repeated = tree.leaf[1].flatten()  # the patch is no outer one, so nothing repeats it
    assert spoilt.tolist() == [int(tree.leaf_of_patch[1, 44])]
    assert int(spoilt) in repeated


# --- the module ---


def build(width=D, **changed):
    """A module with nothing left at zero."""
    compression = Compression(width, **({"patch": 2, "ratio": 4.0} | changed))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in compression.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator))
    return compression


def field(rows=12, columns=20, *, batch=B, patch=2):
    """A step in longitude, at a place of its own in each sample, on a calm background."""
    image = 1e-6 * random(batch, rows * patch, columns * patch, dtype=torch.float32)
    for index in range(batch):
        image[index, :, patch * (5 + 6 * index) :] += 1.0
    return image


CUTS = [{"ratio": 4.0}, ragged(0.02), {"ratio": 6.0, "density": 0.02}]


@pytest.mark.parametrize("cut", CUTS)
def test_leaves_carry_their_level_and_patches_their_own_token(cut):
    compression = build(**cut).double()
    tokens = random(B, 240, D)
    leaves, tree = compression.compress(tokens, field(), periodic=False)
    levels = torch.cat([torch.zeros(1, D), compression.level.detach()]).double()
    assert {0, 1, 2} <= set(tree.level.flatten().tolist())
    expected = pool_by_leaf(tokens, tree) + levels[tree.level]
    torch.testing.assert_close(leaves, expected, rtol=0, atol=1e-14)
    out = compression.expand(leaves, tree, tokens)
    skip = tokens @ compression.skip.weight.T + compression.skip.bias
    torch.testing.assert_close(out, expand_by_patch(leaves, tree) + skip, rtol=0, atol=1e-14)


def test_levels_start_at_zero_and_the_finest_has_none():
    compression = Compression(D, patch=2, ratio=4.0)
    assert compression.level.shape == (LEVELS, D)
    assert not compression.level.any()
    tokens = random(B, 240, D, dtype=torch.float32)
    leaves, tree = compression.compress(tokens, field(), periodic=False)
    assert torch.equal(leaves, pool(tokens, tree))


def test_coarser_leaves_than_there_are_levels_share_the_last(monkeypatch):
    monkeypatch.setattr(module, "LEVELS", 1)
    compression = build()
    tokens = random(B, 240, D, dtype=torch.float32)
    leaves, tree = compression.compress(tokens, field(), periodic=False)
    added = leaves - pool(tokens, tree)
    expected = torch.where((tree.level > 0)[..., None], compression.level[0], 0)
    torch.testing.assert_close(added, expected, rtol=0, atol=1e-6)
    assert int(tree.level.max()) > 1


def test_is_fine_where_the_field_has_edges():
    tokens = random(B, 240, D, dtype=torch.float32)
    _, tree = build().compress(tokens, field(), periodic=False)
    assert tree.level.shape == (B, leaf_count(12, 20, 4.0))
    for index in range(B):
        level = tree.level[index][tree.leaf_of_patch[index] - index * tree.level.shape[1]]
        level = level.view(12, 20)
        step = 5 + 6 * index  # the edge is the last column of pixels before the step
        assert not level[:, step - 1].any()
        assert level[:, (step + 10) % 20].min() > 0


def test_longitude_wraps_where_periodic():
    """A jump that only the circle has, from the last column to the first."""
    rise = torch.linspace(-torch.pi / 2, torch.pi / 2, 40).sin().expand(1, 24, 40)
    tokens = random(1, 240, D, dtype=torch.float32)
    compression = build(**ragged(0.02))
    for periodic in (True, False):
        _, tree = compression.compress(tokens, rise, periodic=periodic)
        level = tree.level[0][tree.leaf_of_patch].view(12, 20)
        assert bool((level[:, 19] == 0).all()) == periodic
        assert bool((level[:, 9] == 0).any()) != periodic  # the steepest place of the line


@pytest.mark.parametrize("cut", CUTS)
def test_samples_do_not_know_of_each_other(cut):
    compression, image = build(**cut), field(batch=3)
    tokens = random(3, 240, D, dtype=torch.float32)
    leaves, tree = compression.compress(tokens, image, periodic=True)
    together = compression.expand(leaves, tree, tokens)
    alone, lengths = [], []
    for index in range(3):
        own = slice(index, index + 1)
        part, part_tree = compression.compress(tokens[own], image[own], periodic=True)
        lengths.append(int(part_tree.lengths))
        alone.append(part.flatten(0, 1))
        out = compression.expand(part, part_tree, tokens[own])
        torch.testing.assert_close(out, together[own], rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.cat(alone), leaves.flatten(0, 1), rtol=0, atol=1e-6)
    assert tree.lengths.tolist() == lengths


@pytest.mark.parametrize("cut", CUTS)
def test_gradients_reach_tokens_by_both_ways_and_every_weight(cut):
    compression = build(**cut)
    tokens = random(B, 240, D, dtype=torch.float32).requires_grad_()
    leaves, tree = compression.compress(tokens, field().requires_grad_(), periodic=False)
    (through,) = torch.autograd.grad((leaves * leaves).sum(), tokens, retain_graph=True)
    assert bool((through != 0).all(dim=-1).all())
    out = compression.expand(leaves, tree, tokens.detach())
    (out**2).sum().backward()
    assert tokens.grad is not None
    assert bool((tokens.grad != 0).any(dim=-1).all())
    levels = set(tree.level.flatten().tolist()) - {0}
    assert compression.level.grad is not None
    reached = (compression.level.grad != 0).all(dim=-1).nonzero().flatten() + 1
    assert set(reached.tolist()) == levels
    assert compression.skip.weight.grad is not None
    assert bool((compression.skip.weight.grad != 0).all())


def test_runs_in_bfloat16_under_autocast_with_the_tree_of_float32():
    compression, tokens = build(), random(B, 240, D, dtype=torch.float32)
    expected, tree = compression.compress(tokens, field(), periodic=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        leaves, same = compression.compress(tokens.bfloat16(), field(), periodic=False)
        out = compression.expand(leaves, same, tokens.bfloat16())
    assert torch.equal(same.leaf, tree.leaf)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(leaves.float(), expected, rtol=0.02, atol=0.02)


# torch 2.13 itself makes an object of the function while it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiles_as_one_graph_forward_and_backward(monkeypatch):
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    torch.compiler.reset()
    compression, image = build(), field()
    tokens = random(B, 240, D, dtype=torch.float32)

    def there_and_back(tokens):
        leaves, tree = compression.compress(tokens, image, periodic=True)
        return compression.expand(torch.sin(leaves), tree, tokens)

    results = []
    for run in (
        there_and_back,
        torch.compile(there_and_back, fullgraph=True, backend="aot_eager"),
    ):
        own = tokens.clone().requires_grad_()
        out = run(own)
        gradients = torch.autograd.grad(out.square().sum(), [own, *compression.parameters()])
        results.append([out, *gradients])
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-5)


def test_shapes_need_no_values():
    compression = Compression(16, patch=2, ratio=4.0).to("meta")
    tokens = torch.empty(2, 16200, 16, device="meta")
    image = torch.empty(2, 180, 360, device="meta")
    leaves, tree = compression.compress(tokens, image, periodic=True)
    assert leaves.shape == (2, 4050, 16)
    assert compression.expand(leaves, tree, tokens).shape == tokens.shape


def test_refuses_what_would_not_compress():
    with pytest.raises(ValueError, match=r"got ratio 1 alone.*Leave the compression out"):
        Compression(D, patch=2, ratio=1.0)
    with pytest.raises(ValueError, match="ratio of at least 1 patch per token"):
        Compression(D, patch=2, ratio=0.25)
    with pytest.raises(ValueError, match="edge density from 0 to below 1"):
        Compression(D, patch=2, ratio=4.0, density=2.0)
