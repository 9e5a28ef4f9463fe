"""The folded aggregation equals the straightforward one, which is written out here."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitds.model.aggregate import VariableAggregation

NAMES = ("2m_temperature", "eastward_wind", "orography", "total_precipitation_24hr")
B, ROWS, COLUMNS, D, HEADS = 2, 5, 7, 12, 3


def aggregation_of(patch=2, *, width=D, names=NAMES, **options):
    """A module in float64 whose weights are all of order one: a start near zero hides mistakes."""
    module = VariableAggregation(names, patch=patch, width=width, heads=HEADS, **options).double()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for weight in module.parameters():
            scale = weight[0].numel() ** -0.5 if weight.ndim > 1 else 1.0
            weight.copy_(scale * torch.randn(weight.shape, generator=generator))
        module.query.mul_(3)
    return module


def fields_of(patch=2, *, variables=4, batch=B):
    generator = torch.Generator().manual_seed(9)
    shape = batch, variables, ROWS * patch, COLUMNS * patch
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def reference(module, fields, variables):
    """Build the token of every variable, project each to key and value, attend with one query."""
    return reference_with_weights(module, fields, variables)[0]


def reference_with_weights(module, fields, variables):
    """Return the tokens, and the weights of each head [h, B, V, N]."""
    patches = fields.unfold(2, module.patch, module.patch).unfold(3, module.patch, module.patch)
    patches = patches.flatten(4).flatten(2, 3)  # B V N P*P
    places = [module.variables.index(name) for name in variables]
    embed, bias = module.embed[places], module.bias[places]
    tokens = torch.einsum("bvnk,vdk->bvnd", patches, embed) + bias[:, None, :]  # B V N D
    key = tokens @ module.to_key.weight.T
    value = tokens @ module.to_value.weight.T + module.to_value.bias
    query = module.to_query.weight @ module.query + module.to_query.bias
    size = query.numel() // module.heads
    heads, weights = [], []
    for head in range(module.heads):
        own = slice(head * size, (head + 1) * size)
        scores = torch.einsum("d,bvnd->bvn", query[own], key[..., own]) / math.sqrt(size)
        weights.append(scores.softmax(dim=1))
        heads.append(torch.einsum("bvn,bvnd->bnd", weights[-1], value[..., own]))
    out = torch.cat(heads, dim=-1) @ module.project.weight.T + module.project.bias
    return out, torch.stack(weights)


def image_by_loops(module, fields, variables):
    """The mean of the fields by the weights, patch by patch, averaged over the heads."""
    _, weights = reference_with_weights(module, fields, variables)
    weight, patch = weights.mean(dim=0), module.patch
    image = torch.zeros_like(fields[:, 0])
    for place in range(weight.shape[-1]):
        i, j = divmod(place, fields.shape[-1] // patch)
        own = (..., slice(i * patch, (i + 1) * patch), slice(j * patch, (j + 1) * patch))
        image[own] = (weight[:, :, place, None, None] * fields[own]).sum(dim=1)
    return image


def dropped_of(module, fields):
    """Which variables each sample does without: those that its tokens do not depend on, [B V]."""
    fields = fields.clone().requires_grad_()
    tokens = module(fields, NAMES)
    direction = torch.randn(D, generator=torch.Generator().manual_seed(10)).double()
    (gradient,) = torch.autograd.grad((tokens @ direction).sum(), fields)
    unused = gradient == 0
    # a variable is dropped at all places of a sample or at none
    assert torch.equal(unused.all(dim=(2, 3)), unused.any(dim=(2, 3)))
    return unused.all(dim=(2, 3))


@settings(max_examples=25, deadline=None)
@given(st.permutations(NAMES), st.integers(1, len(NAMES)))
def test_any_variables_in_any_order(order, count):
    module, fields, chosen = aggregation_of(), fields_of(), order[:count]
    given_fields = fields[:, [NAMES.index(name) for name in chosen]]
    tokens = module(given_fields, chosen)
    assert tokens.shape == (B, ROWS * COLUMNS, D)
    expected = reference(module, given_fields, chosen)
    torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-12)
    # the order is only an order
    ranked = sorted(chosen)
    ordered = fields[:, [NAMES.index(name) for name in ranked]]
    torch.testing.assert_close(tokens, module(ordered, ranked), rtol=0, atol=1e-12)


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_equals_the_straightforward_form_with_all_gradients(patch):
    module, fields = aggregation_of(patch), fields_of(patch).requires_grad_()
    out, expected = module(fields, NAMES), reference(module, fields, NAMES)
    assert expected.std() > 0.3
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(11)).double()
    names, weights = zip(*module.named_parameters(), strict=True)
    got = torch.autograd.grad((out * direction).mean(), [fields, *weights])
    want = torch.autograd.grad((expected * direction).mean(), [fields, *weights])
    for name, mine, theirs in zip(("fields", *names), got, want, strict=True):
        assert theirs.abs().max() > 1e-4, name
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("patches", [slice(3, 20), slice(34, 35), slice(30, None), slice(2, 2)])
def test_some_patches_have_the_tokens_that_they_have_among_all(patches):
    module, fields = aggregation_of(drop_variables=0.6).train(), fields_of()
    found = []
    for chosen in (slice(None), patches):
        torch.manual_seed(5)
        tokens = module(fields, NAMES, chosen)
        tokens = tokens[:, patches] if chosen == slice(None) else tokens
        tokens.square().sum().backward()
        found.append([tokens.detach(), *(w.grad.clone() for w in module.parameters())])
        module.zero_grad()
    for whole, part in zip(*found, strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-12)


def test_a_token_sees_its_own_patch_alone():
    module, fields = aggregation_of(), fields_of()
    other = fields.clone()
    row, column = 3, 5
    other[1, 2, 2 * row + 1, 2 * column] += 1
    change = (module(other, NAMES) - module(fields, NAMES)).abs().amax(dim=-1)
    assert change[1, row * COLUMNS + column] > 1e-3
    change[1, row * COLUMNS + column] = 0
    assert change.max() == 0


def test_no_token_per_variable_is_kept_for_the_gradient():
    width = 96
    module, fields = aggregation_of(width=width), fields_of()
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        module(fields, NAMES)
    assert max(sizes) < B * len(NAMES) * ROWS * COLUMNS * width / 2


def test_dropping_leaves_one_variable_at_least_and_each_in_turn():
    torch.manual_seed(12)
    module = aggregation_of(1, drop_variables=0.99)
    fields = fields_of(1, batch=2000)[..., :1, :2]
    dropped = dropped_of(module, fields)
    left = len(NAMES) - dropped.sum(dim=1)
    assert left.min() == 1
    assert (left == 1).float().mean() > 0.9
    # each variable is the last one left in about a quarter of the samples
    share = (~dropped).double().mean(dim=0)
    assert ((share - 0.25).abs() < 0.06).all()


def test_dropping_has_the_probability_that_was_asked_for():
    torch.manual_seed(13)
    probability, draws, count = 0.4, 8000, len(NAMES)
    module = aggregation_of(1, drop_variables=probability)
    dropped = dropped_of(module, fields_of(1, batch=draws)[..., :1, :1])
    # less the chance that all would go, when one of them is kept
    expected = probability - probability**count / count
    deviation = math.sqrt(expected * (1 - expected) / draws)
    assert ((dropped.double().mean(dim=0) - expected).abs() < 4 * deviation).all()


def test_dropped_samples_equal_the_straightforward_form_on_what_is_left():
    torch.manual_seed(14)
    module, fields = aggregation_of(drop_variables=0.6), fields_of(batch=16)
    tokens = module(fields, NAMES)
    subsets = [
        chosen
        for count in range(1, len(NAMES) + 1)
        for chosen in itertools.combinations(range(len(NAMES)), count)
    ]
    distance = torch.stack(
        [
            (
                reference(module, fields[:, list(chosen)], [NAMES[place] for place in chosen])
                - tokens
            )
            .abs()
            .amax(dim=(1, 2))
            for chosen in subsets
        ]
    )
    assert distance.amin(dim=0).max() < 1e-12
    assert len(set(distance.argmin(dim=0).tolist())) > 3


def test_evaluation_is_deterministic():
    torch.manual_seed(15)
    module, fields = aggregation_of(drop_variables=0.9), fields_of()
    assert not torch.equal(module(fields, NAMES), module(fields, NAMES))
    module.eval()
    first = module(fields, NAMES)
    assert torch.equal(first, module(fields, NAMES))
    torch.testing.assert_close(first, reference(module, fields, NAMES), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
def test_never_makes_nan(scale):
    torch.manual_seed(16)
    module, fields = aggregation_of(drop_variables=0.99), scale * fields_of(batch=32)
    for names, given_fields in ((NAMES, fields), (NAMES[1:2], fields[:, 1:2])):
        tokens = module(given_fields, names)
        gradients = torch.autograd.grad(tokens.sum(), list(module.parameters()))
        assert all(tensor.isfinite().all() for tensor in (tokens, *gradients))


@pytest.mark.parametrize(
    ("variables", "got"), [(("eastward_wind", "salinity"), "'salinity'"), ((), r"\[\]")]
)
def test_refuses_what_it_does_not_know(variables, got):
    fields = fields_of(variables=max(len(variables), 1))
    with pytest.raises(ValueError, match=rf"(?s)Wanted some of.*eastward_wind.*got.*{got}.*Select"):
        aggregation_of()(fields, variables)


@pytest.mark.parametrize("count", [1, 3])
def test_refuses_another_number_of_fields(count):
    with pytest.raises(ValueError, match=rf"Wanted one field for each.*got {count} fields"):
        aggregation_of()(fields_of(variables=count), NAMES[:2])


# --- the image that the query sees ---


@pytest.mark.parametrize("patch", [1, 2, 3])
@pytest.mark.parametrize("chosen", [(0, 1, 2, 3), (2, 0), (1,)])
def test_the_image_is_the_mean_of_the_fields_that_are_attended_to(patch, chosen):
    module, names = aggregation_of(patch), [NAMES[place] for place in chosen]
    fields = fields_of(patch)[:, list(chosen)].requires_grad_()
    tokens, image = module.with_image(fields, names)
    with torch.no_grad():
        expected = image_by_loops(module, fields, names)
    assert not image.requires_grad
    torch.testing.assert_close(image.double(), expected, rtol=0, atol=1e-6)  # weights in float32
    assert torch.equal(tokens, module(fields, names))
    tokens.sum().backward()
    assert fields.grad.abs().max() > 0
    with torch.no_grad():
        again = module.with_image(fields, names)
    torch.testing.assert_close(again[0], tokens, rtol=0, atol=0)
    torch.testing.assert_close(again[1], image, rtol=0, atol=0)


def test_the_image_lies_within_the_fields():
    module, fields = aggregation_of(), fields_of()
    _, image = module.with_image(fields, NAMES)
    assert (image <= fields.amax(dim=1) + 1e-6).all()
    assert (image >= fields.amin(dim=1) - 1e-6).all()
    same = fields[:, :1].expand(-1, 4, -1, -1)
    torch.testing.assert_close(
        module.with_image(same, NAMES)[1], fields[:, 0], rtol=0, atol=1e-6, check_dtype=False
    )
    # not one and the same variable everywhere
    assert len(set((fields - image[:, None]).abs().argmin(dim=1).flatten().tolist())) > 1


# --- what is kept for the gradient, and what is made again ---


def kept_bytes(variables, *, rows, with_image, drop_variables):
    """Bytes kept for the backward pass, each storage once."""
    names = [f"{NAMES[0]}_{place}" for place in range(variables)]
    module = aggregation_of(names=names, drop_variables=drop_variables)
    fields = torch.randn(B, variables, 2 * rows, 2 * COLUMNS, dtype=torch.float64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor
    ):
        out = module.with_image(fields, names)[0] if with_image else module(fields, names)
    assert out.requires_grad
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in kept}
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


@pytest.mark.parametrize("with_image", [False, True])
@pytest.mark.parametrize("drop_variables", [0.0, 0.4])
def test_more_variables_keep_nothing_but_their_fields(with_image, drop_variables):
    few, many, small, large = 4, 40, 1, 9
    settings_ = {"with_image": with_image, "drop_variables": drop_variables}
    growth = {
        rows: kept_bytes(many, rows=rows, **settings_) - kept_bytes(few, rows=rows, **settings_)
        for rows in (small, large)
    }
    # what is the same for both fields belongs to the parameters
    cells = B * (large - small) * 2 * 2 * COLUMNS
    assert growth[large] - growth[small] == (many - few) * cells * 8


@pytest.mark.parametrize("with_image", [False, True])
def test_dropped_variables_are_the_same_when_made_again(with_image):
    batch = 12
    module = aggregation_of(drop_variables=0.6)
    fields = fields_of(batch=batch)
    torch.manual_seed(17)
    dropped = dropped_of(module, fields)
    assert dropped.any(dim=0).all()
    assert (~dropped).any(dim=0).all()
    fields.requires_grad_()
    torch.manual_seed(17)
    image = None
    if with_image:
        tokens, image = module.with_image(fields, NAMES)
    else:
        tokens = module(fields, NAMES)
    torch.rand(1000)  # who draws in between does not matter
    expected, images = [], []
    for b in range(batch):
        left = [place for place in range(4) if not dropped[b, place]]
        given_fields, names = fields[b : b + 1, left], [NAMES[place] for place in left]
        expected.append(reference(module, given_fields, names))
        images.append(image_by_loops(module, given_fields.detach(), names).detach())
    expected = torch.cat(expected)
    torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-12)
    if image is not None:
        torch.testing.assert_close(image.double(), torch.cat(images), rtol=0, atol=1e-6)
    direction = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(18)).double()
    names, weights = zip(*module.named_parameters(), strict=True)
    got = torch.autograd.grad((tokens * direction).sum(), [fields, *weights])
    want = torch.autograd.grad((expected * direction).sum(), [fields, *weights])
    for name, mine, theirs in zip(("fields", *names), got, want, strict=True):
        assert theirs.abs().max() > 1e-3, name
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10, msg=name)


# --- several groups of variables, each weighed by itself ---


def partial_of(module, fields, variables):
    """What a group of variables gives: its weighted mean of the values, and its level."""
    seen = []
    module.combine = lambda out, level: (seen.append((out, level)) or out, torch.ones_like(level))
    module(fields[:, [NAMES.index(name) for name in variables]], variables)
    module.combine = None
    return seen[0]


def merge(first, second):
    """Two groups as one: means weighted by the exponentials of their levels."""
    level = torch.logaddexp(first[1], second[1])
    weights = (part[1] - level for part in (first, second))
    out = [w.exp()[..., None] * part[0] for w, part in zip(weights, (first, second), strict=True)]
    return out[0] + out[1], level


def test_groups_are_combined_in_any_order_and_tree():
    module, fields = aggregation_of(), fields_of()
    groups = [partial_of(module, fields, names) for names in (NAMES[:1], NAMES[1:3], NAMES[3:])]
    expected = partial_of(module, fields, NAMES)
    assert (groups[0][1] - groups[1][1]).abs().max() > 1
    for a, b, c in itertools.permutations(groups):
        for merged in (merge(merge(a, b), c), merge(a, merge(b, c))):
            for got, wanted in zip(merged, expected, strict=True):
                torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


def test_a_process_may_have_no_variable_and_the_image_is_a_sum():
    module, fields = aggregation_of(), fields_of()
    module.own = lambda count: slice(count, count)
    module.combine = lambda out, level: (out, level)
    module.add = lambda image: image + 2
    tokens, image = module.with_image(fields, NAMES)
    assert torch.equal(tokens, module.project(torch.zeros_like(tokens)))
    assert (image == 2).all()


def test_a_process_whose_variables_are_all_left_out_says_so_in_its_level():
    module, fields = aggregation_of(drop_variables=0.99), fields_of(batch=40)
    torch.manual_seed(15)
    kept = ~dropped_of(module, fields)
    module.own = lambda count: slice(2, count)
    seen = []
    module.combine = lambda out, level: (seen.append((out, level)) or out, torch.ones_like(level))
    torch.manual_seed(15)
    module(fields, NAMES)
    out, level = seen[0]
    assert out.isfinite().all()
    lost = ~kept[:, 2:].any(dim=1)
    assert 0 < lost.sum() < 40
    assert (level[lost] < -1e300).all()
    assert (level[~lost].abs() < 1e3).all()
