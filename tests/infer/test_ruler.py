"""The ruler: which lines it looks at, and the jumps there in plain numpy."""

import numpy as np
import pytest
import torch

from orbitds.infer.part import Frame, Part
from orbitds.infer.ruler import Ruler
from orbitds.tiles import TileGrid


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(
    "part",
    [Part(range(12), range(18)), Part(range(2, 6), range(3, 9)), Part(range(5, 12), range(9, 18))],
)
def test_jumps_are_those_of_the_lines_of_a_part(part, periodic):
    tiles, factor = TileGrid(12, 18, 2, 2, 2, periodic=periodic), 3
    fine = torch.randn(4, 36, 54, generator=torch.Generator().manual_seed(0))
    coarse = torch.randn(4, 12, 18, generator=torch.Generator().manual_seed(1))
    frame = Frame(tiles, part, before=1, after=2)
    columns = np.arange(frame.columns.start, frame.columns.stop) % 18
    fine_columns = (columns[:, None] * 3 + np.arange(3)).reshape(-1)
    ruler = Ruler(frame, factor, torch.device("cpu"))
    sums = ruler.measure(
        fine[:, 3 * frame.rows.start : 3 * frame.rows.stop][..., fine_columns],
        coarse[:, frame.rows.start : frame.rows.stop][..., columns],
    )
    found = ruler.seams({"a": sums}).lines["a"]
    lines = {"rows": {4, 5, 6, 7, 8}, "columns": {7, 8, 9, 10, 11}}
    if periodic:
        lines["columns"] |= {16, 17, 0, 1, 2}
    for axis, cells, length in (("rows", part.rows, 12), ("columns", part.columns, 18)):
        dim = 1 if axis == "rows" else 2
        wraps = periodic and axis == "columns"
        own = {(k + 1) % length if wraps else k + 1 for k in cells} & lines[axis]
        assert found.get(axis, {}).keys() == own
        across = part.columns if axis == "rows" else part.rows
        for line in own:
            jumps = [
                np.abs(
                    field.numpy().take(line * size, dim)
                    - field.numpy().take((line * size - 1) % (length * size), dim)
                )[:, across.start * size : across.stop * size].astype(float)
                for field, size in ((fine, 3), (coarse, 1))
            ]
            wanted = [jumps[0].sum(), 3 * jumps[1].sum(), jumps[0].size]
            np.testing.assert_allclose(found[axis][line], wanted, rtol=1e-6)
