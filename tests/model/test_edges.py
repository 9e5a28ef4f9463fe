"""Edges, against kornia's Canny, and where they must and must not be."""

import kornia
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import config

import orbitds
from orbitds.model.edges import REACH, count_edges, edge_map, edges_of

SMOOTHNESS = {"rough": 1.5, "smooth": 2.5}


def normalized(field):
    mean, spread = field.mean(dim=(1, 2), keepdim=True), field.std(dim=(1, 2), keepdim=True)
    return (field - mean) / spread


def waves(kind, *, batch=2, rows=72, columns=100, seed=0):
    """Random fields whose spectrum falls like those of the atmosphere, periodic on both axes."""
    noise = torch.randn(batch, rows, columns, generator=torch.Generator().manual_seed(seed))
    wavenumber = torch.hypot(torch.fft.fftfreq(rows)[:, None], torch.fft.rfftfreq(columns))
    spectrum = torch.fft.rfft2(noise) * (wavenumber + 0.02) ** -SMOOTHNESS[kind]
    return normalized(torch.fft.irfft2(spectrum, s=(rows, columns)))


@pytest.fixture(scope="module")
def real():
    """Wind and relief of the embedded data, 72 x 144."""
    data = orbitds.open_dataset("fnoc_navy_winds_2p5deg")
    fields = [data["eastward_wind"][0], data["northward_wind"][100], data["orography"]]
    return normalized(torch.stack([torch.from_numpy(field.values) for field in fields]))


def typical_gradient(image):
    east, south = kornia.filters.spatial_gradient(
        kornia.filters.gaussian_blur2d(image[None, None], (5, 5), (1.0, 1.0)), normalized=False
    )[0, 0]
    return float((east**2 + south**2).mean().sqrt())


def canny(image, low, high, *, hysteresis):
    """Kornia's edges of one field: 0, 1, and where hysteresis is left out 0.5 for weak pixels."""
    return kornia.filters.canny(image[None, None], low, high, hysteresis=hysteresis)[1][0, 0]


def step(*, rows=16, columns=24, at=9):
    image = torch.zeros(1, rows, columns)
    image[:, :, at:] = 1.0
    return image


# --- against kornia ---


@pytest.mark.parametrize("factors", [(0.3, 0.9), (0.8, 1.0), (1.5, 2.0)])
@pytest.mark.parametrize("name", ["real", *SMOOTHNESS])
def test_equals_canny_with_one_step_of_growth(name, factors, real):
    fields = real if name == "real" else waves(name)
    own = (..., slice(REACH, -REACH), slice(REACH, -REACH))  # borders are extended otherwise
    for image in fields:
        low, high = (factor * typical_gradient(image) for factor in factors)
        found = canny(image, low, high, hysteresis=False)
        near = F.max_pool2d((found == 1).float()[None], 3, stride=1, padding=1)[0] > 0
        expected = (found > 0) & near
        got = edge_map(image[None], low=low, high=high, periodic=False)[0]
        assert 0.01 < expected.float().mean() < 0.3
        # the growth is more than nothing and less than all that is weak
        assert int((found == 1).sum()) < int(expected.sum()) <= int((found > 0).sum())
        assert torch.equal(got[own], expected[own])


@pytest.mark.parametrize("name", ["real", *SMOOTHNESS])
def test_densities_are_those_of_canny_with_hysteresis(name, real):
    """Measured: 0.966 to 0.999 over cells of 8 x 8 pixels."""
    fields = real if name == "real" else waves(name)
    got = edges_of(fields, periodic=False)
    for image, edges in zip(fields, got, strict=True):
        typical = typical_gradient(image)
        full = canny(image, 0.8 * typical, 1.0 * typical, hysteresis=True)
        cells = [F.avg_pool2d(mask.float()[None], 8)[0, 1:-1, 1:-1] for mask in (edges, full)]
        correlation = torch.corrcoef(torch.stack([cell.flatten() for cell in cells]))[0, 1]
        assert correlation > 0.94


# --- where edges are ---


def test_a_step_has_one_column_of_edges_the_first_of_two_equals():
    edges = edge_map(step(at=9), low=0.5, high=1.0, periodic=False)[0]
    assert edges.sum(dim=0).nonzero().flatten().tolist() == [8]
    assert edges[:, 8].all()


def test_axes_are_treated_alike():
    image = waves("rough", rows=80, columns=80)
    edges = edges_of(image, periodic=False)
    # up to rounding, because sums along one axis come first
    assert float((edges_of(image.mT, periodic=False) != edges.mT).float().mean()) < 1e-3


@pytest.mark.parametrize("is_flipped", [False, True])
def test_diagonal_steps_have_the_pixels_on_both_sides(is_flipped):
    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    image = (columns > rows).float()
    expected = (columns == rows) | (columns == rows + 1)
    image, expected = (mask.flip(1) if is_flipped else mask for mask in (image, expected))
    edges = edge_map(image[None], low=0.5, high=1.0, periodic=False)[0]
    assert torch.equal(edges[4:-4], expected[4:-4])


def test_weak_pixels_count_beside_strong_ones_only():
    """A step that fades to the south: its strong part grows by one row, not to its weak end."""
    fading = torch.linspace(1.0, 0.4, 25)[:, None]
    image = step(rows=25, at=9) * fading
    strong, grown, weak = (
        edge_map(image, low=low, high=high, periodic=False)[0].any(dim=1)
        for low, high in ((1.9, 1.9), (0.5, 1.9), (0.5, 0.5))
    )
    assert 5 < int(strong.sum()) < 20
    assert int(grown.sum()) == int(strong.sum()) + 1
    assert weak.all()


def test_longitude_wraps_where_periodic():
    image = waves("rough")
    edges = edges_of(image, periodic=True)
    for shift in (1, 3, 50):
        moved = edges_of(image.roll(shift, dims=2), periodic=True)
        assert torch.equal(moved, edges.roll(shift, dims=2))
    # a ramp has its only edge at the seam, which there is on the circle alone
    ramp = torch.linspace(-1, 1, 32).expand(1, 12, 32)
    assert edge_map(ramp, low=1.0, high=2.0, periodic=True)[0, :, [0, -1]].any(dim=1).all()
    assert not edge_map(ramp, low=1.0, high=2.0, periodic=False).any()


def test_latitude_does_not_wrap():
    ramp = torch.linspace(-1, 1, 32)[:, None].expand(1, 32, 12)
    assert not edge_map(ramp, low=1.0, high=2.0, periodic=True).any()


# --- thresholds of each sample ---


def test_edges_do_not_depend_on_scale_and_offset():
    image = waves("rough")
    edges = edges_of(image, periodic=True)
    assert torch.equal(edges_of(image * 0.0625, periodic=True), edges)
    assert float((edges_of(image + 3.0, periodic=True) != edges).float().mean()) < 1e-3


def test_samples_have_their_own_thresholds():
    image = waves("rough")
    both = edges_of(torch.stack([image[0], 0.125 * image[1]]), periodic=True)
    assert torch.equal(both[:1], edges_of(image[:1], periodic=True))
    assert torch.equal(both[1:], edges_of(image[1:], periodic=True))


@pytest.mark.parametrize("value", [0.0, -2.3])
def test_a_field_uniform_but_for_rounding_has_no_edges(value):
    noise = 1e-6 * torch.randn(1, 40, 50, generator=torch.Generator().manual_seed(1))
    assert not edges_of(value + noise, periodic=True).any()
    # the same noise a hundred thousand times as large has
    assert edges_of(value + 1e5 * noise, periodic=True).any()


# --- what it runs on ---


def test_computes_in_float32_whatever_comes_in():
    image = waves("rough")
    expected = edges_of(image, periodic=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(edges_of(image, periodic=True), expected)
    assert torch.equal(edges_of(image.double(), periodic=True), expected)
    rounded = image.bfloat16()
    assert torch.equal(edges_of(rounded, periodic=True), edges_of(rounded.float(), periodic=True))


def test_has_no_gradient():
    image = waves("rough").requires_grad_()
    assert not edges_of(image, periodic=True).requires_grad
    assert edges_of(image, periodic=True).dtype == torch.bool


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 7), (2, 2), (3, 40)])
def test_fields_narrower_than_the_reach(rows, columns, periodic):
    image = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(2))
    edges = edges_of(image, periodic=periodic)
    assert edges.shape == image.shape
    if periodic:  # the circle twice over has the edges of the circle
        twice = edges_of(image.repeat(1, 1, 2), periodic=True)
        assert torch.equal(twice, edges.repeat(1, 1, 2))


def test_compiles_as_one_graph_and_runs_without_values(monkeypatch):
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    image = waves("rough", rows=20, columns=30)
    compiled = torch.compile(edges_of, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(image, periodic=True), edges_of(image, periodic=True))
    without = edges_of(torch.empty(3, 180, 360, device="meta"), periodic=True)
    assert (without.shape, without.dtype) == ((3, 180, 360), torch.bool)


def test_counts_the_edges_of_each_patch():
    edges = torch.zeros(2, 6, 9, dtype=torch.bool)
    edges[0, 3:5, 2:4] = True
    edges[1, 5, 8] = True
    assert count_edges(edges, 3).tolist() == [[[0, 0, 0], [2, 2, 0]], [[0, 0, 0], [0, 0, 1]]]
