"""Every mistake of a caller: one error that says wanted, got and remedy, and nothing left behind.

Mistakes in a dataset are tried at both doors, the command line and the accessor.
"""

import json
import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from safetensors.torch import load_file, save_file

from orbitds.checkpoint import load_checkpoint
from orbitds.description import file_hash

# How remedies begin.
REMEDY = re.compile(
    r"[.?] (Change|Check|Choose|Coarsen|Copy|Correct|Did you mean|Drop|Export|Fill|Give|Leave|"
    r"Install|Make it|Move|Name|Regrid|Rename|Select|State it)\b"
)
CHANGES_NOTHING = "the folder is as it was"


@pytest.fixture
def refused(orbitds, files):
    """Run a command that must be refused: with one error of three parts, and without a trace."""

    def run(*arguments, told):
        before = _contents(files)
        answer = orbitds(*arguments)
        _check_refusal(answer, told)
        assert _contents(files) == before, CHANGES_NOTHING
        return answer

    return run


@pytest.fixture
def files(tmp_path, monkeypatch, pair, coarse, checkpoint_folder):
    """A working folder with good data and a good checkpoint, to be spoilt."""
    monkeypatch.chdir(tmp_path)
    coarse.to_netcdf("coarse.nc")
    fine = pair.part("test").fine
    fine.to_netcdf("truth.nc")
    fine.to_netcdf("fine.nc")
    shutil.copytree(checkpoint_folder, "checkpoint")
    return tmp_path


def infer(input="coarse.nc", checkpoint="checkpoint", output="out.nc"):
    return ("infer", input, "--checkpoint", checkpoint, "--output", output)


def score(prediction="fine.nc", truth="truth.nc", output="scores", **others):
    flags = {"prediction": prediction, "truth": truth, "output": output} | others
    return ("eval", *(word for name, value in flags.items() for word in (f"--{name}", value)))


def few(path):
    """Return times of a file too few for intervals, which take longer than all else of scores."""
    with xr.open_dataset(path) as ds:
        return ds.isel(time=slice(3)).load()


def train(*flags, pair="pair.yaml", output="run"):
    small = ("--steps", 2, "--batch-size", 2, "--validate-every", 2)
    settings = ("--config", "smoke", "--pair", pair, *small)
    return ("train", *settings, *flags, "--output", output)


def test_the_files_are_good_before_they_are_spoilt(orbitds, files):
    assert orbitds(*infer()).code == 0
    few("truth.nc").to_netcdf("few.nc")
    sides = {"truth": "few.nc", "coarse": "coarse.nc", "checkpoint": "checkpoint"}
    assert orbitds(*score("out.nc", **sides), "--no-maps").code == 0
    describe_pair(files)
    assert orbitds(*train()).code == 0


# --- datasets: what is wrong, and what the error says of it ---


def rename(ds):
    return ds.rename(eastward_wind="eastward_winds")


def two_names(ds):
    return ds.assign(u=ds["eastward_wind"])


def half_spacing(ds):
    return ds.assign_coords(latitude=("latitude", ds["latitude"].values / 2, _latitude))


def uneven_rows(ds):
    latitude = ds["latitude"].values.copy()
    latitude[1] += 2
    return ds.assign_coords(latitude=("latitude", latitude, _latitude))


def uneven_columns(ds):
    longitude = ds["longitude"].values.copy()
    longitude[3] += 2
    return ds.assign_coords(longitude=("longitude", longitude, {"standard_name": "longitude"}))


def pole_rows(ds):
    return ds.assign_coords(latitude=("latitude", ds["latitude"].values + 4, _latitude))


def unknown_unit(ds):
    ds["eastward_wind"].attrs["units"] = "furlongs per fortnight and a bit"
    return ds


def other_quantity(ds):
    ds["eastward_wind"].attrs["units"] = "K"
    return ds


def no_unit(ds):
    del ds["eastward_wind"].attrs["units"]
    return ds


def gaps(ds):
    ds["eastward_wind"][3, 2, 1:3] = np.nan
    return ds


def fill_values(ds):
    ds["eastward_wind"][0, 0, 0] = 9.96921e36
    return ds


def no_latitude(ds):
    return ds.rename(latitude="y").drop_vars("y")


def curvilinear(ds):
    latitude, longitude = xr.broadcast(ds["latitude"], ds["longitude"])
    ds = ds.rename(latitude="y", longitude="x").drop_vars(["y", "x"])
    return ds.assign_coords(
        latitude=(("y", "x"), latitude.values, _latitude),
        longitude=(("y", "x"), longitude.values, {"standard_name": "longitude"}),
    )


def levels(ds):
    return ds.expand_dims(height=2, axis=1)


_latitude = {"standard_name": "latitude", "units": "degrees_north"}

# Each mistake with what the error says of it: wanted, got, remedy.
SPOILT = {
    rename: (
        r"Wanted the variable 'eastward_wind' .*uwnd.*, got a dataset with "
        r"\['eastward_winds', 'total_precipitation_24hr'\]\. Did you mean 'eastward_winds'\? Rename"
    ),
    two_names: r"Wanted one variable for eastward_wind, got \['eastward_wind', 'u'\]\. Drop",
    half_spacing: r"Wanted a grid spacing of 2859 km.*, got 1430 km \(7 x 11 cells.*\)\. Coarsen",
    uneven_rows: r"Wanted a uniform latitude axis, got steps between 23.71.* and 27.71.*Regrid",
    uneven_columns: r"Wanted a uniform longitude axis, got steps between 30.72.* and 34.72.*Regrid",
    pole_rows: r"Wanted rows whose cells end at the poles, got centres from 81.1429 .*\. Drop",
    unknown_unit: r"Wanted eastward_wind in 'm s-1' or a unit .*, got 'furlongs per.*\. Correct",
    other_quantity: r"Wanted eastward_wind in 'm s-1' or a unit that.*, got 'K'\. Correct",
    no_unit: r"Wanted eastward_wind with its unit, got no `units` attribute\. State it: ds\[",
    gaps: r"Wanted eastward_wind without missing values, got NaN in 2 of 924 cells\. Fill",
    fill_values: r"Wanted eastward_wind between -120 and 120 m s-1, got .*e\+36.* 1 of .*\. Check",
    no_latitude: r"Wanted a latitude axis with at least two cells, got the coordinates.*\. Name",
    curvilinear: r"Wanted a latitude axis of one dimension, got 'latitude' on \('y', 'x'\).*Regrid",
    levels: r"Wanted eastward_wind on time, latitude and .*, got .*'height' of size 2.*Select",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_infer_refuses_spoilt_data(refused, coarse, spoil):
    spoil(coarse).to_netcdf("spoilt.nc")
    for name in ("out.nc", "out.zarr"):
        refused(*infer("spoilt.nc", output=name), told=SPOILT[spoil])


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_accessor_refuses_spoilt_data(coarse, checkpoint_folder, spoil):
    spoilt = spoil(coarse)
    before = spoilt.copy(deep=True)
    with pytest.raises(ValueError, match=SPOILT[spoil]) as error:
        spoilt.orbit.downscale(checkpoint_folder).compute()
    assert REMEDY.search(str(error.value))
    xr.testing.assert_identical(spoilt, before)


@pytest.mark.parametrize("spoil", [gaps, fill_values], ids=lambda spoil: spoil.__name__)
def test_lazy_values_are_refused_when_computed(coarse, checkpoint_folder, spoil):
    fine = spoil(coarse).chunk(time=1).orbit.downscale(checkpoint_folder)
    with pytest.raises(ValueError, match=r"Wanted eastward_wind .*, got .* of 77 cells\."):
        fine.compute()


# --- files that hold no data ---


def text(path):
    path.write_text("latitude,longitude,wind\n1,2,3\n", encoding="utf-8")


def nothing(path):
    path.write_bytes(b"")


def folder(path):
    path.mkdir()
    (path / "notes.txt").write_text("no zarr here", encoding="utf-8")


def broken_zarr(path):
    path.mkdir()
    (path / "zarr.json").write_text("{", encoding="utf-8")


def half(path):
    whole = Path("coarse.nc").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


NOT_DATA = (
    r"Wanted a NetCDF file or a Zarr store, got (\S*/)?spoilt\S*, which opens as neither .*Check"
)


@pytest.mark.parametrize("write", [text, nothing, half, folder, broken_zarr])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_is_no_netcdf_and_no_zarr_is_refused(refused, write, suffix):
    spoilt = f"spoilt{suffix}"
    write(Path(spoilt))
    refused(*infer(spoilt), told=NOT_DATA)
    refused(*score(spoilt), told=NOT_DATA)
    refused(*score(truth=spoilt), told=NOT_DATA)
    refused(*score(coarse=spoilt), told=NOT_DATA)


def test_what_does_not_exist_is_refused(refused):
    told = r"Wanted a NetCDF file, a Zarr store or one of \[.*\], got 'none.nc'.*\. Check the path"
    refused(*infer("none.nc"), told=told)
    refused(*score("none.nc"), told=told)


def test_a_damaged_body_is_refused(refused, coarse):
    """The header opens, so the damage shows only when values are read."""
    packed = {name: {"zlib": True} for name in coarse.data_vars}
    coarse.to_netcdf("spoilt.nc", encoding=packed)
    content = bytearray(Path("spoilt.nc").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    Path("spoilt.nc").write_bytes(content)
    with xr.open_dataset("spoilt.nc") as opened:
        assert opened.sizes["time"] == 12
    refused(*infer("spoilt.nc"), told=r"Wanted data that are whole, got: NetCDF: .*\. Copy")


def test_a_damaged_chunk_is_refused(refused, coarse):
    coarse.to_zarr("spoilt.zarr", consolidated=False)
    chunks = [path for path in Path("spoilt.zarr/eastward_wind/c").rglob("*") if path.is_file()]
    for path in chunks:
        path.write_bytes(path.read_bytes()[:40])
    refused(*infer("spoilt.zarr"), told=r"Wanted data that are whole, got: .*ecompress.*\. Copy")


# --- checkpoints ---


class Canary:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_canary_sings(tmp_path):
    """What the next two tests rest on."""
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.pth", "model.safetensors"])
def test_a_pickle_is_refused_and_not_run(refused, files, name):
    torch.save({"state_dict": Canary(files / "canary")}, name)
    told = r"Wanted a checkpoint folder.*, got the file \S*model\.\w+\. .*pickle.*\. Export"
    refused(*infer(checkpoint=name), told=told)
    refused(*score(coarse="coarse.nc", checkpoint=name), told=told)
    with pytest.raises(ValueError, match=told):
        load_checkpoint(name)
    assert not (files / "canary").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "climatology.safetensors", "orbitds.json"])
def test_a_pickle_in_disguise_is_refused_and_not_run(refused, files, name):
    (files / "checkpoint" / name).write_bytes(pickle.dumps(Canary(files / "canary")))
    refused(*infer(), told=r"Wanted .*checkpoint/.*, got .*\. .*[Ee]xport")
    if name != "orbitds.json":
        sign(files / "checkpoint")  # also where the hash is right
        refused(*infer(), told=r"Wanted .*checkpoint/.*, got .*header.*\. Export")
    assert not (files / "canary").exists()


def flip(folder):
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-3] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


def cut(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_and_sign(folder):
    cut(folder)
    sign(folder)


def cut_climatology_and_sign(folder):
    path = folder / "climatology.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    sign(folder)


def swap(folder):
    weights = (folder / "weights.safetensors").read_bytes()
    (folder / "climatology.safetensors").write_bytes(weights)
    sign(folder)


def nan_weights(folder):
    path = folder / "weights.safetensors"
    weights = load_file(path)
    weights["trunk.norm.weight"][3] = np.nan
    save_file(weights, path)
    sign(folder)


def endless_header(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])
    sign(folder)


def link_out(folder):
    path = folder / "weights.safetensors"
    path.rename("elsewhere")
    path.symlink_to(Path("elsewhere").resolve())


def pipe(folder):
    (folder / "climatology.safetensors").unlink()
    os.mkfifo(folder / "climatology.safetensors")


def endless_width(folder):
    edit(folder, lambda content: content["model"].update(width=10**9))


def no_spread(folder):
    edit(folder, lambda content: content["statistics"]["eastward_wind"].update(std=0))


def lose_weights(folder):
    (folder / "weights.safetensors").unlink()


def lose_climatology(folder):
    (folder / "climatology.safetensors").unlink()


def lose_description(folder):
    (folder / "orbitds.json").unlink()


def cut_description(folder):
    path = folder / "orbitds.json"
    path.write_text(path.read_text(encoding="utf-8")[:300], encoding="utf-8")


def empty_description(folder):
    (folder / "orbitds.json").write_text("{}", encoding="utf-8")


def other_width(folder):
    edit(folder, lambda content: content["model"].update(width=32))


def other_format(folder):
    edit(folder, lambda content: content.update(format=4))


def further_file(folder):
    edit(folder, lambda content: content["sha256"].update({"../../elsewhere": "0"}))


def no_hash(folder):
    edit(folder, lambda content: content["sha256"].pop("weights.safetensors"))


def edit(folder, change):
    path = folder / "orbitds.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def sign(folder):
    """Write the hashes of the files as they are."""
    edit(
        folder, lambda d: d.update(sha256={name: file_hash(folder / name) for name in d["sha256"]})
    )


DAMAGED = {
    flip: r"Wanted .*weights.safetensors with sha256 \w{64}, got \w{64}: .*damaged.*\. Copy",
    cut: r"Wanted .*weights.safetensors with sha256 \w{64}, got \w{64}: .*damaged.*\. Copy",
    cut_and_sign: r"Wanted weights that fit .*, got .*\. Export the run again",
    cut_climatology_and_sign: r"Wanted climatology and static fields in .*, got .*\. Export",
    swap: r"Wanted climatology and static fields in .*, got .*\. Export",
    nan_weights: r"Wanted weights that fit .*, got NaN .* in 'trunk.norm.weight'\. Export",
    endless_header: r"Wanted weights that fit .*, got a header of 18446744073709551615 .*\. Export",
    link_out: r"Wanted .*weights.safetensors in the folder .*, got a link to .*elsewhere\. Copy",
    pipe: r"Wanted .*climatology.safetensors, .*, got no such file\. Copy",
    endless_width: r"Wanted weights that fit .*, got an architecture that cannot be .*\. Export",
    no_spread: r"Wanted the description .*std Input should be greater than 0\. Export",
    lose_weights: r"Wanted a checkpoint folder .*, got .* without weights.safetensors\. Export",
    lose_climatology: r"Wanted .*climatology.safetensors.*, got .*[Nn]o such file.*\. C",
    lose_description: r"Wanted a checkpoint folder .*, got .* without orbitds.json\. Export",
    cut_description: r"Wanted the description of a checkpoint .*, got Invalid JSON.*\. Export",
    empty_description: r"Wanted the description .*, got model Field required; .*\. Export",
    other_width: r"Wanted weights that fit .*, got .*size mismatch.*\. Export",
    other_format: r"Wanted the description .*, got format 4, .*newer.*\. Install a newer one",
    further_file: r"Wanted hashes of .*, got \['../../elsewhere', .*\. Export",
    no_hash: r"Wanted hashes of weights.safetensors .*, got \['climatology.safetensors'\]\. Export",
}


@pytest.mark.parametrize("damage", DAMAGED, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_refused(refused, files, coarse, damage):
    damage(files / "checkpoint")
    refused(*infer(), told=DAMAGED[damage])
    refused(*score(coarse="coarse.nc", checkpoint="checkpoint"), told=DAMAGED[damage])
    with pytest.raises((ValueError, OSError)):
        coarse.orbit.downscale("checkpoint")


def test_a_checkpoint_that_does_not_exist_is_refused(refused, coarse):
    told = (
        r"Wanted a checkpoint folder, one of the shipped .*\[.*\] or .*hf://.*, got 'nune'\. Check"
    )
    refused(*infer(checkpoint="nune"), told=told)
    refused(*score(coarse="coarse.nc", checkpoint="nune"), told=told)
    with pytest.raises(FileNotFoundError, match=told):
        coarse.orbit.downscale("nune")


# --- outputs ---


def test_infer_leaves_an_existing_output_alone(refused, orbitds, files):
    assert orbitds(*infer(output="old.zarr")).code == 0
    (files / "old.nc").write_text("precious", encoding="utf-8")
    for name in ("old.nc", "old.zarr"):
        told = rf"Wanted a new output, got {name}, which exists\. Choose .*--overwrite"
        refused(*infer(output=name), told=told)


@pytest.mark.parametrize("name", ["old.nc", "old.zarr"])
def test_infer_leaves_an_old_output_alone_where_it_fails_late(
    orbitds, files, coarse, monkeypatch, name
):
    """To be replaced, but the new one does not come to be: found out in the last of 12 units."""
    monkeypatch.setattr("orbitds.infer.job.UNIT_BYTES", 1)
    (files / name).write_text("precious", encoding="utf-8")
    coarse["eastward_wind"][-1, 0, 0] = np.nan
    coarse.to_zarr("spoilt.zarr", consolidated=False)
    told = r"Wanted eastward_wind without missing values, got NaN in 1 of 77 cells\. Fill"
    answer = orbitds(*infer("spoilt.zarr", output=name), "--overwrite")
    _check_refusal(answer, told)
    assert f"kept 11 of 12 units in .{name}.job: the same command with --resume" in answer.err
    assert (files / name).read_text(encoding="utf-8") == "precious"


def test_other_stages_leave_an_existing_output_alone(refused, orbitds, files):
    describe_pair(files)
    for name in ("scores", "run", "taken"):
        (files / name).mkdir()
        (files / name / "scores.json").write_text("precious", encoding="utf-8")
    told = r"Wanted a folder without scores, got scores/scores.json, which exists\. Choose .*--over"
    refused(*score(), told=told)
    told = r"Wanted a new or empty folder for the run, got run, which exists\. Choose"
    refused(*train(), told=told)
    assert orbitds(*train(output="good")).code == 0
    told = r"Wanted an empty place for the checkpoint, got taken, which \w+.*\. Choose"
    refused("export", "good", "--output", "taken", told=told)
    told = r"Wanted a folder without an earlier demo, got taken with scores.json\. Choose .*--over"
    refused("demo", "--output", "taken", told=told)


@pytest.mark.parametrize("name", ["out.txt", "out", "out.nc4", "out.nc.gz", ".nc"])
def test_another_suffix_is_refused(refused, name):
    told = rf"Wanted an output that ends in .nc or .zarr, got {re.escape(name)}\. Change"
    refused(*infer(output=name), told=told)


def test_a_folder_that_does_not_exist_is_refused(refused, files):
    told = r"Wanted an existing folder for out.nc, got \S*/none, which does not exist\. Make it"
    refused(*infer(output="none/out.nc"), told=told)


def test_a_file_where_a_folder_is_wanted_is_refused(refused, files):
    describe_pair(files)
    (files / "file").write_text("precious", encoding="utf-8")
    told = r"Wanted an existing folder for out.nc, got \S*/file, which is a file\. Choose"
    refused(*infer(output="file/out.nc"), told=told)
    refused(*score(output="file"), told=r"Wanted a folder .*, got file, which is a file\. Choose")
    refused(*train(output="file"), told=r"Wanted a new or empty folder .*, got file, .*\. Choose")
    for command in (score(output="file/scores"), train(output="file/run")):
        refused(*command, told=r"Wanted to use file/\w+, got: Not a directory\. Check the path")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is denied to root")
def test_a_folder_without_permission_is_refused(refused, files):
    describe_pair(files)
    (files / "closed").mkdir(mode=0o500)
    told = r"Wanted a folder that can be written to, got \S*/closed\. Choose"
    refused(*infer(output="closed/out.nc"), told=told)
    for command in (score(output="closed/scores"), train(output="closed/run")):
        refused(*command, told=r"Wanted to use closed/\w+, got: Permission denied\. Check the path")


# --- flags that fit no model, grid or machine ---


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--tiles", "3"), r"Wanted tiles as `auto` or rows x columns such as `2x4`, got '3'"),
        (("--tiles", "0x3"), r"Wanted tiles as `auto` or rows x columns such as `2x4`, got '0x3'"),
        (("--tiles", "90x3"), r"Wanted at most 7 x 11 tiles.*, got 90 x 3\. Ask for fewer"),
        (("--device", "abacus"), r"Wanted a device of this machine, got 'abacus'.*\. Choose"),
        (
            ("--variables", "eastward_wnd"),
            r"Wanted output variables .*, got 'eastward_wnd'\. Did you mean 'eastward_wind'",
        ),
        (("--constraints", "ordr"), r"--constraints\.0: .*'order' or 'conserve' \(got 'ordr'\)"),
    ],
)
def test_flags_that_do_not_fit_are_refused(orbitds, files, flags, told):
    before = _contents(files)
    answer = orbitds(*infer(), *flags)
    assert answer.code != 0
    assert answer.err.count("─ Error ─") == 1
    assert re.search(told, answer.err)
    assert _contents(files) == before, CHANGES_NOTHING


def test_means_of_another_product_are_not_conserved(refused, files, coarse):
    edit(files / "checkpoint", lambda told: told.update(same_product=False))
    told = r"conserve', got 'checkpoint', trained on coarse inputs of another product.*Leave the"
    refused(*infer(), "--constraints", "conserve", told=told)
    with pytest.raises(ValueError, match=told):
        coarse.orbit.downscale("checkpoint", constraints=["conserve"])


# --- eval ---

# Sides of an evaluation; the coarse side has coordinates and cell counts of its own.
SIDES = ("prediction", "truth", "coarse")
EVAL_SPOILT = {
    no_unit: SPOILT[no_unit],
    unknown_unit: SPOILT[unknown_unit],
    other_quantity: SPOILT[other_quantity],
    two_names: SPOILT[two_names],
    uneven_rows: r"Wanted a uniform latitude axis, got steps between .* degrees\. Regrid",
    uneven_columns: r"Wanted a uniform longitude axis, got steps between .* degrees\. Regrid",
    levels: SPOILT[levels],
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("spoil", EVAL_SPOILT, ids=lambda spoil: spoil.__name__)
def test_eval_refuses_spoilt_data(refused, pair, coarse, spoil, side):
    ds = coarse if side == "coarse" else pair.part("test").fine.copy(deep=True)
    spoil(ds).to_netcdf("spoilt.nc")
    sides = {"coarse": "coarse.nc"} | {side: "spoilt.nc"}
    refused(*score(**sides), told=EVAL_SPOILT[spoil])


def test_eval_refuses_gaps_where_there_is_truth(refused, pair, coarse):
    gaps(pair.part("test").fine.copy(deep=True)).to_netcdf("spoilt.nc")
    told = r"Wanted 'prediction' wherever there is truth, got NaN in 2 of 8316 cells\. Check"
    refused(*score("spoilt.nc"), told=told)
    gaps(coarse).to_netcdf("spoilt_coarse.nc")
    refused(*score(coarse="spoilt_coarse.nc"), told=SPOILT[gaps])


def test_eval_refuses_fill_values_in_the_truth(refused, pair):
    fill_values(pair.part("test").fine.copy(deep=True)).to_netcdf("spoilt.nc")
    told = r"Wanted eastward_wind between -120 and 120 .*, got .* 1 of 8316 cells\. Check"
    refused(*score(truth="spoilt.nc"), told=told)


def test_eval_refuses_data_that_have_no_name_in_common(refused, pair, coarse):
    told = (
        r"Wanted a common variable.*, got \['eastward_winds'\] and \['eastward_wind', .*\. Rename"
    )
    fine = rename(pair.part("test").fine)[["eastward_winds"]]
    fine.to_netcdf("spoilt.nc")
    refused(*score("spoilt.nc"), told=told)
    rename(coarse)[["eastward_winds"]].to_netcdf("spoilt_coarse.nc")
    told = r"Wanted one of \['eastward_wind', .*, got \['eastward_winds'\].*\. Leave"
    refused(*score(coarse="spoilt_coarse.nc"), told=told)


def test_eval_refuses_another_grid(refused, pair):
    told = r"Wanted prediction and truth on one grid, got .*7 x 11 .* and truth 21 x 33.*\. Regrid"
    refused(*score("coarse.nc"), told=told)
    told = r"Wanted prediction and truth on one grid, got .*20 x 33 .* and truth 21 x 33.*\. Regrid"
    pair.part("test").fine.isel(latitude=slice(1, None)).to_netcdf("spoilt.nc")
    refused(*score("spoilt.nc"), told=told)


def test_eval_refuses_a_wrong_factor(refused, pair):
    told = r"Wanted coarse data coarser than the truth, got both on 21 x 33.*\. Give"
    refused(*score(coarse="truth.nc"), told=told)
    told = r"Wanted a fine grid whose cells divide .*, got coarse 7 x 11 .* fine 20 x 33.*\. Regrid"
    cut = pair.part("test").fine.isel(latitude=slice(1, None))
    cut.to_netcdf("cut.nc")
    refused(*score("cut.nc", "cut.nc", coarse="coarse.nc"), told=told)


def test_eval_refuses_other_times(refused, pair):
    told = r"Wanted common times, got none: .* 2003-12-01.*\. Select the same period"
    pair.part("validate").fine.to_netcdf("spoilt.nc")
    refused(*score("spoilt.nc"), told=told)
    refused(*score(coarse="spoilt.nc"), told=told)


# --- train ---


def describe_pair(folder, *, data="truth.nc", **changes):
    """Write the description of a pair and of its dataset."""
    dataset = {
        "title": "Test year",
        "path": data,
        "licence": "none",
        "citation": "none",
        "resolution_deg": 8.6,
        "variables": ["eastward_wind"],
    }
    pair = {
        "title": "Test year, threefold",
        "fine": str(folder / "dataset.yaml"),
        "coarse": {"coarsen": 3},
        "inputs": ["eastward_wind"],
        "outputs": ["eastward_wind"],
        "split": {
            "train": ["2004-01", "2004-06"],
            "validate": ["2004-07", "2004-09"],
            "test": ["2004-10", "2004-12"],
        },
    }
    for name, content in {"dataset": dataset, "pair": pair}.items():
        known = {key: value for key, value in changes.items() if key in content or key == name}
        content |= known.pop(name, {}) | known
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


TRAIN_SPOILT = {
    **EVAL_SPOILT,
    rename: SPOILT[rename],
    gaps: r"Wanted eastward_wind without missing values, got NaN in \d+ of \d+ cells\. Fill",
    fill_values: r"Wanted eastward_wind between -120 and 120 .*, got .*\. Check",
}


@pytest.mark.parametrize("spoil", TRAIN_SPOILT, ids=lambda spoil: spoil.__name__)
def test_train_refuses_spoilt_data(refused, files, pair, spoil):
    spoil(pair.part("test").fine.copy(deep=True)).to_netcdf("spoilt.nc")
    describe_pair(files, data="spoilt.nc")
    refused(*train(), told=TRAIN_SPOILT[spoil])


def test_train_refuses_grids_that_do_not_nest(refused, files):
    describe_pair(files)
    other = yaml.safe_load((files / "dataset.yaml").read_text(encoding="utf-8"))
    other["path"] = "beside.nc"
    with xr.open_dataset("coarse.nc") as coarse:
        beside = coarse.assign_coords(longitude=coarse["longitude"] + 1)
        beside["longitude"].attrs = coarse["longitude"].attrs
        beside.to_netcdf("beside.nc")
    (files / "coarse.yaml").write_text(yaml.safe_dump(other), encoding="utf-8")
    describe_pair(files, coarse=str(files / "coarse.yaml"))
    refused(*train(), told=r"Wanted .*, got .* Regrid")


def test_train_refuses_files_that_hold_no_data(refused, files):
    describe_pair(files, data="none.nc")
    refused(*train(), told=r"Wanted none\.nc .*, got no such file in .*ORBITDS_DATA")
    text(files / "spoilt.nc")
    describe_pair(files, data="spoilt.nc")
    refused(*train(), told=NOT_DATA)
    describe_pair(files, data="../elsewhere.nc")
    refused(*train(), told=r"Wanted a path inside .*, got '../elsewhere.nc', .*\. Move")


def test_train_refuses_a_split_without_times(refused, files):
    split = {
        "train": ["1904", "1905"],
        "validate": ["2004-01", "2004-06"],
        "test": ["2005", "2006"],
    }
    describe_pair(files, split=split)
    told = r"Wanted times from 1904 to 1905 for the train part .*, got none; .*\. Correct the split"
    refused(*train(), told=told)


def test_train_refuses_a_device_that_is_not_there(refused, files):
    describe_pair(files)
    told = r"Wanted a device of this machine, got 'abacus'.*\. Choose"
    refused(*train("--device", "abacus"), told=told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"pair": {"output": ["eastward_wind"]}},
            r"unknown name 'output'\. Did you mean 'outputs'\?",
        ),
        ({"dataset": {"license": "x"}}, r"unknown name 'license'\. Did you mean 'licence'\?"),
        (
            {"inputs": ["eastward_wnd"]},
            r"got 'eastward_wnd'\. Did you mean 'eastward_wind'\? Rename",
        ),
        (
            {"fine": "fnoc_navy_wind"},
            r"got 'fnoc_navy_wind'\. Did you mean 'fnoc_navy_winds_2p5deg'",
        ),
        (
            {
                "split": {
                    "train": ["2001", "2004"],
                    "validate": ["2004", "2005"],
                    "test": ["2006"] * 2,
                }
            },
            r"Wanted periods that do not overlap, got train to 2004 and validate from 2004",
        ),
    ],
)
def test_train_refuses_a_wrong_description(orbitds, files, changes, told):
    describe_pair(files, **changes)
    before = _contents(files)
    answer = orbitds(*train())
    assert answer.code != 0
    assert answer.err.count("─ Error ─") == 1
    assert re.search(told, answer.err)
    assert _contents(files) == before, CHANGES_NOTHING


def test_yaml_runs_nothing(orbitds, files):
    content = f"pair: !!python/object/apply:pathlib.Path.touch [{files / 'canary'}]\n"
    (files / "own.yaml").write_text(content, encoding="utf-8")
    answer = orbitds("train", "--config", "own.yaml", "--output", "run")
    assert answer.code != 0
    assert "Wanted plain YAML in own.yaml, got: could not determine a constructor" in answer.err
    assert not (files / "canary").exists()
    assert not (files / "run").exists()


# --- helpers ---


def _check_refusal(answer, told):
    assert answer.code not in (0, None)
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert answer.err.count("─ Error ─") == 1
    panel = " ".join(re.findall(r"^│ (.*?) *│$", answer.err, flags=re.MULTILINE))
    assert re.search(told, panel), panel
    assert panel.startswith("Wanted ")
    assert re.search(r", got\b", panel)
    assert REMEDY.search(panel), f"no remedy: {panel}"


def _contents(folder):
    """Everything in a folder, hidden files too: path, kind and content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
