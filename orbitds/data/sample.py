"""One training sample: a tile at a time, ready for the model."""

from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from orbitds.data.climatology import Climatology
from orbitds.data.pair import Pair, stack
from orbitds.data.values import check_values
from orbitds.normalize import Normalizer, Statistics
from orbitds.tiles import Tile, TileGrid
from orbitds.variables import variable


class Sample(NamedTuple):
    """Tensors of one tile, or of a batch with a leading B axis; fields are normalised."""

    coarse: Float[Tensor, "*B V H W"]
    fine: Float[Tensor, "*B U Hf Wf"]
    """Target, zero where it is missing."""
    weight: Float[Tensor, "*B U Hf Wf"]
    """Cell area times variable weight on the core, zero on the halo and where the target is NaN."""
    statics: Float[Tensor, "*B S Hf Wf"]
    fine_climatology: Float[Tensor, "*B U Hf Wf"]
    coarse_climatology: Float[Tensor, "*B U H W"]
    latitude_deg: Float[Tensor, "*B H"]
    longitude_deg: Float[Tensor, "*B W"]
    spacing_km: Float[Tensor, "*B 2"]

    def to(self, device: torch.device) -> "Sample":
        """Return the sample on a device."""
        return Sample(*(tensor.to(device, non_blocking=True) for tensor in self))


class Samples(Dataset):
    """All (time, tile) samples of a pair, by index.

    Parameters
    ----------
    pair
        The part to draw from.
    statistics
        Of the training part.
    tiles
        How the coarse field is cut.
    climatology
        Of the training part; None where the model's base needs none.
    own_year_out
        Leave a sample's year out of its climatology: for training, where it holds the target.
    """

    def __init__(
        self,
        pair: Pair,
        statistics: dict[str, Statistics],
        tiles: TileGrid,
        *,
        climatology: Climatology | None = None,
        own_year_out: bool = False,
    ) -> None:
        self.pair = pair
        self.tiles = tiles
        self.climatology = climatology
        self.own_year_out = own_year_out
        self.normalize_inputs = Normalizer(pair.inputs, statistics)
        self.normalize_outputs = Normalizer(pair.outputs, statistics)
        statics = pair.static_names
        self._coarse = _array(stack(pair.coarse, pair.inputs))
        self._fine = _array(stack(pair.fine, pair.outputs))
        self._years = pair.fine["time"].dt.year.values
        self._months = pair.fine["time"].dt.month.values
        self._statics = torch.zeros(0, *pair.fine_grid.shape)
        if statics:
            fields = stack(pair.statics, statics).values.copy()
            for name, field in zip(statics, fields, strict=True):
                check_values(name, field)
            self._statics = Normalizer(statics, statistics)(torch.from_numpy(fields))
        weights = torch.tensor([variable(name).loss_weight for name in pair.outputs])
        self._area = weights[:, None, None] * torch.tensor(pair.fine_grid.area).float()

    def __len__(self) -> int:
        return self._coarse.shape[0] * len(self.tiles.tiles)

    def __getitem__(self, index: int) -> Sample:
        step, place = divmod(index, len(self.tiles.tiles))
        tile = self.tiles.tiles[place]
        pair, factor = self.pair, self.pair.factor
        coarse = self._window(self._coarse[step], tile, 1)
        fine = self._window(self._fine[step], tile, factor)
        for name, field in zip(pair.inputs, coarse.numpy(), strict=True):
            check_values(name, field)
        for name, field in zip(pair.outputs, fine.numpy(), strict=True):
            check_values(name, field, missing=str(pair.fine.attrs.get("missing", "error")))
        target = self.normalize_outputs(fine)
        weight = self.tiles.cut(self._area, tile, factor) * self.tiles.core_mask(tile, factor)
        fine_climatology, coarse_climatology = self._climatology(step, tile)
        rows, _ = self.tiles.index(tile)
        longitude = self.tiles.longitude(torch.tensor(pair.coarse_grid.longitude_deg), tile)
        return Sample(
            coarse=self.normalize_inputs(coarse),
            fine=target.nan_to_num(),
            weight=torch.where(target.isnan(), 0.0, weight),
            statics=self.tiles.cut(self._statics, tile, factor),
            fine_climatology=fine_climatology,
            coarse_climatology=coarse_climatology,
            latitude_deg=torch.tensor(pair.coarse_grid.latitude_deg[rows]).float(),
            longitude_deg=longitude.float(),
            spacing_km=torch.tensor([pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km]),
        )

    def climatology_of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the fine and coarse climatology of a time step, physical, for its month."""
        assert self.climatology is not None
        year = int(self._years[step]) if self.own_year_out else None
        return self.climatology.without(year, int(self._months[step]))

    def _climatology(self, step: int, tile: Tile) -> tuple[Tensor, Tensor]:
        if self.climatology is None:
            return torch.zeros(0), torch.zeros(0)
        fine, coarse = (
            self.normalize_outputs(torch.from_numpy(field).float())
            for field in self.climatology_of(step)
        )
        return self.tiles.cut(fine, tile, self.pair.factor), self.tiles.cut(coarse, tile)

    def _window(self, field: Any, tile: Tile, factor: int) -> Tensor:  # noqa: ANN401  as _array
        rows, columns = self.tiles.index(tile, factor)
        window = field[:, rows, :][:, :, columns.numpy()]
        return torch.from_numpy(np.ascontiguousarray(window, dtype=np.float32))


def _array(stacked: xr.DataArray) -> Any:  # noqa: ANN401  numpy or dask, which index alike
    """Return the array behind a stack, [T, V, H, W]; still lazy where the data are."""
    return stacked.transpose("time", ...).data
