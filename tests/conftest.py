"""What many tests share: a small pair, its statistics, a checkpoint for it, a caller's dataset.

What has session scope is shared by all tests: copy it before you change it.
"""

from dataclasses import dataclass

import pytest
import torch

from orbitds import cli
from orbitds.checkpoint import save_checkpoint
from orbitds.config import ModelConfig
from orbitds.data.climatology import Climatology
from orbitds.data.pair import stack
from orbitds.data.stats import statistics as statistics_of
from orbitds.data.synthetic import synthetic_pair
from orbitds.model.reslim import Reslim
from orbitds.region import Region

# As small as it gets; an odd number of coarse cells makes patches that reach over the border.
TINY = ModelConfig(
    width=16,
    depth=1,
    decoder_depth=1,
    base="delta",
    correction_width=4,
    correction_depth=1,
    position_octaves=4,
)


@pytest.fixture(scope="session")
def pair():
    """Global wind and precipitation, 7 x 11 coarse cells of 3 x 3 fine ones, 4 years of months."""
    return synthetic_pair(rows=7, columns=11, factor=3)


@pytest.fixture(scope="session")
def statistics(pair):
    """Mean and standard deviation of the pair's training years."""
    return statistics_of(pair.part("train"))


@pytest.fixture(scope="session")
def checkpoint_folder(pair, statistics, tmp_path_factory):
    """A checkpoint for the pair: delta change, statics, climatology, and weights at random.

    Nothing starts at zero, so that every part of the model shows in its output.
    """
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        model = Reslim(
            TINY,
            inputs=pair.inputs,
            outputs=pair.outputs,
            statics=pair.static_names,
            factor=pair.factor,
        )
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    fine, coarse = Climatology.of(pair.part("train")).means()
    save_checkpoint(
        folder,
        model,
        statistics=statistics,
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={"pair": pair.name, "period": list(pair.split["train"])},
        region=Region(pair.fine_grid, stack(pair.statics, pair.static_names).values, fine, coarse),
        same_product=pair.same_product,
    )
    return folder


@pytest.fixture
def coarse(pair):
    """The coarse test year as a user would have it, with units; yours to change."""
    return pair.part("test").coarse.copy(deep=True)


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def orbitds(monkeypatch, capsys):
    """Run the command line in this process."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments):
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["orbitds", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        return Answer(code, *capsys.readouterr())

    return run
