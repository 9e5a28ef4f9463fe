"""DeepSpeed in two processes trains as PyTorch does in one; each takes up the state of others."""

from itertools import islice

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from orbitds.config import SaveConfig, TrainConfig
from orbitds.train import loop, zero
from orbitds.train.deepspeed import DeepSpeedEngine
from orbitds.train.engine import make_engine
from orbitds.train.launch import ALONE, launched
from orbitds.train.mesh import ONE
from orbitds.train.states import States
from orbitds.train.step import take_step
from tests.conftest import untrained_for
from tests.distributed.beginning import BASE, TINY, begun, pair_with_gaps, parts_of
from tests.distributed.processes import run

FROZEN = {"freeze": ("trunk.norm.*",)}
WAYS = {
    "moments": {"parallel": {"zero_stage": 1}, "ema_decay": 0.5},
    "gradients": {"parallel": {"zero_stage": 2}, "accumulate": 3, "batch_size": 6},
    "weights": {
        "parallel": {"zero_stage": 3, "offload": True},
        "accumulate": 3,
        "batch_size": 6,
        "ema_decay": 0.5,
    },
    "weights, products kept": {
        "parallel": {"zero_stage": 3},
        "checkpointing": "selective",
        "model": TINY.model_copy(update={"compression": 2.0}),
    },
    "weights, rounded": {
        "parallel": {"zero_stage": 3},
        "checkpointing": "full",
        "dtype": "bfloat16",
    },
}
# A state of the first is taken up by the second.
TAKEN_UP = {
    "to PyTorch": ({"engine": "deepspeed", "zero_stage": 1}, {}),
    "to DeepSpeed": ({}, {"engine": "deepspeed", "zero_stage": 2}),
    "to itself": ({"engine": "deepspeed"}, {"engine": "deepspeed"}),
}


def config_of(name, *, alone=False):
    changes = {key: value for key, value in WAYS[name].items() if key != "parallel"}
    if not alone:
        changes["parallel"] = {"engine": "deepspeed", **WAYS[name]["parallel"]}
    return TrainConfig.model_validate(BASE | FROZEN | changes)


class Running:
    """A run of which so many steps are over."""

    def __init__(self, config, launch, device, over=0):
        self.settings, self.mesh, model = begun(config, launch, device)
        self.config, self.over = config, over
        self.engine = make_engine(model, config, self.mesh)
        self.parts = parts_of(config, self.settings, self.mesh, first=over)

    def step(self):
        """Loss and norm of the next step."""
        self.over += 1
        parts = islice(self.parts, self.config.accumulate)
        numbers = take_step(
            self.engine, parts, self.settings, self.config, self.mesh, step=self.over
        )
        return numbers.read()[:2]


def numbers_of(tensors):
    """Whole values by name; those that a process is not told are empty."""
    whole = {n: t.full_tensor() if hasattr(t, "full_tensor") else t for n, t in tensors.items()}
    return {name: value.detach().numpy().copy() for name, value in whole.items()}


def told_by(config, launch, device):
    """Loss and norm of three steps, the state after the first, weights and running mean at last."""
    running = Running(config, launch, device)
    engine, steps = running.engine, [running.step()]
    state = numbers_of(engine.state())
    steps += [running.step(), running.step()]
    weights = numbers_of(engine.whole() or {})
    with engine.averaged():
        mean = numbers_of(engine.whole() or {})
    for name, value in numbers_of(engine.whole() or {}).items():
        np.testing.assert_array_equal(value, weights[name])
    return steps, state, weights, mean


def third_steps(launch, device, folder, giver, taker):
    """Loss, norm and state of a third step, by a run and by one that takes it up before."""
    configs = [
        TrainConfig.model_validate(BASE | FROZEN | {"parallel": way, "ema_decay": 0.5})
        for way in (giver, taker)
    ]
    group = torch.distributed.group.WORLD
    first = Running(configs[0], launch, device)
    first.step()
    first.step()
    writing = States(folder, SaveConfig(), launch, group)
    writing.save(2, first.engine.state(), {})
    writing.wait()
    second = Running(configs[1], launch, device, over=2)
    assert States(folder, SaveConfig(), launch, group).load(second.engine.state()) is not None
    second.engine.restored(2)
    return [(one.step(), numbers_of(one.engine.state())) for one in (first, second)]


def in_two_processes(rank, folder):
    zero.KEPT_WHOLE = 20  # of weights so small none would be cut
    with launched("cpu") as (launch, device):
        told = {name: told_by(config_of(name), launch, device) for name in WAYS}
        for name, ways in TAKEN_UP.items():
            told[name] = third_steps(launch, device, folder / name, *ways)
        output = folder / "run"
        loop._everyone(launch).by_main(output.mkdir)
        config = config_of("weights")
        loop.fit(config, [pair_with_gaps()], output, launch=launch, device=device)
        broken = Running(config_of("moments"), launch, device)
        before = numbers_of(broken.engine.whole() or {})
        weight = next(iter(broken.engine.model.parameters()))
        broken.engine.backward((weight * torch.nan).sum(), last=True)
        told["norm of nan"] = broken.engine.step(0, scale=torch.tensor(1.0)).item()
        told["kept"] = numbers_of(broken.engine.whole() or {}), before
    return told


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What two processes of DeepSpeed compute, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    return run(in_two_processes, 2, folder), folder


def largest_difference(got, wanted):
    """Largest difference of any tensor over its largest value."""
    assert got.keys() == wanted.keys()
    return {
        name: float(np.abs(got[name] - wanted[name]).max() / (np.abs(wanted[name]).max() or 1.0))
        for name in wanted
    }


@pytest.mark.distributed
@pytest.mark.parametrize("name", WAYS)
def test_two_processes_of_deepspeed_train_as_one_of_pytorch(both, name):
    config = config_of(name, alone=True)
    steps, state, weights, mean = told_by(config, ALONE, torch.device("cpu"))
    tolerance = 1e-5 if config.dtype == "float32" else 0.02
    for told in both[0]:
        got_steps, got_state, *_ = told[name]
        np.testing.assert_allclose(got_steps, steps, rtol=tolerance)
        found = largest_difference(got_state, state)
        # the first moment of the first step is its gradient
        assert {key.split(".")[0] for key in found} >= {"model", "exp_avg", "exp_avg_sq"}
        assert "exp_avg.trunk.norm.weight" not in found
        for key, difference in found.items():
            if not key.startswith(("model", "average")):
                assert difference < (2 if "sq" in key else 1) * tolerance, (key, difference)
    for got, wanted in ((both[0][0][name][2], weights), (both[0][0][name][3], mean)):
        assert got.keys() == wanted.keys()
        for key, value in wanted.items():
            # AdamW makes a step of a gradient whatever its size, so of its rounding too
            absolute = 2e-5 if config.dtype == "float32" else 3e-3
            np.testing.assert_allclose(got[key], value, rtol=0, atol=absolute, err_msg=key)
    for some in (weights, mean):
        assert (some["trunk.norm.weight"] == state["model.trunk.norm.weight"]).all()
    assert not both[0][1][name][2]


@pytest.mark.distributed
@pytest.mark.parametrize("name", TAKEN_UP)
def test_a_state_is_taken_up_bit_for_bit_or_by_another_engine(both, name):
    for told in both[0]:
        (numbers, state), (got_numbers, got_state) = told[name]
        tolerance = 0 if name == "to itself" else 2e-5
        np.testing.assert_allclose(got_numbers, numbers, rtol=tolerance)
        for key, difference in largest_difference(got_state, state).items():
            assert difference <= tolerance, (key, difference)


@pytest.mark.distributed
def test_a_run_leaves_the_checkpoint_of_one_process(both, tmp_path):
    loop.fit(config_of("weights", alone=True), [pair_with_gaps()], tmp_path)
    ours, theirs = (
        load_file(folder / "best" / "weights.safetensors") for folder in (both[1] / "run", tmp_path)
    )
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.distributed
def test_a_gradient_that_is_no_number_changes_no_weight(both):
    after, before = both[0][0]["kept"]
    assert all(np.isnan(told["norm of nan"]) for told in both[0])
    assert all((after[name] == before[name]).all() for name in before)


def test_a_process_alone_is_refused(pair):
    config = TrainConfig.model_validate({"pair": "synthetic", "parallel": {"engine": "deepspeed"}})
    with pytest.raises(ValueError, match=r"torchrun or srun.*got one started alone"):
        DeepSpeedEngine(untrained_for(pair), config, ONE)
