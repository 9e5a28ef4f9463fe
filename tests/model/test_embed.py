"""Where and how fine: smooth on the sphere, and different wherever places or spacings differ."""

import math
from typing import Any

import pytest
import torch

from orbitds.model.embed import (
    NOISE,
    PositionEmbedding,
    ResolutionEmbedding,
    member_noise,
    sphere_waves,
)

B, D, OCTAVES = 2, 10, 5
# of the first member of a New Year
FIRST = [-0.814335, 0.756665, -1.795171]
# in degrees that single precision would round
LATITUDE = torch.tensor(
    [[80.0, 35.5, 1.1, -20.3, -71.0], [60.0, 30.0, 10.0, -10.0, -30.0]], dtype=torch.float64
)
LONGITUDE = torch.tensor(
    [[-170.0, -100.7, -30.0, 0.0, 45.1, 100.3, 179.9], [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]],
    dtype=torch.float64,
)


def grid_waves(latitude, longitude, octaves=OCTAVES):
    """Return the features of all points of a grid, row by row."""
    rows, columns = latitude.shape[1], longitude.shape[1]
    points = latitude.repeat_interleave(columns, dim=1), longitude.repeat(1, rows)
    return sphere_waves(*points, octaves)


def waves_at(latitude_deg, longitude_deg):
    """Return the features of one place."""
    place = torch.tensor([[latitude_deg]]), torch.tensor([[longitude_deg]])
    return sphere_waves(place[0].double(), place[1].double(), OCTAVES)[0, 0]


def randomise(module) -> Any:
    generator = torch.Generator().manual_seed(20)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return module


@pytest.mark.parametrize("latitude", [-67.5, 0.0, 33.3])
@pytest.mark.parametrize(("one", "other"), [(0.0, 360.0), (190.0, -170.0), (-180.0, 180.0)])
def test_whole_turns_of_longitude_change_nothing(latitude, one, other):
    torch.testing.assert_close(
        waves_at(latitude, one), waves_at(latitude, other), rtol=0, atol=1e-13
    )


def test_the_seam_is_no_farther_than_any_other_neighbour():
    across = waves_at(40.0, 179.9) - waves_at(40.0, -179.9)
    # the same step elsewhere on the parallel, where x and y change places
    inside = [waves_at(40.0, middle - 0.1) - waves_at(40.0, middle + 0.1) for middle in (0.0, 90.0)]
    assert 0 < across.norm() <= 1.01 * max(step.norm() for step in inside)


@pytest.mark.parametrize("pole", [-90.0, 90.0])
def test_a_pole_is_one_place(pole):
    at_pole = [waves_at(pole, longitude) for longitude in (0.0, 37.0, 180.0, 301.0)]
    for other in at_pole[1:]:
        torch.testing.assert_close(other, at_pole[0], rtol=0, atol=1e-13)
    near = math.copysign(89.0, pole)
    assert (waves_at(near, 0.0) - waves_at(near, 180.0)).abs().max() > 0.1
    assert (at_pole[0] - waves_at(-pole, 0.0)).abs().max() > 0.1


def test_places_are_distinct():
    latitude = torch.linspace(85, -85, 35).double()[None]
    longitude = torch.arange(0, 360, 5).double()[None]
    waves = grid_waves(latitude, longitude)[0]
    distance = torch.cdist(waves, waves, compute_mode="donot_use_mm_for_euclid_dist")
    distance.fill_diagonal_(torch.inf)
    # the nearest two are 5 degrees of longitude apart at 85 degrees of latitude: 0.0076 radii
    assert distance.min() > 0.0076


def test_waves_equal_the_formula_row_by_row():
    waves = grid_waves(LATITUDE, LONGITUDE)
    assert waves.shape == (B, 35, 6 * OCTAVES)
    assert waves.dtype == torch.float64
    for b in range(B):
        for i in range(5):
            for j in range(7):
                phi = math.radians(LATITUDE[b, i].item())
                lam = math.radians(LONGITUDE[b, j].item())
                xyz = (
                    math.cos(phi) * math.cos(lam),
                    math.cos(phi) * math.sin(lam),
                    math.sin(phi),
                )
                phase = [point * 2**octave for point in xyz for octave in range(OCTAVES)]
                expected = [math.sin(p) for p in phase] + [math.cos(p) for p in phase]
                got = waves[b, i * 7 + j].tolist()
                assert got == pytest.approx(expected, abs=1e-13)


def test_position_is_a_projection_of_the_waves_with_gradients():
    position = randomise(PositionEmbedding(D, OCTAVES)).double()
    embedded = position(LATITUDE, LONGITUDE[:, :5])
    expected = (
        sphere_waves(LATITUDE, LONGITUDE[:, :5], OCTAVES) @ position.project.weight.T
        + position.project.bias
    )
    torch.testing.assert_close(embedded, expected, rtol=0, atol=1e-12)
    embedded[1, 4, 3].backward()
    waves = sphere_waves(LATITUDE, LONGITUDE[:, :5], OCTAVES)[1, 4]
    torch.testing.assert_close(position.project.weight.grad[3], waves, rtol=0, atol=1e-13)
    assert not position.project.weight.grad[2].any()
    assert torch.equal(position.project.bias.grad, torch.eye(D)[3].double())


def test_fine_neighbours_stay_apart_in_single_precision():
    position = randomise(PositionEmbedding(D, 8))
    longitude = torch.tensor([[12.00, 12.04]])  # 4 km at the equator
    one, other = position(torch.tensor([[0.02, 0.02]]), longitude)[0]
    assert one.dtype == torch.float32
    assert (one - other).abs().max() > 0.05


def test_resolution_tells_spacings_apart():
    network = randomise(ResolutionEmbedding(D)).double()
    spacings = [(111.0, 28.0), (28.0, 111.0), (28.0, 7.0), (111.0, 11.0), (622.0, 156.0)]
    spacings += [(16.0, 4.0), (15.0, 4.0), (2.0, 1.0), (1000.0, 100.0), (900.0, 100.0)]
    embedded = network(torch.tensor(spacings))[:, 0]
    distance = torch.cdist(embedded, embedded, compute_mode="donot_use_mm_for_euclid_dist")
    assert distance.fill_diagonal_(torch.inf).min() > 0.1


def test_resolution_of_a_sample_is_its_own():
    network = randomise(ResolutionEmbedding(D)).double()
    spacing = torch.tensor([[111.0, 28.0], [28.0, 7.0]])
    both = network(spacing)
    assert both.shape == (B, 1, D)
    for place in range(B):
        alone = network(spacing[place : place + 1])[0]
        torch.testing.assert_close(both[place], alone, rtol=0, atol=1e-12)


def test_resolution_equals_the_formula_with_gradients():
    network = randomise(ResolutionEmbedding(D)).double()
    first, _, second = network.network
    spacing = (111.0, 27.8)
    phase = [math.log(km) * 2**octave * 2 * math.pi / 8 for km in spacing for octave in range(4)]
    # for each spacing the sines of all wavelengths, then the cosines
    waves = [
        wave(p) for part in (phase[:4], phase[4:]) for wave in (math.sin, math.cos) for p in part
    ]
    hidden = first.weight @ torch.tensor(waves, dtype=torch.float64) + first.bias
    hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    expected = second.weight @ hidden + second.bias
    embedded = network(torch.tensor([spacing], dtype=torch.float64))[0, 0]
    torch.testing.assert_close(embedded, expected, rtol=0, atol=1e-12)
    embedded.sum().backward()
    assert all(weight.grad.abs().max() > 1e-6 for weight in network.parameters())


# --- members ---


def test_the_noise_of_a_member_is_the_same_whoever_asks():
    labels = ["2004-01-01T00:00:00", "2004-02-01T00:00:00", "3", ""]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    noise = member_noise(labels, 2)
    assert torch.equal(torch.get_rng_state(), before), "it does not draw from the common source"
    assert noise.shape == (4, NOISE)
    torch.manual_seed(2)
    assert torch.equal(member_noise(labels, 2), noise)
    # whatever else is in the batch
    for place, label in enumerate(labels):
        assert torch.equal(member_noise([label], 2)[0], noise[place])
    assert torch.equal(member_noise(labels[::-1], 2), noise.flip(0))
    assert torch.equal(member_noise([labels[1]] * 3, 2), noise[[1, 1, 1]])


def test_the_noise_is_what_it_was():
    # members of published files can be made again: the first numbers are part of the format
    got = member_noise(["2004-01-01T00:00:00"], 0)[0, :3]
    torch.testing.assert_close(got, torch.tensor(FIRST), rtol=0, atol=1e-6)


def test_each_label_and_each_member_has_noise_of_its_own():
    # also where label and member would read alike side by side
    labels = ["1", "1 1", "11", "2004-01-01", "2004-01-01T00:00:00", "2004-01-02"]
    vectors = torch.cat([member_noise(labels, member) for member in (0, 1, 2, 11)])
    distance = torch.cdist(vectors, vectors).fill_diagonal_(torch.inf)
    assert distance.min() > 1


def test_noise_is_standard_normal_and_independent():
    count = 3000
    noise = torch.cat(
        [member_noise([str(k) for k in range(count)], member) for member in (0, 1)]
    ).double()
    draws = noise.numel()
    assert noise.std(dim=0).min() > 0.9
    # four standard errors of the moments of a normal distribution
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = 4 * (variance / draws) ** 0.5
        assert float((noise**power).mean()) == pytest.approx(moment, abs=error), power
    both = torch.cat([noise[:count], noise[count:]], dim=1)
    correlation = torch.corrcoef(both.T).fill_diagonal_(0)
    assert correlation.abs().max() < 5 / count**0.5
    following = (noise[: count - 1] * noise[1:count]).mean(dim=0)
    assert following.abs().max() < 5 / count**0.5


def test_noise_joins_by_a_projection_without_a_bias():
    network = randomise(ResolutionEmbedding(D, noise=3)).double()
    spacing = torch.tensor([[111.0, 28.0], [28.0, 7.0]])
    noise = torch.tensor([[0.3, -1.2, 0.7], [2.0, 0.1, -0.4]], dtype=torch.float64)
    plain, stirred = network(spacing), network(spacing, noise)
    assert stirred.shape == (B, 1, D)
    expected = plain[:, 0] + noise @ network.stir.weight.T
    torch.testing.assert_close(stirred[:, 0], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(network(spacing, 0 * noise), plain, rtol=0, atol=0)
    stirred[1, 0, 4].backward()
    torch.testing.assert_close(network.stir.weight.grad[4], noise[1], rtol=0, atol=0)
    assert not network.stir.weight.grad[3].any()


def test_without_noise_it_is_as_if_there_were_none():
    stirred = randomise(ResolutionEmbedding(D, noise=3))
    plain = ResolutionEmbedding(D)
    assert plain.stir is None
    plain.network.load_state_dict(stirred.network.state_dict())
    spacing, noise = torch.tensor([[111.0, 28.0], [28.0, 7.0]]), torch.ones(B, 3)
    assert torch.equal(stirred(spacing), plain(spacing))
    assert torch.equal(plain(spacing, noise), plain(spacing)), "it has no use for noise"
    assert not torch.equal(stirred(spacing, noise), plain(spacing))


# --- many octaves, and places that are not told -------------------------------------------------


@pytest.mark.parametrize("octaves", [8, 12, 13])
def test_coordinates_in_single_precision_are_good_enough_for_many_octaves(octaves):
    # samples hold float32 degrees: 4e-6 of them are lost, which 2^12 makes 3e-4 radian
    latitude = torch.linspace(24.5625, 49.3542, 149, dtype=torch.float64)[None]
    longitude = torch.linspace(-124.6875, -67.0625, 346, dtype=torch.float64)[None]
    exact = grid_waves(latitude, longitude, octaves)
    rounded = grid_waves(latitude.float(), longitude.float(), octaves)
    assert float((exact - rounded).abs().max()) < 1e-6 * 2 ** (octaves - 1)
    # neighbours 16 km apart lie far from each other, as far as the octaves reach
    apart = (exact.view(149, 346, -1)[:, 1:] - exact.view(149, 346, -1)[:, :-1]).norm(dim=-1)
    assert float(apart.min()) > {8: 0.1, 12: 1.0, 13: 1.0}[octaves]


def test_a_place_that_is_not_told_is_one_and_the_same():
    position = randomise(PositionEmbedding(D, OCTAVES, drop=0.3)).eval()
    places = LATITUDE[:, :5], LONGITUDE[:, :5]
    told = position.known(2, torch.tensor([True, False]))
    embedded = position(*places, told)
    assert torch.equal(embedded[0], position(*places)[0])
    assert torch.equal(embedded[1], position.unknown.expand(5, -1))
    assert position.known(2, None) is None, "all are told"


def test_training_drops_places_of_whole_samples():
    position = PositionEmbedding(D, OCTAVES, drop=0.3).train()
    torch.manual_seed(4)
    known = position.known(4000, None)
    assert known is not None
    assert known.shape == (4000, 1)
    assert float(known.double().mean()) == pytest.approx(0.7, abs=0.03)
    places = LATITUDE[:1, :5].expand(4000, -1), LONGITUDE[:1, :5].expand(4000, -1)
    position(*places, known).sum().backward()
    dropped = 5 * float((~known).sum())
    torch.testing.assert_close(position.unknown.grad, torch.full((D,), dropped))


def test_without_dropping_there_is_nothing_to_learn_and_nothing_to_ask():
    position = PositionEmbedding(D, OCTAVES)
    assert [name for name, _ in position.named_parameters()] == ["project.weight", "project.bias"]
    assert position.train().known(2, None) is None
    with pytest.raises(ValueError, match=r"without the place.*drop_position 0.*place_known out"):
        position.known(2, torch.tensor([True, False]))
