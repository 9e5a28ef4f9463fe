"""Several pairs and one model: the unions of names, what is refused, pooled statistics."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from orbitds.config import ModelConfig, TrainConfig
from orbitds.data.synthetic import synthetic_pair
from orbitds.model.interface import Aim
from orbitds.normalize import Statistics
from orbitds.train.mixture import Scope, check_mixture, pooled, training_set
from orbitds.train.setting import prepare_all
from tests.mixed import NORTH, RAIN, WIND, other_pair


def named(inputs="ab", outputs="a", statics="s", factor=4):
    return SimpleNamespace(
        inputs=tuple(inputs), outputs=tuple(outputs), statics=tuple(statics), factor=factor
    )


def config(**model):
    shape = {"width": 8, "depth": 1, "decoder_depth": 1, "position_octaves": 2}
    return TrainConfig(pairs={"x": 3.0, "y": 1.0}, model=ModelConfig(**(shape | model)))


@pytest.fixture(scope="module")
def other():
    return other_pair()


# --- names --------------------------------------------------------------------------------------


def test_a_scope_is_the_union_in_order_of_appearance():
    scope = Scope.of([named(), named("bc", "ca", "ts", 2), named(factor=3)])
    assert scope == Scope(("a", "b", "c"), ("a", "c"), ("s", "t"), (4, 2, 3))


def test_a_pair_that_is_all_of_it_asks_for_nothing_less():
    scope = Scope.of([named(), named("c")])
    assert scope.aim(named()) is None
    assert scope.aim(named(statics="")) is None  # the model does without


@pytest.mark.parametrize(
    ("other", "aim"),
    [
        (named(factor=2), Aim(4, ("a",), ("s",))),
        (named(outputs="ab"), Aim(4, ("a",), ("s",))),
        (named(statics="st"), Aim(4, ("a",), ("s",))),
        (named(outputs="c"), Aim(4, ("a",), ("s",))),
    ],
)
def test_a_pair_asks_for_its_own_part(other, aim):
    assert Scope.of([named(), other]).aim(named()) == aim


# --- what is refused ----------------------------------------------------------------------------


def test_delta_change_of_several_regions_is_refused(pair, other):
    with pytest.raises(ValueError, match=r"base bicubic or bilinear for several pairs, got delta"):
        check_mixture(config(base="delta"), [pair, other])
    check_mixture(config(base="delta"), [pair])


@pytest.mark.parametrize("kind", ["vit", "unet", "edsr"])
def test_kinds_without_heads_take_pairs_that_are_alike(kind, pair, other):
    with pytest.raises(ValueError, match=rf"same outputs for a model of kind {kind}"):
        check_mixture(config(kind=kind), [pair, other])
    bare = replace(pair, statics=pair.statics[[]])
    check_mixture(config(kind=kind), [pair, bare])
    finer = synthetic_pair(rows=4, columns=8, factor=2)
    with pytest.raises(ValueError, match="same factor .*3 of synthetic and 2 of synthetic"):
        check_mixture(config(kind=kind), [pair, finer])
    renamed = replace(pair, statics=pair.statics.rename(orography="land_sea_mask"))
    with pytest.raises(ValueError, match="same statics"):
        check_mixture(config(kind=kind), [pair, renamed])


# --- statistics ---------------------------------------------------------------------------------


def test_pooled_statistics_are_those_of_a_draw_by_shares():
    rng = np.random.default_rng(4)
    one, two = rng.normal(3, 2, 10**5), rng.normal(-1, 5, 10**5)
    rows = [{"v": Statistics(mean=x.mean(), std=x.std())} for x in (one, two)]
    drawn = np.concatenate([one] * 3 + [two])
    found = pooled(rows, [3.0, 1.0])["v"]
    assert found.mean == pytest.approx(drawn.mean(), rel=1e-9)
    assert found.std == pytest.approx(drawn.std(), rel=1e-9)


def test_what_one_pair_has_alone_stays_to_the_bit():
    own = Statistics(mean=0.1, std=0.3, threshold=0.25)
    others = {"w": Statistics(mean=1.0, std=2.0)}
    assert pooled([{"v": own}, others], [0.3, 0.7]) == {"v": own, "w": others["w"]}
    assert pooled([{"v": own}, {"v": own}], [0.1, 0.7]) == {"v": own}


def test_only_pairs_that_have_a_variable_count():
    a, b = Statistics(mean=0.0, std=1.0), Statistics(mean=2.0, std=1.0)
    assert pooled([{"v": a}, {"v": b}, {}], [1.0, 1.0, 8.0])["v"].mean == 1.0


def test_all_pairs_are_normalised_alike(pair, other):
    one, two = prepare_all(config(), [pair, other])
    assert one.statistics[WIND] == two.statistics[WIND]
    assert one.aim == Aim(3, (WIND, RAIN), ("orography",))
    assert two.aim == Aim(2, (NORTH,), ("orography",))  # it gives none of these
    row = one.statistics[WIND]
    for setting, data in ((one, pair), (two, other)):
        wind = torch.tensor(data.part("train").coarse[WIND].values[3])
        got = setting.train[3].coarse[setting.inputs.index(WIND)]
        torch.testing.assert_close(got, (wind - row.mean) / row.std, rtol=1e-5, atol=1e-5)


# --- what is told -------------------------------------------------------------------------------


def test_a_set_is_told_with_its_place(other):
    told = training_set(other, other.inputs, 0.5)
    assert (told.pair, told.factor, told.share) == ("other", 2, 0.5)
    assert told.outputs == (NORTH,)
    assert told.box_deg == pytest.approx((-90, 90, 0, 360))
    assert told.spacing_km == pytest.approx((22.5 * 111.195, 11.25 * 111.195), rel=1e-4)
    assert told.period == ("2001", "2002")
