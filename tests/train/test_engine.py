"""The engine: its norm, its running mean, and a state that the next step follows from."""

import pytest
import torch

from orbitds.config import OptimConfig, TrainConfig
from orbitds.train.engine import TorchEngine
from orbitds.train.mesh import ONE
from tests.conftest import TINY, untrained_for


def engine_of(pair, **changes):
    settings = {"pair": "synthetic", "steps": 9, "ema_decay": 0.5, "optim": OptimConfig(clip=0.1)}
    model = untrained_for(pair)
    return TorchEngine(model, TrainConfig(**settings | {"model": TINY} | changes), ONE)


def step(engine, number):
    generator = torch.Generator().manual_seed(number)
    loss = sum(
        (weight * torch.randn(weight.shape, generator=generator)).sum()
        for weight in engine.weights.values()
    )
    engine.backward(loss, last=True)
    return engine.step(number, scale=torch.tensor(0.5))


def test_the_norm_is_that_of_the_scaled_gradient_before_clipping(pair):
    engine = engine_of(pair)
    wanted = torch.cat(
        [
            torch.randn(weight.shape, generator=generator).flatten()
            for generator in [torch.Generator().manual_seed(0)]
            for weight in engine.weights.values()
        ]
    ).norm()
    torch.testing.assert_close(step(engine, 0), 0.5 * wanted)


def test_the_running_mean_takes_the_place_of_the_weights_and_gives_it_back(pair):
    engine, mean, now = engine_of(pair), None, {}
    for number in range(3):
        step(engine, number)
        now = {name: weight.detach().clone() for name, weight in engine.weights.items()}
        mean = now if mean is None else {n: 0.5 * mean[n] + 0.5 * now[n] for n in now}
    assert mean is not None
    with engine.averaged():
        for name, weight in engine.model.named_parameters():
            torch.testing.assert_close(weight.detach(), mean[name])
        whole = engine.whole()
    assert whole is not None
    for name, weight in engine.model.named_parameters():
        assert torch.equal(weight.detach(), now[name])
        torch.testing.assert_close(whole[name], mean[name])


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_a_run_goes_on_from_its_state_bit_for_bit(pair, ema_decay):
    through, first = engine_of(pair, ema_decay=ema_decay), engine_of(pair, ema_decay=ema_decay)
    for number in range(5):
        step(through, number)
    for number in range(3):
        step(first, number)
    second = engine_of(pair, ema_decay=ema_decay)
    kept = {name: tensor.clone() for name, tensor in first.state().items()}
    assert {name.split(".")[0] for name in kept} == (
        {"model", "exp_avg", "exp_avg_sq"} | ({"average"} if ema_decay else set())
    )
    places = second.state()
    assert places.keys() == kept.keys()
    for name, tensor in kept.items():
        places[name].copy_(tensor)
    second.restored(3)
    for number in (3, 4):
        step(second, number)
    for name, tensor in through.state().items():
        assert torch.equal(tensor, second.state()[name]), name
