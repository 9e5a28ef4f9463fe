"""From stored windows to what the model and the loss take, on their device."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from orbitds.data.batch import Batch, Reader, Sample
from orbitds.data.climatology import Climatology
from orbitds.data.door import check_values
from orbitds.data.history import with_earlier
from orbitds.data.mirror import mirror
from orbitds.data.pair import Pair, stack
from orbitds.normalize import Normalizer, Statistics
from orbitds.variables import variable

# Of normalised climatologies that are kept on the device; others are made again when wanted.
CLIMATOLOGY_BYTES = 2 * 2**30


class Assembler:
    """Makes samples of batches; what does not change from sample to sample waits on the device.

    Parameters
    ----------
    pair, statistics, climatology, own_time_out, loss_weights
        As of ``Samples``.
    reader
        Of the pair.
    device
        Where to compute.
    """

    def __init__(
        self,
        pair: Pair,
        statistics: dict[str, Statistics],
        reader: Reader,
        *,
        climatology: Climatology | None,
        own_time_out: bool,
        loss_weights: Sequence[float] | None = None,
        device: torch.device,
    ) -> None:
        self.reader = reader
        self.climatology = climatology
        self.device = device
        self.inputs = with_earlier(pair.inputs, reader.history)
        self.normalize_inputs = Normalizer(self.inputs, statistics)
        self.normalize_outputs = Normalizer(pair.outputs, statistics)
        times = pair.fine["time"]
        self._groups = climatology.group_of(times) if climatology and own_time_out else None
        self._months = times.dt.month.values
        self._kept: OrderedDict[tuple[str | None, int], tuple[Tensor, Tensor]] = OrderedDict()
        names = pair.static_names
        statics = torch.zeros(0, *pair.fine_grid.shape)
        if names:
            fields = stack(pair.statics, names).values.copy()
            for name, field in zip(names, fields, strict=True):
                check_values(name, field)
            statics = Normalizer(names, statistics)(torch.from_numpy(fields))
        if loss_weights is None:
            loss_weights = [variable(name).loss_weight for name in pair.outputs]
        weights = torch.tensor(loss_weights)
        area = weights[:, None, None] * torch.tensor(pair.fine_grid.area).float()
        self._statics, self._area = statics.to(device), area.to(device)
        grid = pair.coarse_grid
        self._spacing = torch.tensor([grid.spacing_km, pair.fine_grid.spacing_km], device=device)
        self._lay_out(grid.latitude_deg, torch.tensor(grid.longitude_deg))

    def _lay_out(self, latitude_deg: np.ndarray, longitude_deg: Tensor) -> None:
        """Put rows, columns, coordinates and cores into tensors [place, ...] of each axis."""
        tiles, factor = self.reader.tiles, self.reader.factor
        self._across = across = tiles.places[1]
        down = [tiles.tiles[place * across] for place in range(tiles.places[0])]
        along = [tiles.tiles[place] for place in range(across)]

        def indices(factor: int) -> tuple[Tensor, Tensor]:
            all_rows = torch.arange(tiles.height * factor)
            rows = torch.stack([all_rows[tiles.index(tile, factor)[0]] for tile in down])
            columns = torch.stack([tiles.index(tile, factor)[1] for tile in along])
            return rows.to(self.device), columns.to(self.device)

        self._coarse_cells, self._fine_cells = indices(1), indices(factor)
        latitude = [torch.tensor(latitude_deg[tiles.index(tile)[0]]) for tile in down]
        longitude = [tiles.longitude(longitude_deg, tile) for tile in along]
        self._latitude = torch.stack(latitude).float().to(self.device)
        self._longitude = torch.stack(longitude).float().to(self.device)
        rows = [tiles.core_mask(tile, factor).amax(dim=1) for tile in down]
        columns = [tiles.core_mask(tile, factor).amax(dim=0) for tile in along]
        self._core_rows = torch.stack(rows).to(self.device)
        self._core_columns = torch.stack(columns).to(self.device)

    def __call__(self, batch: Batch) -> Sample:
        """Return normalised tensors with a leading axis B."""
        batch = batch.to(self.device)
        steps, tiles = zip(*map(self.reader.place, batch.indices), strict=True)
        tile = torch.tensor(tiles).to(self.device, non_blocking=True)
        row, column = tile // self._across, tile % self._across
        count = self.reader.history + 1
        coarse = batch.coarse.unflatten(1, (count, -1))
        coarse = self.reader.coarse.physical(coarse).flatten(1, 2)
        coarse = self.normalize_inputs(coarse)
        target = self.normalize_outputs(self.reader.fine.physical(batch.fine))
        core = self._core_rows[row][:, :, None] * self._core_columns[column][:, None, :]
        weight = self._cut(self._area, row, column) * core[:, None]
        absent = target.isnan()
        if batch.gaps.numel():
            # a window without any value has none to be filled with: the mean stands in
            coarse = coarse.nan_to_num()
            under = batch.gaps.bool()
            for axis in (1, 2):
                under = under.repeat_interleave(self.reader.factor, dim=axis)
            absent = absent | under[:, None]
        fine_climatology, coarse_climatology = self._climatology(steps, tiles)
        sample = Sample(
            coarse=coarse,
            fine=target.nan_to_num(),
            weight=torch.where(absent, 0.0, weight),
            statics=self._cut(self._statics, row, column),
            fine_climatology=fine_climatology,
            coarse_climatology=coarse_climatology,
            latitude_deg=self._latitude[row],
            longitude_deg=self._longitude[column],
            spacing_km=self._spacing.expand(len(tiles), -1),
        )
        normalizers = self.normalize_inputs, self.normalize_outputs
        return mirror(sample, batch.mirror, *normalizers) if batch.mirror else sample

    def climatology_of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the fine and coarse climatology of a time step, physical, for its month."""
        assert self.climatology is not None
        return self.climatology.without(*self._month(step))

    def _month(self, step: int) -> tuple[str | None, int]:
        group = None if self._groups is None else self._groups[step]
        return group, int(self._months[step])

    def _climatology(self, steps: tuple[int, ...], tiles: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return fine and coarse climatologies [B, U, ...]; [B, 0] where there are none."""
        if self.climatology is None:
            nothing = torch.zeros(len(steps), 0, device=self.device)
            return nothing, nothing
        fields = [self._normal(step) for step in steps]
        places = [divmod(tile, self._across) for tile in tiles]
        fine, coarse = (
            torch.stack(
                [
                    field[part][:, rows[row][:, None], columns[column][None, :]]
                    for field, (row, column) in zip(fields, places, strict=True)
                ]
            )
            for part, (rows, columns) in ((0, self._fine_cells), (1, self._coarse_cells))
        )
        return fine, coarse

    def _cut(self, field: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Return windows [B, C, h, w] of a fine field [C, H, W] at places of the two axes."""
        rows, columns = self._fine_cells
        return field[:, rows[row][:, :, None], columns[column][:, None, :]].transpose(0, 1)

    def _normal(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the normalised climatology of a time step on the device, kept if it fits."""
        month = self._month(step)
        if month in self._kept:
            self._kept.move_to_end(month)
            return self._kept[month]
        fine, coarse = (
            self.normalize_outputs(torch.from_numpy(field).float()).to(self.device)
            for field in self.climatology_of(step)
        )
        self._kept[month] = fine, coarse
        if len(self._kept) * (fine.nbytes + coarse.nbytes) > CLIMATOLOGY_BYTES:
            self._kept.popitem(last=False)
        return fine, coarse
