"""Constraints of a job: what a checkpoint allows, and which of its outputs take part."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitds.checkpoint import load_checkpoint
from orbitds.config import ModelConfig
from orbitds.constraints import Blocks, bounded
from orbitds.grid import Grid
from orbitds.infer.constrain import check_constraints, constrained
from orbitds.model.reslim import Reslim

LOW, MEAN, HIGH = "2m_temperature_min", "2m_temperature", "2m_temperature_max"
RAIN, WIND = "total_precipitation_24hr", "eastward_wind"
FACTOR = 3
# A globe of 5 x 4 coarse cells, refined.
GRID = Grid(72.0 - 36 * np.arange(5), 45.0 + 90 * np.arange(4)).refine(FACTOR)


@pytest.fixture
def checkpoint(checkpoint_folder):
    """Make a checkpoint of any inputs and outputs, of the same product or another."""
    shipped = load_checkpoint(checkpoint_folder)

    def make(inputs, outputs, *, same_product=True):
        config = ModelConfig(width=8, depth=0, decoder_depth=0, correction_width=0)
        model = Reslim(config, inputs=inputs, outputs=outputs, statics=(), factor=FACTOR)
        changes = {"inputs": inputs, "outputs": outputs, "same_product": same_product}
        return replace(
            shipped, model=model, description=shipped.description.model_copy(update=changes)
        )

    return make


@pytest.fixture
def job(checkpoint):
    """Hold random fields of a checkpoint to constraints; returns fine, coarse and the answer."""

    def run(inputs, outputs, constraints, variables=None, steps=4):
        generator = torch.Generator().manual_seed(3)
        coarse = 280 + 5 * torch.randn(steps, len(inputs), 5, 4, generator=generator)
        fine = 280 + 5 * torch.randn(steps, len(outputs), 15, 12, generator=generator)
        made = checkpoint(inputs, outputs)
        blocks = Blocks(area=torch.tensor(GRID.area), factor=FACTOR, periodic=GRID.periodic)
        got = constrained(fine, coarse, blocks, made, variables or outputs, constraints)
        got = {name: field.numpy() for name, field in got.items()}
        return (
            dict(zip(outputs, fine.unbind(1), strict=True)),
            dict(zip(inputs, coarse.unbind(1), strict=True)),
            got,
        )

    return run


def means(field, grid):
    blocks = (field.astype(np.float64) * grid.area).reshape(-1, 5, FACTOR, 4, FACTOR)
    weight = grid.area.reshape(5, FACTOR, 4, FACTOR).sum(axis=(1, 3))
    return blocks.sum(axis=(2, 4)) / weight


def test_without_constraints_bounds_alone_hold(job):
    fine, _, got = job((RAIN, WIND), (WIND, RAIN), ())
    for name, field in fine.items():
        np.testing.assert_array_equal(got[name], bounded(field, name))


def test_each_output_meets_its_own_input(job):
    """Inputs and outputs stand in different orders, and only some inputs are outputs."""
    _, coarse, got = job((RAIN, MEAN, WIND), (WIND, MEAN), ("conserve",))
    assert list(got) == [WIND, MEAN]
    for name in got:
        np.testing.assert_allclose(means(got[name], GRID), coarse[name], rtol=1e-7)


def test_fields_in_parts_equal_the_whole(job, monkeypatch):
    names = (LOW, MEAN, HIGH)
    _, _, whole = job(names, names, ("order", "conserve"))
    for cells in (1, 2 * 15 * 12, 3 * 15 * 12):
        monkeypatch.setattr("orbitds.infer.constrain.BATCH_FINE_CELLS", cells)
        _, _, parts = job(names, names, ("order", "conserve"))
        for name in names:
            np.testing.assert_array_equal(parts[name], whole[name])


@pytest.mark.parametrize("constraints", [("order",), ("order", "conserve")])
def test_a_variable_alone_is_what_it_is_among_all(job, constraints):
    names = (LOW, MEAN, HIGH)
    _, _, whole = job(names, names, constraints)
    for name in names:
        _, _, one = job(names, names, constraints, variables=(name,))
        assert list(one) == [name]
        np.testing.assert_array_equal(one[name], whole[name])


def test_a_mean_without_coarse_value_does_not_bound_what_is_conserved(job):
    """It was not chosen; as a bound it would keep the means of the others from being met."""
    _, coarse, got = job((LOW, HIGH), (LOW, MEAN, HIGH), ("order", "conserve"), (LOW, HIGH))
    assert (got[LOW] <= got[HIGH]).all()
    # where the coarse minimum lies above the coarse maximum, both are their middle
    low, high = coarse[LOW].numpy().astype(np.float64), coarse[HIGH].numpy()
    wanted = np.minimum(low, (low + high) / 2)
    np.testing.assert_allclose(means(got[LOW], GRID), wanted, rtol=1e-7)


# --- what a checkpoint allows ---


def test_known_constraints_come_in_one_order(checkpoint):
    made = checkpoint((WIND,), (WIND,))
    assert check_constraints((), made, (WIND,)) == ()
    assert check_constraints("conserve", made, (WIND,)) == ("conserve",)
    for names in (["conserve", "order"], ("order", "conserve", "order")):
        assert check_constraints(names, made, (WIND,)) == ("order", "conserve")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("conserved", r"among \['order', 'conserve'\], got 'conserved'. Did you mean 'conserve'\?"),
        ("ordr", r"Did you mean 'order'\?"),
        ("bounds", r"got 'bounds'. Leave it out, or choose one of these."),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(checkpoint, name, told):
    with pytest.raises(ValueError, match=told):
        check_constraints(("order", name), checkpoint((WIND,), (WIND,)), (WIND,))


def test_an_output_that_is_no_input_cannot_be_conserved(checkpoint):
    made = checkpoint((WIND, MEAN), (WIND, RAIN))
    with pytest.raises(
        ValueError,
        match=rf"got \['{RAIN}'\] of checkpoint .* inputs are .*Choose variables=\['{WIND}'\], or",
    ):
        check_constraints(("conserve",), made, (WIND, RAIN))
    with pytest.raises(ValueError, match=r"'2m_temperature'\]. Leave the constraint out"):
        check_constraints(("conserve",), made, (RAIN,))
    assert check_constraints(("conserve",), made, (WIND,)) == ("conserve",)
    assert check_constraints(("order",), made, (WIND, RAIN)) == ("order",)


def test_the_means_of_another_product_cannot_be_conserved(checkpoint):
    made = checkpoint((WIND,), (WIND,), same_product=False)
    told = (
        r"block means of the product it gives.*another product: they differ.*Leave the constraint"
    )
    with pytest.raises(ValueError, match=told):
        check_constraints(("order", "conserve"), made, (WIND,))
    assert check_constraints(("order",), made, (WIND,)) == ("order",)
