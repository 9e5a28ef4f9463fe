"""Structural similarity: the fast path against the plain one, and its window sums."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from orbitds.metrics import structure
from orbitds.metrics.structure import (
    fast_ssim_map,
    gaussian_ssim_map,
    psnr,
    seven_sum,
    ssim_map,
)
from tests.metrics.frames import weather


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (7, 19), (23, 8), (31, 40)])
def test_fast_similarity_is_the_plain_one(rows, columns, monkeypatch):
    monkeypatch.setattr(structure, "BAND_CELLS", 150)  # bands of few rows, the last one shorter
    fields, truth = weather(3, rows, columns)
    got = fast_ssim_map(fields["model"], truth, 100.0, 255.0)
    assert_close(got, ssim_map(fields["model"], truth, 100.0), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "data_range", "offset"), [("warm", 100.0, 255.0), ("rain", 300.0, 0.0)]
)
def test_fast_similarity_in_float32(kind, data_range, offset):
    fields, truth = weather(2, 40, 50, kind=kind)
    got = fast_ssim_map(fields["model"].float(), truth.float(), data_range, offset)
    expected = ssim_map(fields["model"], truth, data_range)
    assert_close(got.double(), expected, rtol=0, atol=2e-5)


def test_window_sums_against_convolution():
    field = torch.randn(2, 9, 12, dtype=torch.float64)
    kept = field.clone()
    expected = F.conv2d(field[:, None], torch.ones(1, 1, 7, 7, dtype=torch.float64))[:, 0]
    assert_close(seven_sum(field), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(field, kept)


def test_similarity_of_a_field_with_itself_is_one():
    _, truth = weather(1, 12, 13)
    assert_close(fast_ssim_map(truth, truth, 100.0, 255.0), torch.ones(1, 6, 7).double())


def test_psnr_of_one_hundredth_of_the_range():
    assert psnr(1.0, 100.0) == pytest.approx(40, rel=1e-14)


def test_gaussian_similarity_is_that_of_torchmetrics():
    oracle = pytest.importorskip("torchmetrics.functional.image")
    fields, truth = weather(2, 24, 31)
    expected = oracle.structural_similarity_index_measure(
        fields["model"][:, None], truth[:, None], sigma=1.5, data_range=100.0,
        return_full_image=True,
    )[1][:, 0, 5:-5, 5:-5]  # fmt: skip
    got = gaussian_ssim_map(fields["model"], truth, 100.0, 255.0)
    assert_close(got, expected, rtol=1e-8, atol=1e-10)


def test_gaussian_similarity_in_float32():
    fields, truth = weather(2, 24, 31)
    expected = gaussian_ssim_map(fields["model"], truth, 100.0, 255.0)
    got = gaussian_ssim_map(fields["model"].float(), truth.float(), 100.0, 255.0)
    assert_close(got.double(), expected, rtol=0, atol=2e-5)
