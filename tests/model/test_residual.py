"""The residual path: interpolation in the right unit, delta change, and a silent start."""

from typing import Any

import pytest
import torch

from orbitds.interpolate import interpolate
from orbitds.model.residual import Base, Correction

B, H, W = 2, 5, 7
TEMPERATURE, RAIN = "2m_temperature", "total_precipitation_24hr"
OUTPUTS = (TEMPERATURE, RAIN)
# outputs stand among the inputs in another order than their own
INPUTS = ("eastward_wind", RAIN, TEMPERATURE)
# e and the cap of the ratio of climatologies, as the paper of the model's base has them
OFFSET_MM, CAP = 0.1, 5.0


def base_of(method, outputs=OUTPUTS):
    log = [name == RAIN for name in outputs]
    return Base(outputs, method=method, log_outputs=log).double()


def normal(*shape, seed=21):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def rain(*shape, seed=22):
    """Log-normal amounts in mm with dry cells, between which a bicubic kernel undershoots."""
    amount = (2 * normal(*shape, seed=seed)).exp()
    return torch.where(normal(*shape, seed=seed + 1) > 0.5, 0.0, amount)


def coarse_of(temperature, rain_mm):
    """Return normalised inputs [B, V, H, W] in the order of INPUTS."""
    return torch.stack([normal(B, H, W, seed=23), rain_mm.log1p(), temperature], dim=1)


def climatology_of(factor=3, *, fine_mm=None, coarse_mm=None):
    """Return normalised fine and coarse climatologies in the order of OUTPUTS."""
    fine_shape = B, factor * H, factor * W
    fine_mm = rain(*fine_shape, seed=24) if fine_mm is None else fine_mm
    coarse_mm = rain(B, H, W, seed=26) if coarse_mm is None else coarse_mm
    fine = torch.stack([normal(*fine_shape, seed=28), fine_mm.log1p()], dim=1)
    return fine, torch.stack([normal(B, H, W, seed=29), coarse_mm.log1p()], dim=1)


def bicubic(field, *, periodic=False):
    return interpolate(field, 3, "bicubic", periodic=periodic)


def close(got, want, tolerance=1e-12):
    torch.testing.assert_close(got, want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize(
    ("method", "kernel"), [("bilinear", "bilinear"), ("bicubic", "bicubic"), ("delta", "bicubic")]
)
def test_base_interpolates_normalized_fields_and_amounts_in_mm(method, kernel, factor, periodic):
    temperature, amount = normal(B, H, W), rain(B, H, W)
    base, detail = base_of(method)(
        coarse_of(temperature, amount), INPUTS, None, factor=factor, periodic=periodic
    )
    expected = interpolate(temperature, factor, kernel, periodic=periodic)
    assert torch.equal(base[:, 0], expected)
    expected_mm = interpolate(amount, factor, kernel, periodic=periodic)
    if kernel == "bicubic":
        assert expected_mm.min() < -0.1
    close(base[:, 1].expm1(), expected_mm.clamp(min=0), 1e-11)
    assert torch.equal(detail, torch.zeros_like(base))


def test_a_ramp_of_rain_stays_a_ramp_in_mm():
    ramp_mm = (10 * torch.arange(W).double() + 3).expand(B, H, W)
    base, _ = base_of("bilinear")(
        coarse_of(normal(B, H, W), ramp_mm), INPUTS, None, factor=4, periodic=False
    )
    centres = (torch.arange(4 * W).double() + 0.5) / 4 - 0.5
    inside = slice(6, -6)  # whole kernels only
    expected = (10 * centres + 3)[inside].expand(B, 4 * H, -1)
    close(base[:, 1].expm1()[..., inside], expected, 1e-11)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_interpolation_takes_no_notice_of_a_climatology(method):
    coarse, module = coarse_of(normal(B, H, W), rain(B, H, W)), base_of(method)
    base, detail = module(coarse, INPUTS, climatology_of(), factor=3, periodic=False)
    assert torch.equal(base, module(coarse, INPUTS, None, factor=3, periodic=False)[0])
    assert torch.equal(detail, torch.zeros_like(base))


@pytest.mark.parametrize("periodic", [False, True])
def test_delta_of_the_coarse_climatology_is_the_fine_climatology(periodic):
    # much rain everywhere, so that the offset and the cap do not show
    fine_mm, coarse_mm = 500 + rain(B, 3 * H, 3 * W), 500 + rain(B, H, W)
    fine, coarse = climatology_of(fine_mm=fine_mm, coarse_mm=coarse_mm)
    inputs = coarse_of(coarse[:, 0], coarse_mm)
    base, detail = base_of("delta")(inputs, INPUTS, (fine, coarse), factor=3, periodic=periodic)
    close(base[:, 0], fine[:, 0])
    # x (f + e) / (x + e) misses f by e (f - x) / (x + e)
    smooth = bicubic(coarse_mm, periodic=periodic)
    miss = OFFSET_MM * (fine_mm - smooth).abs() / (smooth + OFFSET_MM)
    assert ((base[:, 1].expm1() - fine_mm).abs() <= miss + 1e-9).all()
    assert miss.max() < 0.5
    close(detail[:, 0], fine[:, 0] - bicubic(coarse[:, 0], periodic=periodic))
    close(detail[:, 1], fine[:, 1] - smooth.log1p())


def test_delta_adds_the_interpolated_anomaly():
    fine, coarse = climatology_of()
    anomaly = normal(B, H, W, seed=31)
    inputs = coarse_of(coarse[:, 0] + anomaly, rain(B, H, W))
    base, _ = base_of("delta")(inputs, INPUTS, (fine, coarse), factor=3, periodic=True)
    close(base[:, 0], fine[:, 0] + bicubic(anomaly, periodic=True))


def test_delta_scales_rain_by_the_ratio_cell_by_cell():
    fine_mm, coarse_mm = rain(B, 3 * H, 3 * W, seed=24), rain(B, H, W, seed=26)
    amount = rain(B, H, W)
    base, _ = base_of("delta")(
        coarse_of(normal(B, H, W), amount), INPUTS, climatology_of(), factor=3, periodic=False
    )
    wet, smooth = bicubic(amount).clamp(min=0), bicubic(coarse_mm).clamp(min=0)
    capped = 0
    for b in range(B):
        for i in range(3 * H):
            for j in range(3 * W):
                f, s, x = (field[b, i, j].item() for field in (fine_mm, smooth, wet))
                ratio = (f + OFFSET_MM) / (s + OFFSET_MM)
                capped += ratio > CAP
                expected = x * min(ratio, CAP)
                assert base[b, 1, i, j].expm1().item() == pytest.approx(expected, abs=1e-9)
    assert capped > 20


@pytest.mark.parametrize(
    ("fine_mm", "coarse_mm", "amount_mm", "expected_mm"),
    [
        (100.0, 1.0, 3.0, 15.0),  # capped at five-fold
        (0.1, 0.0, 3.0, 6.0),  # a dry climatology: (0.1 + 0.1) / (0 + 0.1)
        (0.0, 0.9, 3.0, 0.3),
        (7.0, 2.0, 0.0, 0.0),  # no rain stays no rain
    ],
)
def test_delta_of_uniform_rain(fine_mm, coarse_mm, amount_mm, expected_mm):
    fine = torch.full((B, 3 * H, 3 * W), fine_mm, dtype=torch.float64)
    coarse = torch.full((B, H, W), coarse_mm, dtype=torch.float64)
    climatology = climatology_of(fine_mm=fine, coarse_mm=coarse)
    inputs = coarse_of(normal(B, H, W), torch.full_like(coarse, amount_mm))
    base, _ = base_of("delta")(inputs, INPUTS, climatology, factor=3, periodic=False)
    close(base[:, 1].expm1(), torch.full_like(fine, expected_mm))


def test_a_climatology_that_undershoots_does_not_blow_up_the_ratio():
    # a desert beside rain: bicubic gives negative amounts there, some of them near -e
    wet_mm = torch.linspace(1, 20, 2001).double()[:, None, None, None]
    coarse_mm = wet_mm * (torch.arange(W) > 2).double().expand(1, 1, H, W)
    fine_mm = coarse_mm.repeat_interleave(3, -1).repeat_interleave(3, -2) + 0.5
    climatology = fine_mm.log1p(), coarse_mm.log1p()
    assert bicubic(coarse_mm).min() < -OFFSET_MM
    module = base_of("delta", outputs=(RAIN,))
    base, _ = module(coarse_mm.log1p(), (RAIN,), climatology, factor=3, periodic=False)
    limit = CAP * bicubic(coarse_mm).clamp(min=0)
    assert (base.expm1() <= limit + 1e-9).all()
    # uniform rain over the dry edge is scaled up, not lost
    uniform = torch.full_like(coarse_mm, 5.0).log1p()
    base, _ = module(uniform, (RAIN,), climatology, factor=3, periodic=False)
    dry = bicubic(coarse_mm) <= 0
    close(base.expm1()[dry], torch.full_like(base[dry], CAP * 5))


@pytest.mark.parametrize("method", ["bilinear", "bicubic", "delta"])
def test_an_output_that_is_no_input_starts_from_zero(method):
    """The decoder's bias adds the constant that is learned."""
    base, _ = base_of(method)(normal(B, 1, H, W), ("eastward_wind",), None, factor=3, periodic=True)
    assert torch.equal(base, torch.zeros_like(base))


def test_delta_of_an_output_that_is_no_input_is_its_climatology():
    fine, coarse = climatology_of()
    base, _ = base_of("delta")(
        normal(B, 1, H, W), ("eastward_wind",), (fine, coarse), factor=3, periodic=True
    )
    close(base[:, 0], fine[:, 0])
    # rain as if the coarse climatology had been the input
    inputs = coarse_of(normal(B, H, W), coarse[:, 1].expm1())
    known, _ = base_of("delta")(inputs, INPUTS, (fine, coarse), factor=3, periodic=True)
    close(base[:, 1], known[:, 1])


@pytest.mark.parametrize(
    ("given_dtype", "dtype"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_base_works_in_single_precision_at_least(given_dtype, dtype):
    module = base_of("delta").float()
    climatology = tuple(field.to(given_dtype) for field in climatology_of())
    coarse = coarse_of(normal(B, H, W), rain(B, H, W)).to(given_dtype)
    for given_climatology in (None, climatology):
        base, detail = module(coarse, INPUTS, given_climatology, factor=3, periodic=False)
        assert (base.dtype, detail.dtype) == (dtype, dtype)


def correction_of(channels=3, outputs=2, *, factor=3, depth=2) -> Any:
    correction = Correction(channels, outputs, factor=factor, width=4, depth=depth).double()
    generator = torch.Generator().manual_seed(33)
    with torch.no_grad():
        for weight in correction.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return correction


def test_correction_starts_at_zero():
    fields = normal(B, 3, 3 * H, 3 * W)
    correction = Correction(3, 2, factor=3, width=4, depth=2).double()
    zero = torch.zeros(B, 2, 3 * H, 3 * W).double()
    assert torch.equal(correction(fields, periodic=False), zero)
    assert correction_of()(fields, periodic=False).abs().min() > 0


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("depth", "factor"), [(1, 3), (2, 2), (1, 1)])
def test_correction_equals_the_explicit_sums(depth, factor, periodic):
    correction = correction_of(depth=depth, factor=factor)
    fine = normal(B, 3, factor * H, factor * W)
    got = correction(fine, periodic=periodic)
    assert got.shape == (B, 2, factor * H, factor * W)
    # the fine cells of a coarse one are its channels, row by row
    places = [(i, j) for i in range(factor) for j in range(factor)]
    fields = torch.stack([fine[..., i::factor, j::factor] for i, j in places], dim=2).flatten(1, 2)
    for place, layer in enumerate(correction.layers):
        if place:
            fields = fields * (1 + torch.erf(fields / 2**0.5)) / 2
        total = layer.bias[:, None, None].expand(B, -1, H, W).clone()
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                rows = (torch.arange(H) + di).clamp(0, H - 1)
                columns = torch.arange(W) + dj
                columns = columns % W if periodic else columns.clamp(0, W - 1)
                moved = fields[:, :, rows][..., columns]
                total += torch.einsum("uc,bcij->buij", layer.weight[..., di + 1, dj + 1], moved)
        fields = total
    for output in range(2):
        for number, (i, j) in enumerate(places):
            expected = fields[:, output * factor**2 + number]
            close(got[:, output, i::factor, j::factor], expected)


@pytest.mark.parametrize("depth", [1, 2])
def test_correction_reaches_one_cell_per_convolution(depth):
    correction, fields = correction_of(depth=depth, factor=2), normal(B, 3, 22, 26)
    other = fields.clone()
    other[1, 2, 11, 12] += 1  # in the coarse cell (5, 6)
    change = correction(other, periodic=False) - correction(fields, periodic=False)
    expected = torch.zeros(22, 26, dtype=torch.bool)
    reach = depth + 1
    expected[2 * (5 - reach) : 2 * (6 + reach), 2 * (6 - reach) : 2 * (7 + reach)] = True
    assert torch.equal((change[1] != 0).any(dim=0), expected)
    assert not change[0].any()
