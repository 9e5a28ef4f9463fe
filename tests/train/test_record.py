"""What a run writes down of how it was made."""

import json
from dataclasses import replace

import pytest
import torch

from orbitds import __version__
from orbitds.config import TrainConfig
from orbitds.train.launch import Launch
from orbitds.train.record import RECORD, fingerprint, write_record
from orbitds.train.setting import prepare
from tests.conftest import TINY

CONFIG = TrainConfig(pair="synthetic", model=TINY, seed=7)


def test_each_start_is_written_down(pair, tmp_path):
    setting = prepare(CONFIG, pair)
    for processes in (1, 8):
        launch = Launch(world=processes)
        write_record(CONFIG, [setting], launch, torch.device("cpu"), tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["seed"] == 7
    assert record["data"] == {"synthetic": fingerprint(setting)}
    assert [start["processes"] for start in record["starts"]] == [1, 8]
    versions = record["starts"][0]["versions"]
    assert versions["orbitds"] == __version__
    # a wheel may keep its build, such as +cu130, to itself
    assert versions["torch"] in {torch.__version__, torch.__version__.partition("+")[0]}
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


@pytest.mark.filterwarnings("ignore:Most training times")  # one of them is a year alone
def test_other_data_are_other_fingerprints(pair):
    found = {fingerprint(prepare(CONFIG, pair)) for _ in range(2)}
    assert len(found) == 1
    spoilt = pair.coarse.copy(deep=True)
    spoilt["eastward_wind"][-25, 2, 3] += 0.01  # the last training time
    others = [
        replace(pair, coarse=spoilt),
        replace(pair, split=pair.split | {"train": ("2001", "2001")}),
        replace(pair, statics=pair.statics[[]]),
    ]
    found |= {fingerprint(prepare(CONFIG, other)) for other in others}
    assert len(found) == 4


def test_a_run_does_not_go_on_with_other_data(pair, tmp_path):
    write_record(CONFIG, [prepare(CONFIG, pair)], Launch(), torch.device("cpu"), tmp_path)
    colder = prepare(CONFIG, replace(pair, coarse=pair.coarse - 1))
    before = (tmp_path / RECORD).read_bytes()
    with pytest.raises(ValueError, match="others of synthetic: variables, times, grids or values"):
        write_record(CONFIG, [colder], Launch(), torch.device("cpu"), tmp_path)
    assert (tmp_path / RECORD).read_bytes() == before
