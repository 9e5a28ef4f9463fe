"""Rehearsals: the shapes of a step, without values."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from orbitds.train.mixture import Scope
from orbitds.train.rehearsal import Rehearsal
from tests.train.outlines import config, outline


@pytest.mark.parametrize(
    ("model", "kind", "tokens"),
    [
        ({}, "bayesian", 5 * 7),
        ({"base": "delta"}, "gaussian", 5 * 7),
        ({"compression": 4, "edge_density": 0.03}, "crps", 7),
        ({"kind": "vit", "patch": 3}, "mse", 9 * 14),
        ({"kind": "unet", "depth": 2}, "mse", 0),
        ({"kind": "edsr", "base": "delta"}, "gaussian", 0),
    ],
)
def test_each_model_and_loss_goes_forward_and_back_without_values(model, kind, tokens):
    run = config(model, loss={"kind": kind}, dtype="bfloat16")
    rehearsal = Rehearsal(run, outline(), Scope.of([outline()]), samples=2)
    loss = rehearsal.forward()
    assert isinstance(loss, FakeTensor)
    assert loss.shape == ()
    assert rehearsal.tokens == tokens
    rehearsal.backward(loss)
    weights = list(rehearsal.model.parameters())
    with_gradient = [weight for weight in weights if weight.grad is not None]
    assert len(with_gradient) > len(weights) / 2
    assert all(weight.grad.shape == weight.shape for weight in with_gradient)


def test_the_model_may_know_more_than_the_pair_has():
    other = replace(outline(inputs=5), outputs=("northward_wind",), statics=("aspect",), factor=2)
    scope = Scope.of([other, outline()])
    rehearsal = Rehearsal(config(), outline(), scope, samples=1)
    loss = rehearsal.forward()
    assert torch.isreal(loss).shape == ()
    assert rehearsal.model.inputs == scope.inputs != outline().inputs
    rehearsal.backward(loss)
    heads: Any = rehearsal.model.trunk.decode.paint
    assert heads["3"].weight.grad is not None
    assert heads["2"].weight.grad is None
