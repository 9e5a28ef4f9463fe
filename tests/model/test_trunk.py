"""The trunk: what reaches its blocks, and that compression keeps each patch in its place."""

from functools import partial
from typing import Any

import pytest
import torch
from jaxtyping import config as jaxtyping_config

from orbitds.config import ModelConfig
from orbitds.model.embed import NOISE
from orbitds.model.quadtree import leaf_count
from orbitds.model.reslim import Reslim
from orbitds.model.trunk import Trunk

B, H, W = 3, 12, 20
ZOOM = 2
VARIABLES = ("2m_temperature", "eastward_wind", "total_precipitation_24hr")
TINY: dict[str, Any] = {
    "width": 8,
    "depth": 2,
    "heads": 2,
    "mlp_ratio": 2.0,
    "decoder_depth": 1,
    "correction_width": 0,
    "position_octaves": 4,
}
BUDGET = {"compression": 4.0}
RAGGED = {"edge_density": 0.1}
CAPPED = {"compression": 2.0, "edge_density": 0.05}
cuts = pytest.mark.parametrize("cut", [BUDGET, RAGGED, CAPPED], ids=["budget", "ragged", "capped"])
periodicity = pytest.mark.parametrize("periodic", [False, True])


def trunk_of(*, variables=VARIABLES, outputs=2, zoom=ZOOM, corrected=False, **settings) -> Any:
    """A trunk of random weights, none at its start, in float64 and evaluation mode."""
    torch.manual_seed(51)
    config = ModelConfig(**(TINY | settings))
    trunk = Trunk(config, variables, outputs, zooms=(zoom,), corrected=corrected)
    trunk.forward = partial(trunk.forward, zoom=zoom)
    return randomised(trunk.double().eval())


def reslim_of(*, factor=ZOOM, **settings) -> Any:
    """An untrained model whose second output is no input."""
    torch.manual_seed(52)
    config = ModelConfig(**(TINY | settings))
    outputs = (VARIABLES[0], "northward_wind", VARIABLES[2])
    model = Reslim(config, inputs=VARIABLES, outputs=outputs, factor=factor)
    return model.double().eval()


def randomised(module) -> Any:
    generator = torch.Generator().manual_seed(53)
    with torch.no_grad():
        for weight in module.parameters():
            scale = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.3
            start = float(weight.ndim == 1 and weight.mean() == 1)  # layer norms stay near one
            weight.copy_(start + scale * torch.randn(weight.shape, generator=generator))
    return module


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def fields_of(height, width, *, batch=B, variables=3):
    """Samples from calm to rough: a wave across, to which more and more noise is added."""
    wave = torch.linspace(0, 6, width, dtype=torch.float64).sin().expand(height, width)
    rough = torch.linspace(0.02, 1, batch, dtype=torch.float64)[:, None, None, None]
    return wave + rough * normal(batch, variables, height, width, seed=54)


def sample_of(height=H, width=W, *, batch=B, periodic=False, phase=(0, 0), variables=VARIABLES):
    """Arguments of ``forward`` of a trunk."""
    latitude = 61.25 - 20 * torch.arange(batch)[:, None] - 2.5 * torch.arange(height)
    step = 360 / width if periodic else 2.5
    longitude = 350.0 - 170 * torch.arange(batch)[:, None] + step * torch.arange(width).double()
    return {
        "fields": fields_of(height, width, batch=batch, variables=len(variables)),
        "variables": variables,
        "latitude_deg": latitude.double(),
        "longitude_deg": longitude.double(),
        "spacing_km": (
            torch.tensor([[278.0, 139.0]]) / torch.arange(1, batch + 1)[:, None]
        ).double(),
        "periodic": periodic,
        "phase": phase,
        "noise": None,
    }


def given_of(sample):
    """The same as arguments of a model."""
    return {"coarse": sample["fields"]} | {
        name: value for name, value in sample.items() if name not in ("fields", "variables")
    }


def part_of(sample, own):
    """Only some samples of a batch."""
    return {
        name: value[own] if isinstance(value, torch.Tensor) else value
        for name, value in sample.items()
    }


def run(module, sample):
    with torch.no_grad():
        return module(**sample)


def watched(trunk) -> dict[str, Any]:
    """What passes through a trunk, as of its next run."""
    seen: dict[str, Any] = {}
    trunk.position.register_forward_hook(
        lambda _, args, out: seen.update(places=args[:2], position=out)
    )
    trunk.resolution.register_forward_hook(lambda _, args, out: seen.update(resolution=out))
    trunk.blocks[0].register_forward_hook(
        lambda _, args, out: seen.update(tokens=args[0], lengths=args[1], encoded=out)
    )
    if trunk.compression is not None:
        compress = trunk.compression.compress

        def remember(*args, **settings):
            seen["leaves"], seen["tree"] = compress(*args, **settings)
            return seen["leaves"], seen["tree"]

        trunk.compression.compress = remember
    return seen


def by_sample(tokens, lengths):
    """One tensor for each sample, of its tokens."""
    return list(tokens) if lengths is None else list(tokens[0].split(list(lengths)))


def without_attention(trunk):
    with torch.no_grad():
        for block in trunk.blocks:
            block.project.weight.zero_()
            block.project.bias.zero_()
    return trunk


def close(got, want, tolerance=1e-12):
    torch.testing.assert_close(got, want, rtol=0, atol=tolerance)


# --- without compression ---


@pytest.mark.parametrize("ratio", [1, 1.0])
def test_a_ratio_of_one_is_the_plain_path_bit_for_bit(ratio):
    plain, trunk = trunk_of(), trunk_of(compression=ratio)
    assert trunk.compression is None
    weights = plain.state_dict()
    assert not [name for name in weights if "compression" in name]
    assert not [name for name, _ in trunk.named_modules() if "compression" in name]
    assert trunk.load_state_dict(weights) == ([], [])
    sample = sample_of()
    assert torch.equal(run(trunk, sample), run(plain, sample))
    assert torch.equal(
        run(randomised(reslim_of(compression=ratio)), given_of(sample)),
        run(randomised(reslim_of()), given_of(sample)),
    )


def test_each_patch_is_a_token_with_its_place_and_resolution():
    trunk, sample = trunk_of(patch=3), sample_of(13, 7)
    seen = watched(trunk)
    own = []
    trunk.aggregate.register_forward_hook(lambda _, args, out: own.append(out))
    run(trunk, sample)
    assert seen["tokens"].shape == (B, 5 * 3, 8)
    assert seen["lengths"] is None
    assert torch.equal(seen["tokens"], own[0] + seen["position"] + seen["resolution"])


@pytest.mark.parametrize("zoom", [1, 3])
@pytest.mark.parametrize("settings", [{}, BUDGET, RAGGED])
@pytest.mark.parametrize(("height", "width"), [(12, 20), (5, 9), (1, 7)])
def test_paints_as_many_cells_as_it_is_asked_for(zoom, settings, height, width):
    trunk = trunk_of(outputs=5, zoom=zoom, patch=4, **settings)
    painted = run(trunk, sample_of(height, width))
    assert painted.shape == (B, 5, zoom * height, zoom * width)
    assert painted.isfinite().all()


# --- how many tokens ---


@pytest.mark.parametrize("ratio", [2.0, 3.0, 4.0, 8.0, 16.0, 32.0])
@pytest.mark.parametrize(
    ("height", "width", "patch", "phase"),
    [
        (12, 20, 1, (0, 0)),
        (24, 40, 2, (0, 0)),
        (13, 7, 1, (0, 0)),
        (13, 21, 2, (0, 0)),
        (13, 21, 2, (1, 1)),
        (25, 34, 3, (0, 2)),
        (3, 9, 4, (0, 0)),
    ],
)
def test_a_budget_is_spent_to_the_token(height, width, patch, phase, ratio):
    trunk = trunk_of(patch=patch, compression=ratio)
    seen = watched(trunk)
    run(trunk, sample_of(height, width, phase=phase))
    rows, columns = (-(-(n + p) // patch) for n, p in zip((height, width), phase, strict=True))
    tokens = seen["tokens"].shape[1]
    assert seen["tokens"].shape == (B, leaf_count(rows, columns, ratio), 8)
    assert seen["lengths"] is None
    # each split adds three tokens: what is left is less than that
    assert rows * columns / ratio - 3 < tokens <= max(1, rows * columns / ratio)


@pytest.mark.parametrize("density", [0.0, 0.1])
@pytest.mark.parametrize("ratio", [1.0, 3.0, 8.0])
@pytest.mark.parametrize(("height", "width", "patch"), [(24, 40, 2), (13, 21, 1), (33, 35, 1)])
def test_a_density_takes_as_many_tokens_as_a_sample_has_edges(height, width, patch, ratio, density):
    trunk = trunk_of(patch=patch, compression=ratio, edge_density=density, variables=("a",))
    seen = watched(trunk)
    run(trunk, sample_of(height, width, variables=("a",)))
    lengths, tree = seen["lengths"], seen["tree"]
    rows, columns = -(-height // patch), -(-width // patch)
    assert seen["tokens"].shape == (1, sum(lengths), 8)
    assert tree.lengths.tolist() == lengths
    # no sample is without a token, and none exceeds the budget
    budget = leaf_count(rows, columns, ratio, density)
    assert 1 <= min(lengths) <= max(lengths) <= budget
    assert lengths[0] < lengths[2] or lengths[0] == budget  # calm and rough
    if ratio == 1:
        assert lengths[0] < lengths[2]


def test_of_a_field_rough_everywhere_a_density_of_zero_merges_nothing():
    """Stripes as wide as two patches, with an edge amid every block of two patches."""
    height, width = 32, 64  # whole roots
    settings = {"patch": 2, "variables": ("a",)}
    trunk, plain = trunk_of(edge_density=0.0, **settings), trunk_of(**settings)
    sample = sample_of(height, width, periodic=True, variables=("a",))
    stripes = ((torch.arange(width) + 2) // 4 % 2).double() * 2 - 1
    sample["fields"] = stripes + 0.01 * sample["fields"]
    seen = watched(trunk)
    weights = trunk.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    with torch.no_grad():
        trunk.compression.skip.weight.zero_()
        trunk.compression.skip.bias.zero_()
    got, want = run(trunk, sample), run(plain, sample)
    assert seen["lengths"] == [height * width // 4] * B
    assert not seen["tree"].level.any()
    assert want.std() > 0.1
    close(got, want)


def test_of_a_uniform_field_a_density_keeps_the_roots():
    trunk, sample = trunk_of(patch=1, **RAGGED), sample_of(32, 48)
    sample["fields"] = torch.ones_like(sample["fields"])
    seen = watched(trunk)
    run(trunk, sample)
    assert seen["lengths"] == [6] * B  # of 16 x 16 patches
    assert (seen["tree"].level == 4).all()


# --- what is added to a leaf ---


@cuts
@periodicity
@pytest.mark.parametrize(
    ("height", "width", "patch", "phase"),
    [(12, 20, 1, (0, 0)), (25, 39, 2, (0, 0)), (25, 39, 2, (1, 0)), (31, 34, 3, (2, 1))],
)
def test_a_leaf_lies_at_the_centre_of_its_patches(height, width, patch, phase, periodic, cut):
    trunk = trunk_of(patch=patch, **cut)
    sample = sample_of(height, width, periodic=periodic, phase=phase)
    seen = watched(trunk)
    run(trunk, sample)
    tree, (latitude, longitude) = seen["tree"], seen["places"]
    lengths = seen["lengths"] or [tree.level.shape[1]] * B
    assert tree.level.unique().numel() > 1

    def patches(centres_deg, before, count):
        """The centre of each patch: the mean of its cells, of which some lie beyond the border."""
        step = centres_deg[:, 1:2] - centres_deg[:, :1]
        cells = centres_deg[:, :1] + step * (torch.arange(count * patch) - before)
        return cells.unflatten(1, (count, patch)).mean(dim=-1)

    rows = patches(sample["latitude_deg"], phase[0], tree.leaf.shape[1])
    columns = patches(sample["longitude_deg"], phase[1], tree.leaf.shape[2])
    assert latitude.shape == longitude.shape == tree.level.shape
    centres = []
    for leaf in range(tree.level.numel()):
        place = int(torch.searchsorted(torch.tensor(lengths).cumsum(0), leaf, right=True))
        row, column = (tree.leaf[place] == leaf).nonzero().unbind(dim=1)
        centres.append(torch.stack([rows[place, row].mean(), columns[place, column].mean()]))
    close(
        torch.stack([latitude.flatten(), longitude.flatten()], dim=1), torch.stack(centres), 1e-10
    )


@cuts
def test_a_leaf_is_given_its_place_and_the_resolution_of_its_sample(cut):
    trunk = trunk_of(patch=1, **cut)
    seen = watched(trunk)
    run(trunk, sample_of())
    # in a row each token has the spacing of its own sample
    lengths = seen["lengths"]
    resolution = seen["resolution"].squeeze(1)
    assert (resolution[0] - resolution[1]).abs().max() > 0.01
    parts = (seen["tokens"], seen["leaves"], seen["position"])
    rows = [by_sample(part, lengths) for part in parts]
    for place, (tokens, leaves, position) in enumerate(zip(*rows, strict=True)):
        close(tokens, leaves + position + resolution[place])


@cuts
@pytest.mark.parametrize("level", [1, 2])
def test_the_level_is_told_to_leaves_of_that_size_alone(cut, level):
    trunk, sample = trunk_of(patch=1, **cut), sample_of(24, 20)
    seen = watched(trunk)
    before = run(trunk, sample)
    tokens = seen["tokens"]
    with torch.no_grad():
        trunk.compression.level[level - 1] += normal(8, seed=55)
    after = run(trunk, sample)
    is_of = seen["tree"].level == level
    assert 0 < int(is_of.sum()) < is_of.numel()
    change = (seen["tokens"] - tokens).abs().amax(dim=-1)
    assert (change[is_of] > 0.1).all()
    assert not change[~is_of].any()
    assert (after - before).std() > 0.01


# --- each patch has its token back ---


def blocks_of(painted, size, rows, columns):
    """What each patch paints, row by row: [B, N, U * size * size]."""
    blocks = painted.unflatten(3, (columns, size)).unflatten(2, (rows, size))
    return blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


@cuts
def test_the_patches_of_a_leaf_differ_by_their_own_token_alone(cut):
    patch, rows, columns = 2, 12, 10
    trunk = trunk_of(patch=patch, corrected=True, **cut)
    sample = sample_of(rows * patch, columns * patch)
    seen = watched(trunk)

    def differences():
        """How far a patch paints something else than the first patch of its leaf."""
        painted = blocks_of(run(trunk, sample), ZOOM * patch, rows, columns).flatten(0, 1)
        leaf = seen["tree"].leaf_of_patch.flatten()
        first = (leaf[:, None] == leaf).int().argmax(dim=1)
        size = torch.bincount(leaf)[leaf]
        assert (size > 1).any()
        return (painted - painted[first])[first != torch.arange(len(leaf))].abs().amax(dim=-1)

    assert (differences() > 1e-6).all()
    with torch.no_grad():
        trunk.compression.skip.weight.zero_()
    assert differences().max() < 1e-12


@cuts
@pytest.mark.parametrize(("place", "row", "column"), [(0, 3, 4), (1, 0, 0), (2, 11, 9)])
def test_without_attention_a_patch_reaches_the_patches_of_its_leaf_alone(cut, place, row, column):
    patch, rows, columns = 2, 12, 10
    trunk = without_attention(trunk_of(patch=patch, corrected=True, **cut))
    sample = sample_of(rows * patch, columns * patch)
    fields = sample["fields"].clone()
    fields[place, :, row * patch, column * patch] += 1e-6  # too little for another tree
    seen = watched(trunk)
    before = run(trunk, sample)
    leaf = seen["tree"].leaf_of_patch
    change = run(trunk, sample | {"fields": fields}) - before
    assert torch.equal(seen["tree"].leaf_of_patch, leaf)
    changed = blocks_of(change, ZOOM * patch, rows, columns).abs().amax(dim=-1) > 1e-12
    assert torch.equal(changed, leaf == leaf[place, row * columns + column])
    assert not change[torch.arange(B) != place].any()


@periodicity
@cuts
def test_a_sample_is_its_own(cut, periodic):
    trunk, sample = trunk_of(**cut), sample_of(25, 39, periodic=periodic)
    seen = watched(trunk)
    together = run(trunk, sample)
    tokens = by_sample(seen["tokens"], seen["lengths"])
    for place in range(B):
        alone = run(trunk, part_of(sample, slice(place, place + 1)))
        close(seen["tokens"][0], tokens[place])
        close(alone[0], together[place])
    order = torch.tensor([2, 0, 1])
    close(run(trunk, part_of(sample, order)), together[order])


@pytest.mark.parametrize(("patch", "width", "patches"), [(1, 32, 16), (2, 64, -16)])
def test_a_circle_rolled_by_roots_gives_the_rolled_output(patch, width, patches):
    """Of a density: a budget gives its last split to the first of equals."""
    trunk, cells = trunk_of(patch=patch, variables=("a",), **RAGGED), patches * patch
    sample = sample_of(16 * patch, width, periodic=True, variables=("a",))
    sample["fields"] = normal(*sample["fields"].shape, seed=56)
    seen = watched(trunk)
    painted = run(trunk, sample)
    assert seen["tree"].level.unique().numel() > 1
    rolled = sample | {
        "fields": sample["fields"].roll(cells, dims=-1),
        "longitude_deg": sample["longitude_deg"] - cells * 360 / width,
    }
    close(run(trunk, rolled), painted.roll(cells * ZOOM, dims=-1))


# --- learning ---


@pytest.mark.parametrize("settings", [{}, BUDGET, RAGGED, CAPPED])
@pytest.mark.parametrize("predicts", ["field", "members"])
def test_gradients_reach_every_weight(settings, predicts):
    trunk = trunk_of(predicts=predicts, **settings)
    sample = sample_of(25, 39)
    if predicts == "members":
        sample["noise"] = normal(B, NOISE, seed=57)
    fields = sample["fields"].requires_grad_()
    seen = watched(trunk)
    painted = trunk(**sample)
    (painted * normal(*painted.shape, seed=58)).sum().backward()
    assert fields.grad is not None
    assert (fields.grad != 0).all()
    for name, weight in trunk.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        reached = weight.grad != 0
        if name.endswith("query_key_value.bias"):  # one of the keys cancels in the softmax
            reached = reached.unflatten(0, (2, 3, -1))[:, [0, 2]]
        if name == "compression.level":
            levels = set(seen["tree"].level.flatten().tolist()) - {0}
            assert set((reached.all(dim=1).nonzero().flatten() + 1).tolist()) == levels
            assert len(levels) > 1
        else:
            assert reached.all(), name


@pytest.mark.parametrize("cut", [BUDGET, RAGGED])
def test_gradients_pass_the_blocks_and_not_the_skip_alone(cut):
    """With the skip closed the tokeniser still learns through leaves, blocks and expansion."""
    trunk, sample = trunk_of(**cut), sample_of()
    with torch.no_grad():
        trunk.compression.skip.weight.zero_()
    trunk(**sample).square().sum().backward()
    for weight in (trunk.aggregate.embed, trunk.aggregate.query, trunk.blocks[0].mlp[0].weight):
        assert (weight.grad != 0).all()


def test_gradients_are_those_of_finite_differences():
    trunk, sample = trunk_of(width=4, depth=1, **BUDGET), sample_of(7, 9, batch=1)
    fields = sample["fields"].requires_grad_()

    def painted(weight):
        """The trunk as a function of what no edge depends on."""
        return torch.func.functional_call(
            trunk, {"aggregate.to_value.weight": weight}, kwargs=sample | {"fields": fields}
        )

    weight = trunk.aggregate.to_value.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(painted, weight, fast_mode=True)


@pytest.mark.parametrize("settings", [{}, BUDGET, RAGGED])
def test_a_skipped_sample_skips_with_all_of_its_tokens_and_no_other(settings, monkeypatch):
    trunk = trunk_of(depth=1, drop_path=0.25, **settings).train()
    sample = sample_of()
    seen = watched(trunk)
    drawn: list[float] = []

    def draw(*shape, **_):
        assert shape == (B, 1, 1)
        return torch.tensor(drawn).view(shape)

    monkeypatch.setattr(torch, "rand", draw)
    drawn[:] = [0.0] * B
    run(trunk, sample)
    kept = by_sample(seen["encoded"], seen["lengths"])
    for skipped in ([1], [0, 2], [0, 1, 2]):
        drawn[:] = [0.9 if place in skipped else 0.7 for place in range(B)]
        run(trunk, sample)
        before, after = (by_sample(seen[name], seen["lengths"]) for name in ("tokens", "encoded"))
        for place in range(B):
            want = before[place] if place in skipped else kept[place]
            assert torch.equal(after[place], want)
            assert ((kept[place] - before[place]).abs().amax(dim=-1) > 0.01).all()


@pytest.mark.parametrize("settings", [{}, RAGGED])
def test_skipping_leaves_the_mean_and_the_evaluation_as_they_are(settings):
    """Over many draws a linear tail sees what evaluation sees; a fixed seed."""
    trunk = trunk_of(depth=1, drop_path=0.5, **settings)
    block, sample = trunk.blocks[0], sample_of(6, 8)
    seen = watched(trunk)
    run(trunk, sample)
    with torch.no_grad():
        block.mlp[2].weight.zero_()  # one branch: two do not commute with the mean
        block.mlp[2].bias.zero_()
        tokens, lengths = seen["tokens"], seen["lengths"]
        calm = block(tokens, lengths)
        torch.manual_seed(59)
        block.train()
        mean = torch.stack([block(tokens, lengths) for _ in range(400)]).mean(dim=0)
    for got, want, start in zip(
        *(by_sample(part, lengths) for part in (mean, calm, tokens)), strict=True
    ):
        share = ((got - start) * (want - start)).sum() / (want - start).square().sum()
        assert 0.8 < float(share) < 1.2  # a standard deviation is 0.05


@pytest.mark.parametrize("settings", [{}, BUDGET, RAGGED])
def test_bfloat16_stays_close(settings):
    # of one variable the image is the field, whatever the precision: so is the tree
    trunk = trunk_of(width=32, variables=("a",), **settings).float()
    sample = sample_of(24, 40, variables=("a",))
    sample |= {n: v.float() for n, v in sample.items() if isinstance(v, torch.Tensor)}
    seen = watched(trunk)
    exact = run(trunk, sample)
    tree = seen.get("tree")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = run(trunk, sample)
    if tree is not None:
        assert torch.equal(seen["tree"].leaf, tree.leaf)
    assert rough.isfinite().all()
    error = (rough - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 0 < error < 0.03


@cuts
def test_trains_in_bfloat16(cut):
    trunk, sample = trunk_of(**cut).float().train(), sample_of(13, 21)
    sample |= {n: v.float() for n, v in sample.items() if isinstance(v, torch.Tensor)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        painted = trunk(**sample)
    painted.float().square().mean().backward()
    for name, weight in trunk.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.dtype == torch.float32
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


# --- in a model ---


@pytest.mark.parametrize("base", ["bilinear", "bicubic", "delta"])
@pytest.mark.parametrize("predicts", ["field", "gaussian", "members"])
@pytest.mark.parametrize("settings", [{}, BUDGET, RAGGED])
@pytest.mark.parametrize(("height", "width"), [(5, 7), (12, 20)])
def test_an_untrained_model_is_its_base(base, predicts, settings, height, width):
    model = reslim_of(base=base, predicts=predicts, correction_width=4, **settings)
    given = given_of(sample_of(height, width, periodic=width == 20))
    given["coarse"][:, 2] = given["coarse"][:, 2].abs()
    if base == "delta":
        fine = normal(B, 3, ZOOM * height, ZOOM * width, seed=60).abs()
        given["climatology"] = (fine, torch.nn.functional.avg_pool2d(fine, ZOOM))
    with torch.no_grad():
        fine, start, log_variance = model.predict(**given)
        assert torch.equal(fine, start)
        assert (log_variance is not None) == (predicts == "gaussian")
        if log_variance is not None:
            assert torch.equal(log_variance, torch.zeros(fine.shape))
        fine, same, log_variance = randomised(model).predict(**given)
    assert torch.equal(same, start)
    assert ((fine - start).std(dim=(2, 3)) > 0.01).all()
    assert log_variance is None or (log_variance.std(dim=(2, 3)) > 0.01).all()


# torch 2.13 itself makes an object of the function while it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("settings", [{}, BUDGET])
def test_compiles_as_one_graph(settings, monkeypatch):
    monkeypatch.setattr(jaxtyping_config, "jaxtyping_disable", True)
    torch.compiler.reset()
    model = randomised(reslim_of(depth=1, decoder_depth=0, **settings))
    given = given_of(sample_of(13, 20, periodic=True))
    compiled = torch.compile(model.predict, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        close(compiled(**given).fine, model.predict(**given).fine)


def test_a_circle_narrower_than_a_patch():
    model = randomised(reslim_of(patch=4))
    given = given_of(sample_of(5, 1, periodic=True))
    with torch.no_grad():
        assert model(**given).shape[-2:] == (ZOOM * 5, ZOOM)
