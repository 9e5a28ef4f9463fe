"""Checking a pair: its sides, as training opens them."""

import numpy as np
import pytest
import xarray as xr
import yaml

from orbitds.data.check_pair import check_pair


@pytest.fixture
def described(pair, tmp_path):
    """Write the pair's fine data and its description; return a function that spoils the data."""

    def write(spoil=lambda ds: ds, missing="error"):
        path = f"fine_{len(list(tmp_path.iterdir()))}.nc"  # an earlier one may be open
        spoil(pair.fine.copy(deep=True)).to_netcdf(tmp_path / path)
        dataset = {
            "title": "made up", "path": path, "licence": "none", "citation": "none",
            "resolution_deg": 10, "variables": list(pair.outputs), "missing": missing,
        }  # fmt: skip
        (tmp_path / "fine.yaml").write_text(yaml.safe_dump(dataset))
        description = {
            "title": "made up", "fine": str(tmp_path / "fine.yaml"), "coarse": {"coarsen": 3},
            "inputs": list(pair.inputs), "outputs": list(pair.outputs), "statics": "none",
            "split": {name: list(period) for name, period in pair.split.items()},
        }  # fmt: skip
        (tmp_path / "pair.yaml").write_text(yaml.safe_dump(description))
        return str(tmp_path / "pair.yaml")

    return write


def test_both_sides_are_looked_through(described, pair):
    name = described()
    found = check_pair(name)
    assert list(found.reports) == [f"{name}: coarse", f"{name}: fine"]
    coarse, fine = found.reports.values()
    assert (coarse.grid.rows, fine.grid.rows) == (7, 21)
    assert coarse.is_accepted
    assert fine.is_accepted
    assert found.inputs == pair.inputs
    for ours, theirs in zip(fine.variables, pair.fine.data_vars.values(), strict=True):
        assert ours.maximum == pytest.approx(float(theirs.max()))


def test_a_gap_is_on_the_side_that_has_it(described):
    def spoil(ds):
        ds["eastward_wind"][2, 4, 5] = np.nan
        return ds

    coarse, fine = check_pair(described(spoil)).reports.values()
    assert (fine.variables[0].missing, coarse.variables[0].missing) == (1, 1)
    assert not fine.is_accepted
    assert not coarse.is_accepted
    coarse, fine = check_pair(described(spoil, missing="mask")).reports.values()
    assert coarse.is_accepted
    assert fine.is_accepted


def test_a_pair_that_does_not_open_says_why(described):
    found = check_pair(described(lambda ds: ds.rename(eastward_wind="wind")))
    assert "Wanted the variable 'eastward_wind'" in found.reports["pair"].problems[0]
    assert not found.reports["pair"].is_accepted
    found = check_pair(described(lambda ds: ds.isel(time=slice(0, 12))))
    assert "got none" in found.reports["pair"].problems[0]


def test_other_data_take_the_place_of_the_coarse_side(described, pair):
    name = described()
    found = check_pair(name, without_coarse=True)
    assert list(found.reports) == [f"{name}: fine"]
    assert found.fits(pair.coarse_grid) == ()
    with pytest.raises(ValueError, match=r"Wanted a grid spacing of 2859 km.*got 953 km.*Coarsen"):
        found.fits(pair.fine_grid)
    assert isinstance(pair.fine, xr.Dataset)


def test_what_is_left_out_and_where_the_statics_are_from_is_told(described, tmp_path):
    name = described()
    description = yaml.safe_load((tmp_path / "pair.yaml").read_text())
    description |= {"coarse": {"coarsen": 4}, "statics": ["latitude_field"]}
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(description))
    found = check_pair(name)
    assert list(found.reports) == [f"{name}: {side}" for side in ("coarse", "fine", "statics")]
    coarse, fine, statics = found.reports.values()
    assert coarse.notes == ()
    assert [note.partition(",")[0] for note in fine.notes] == ["20 x 32 of 21 x 33 cells kept"]
    assert statics.notes == ("from latitude_field: the grid",)
    assert statics.is_accepted
