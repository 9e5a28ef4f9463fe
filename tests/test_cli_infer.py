"""The command infer, as people and scripts hear it."""

import json

import xarray as xr


def test_plan_and_summary_for_scripts(orbitds, coarse, checkpoint_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        part = coarse.isel(time=slice(6 * number, 6 * number + 6))
        part.to_netcdf(f"part{number}.nc")
    command = ("infer", "part0.nc", "part1.nc", "--checkpoint", checkpoint_folder)
    command += ("--output", "fine.nc", "--split", "month", "--json")
    answer = orbitds(*command, "--dry-run")
    assert answer.code == 0
    plan = json.loads(answer.out)
    assert (plan["files"], plan["units"], plan["bytes"]) == (12, 1, 12 * 2 * 4 * 21 * 33)
    assert not list(tmp_path.glob("fine*"))
    answer = orbitds(*command)
    assert answer.code == 0
    summary = json.loads(answer.out)
    assert summary["output"] == plan["output"] == [f"fine_2004-{m:02d}.nc" for m in range(1, 13)]
    assert summary["is_whole"]
    assert summary["cells"] == 12 * 2 * 21 * 33
    with xr.open_mfdataset(summary["output"], data_vars="minimal") as fine:
        assert fine.sizes["time"] == 12


def test_a_plan_for_people(orbitds, coarse, checkpoint_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    coarse.to_netcdf("coarse.nc")
    command = ("infer", "coarse.nc", "--checkpoint", checkpoint_folder, "--output", "fine.zarr")
    answer = orbitds(*command, "--dry-run", "--region=-65:65,-70:70", "--share", "1/2")
    assert answer.code == 0
    assert "fine.zarr: eastward_wind, total_precipitation_24hr, each 12 x 15 x " in answer.out
    assert "0 of the units in share 1/2" in answer.out
    assert [path.name for path in tmp_path.iterdir()] == ["coarse.nc"]


def test_help_says_what_an_option_is_for(orbitds):
    text = " ".join(orbitds("infer", "--help").out.split())
    for phrase in ("patterns such as 'era5/*.nc'", "K-th of N", "Go on with an unfinished job"):
        assert phrase in text
