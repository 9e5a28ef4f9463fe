"""Normalisation: by the row's transform, and back without loss."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from orbitds.normalize import Normalizer, Statistics
from orbitds.variables import variable

NAMES = ("2m_temperature", "total_precipitation_24hr", "eastward_wind")
STATISTICS = {
    "2m_temperature": Statistics(mean=278.5, std=21.3),
    "total_precipitation_24hr": Statistics(mean=0.0, std=1.0),
    "eastward_wind": Statistics(mean=-0.15, std=4.7),
    "orography": Statistics(mean=235.0, std=600.0),
}


@pytest.fixture
def normalizer():
    return Normalizer(NAMES, STATISTICS)


def weather(*lead, dtype=torch.float64):
    """Temperatures, rain with dry cells, winds: [..., 3, 5, 7]."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(*lead, 3, 5, 7, generator=generator, dtype=torch.float64)
    rain = (30 * noise[..., 1, :, :]).clamp(min=0)
    return torch.stack([280 + 20 * noise[..., 0, :, :], rain, 8 * noise[..., 2, :, :]], -3).to(
        dtype
    )


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_inverse_is_exact_both_ways(normalizer, lead):
    physical = weather(*lead)
    normalized = normalizer(physical)
    assert normalized.shape == physical.shape
    assert_close(normalizer.inverse(normalized), physical, rtol=1e-14, atol=1e-13)
    assert_close(normalizer(normalizer.inverse(normalized)), normalized, rtol=1e-13, atol=1e-13)


def test_float32_loses_no_more_than_its_own_rounding(normalizer):
    physical = weather(2, dtype=torch.float32)
    normalized = normalizer(physical)
    assert normalized.dtype == torch.float32
    back = normalizer.inverse(normalized)
    assert back.dtype == torch.float32
    assert_close(normalized, normalizer(physical.double()).float(), rtol=0, atol=0)
    # one rounding of the normalised value, one of the physical one
    steps = torch.nextafter(physical, torch.tensor(torch.inf)) - physical
    assert ((back - physical).abs()[:, 0] <= steps[:, 0]).all()
    assert_close(back, physical, rtol=3e-6, atol=1e-6)


def test_against_numpy(normalizer):
    physical = weather(2).numpy()
    expected = np.stack(
        [
            (physical[:, 0] - 278.5) / 21.3,
            np.log1p(physical[:, 1]),
            (physical[:, 2] + 0.15) / 4.7,
        ],
        axis=1,
    )
    np.testing.assert_allclose(normalizer(torch.from_numpy(physical)), expected, rtol=1e-12)


def test_order_of_the_names_is_the_order_of_the_variables(normalizer):
    turned = Normalizer(NAMES[::-1], STATISTICS)
    assert turned.names == NAMES[::-1]
    assert_close(turned(weather().flip(0)), normalizer(weather()).flip(0))
    one = Normalizer(["orography"], STATISTICS)
    assert_close(one(torch.full((1, 2, 3), 835.0)), torch.ones(1, 2, 3))


def test_constants_pass_and_the_mean_becomes_zero(normalizer):
    mean = torch.tensor([278.5, 0.0, -0.15], dtype=torch.float64)[:, None, None].expand(3, 4, 6)
    assert (normalizer(mean.clone()) == 0).all()
    assert_close(normalizer.inverse(torch.zeros(3, 4, 6).double()), mean.clone(), rtol=0, atol=0)


def test_negative_rain_counts_as_none(normalizer):
    # interpolation and rounding leave small negatives, of which log1p would make NaN below -1
    physical = weather()
    physical[1] = -torch.linspace(0, 5, 35).reshape(5, 7)
    assert (normalizer(physical)[1] == 0).all()


def test_amounts_up_to_the_threshold_count_as_none():
    statistics = {"total_precipitation_24hr": Statistics(mean=0, std=1, threshold=0.25)}
    normalizer = Normalizer(["total_precipitation_24hr"], statistics)
    rain = torch.tensor([[[-1.0, 0.0, 0.1, 0.25, 0.2500001, 0.3, 12.0, torch.nan]]])
    expected = [0.0, 0.0, 0.0, 0.0, np.log1p(0.2500001), np.log1p(0.3), np.log1p(12), np.nan]
    given = normalizer(rain.double())
    assert_close(given.flatten(), torch.tensor(expected).double(), equal_nan=True)
    # the inverse knows no threshold
    assert_close(normalizer.inverse(torch.log1p(rain[..., 2:3])), rain[..., 2:3])
    assert_close(normalizer(rain.float()), given.float(), equal_nan=True)


def test_the_threshold_is_that_of_its_variable_and_of_amounts_alone():
    def with_threshold(name):
        rows = {key: row.model_copy(update={"threshold": 5.0}) for key, row in STATISTICS.items()}
        return Normalizer(NAMES, STATISTICS | {name: rows[name]})

    physical = weather()
    plain = Normalizer(NAMES, STATISTICS)(physical)
    assert_close(with_threshold("2m_temperature")(physical), plain, rtol=0, atol=0)
    assert_close(with_threshold("eastward_wind")(physical), plain, rtol=0, atol=0)
    cut = with_threshold("total_precipitation_24hr")(physical)
    light = physical[1] <= 5
    assert light.any()
    assert (cut[1][light] == 0).all()
    assert_close(cut[1][~light], plain[1][~light], rtol=0, atol=0)


def test_a_threshold_is_off_unless_given():
    assert Statistics.model_validate({"mean": 0, "std": 1}).threshold == 0
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Statistics(mean=0, std=1, threshold=-0.1)


def test_missing_values_stay_missing_and_alone(normalizer):
    physical = weather()
    whole = normalizer(physical)
    physical[:, 2, 3] = torch.nan
    normalized = normalizer(physical)
    assert normalized[:, 2, 3].isnan().all()
    assert int(normalized.isnan().sum()) == 3
    assert_close(torch.where(normalized.isnan(), whole, normalized), whole)
    assert int(normalizer.inverse(normalized).isnan().sum()) == 3


def test_gradients_are_finite_where_rain_is_none(normalizer):
    physical = weather().requires_grad_()
    (gradient,) = torch.autograd.grad(normalizer(physical).sum(), physical)
    assert gradient.isfinite().all()
    assert_close(gradient[0], torch.full((5, 7), 1 / 21.3).double())
    wet = physical.detach()[1] > 0
    assert_close(gradient[1][wet], 1 / (1 + physical.detach()[1][wet]))
    normalized = torch.zeros(3, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(normalizer.inverse(normalized).sum(), normalized)
    expected = torch.tensor([21.3, 1.0, 4.7])[:, None, None].expand(3, 2, 2)
    assert_close(gradient, expected.clone())


def test_transform_is_the_rows(normalizer):
    for name, is_log in zip(NAMES, normalizer.is_log.flatten().tolist(), strict=True):
        assert is_log == (variable(name).transform == "log1p")


def test_aliases_are_normalised_as_their_variable():
    by_alias = Normalizer(["tp"], {"tp": Statistics(mean=9.0, std=9.0)})
    rain = torch.tensor([[[0.0, 1.0, 10.0]]])
    assert_close(by_alias(rain), torch.log1p(rain))


def test_statistics_of_every_variable_are_wanted():
    with pytest.raises(
        ValueError, match=r"got none for \['land_sea_mask'\]. Compute them"
    ) as error:
        Normalizer(["orography", "land_sea_mask"], STATISTICS)
    assert "Wanted statistics of ['orography', 'land_sea_mask']" in str(error.value)
    with pytest.raises(KeyError, match="Did you mean 'orography'"):
        Normalizer(["orografy"], {"orografy": Statistics(mean=0, std=1)})


def test_statistics_are_frozen_and_closed():
    with pytest.raises(ValidationError, match="frozen"):
        STATISTICS["orography"].mean = 0
    with pytest.raises(ValidationError, match="Extra inputs"):
        Statistics.model_validate({"mean": 0, "std": 1, "variance": 1})
