"""Copying between networks: what stands for the same goes to its place, and nothing else moves."""

from typing import Any

import pytest
import torch

from orbitds.config import ModelConfig
from orbitds.model.build import build
from orbitds.train.transfer import BY_FACTOR, Axis, Plan, copy_common

SHAPE: dict[str, Any] = {
    "width": 8,
    "depth": 1,
    "decoder_depth": 1,
    "correction_width": 5,
    "correction_depth": 2,
    "position_octaves": 2,
}


def plan_of(*, inputs=("a", "b"), outputs=("a", "c"), statics=("s",), factor=3, **changes):
    config = ModelConfig(**(SHAPE | changes))
    model = build(
        config,
        inputs=inputs,
        outputs=["eastward_wind", "2m_temperature"][: len(outputs)],
        statics=statics,
        factor=factor,
    )
    model.outputs = tuple(outputs)
    return Plan.of_model(model), dict(model.state_dict())


# --- the copy -----------------------------------------------------------------------------------


def test_rows_go_by_their_label():
    theirs = torch.arange(1.0, 7.0).repeat_interleave(2).view(3, 4)
    ours = torch.zeros(4, 4)
    labels, wanted = Axis(("a", "b", "c")), Axis(("c", "x", "a", "y"))
    assert copy_common(theirs, ours, {0: labels}, {0: wanted}) == 0.5
    zero = torch.zeros(4)
    assert torch.equal(ours, torch.stack([theirs[2], zero, theirs[0], zero]))


def test_entries_of_a_label_stand_together_on_every_axis():
    theirs = torch.randn(2 * 3, 5, 3 * 2)
    ours = torch.full((3 * 3, 5, 2 * 2), 9.0)
    before = {0: Axis(("a", "b"), 3), 2: Axis(("p", "q", "r"), 2)}
    after = {0: Axis(("b", "x", "a"), 3), 2: Axis(("r", "x"), 2)}
    assert copy_common(theirs, ours, before, after) == pytest.approx(2 / 3 / 2)
    assert torch.equal(ours[:3, :, :2], theirs[3:, :, 4:])
    assert torch.equal(ours[6:, :, :2], theirs[:3, :, 4:])
    assert (ours[3:6] == 9).all()
    assert (ours[:, :, 2:] == 9).all()


def test_without_labels_only_equal_shapes_are_copied():
    theirs = torch.randn(3, 4)
    ours = torch.zeros(3, 4)
    assert copy_common(theirs, ours, {}, {}) == 1
    assert torch.equal(ours, theirs)
    for shape in [(3, 5), (4, 4), (3, 4, 1), (12,)]:
        other = torch.zeros(shape)
        assert copy_common(theirs, other, {}, {}) == 0
        assert not other.any()


def test_labels_do_not_help_other_axes():
    theirs, ours = torch.randn(2, 4), torch.zeros(2, 9)
    axis = {0: Axis(("a", "b"))}
    assert copy_common(theirs, ours, axis, axis) == 0
    assert not ours.any()


def test_nothing_in_common_copies_nothing():
    ours = torch.zeros(2, 4)
    got = copy_common(torch.ones(2, 4), ours, {0: Axis(("a", "b"))}, {0: Axis(("c", "d"))})
    assert got == 0
    assert not ours.any()


# --- what the axes of a network stand for -------------------------------------------------------


@pytest.mark.parametrize("kind", ["reslim", "vit"])
@pytest.mark.parametrize("base", ["bicubic", "delta"])
@pytest.mark.parametrize("predicts", ["field", "gaussian", "members"])
@pytest.mark.parametrize("correction", [0, 5])
def test_axes_have_as_many_entries_as_labels(kind, base, predicts, correction):
    changes = {"kind": kind, "base": base, "predicts": predicts, "correction_width": correction}
    plan, weights = plan_of(**changes)
    seen = 0
    for name, tensor in weights.items():
        for dim, axis in plan.axes(name).items():
            assert len(axis.labels) * axis.each == tensor.shape[dim], name
            assert len(set(axis.labels)) == len(axis.labels)
            seen += 1
    assert seen >= 4
    # every weight whose shape follows from the variables has labels
    more = plan_of(inputs=("a", "b", "d"), outputs=("a",), statics=(), **changes)[1]
    assert {n for n in weights if n in more and more[n].shape != weights[n].shape} <= set(
        plan.parts
    )


def test_heads_are_made_for_a_factor_and_a_patch():
    plan, other = plan_of()[0], plan_of(factor=2)[0]
    for weight in ("trunk.decode.paint.bias", "correct.layers.1.weight"):
        assert plan.head(weight) != other.head(weight)
        assert plan.head(weight) == plan_of(inputs=("x",))[0].head(weight)
    assert plan.head("trunk.decode.paint.bias") != plan_of(patch=3)[0].head(
        "trunk.decode.paint.bias"
    )
    assert plan.head("correct.layers.0.bias") == plan_of(patch=3)[0].head("correct.layers.0.bias")
    assert plan.head("correct.layers.0.bias") != plan_of(correction_depth=1)[0].head(
        "correct.layers.0.bias"
    )
    assert plan.head("trunk.blocks.0.project.weight") is None
    assert plan.head("trunk.decode.hidden.0.weight") is None


@pytest.mark.parametrize("correction", [0, 5])
def test_of_several_factors_each_has_its_axes(correction):
    plan, weights = plan_of(factor=(3, 2), correction_width=correction)
    for name, axes in plan.parts.items():
        for dim, axis in axes.items() if name in weights else ():
            assert len(axis.labels) * axis.each == weights[name].shape[dim], name
    own = {name for name in weights if name.startswith(BY_FACTOR)}
    assert own
    for factor in (3, 2):
        alone, single = plan_of(factor=factor, correction_width=correction)
        names = {alone.by_factor(name): name for name in single}
        of_it = tuple(f"{prefix}{factor}." for prefix in BY_FACTOR)
        assert {name for name in own if name.startswith(of_it)} <= set(names)
        for name in own & set(names):
            assert plan.head(name) == alone.head(names[name]) is not None
            assert plan.axes(name) == alone.axes(names[name])
    assert all(plan.by_factor(name) == name for name in weights)


# --- networks of convolutions -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unet", "edsr"])
@pytest.mark.parametrize("changes", [{}, {"base": "delta"}, {"predicts": "gaussian"}])
def test_channels_of_convolutions_have_as_many_labels(kind, changes):
    plan, weights = plan_of(kind=kind, **changes)
    assert len(plan.parts) == 3
    for name, axes in plan.parts.items():
        for dim, axis in axes.items():
            assert weights[name].shape[dim] == len(axis.labels) * axis.each


@pytest.mark.parametrize(
    ("kind", "first"), [("unet", "down.0.first.weight"), ("edsr", "head.weight")]
)
def test_channels_of_convolutions_go_by_name(kind, first):
    theirs, given = plan_of(kind=kind, inputs=("a", "b"))
    ours, wanted = plan_of(kind=kind, inputs=("b", "x"))
    before = wanted[first].clone()
    copy_common(given[first], wanted[first], theirs.axes(first), ours.axes(first))
    assert torch.equal(wanted[first][:, 0], given[first][:, 1])
    assert torch.equal(wanted[first][:, 1], before[:, 1])
    assert torch.equal(wanted[first][:, 2:], given[first][:, 2:])


def test_upsampling_of_another_factor_is_made_anew():
    one, _ = plan_of(kind="edsr", factor=2)
    other, _ = plan_of(kind="edsr", factor=3)
    assert one.head("upsample.0.weight") != other.head("upsample.0.weight")
    assert one.head("tail.weight") is other.head("tail.weight") is None
