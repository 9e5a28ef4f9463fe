"""Answers: names, dimensions and shapes of what is wanted; what is no output is refused."""

import numpy as np
import pytest
import torch

from orbitds.checkpoint import load_checkpoint
from orbitds.infer.answer import Answer, Wish, check_variables
from orbitds.infer.distribution import Distribution
from orbitds.infer.intake import Arrived
from orbitds.infer.part import Frame, Part
from orbitds.tiles import TileGrid

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"
FACTOR = 3


def test_a_wish_knows_what_it_is_answered():
    wish = Wish((WIND, RAIN))
    assert wish.names == (WIND, RAIN)
    assert wish.dims(WIND) == ("time", "latitude", "longitude")
    wish = Wish((WIND,), distribution=Distribution(3, 3, "members", stirred=True))
    assert wish.names == (WIND, f"{WIND}_spread")
    assert wish.dims(WIND) == ("time", "member", "latitude", "longitude")
    assert wish.dims(f"{WIND}_spread") == ("time", "latitude", "longitude")


def test_variables_are_those_of_the_checkpoint(checkpoint_folder):
    checkpoint = load_checkpoint(checkpoint_folder)
    assert check_variables(None, checkpoint) == checkpoint.outputs
    assert check_variables(RAIN, checkpoint) == (RAIN,)
    with pytest.raises(ValueError, match=rf"Wanted output variables of checkpoint 'tiny'.*{RAIN}"):
        check_variables(["total_precipitation"], checkpoint)


@pytest.mark.parametrize("part", [Part(range(7), range(11)), Part(range(2, 5), range(9, 11))])
def test_answers_are_physical_masked_and_those_of_the_part(pair, checkpoint_folder, part):
    checkpoint = load_checkpoint(checkpoint_folder)
    frame = Frame(TileGrid(7, 11, 7, 11, 1, periodic=True), part, before=1, after=2)
    wish = Wish((RAIN, WIND), missing="mask")
    made = Answer(checkpoint, pair.fine_grid, frame, wish, torch.device("cpu"))
    rows, columns = frame.window
    generator = np.random.default_rng(0)
    fields = generator.random((2, 2, 7, 11)).astype(np.float32)
    fields[0, checkpoint.inputs.index(WIND), 3, 10] = np.nan
    window = fields[:, :, rows.start : rows.stop][..., columns]
    now = Arrived(window, torch.tensor(window), np.isnan(window))
    height, width = (size * FACTOR for size in frame.shape)
    blended = torch.randn(2, 2, height, width, generator=torch.Generator().manual_seed(0))
    finished = made.finished(blended, now, np.array([False, True]))
    told = dict(made.told(finished))
    assert {name: field.shape for name, field in told.items()} == made.shapes(2)
    inverse = checkpoint.normalizer(checkpoint.outputs).inverse(blended)
    at = [slice(k.start * FACTOR, k.stop * FACTOR) for k in frame.part_in_frame]
    for place, name in enumerate(checkpoint.outputs):
        wanted = inverse[:, place][:, at[0], at[1]].numpy()
        wanted = wanted.clip(0) if name == RAIN else wanted
        gaps = np.isnan(told[name].numpy())
        assert gaps[1].all(), "an empty time"
        np.testing.assert_array_equal(told[name].numpy()[~gaps], wanted[~gaps])
        assert gaps[0].sum() == (FACTOR**2 if name == WIND else 0)
    coarse = made.coarse(now).numpy()
    columns_ = np.arange(frame.columns.start, frame.columns.stop) % 11
    wanted = fields[:, :, frame.rows.start : frame.rows.stop][..., columns_]
    np.testing.assert_array_equal(coarse, wanted)
