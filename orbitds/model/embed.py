"""Where a token lies on the sphere, and how fine the grid is."""

import hashlib
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

# Length of the random vector that makes a member.
NOISE = 16


class PositionEmbedding(nn.Module):
    """Embed the centre of each patch by waves of its Cartesian coordinates on the unit sphere.

    Smooth everywhere: at the date line, at 0/360 and at the poles. There is no table, so tiles
    know where they are and any grid works.

    Parameters
    ----------
    octaves
        Number of wavelengths; each is half of the one before.
    drop
        Probability in training that a sample is not told where it lies.

    Attributes
    ----------
    unknown
        Learned embedding of a place that is not told; None where places always are.
    """

    def __init__(self, width: int, octaves: int, drop: float = 0.0) -> None:
        super().__init__()
        self.octaves = octaves
        self.drop = drop
        self.project = nn.Linear(6 * octaves, width)
        self.unknown = nn.Parameter(torch.zeros(width)) if drop else None

    def known(self, samples: int, told: Bool[Tensor, "B"] | None) -> Bool[Tensor, "B 1"] | None:
        """Return which samples are told where they lie; None of all.

        Parameters
        ----------
        told
            As the caller wants it; in training drawn anew by default.

        Raises
        ------
        ValueError
            If places shall be kept from a model that has not learned to do without.
        """
        if self.unknown is None:
            if told is not None:
                raise ValueError(
                    "Wanted a model that has learned to do without the place of a sample, got one "
                    "of model.drop_position 0. Train with some, or leave place_known out."
                )
            return None
        if told is None and self.training:
            told = torch.rand(samples, device=self.unknown.device) >= self.drop
        return None if told is None else told[:, None]

    def forward(
        self,
        latitude_deg: Float[Tensor, "B n"],
        longitude_deg: Float[Tensor, "B n"],
        known: Bool[Tensor, "B #n"] | None = None,
    ) -> Float[Tensor, "B n D"]:
        """Return one embedding per point; that of an unknown place where it is not known."""
        features = sphere_waves(latitude_deg, longitude_deg, self.octaves)
        embedded = self.project(features.to(self.project.weight.dtype))
        if known is None or self.unknown is None:
            return embedded
        return torch.where(known[..., None], embedded, self.unknown.to(embedded.dtype))


class ResolutionEmbedding(nn.Module):
    """Embed the logarithms of the coarse and the fine spacing by waves, then a small network.

    Parameters
    ----------
    noise
        Length of the random vector that joins in, so that each vector makes another member.
    """

    OCTAVES = 4

    def __init__(self, width: int, noise: int = 0) -> None:
        super().__init__()
        self.stir = nn.Linear(noise, width, bias=False) if noise else None
        self.network = nn.Sequential(
            nn.Linear(4 * self.OCTAVES, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(
        self, spacing_km: Float[Tensor, "B 2"], noise: Float[Tensor, "B Z"] | None = None
    ) -> Float[Tensor, "B 1 D"]:
        """Return one embedding per sample, for all of its tokens."""
        # the longest wave spans e^8, more than from 1 km to 1,000 km
        phase = torch.log(spacing_km.double())[..., None] * _octaves(spacing_km, self.OCTAVES)
        phase = phase * (2 * math.pi / 8)
        waves = torch.cat([phase.sin(), phase.cos()], dim=-1).flatten(1)
        first = next(self.network.parameters())
        embedded = self.network(waves.to(first.dtype))
        if self.stir is not None and noise is not None:
            embedded = embedded + self.stir(noise.to(first.dtype))
        return embedded[:, None, :]


def member_noise(labels: Sequence[str], member: int) -> Float[Tensor, "B Z"]:
    """Return the random vectors of a member, one for each label.

    The label is the time of a field, the same for all of its tiles: so a member has no seams, and
    is the same whoever computes it, on whatever machine.
    """
    vectors = []
    for label in labels:
        digest = hashlib.sha256(f"{label} {member}".encode()).digest()
        seed = int.from_bytes(digest[:8], "big", signed=True)
        vectors.append(torch.randn(NOISE, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(vectors)


def sphere_waves(
    latitude_deg: Float[Tensor, "B n"], longitude_deg: Float[Tensor, "B n"], octaves: int
) -> Float[Tensor, "B n {6*octaves}"]:
    """Return sin and cos of the Cartesian coordinates at several wavelengths, in float64."""
    latitude = torch.deg2rad(latitude_deg.double())
    longitude = torch.deg2rad(longitude_deg.double())
    x = latitude.cos() * longitude.cos()
    y = latitude.cos() * longitude.sin()
    point = torch.stack([x, y, latitude.sin()], dim=-1)
    phase = (point[..., None] * _octaves(latitude, octaves)).flatten(-2)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


def _octaves(like: Tensor, count: int) -> Float[Tensor, " count"]:
    return 2.0 ** torch.arange(count, dtype=torch.float64, device=like.device)
