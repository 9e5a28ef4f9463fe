"""Parts of an evaluation by the script of the job array: the report is that of one process."""

from importlib import import_module
from pathlib import Path

import pytest
import xarray as xr
import yaml

from orbitds.config import EvalConfig
from orbitds.eval.run import run
from tests.eval.test_evaluate import rainy

EVAL = Path(__file__).parents[2] / "eval"

pytestmark = pytest.mark.skipif(not EVAL.is_dir(), reason="the scripts are those of a checkout")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(EVAL))
    return import_module("score_part")


@pytest.fixture
def config(tmp_path):
    """The settings of an evaluation of files, and where they are written."""
    prediction, truth = rainy(12)
    for name, ds in (("prediction", prediction), ("truth", truth)):
        ds.to_netcdf(tmp_path / f"{name}.nc")
    values = {
        "prediction": str(tmp_path / "prediction.nc"),
        "truth": str(tmp_path / "truth.nc"),
        "output": str(tmp_path / "parts_of_three"),
        "maps": False,
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    return values, path


def test_three_parts_report_what_one_process_does(script, config, tmp_path, capsys):
    values, path = config
    for share in ("2/3", "1/3"):
        script.main(["--config", str(path), "--share", share])
        assert not (Path(values["output"]) / "scores.nc").exists()
    assert "part 1/3 done, 1 to come" in capsys.readouterr().out
    script.main(["--config", str(path), "--share", "3/3"])
    whole = run(EvalConfig(**values | {"output": tmp_path / "whole"}))
    with xr.open_dataset(Path(values["output"]) / "scores.nc") as scores:
        xr.testing.assert_allclose(scores["value"], whole["value"])


def test_a_part_that_is_there_is_not_scored_again(script, config, monkeypatch):
    _, path = config
    script.main(["--config", str(path), "--share", "1/2"])

    def fail(*_):
        raise AssertionError("scored again")

    monkeypatch.setattr(script, "write_part", fail)
    script.main(["--config", str(path), "--share", "1/2"])
    with pytest.raises(AssertionError, match="scored again"):
        script.main(["--config", str(path), "--share", "2/2"])


def test_an_array_of_slurm_says_the_share(script, config, monkeypatch, capsys):
    _, path = config
    for name, value in (("ID", 5), ("MIN", 4), ("MAX", 7), ("COUNT", 4)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    script.main(["--config", str(path)])
    assert "part 2/4 done, 3 to come" in capsys.readouterr().out


def test_further_predictions_are_refused(script, config):
    values, path = config
    others = values | {"coarse": values["truth"], "others": {"unet": "unet.nc"}}
    path.write_text(yaml.safe_dump(others))
    with pytest.raises(ValueError, match="Wanted one prediction, got others .*unet"):
        script.main(["--config", str(path), "--share", "1/1"])
