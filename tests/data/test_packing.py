import numpy as np
import pytest
import torch

from orbitds.data.packing import LARGEST, MISSING, Packing
from orbitds.variables import variable

NAMES = ("2m_temperature", "total_precipitation_24hr", "eastward_wind")


def test_comes_back_within_half_a_step():
    packing = Packing.of(NAMES)
    rng = np.random.default_rng(1)
    low, high = np.array([variable(name).plausible for name in NAMES]).T
    values = rng.uniform(low, high, (5, 7, 11, 3)).transpose(0, 3, 1, 2)
    values[:, 1] = np.expm1(rng.uniform(0, 7, values[:, 1].shape))
    back = packing.unpack(torch.from_numpy(packing.pack(values))).numpy().astype(np.float64)
    error = np.abs(back - values)
    # float32 adds its own rounding
    assert (error[:, [0, 2]] <= packing.step[[0, 2], None, None] / 2 + 2e-5).all()
    assert (error[:, 1] <= (1 + values[:, 1]) * (packing.step[1] / 2 + 1e-6)).all()
    assert packing.step[0] < 0.003  # kelvin


def test_missing_values_and_dry_cells_are_exact():
    packing = Packing.of(NAMES[1:2])
    values = np.array([[[0.0, np.nan, 3.0]]])
    codes = packing.pack(values)
    assert codes[0, 0, 1] == MISSING
    back = packing.unpack(torch.from_numpy(codes)).numpy()
    assert back[0, 0, 0] == pytest.approx(0, abs=1e-6)
    assert np.isnan(back[0, 0, 1])


def test_clips_to_the_plausible_interval():
    packing = Packing.of(NAMES[:1])
    codes = packing.pack(np.array([[[1e9, -1e9]]]))
    assert codes.tolist() == [[[LARGEST, -LARGEST]]]
    low, high = variable(NAMES[0]).plausible
    back = packing.unpack(torch.from_numpy(codes)).numpy().ravel()
    np.testing.assert_allclose(back, [high, low], rtol=1e-6)


def test_negative_amounts_count_as_none():
    packing = Packing.of(NAMES[1:2])
    for amount in (-1e-6, -3.0):
        back = packing.unpack(torch.from_numpy(packing.pack(np.full((1, 2, 2), amount))))
        torch.testing.assert_close(back, torch.zeros(1, 2, 2), atol=1e-6, rtol=0)
