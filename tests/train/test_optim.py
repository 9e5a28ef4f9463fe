"""The optimiser: rates step by step, and what decays."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from orbitds.config import ModelConfig, OptimConfig
from orbitds.model.reslim import Reslim
from orbitds.train.optim import learning_rate, make_optimizer


def rates(steps, **changes):
    """Return the learning rate of each step."""
    return [learning_rate(step, OptimConfig(**changes), steps) for step in range(steps)]


def test_rates_rise_to_the_peak_and_fall_to_the_last_step():
    seen = rates(24, lr=0.2, warmup_steps=4, final_lr_fraction=0.1)
    assert seen[:5] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2])
    for step in (7, 11, 20):
        part = (step - 4) / 19
        wanted = 0.02 + 0.18 * 0.5 * (1 + math.cos(math.pi * part))
        assert seen[step] == pytest.approx(wanted)
    assert seen[-1] == pytest.approx(0.02)
    assert all(later < earlier for earlier, later in pairwise(seen[4:]))


@pytest.mark.parametrize(
    ("steps", "warmup", "wanted"),
    [
        (1, 0, [0.2]),
        (1, 1, [0.2]),
        (3, 0, [0.2, 0.11, 0.02]),
        (3, 6, [0.2 / 6, 0.4 / 6, 0.6 / 6]),  # a run shorter than its warm-up
    ],
)
def test_rates_of_short_runs(steps, warmup, wanted):
    seen = rates(steps, lr=0.2, warmup_steps=warmup, final_lr_fraction=0.1)
    assert seen == pytest.approx(wanted)


def test_matrices_decay_and_nothing_else():
    model = Reslim(
        ModelConfig(width=8, depth=1, decoder_depth=1, correction_width=4, position_octaves=2),
        inputs=("eastward_wind", "2m_temperature"),
        outputs=("eastward_wind",),
        statics=("orography",),
        factor=2,
    )
    optimizer = make_optimizer(dict(model.named_parameters()), OptimConfig(weight_decay=0.3))
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    named = dict(model.named_parameters())
    assert len(decay) == sum(len(group["params"]) for group in optimizer.param_groups) == len(named)
    kept = {name for name, parameter in named.items() if decay[id(parameter)] == 0}
    assert {name for name, parameter in named.items() if parameter.ndim == 1} < kept
    assert "trunk.aggregate.bias" in kept  # one row per variable, and still a bias
    assert {decay[id(named[name])] for name in named.keys() - kept} == {0.3}
    assert {
        "trunk.aggregate.embed",
        "trunk.decode.paint.weight",
        "correct.layers.0.weight",
    } <= named.keys() - kept


def test_settings_reach_the_optimizer():
    model = nn.Linear(3, 2, bias=False)
    settings = OptimConfig(lr=0.1, warmup_steps=0, weight_decay=0.5, beta1=0.8, beta2=0.9)
    optimizer = make_optimizer(dict(model.named_parameters()), settings)
    start = model.weight.detach().clone()
    model.weight.grad = torch.tensor([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]])
    optimizer.step()
    # the first step of Adam goes by the sign, whatever the gradient
    wanted = start * (1 - 0.1 * 0.5) - 0.1 * model.weight.grad.sign()
    torch.testing.assert_close(model.weight.detach(), wanted)
    model.weight.grad = torch.full((2, 3), 2.0)
    before = model.weight.detach().clone()
    optimizer.step()
    first = 0.8 * 0.2 * torch.tensor([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]]) + 0.2 * 2
    second = 0.9 * 0.1 * torch.tensor([[1.0, 4.0, 9.0], [16.0, 25.0, 36.0]]) + 0.1 * 4
    rate = optimizer.param_groups[0]["lr"]
    direction = (first / (1 - 0.8**2)) / ((second / (1 - 0.9**2)).sqrt() + 1e-8)
    torch.testing.assert_close(model.weight.detach(), before * (1 - rate * 0.5) - rate * direction)


def test_frozen_weights_are_left_out():
    model = nn.Linear(3, 2)
    model.bias.requires_grad = False
    optimizer = make_optimizer(dict(model.named_parameters()), OptimConfig())
    # and no group is empty
    (group,) = optimizer.param_groups
    assert group["params"] == [model.weight]
    assert group["weight_decay"] == OptimConfig().weight_decay
    model.weight.requires_grad = False
    with pytest.raises(ValueError, match="all are frozen"):
        make_optimizer(dict(model.named_parameters()), OptimConfig())


def test_moments_are_there_before_the_first_step():
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(model.state_dict())
    ours = make_optimizer(dict(model.named_parameters()), OptimConfig(weight_decay=0.1))
    plain = torch.optim.AdamW(other.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1)
    plain.param_groups[0]["params"] = [other.weight]
    plain.add_param_group({"params": [other.bias], "weight_decay": 0.0})
    assert all(state["exp_avg"].eq(0).all() for state in ours.state.values())
    for scale in (1.0, 0.3):
        for one, optimizer in ((model, ours), (other, plain)):
            one(torch.ones(1, 3)).square().sum().mul(scale).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert torch.equal(model.weight, other.weight)
    assert torch.equal(model.bias, other.bias)
