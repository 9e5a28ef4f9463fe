"""From published files to fine fields, against the same by hand; and what is refused."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch.testing import assert_close

from orbitds.checkpoint import load_checkpoint
from orbitds.orbit2.convert import import_orbit2, read_weights

FIXTURE = Path(__file__).parents[2].parent / "shared/fixtures/orbit2/official_tiny.ckpt"


def by_tiles(published, weather):
    """Run the public network over its tiles and paste the cores, rows from the south.

    Cores are 6 x 12. Rows slide inward at the poles; columns run over the date line.
    """
    net, s = published.network, published.network.factor
    x, names = published.normalized(weather), net.default_vars
    rows, width = published.shape
    fine = torch.zeros(len(x), len(net.outputs), rows * s, width * s, dtype=torch.float64)
    for south, first in ((0, 0), (6, 4)):
        for west in (0, 12):
            columns = np.arange(west - 2, west + 14) % width
            window = x[:, :, first : first + 8][..., columns]
            given = net.forward(published.weights, window, names)
            row = (south - first) * s
            core = given[:, :, row : row + 6 * s, 2 * s : 14 * s]
            fine[:, :, south * s : (south + 6) * s, west * s : (west + 12) * s] = core
    return fine


def check(fine, expected):
    for name, values in expected.items():
        np.testing.assert_allclose(fine[name], values, rtol=2e-4, atol=2e-3, err_msg=name)


# --- the whole way ---


def test_a_published_checkpoint_downscales_as_by_hand(orbitds, published, weather, monkeypatch):
    answer = orbitds(*published.arguments())
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"checkpoint: {published.folder / 'out'}\n"
    fine = weather.orbit.downscale(published.folder / "out")
    check(fine, published.physical(by_tiles(published, weather)))
    # rows of the user come back as they were, fine points start at the coarse ones
    np.testing.assert_allclose(fine["lat"], -90 + 7.5 * np.arange(24))
    np.testing.assert_allclose(fine["lon"], 7.5 * np.arange(48))
    assert fine["lat_bnds"].min() == -90
    assert fine["total_precipitation_24hr"].attrs["units"] == "mm"
    assert float(fine["total_precipitation_24hr"].min()) == 0
    # the command gives the same, from north to south as well
    monkeypatch.chdir(published.folder)
    weather.isel(lat=slice(None, None, -1)).to_netcdf("coarse.nc")
    words = ("infer", "coarse.nc", "--checkpoint", "out", "--output", "fine.nc")
    assert orbitds(*words).code == 0
    with xr.open_dataset("fine.nc") as written:
        turned = written.isel(lat=slice(None, None, -1))
        for name in fine.data_vars:
            np.testing.assert_allclose(turned[name], fine[name], rtol=1e-5, atol=1e-5)
    answer = orbitds(*words, "--overwrite", "--tiles", "2x2")
    assert answer.code == 0
    answer = orbitds(*words, "--overwrite", "--tiles", "1x2")
    assert re.search(r"Wanted 2 x 2 tiles.*8 x 16.*got 1 x 2\. Leave", answer.err)


def test_without_statics_they_are_inputs(orbitds, published, weather):
    assert orbitds(*published.arguments("--spacing-km", "1668", statics=False)).code == 0
    checkpoint = load_checkpoint(published.folder / "out")
    statics = ("land_sea_mask", "orography", "latitude_field", "landcover")
    assert checkpoint.inputs[-4:] == statics
    with pytest.raises(ValueError, match="Wanted the variable 'land_sea_mask'"):
        weather.orbit.downscale(checkpoint)
    units = {"orography": "m", "lattitude": "degrees_north"}
    fields = {
        name: (("lat", "lon"), field, {"units": units.get(name, "1")})
        for name, field in published.statics.items()
    }
    given = weather.assign(fields)
    expected = published.physical(by_tiles(published, weather))
    check(given.orbit.downscale(checkpoint), expected)
    lazy = given.chunk(time=1).orbit.downscale(published.folder / "out")
    check(lazy.compute(), expected)


def test_a_field_in_one_window(publish, weather, public, orbitds, tmp_path):
    whole = publish(public(window=(12, 24)), tmp_path)
    whole.yaml(lambda content: content.pop("tiling"))
    assert orbitds(*whole.arguments()).code == 0
    net = whole.network
    expected = net.forward(whole.weights, whole.normalized(weather), net.default_vars)
    fine = weather.orbit.downscale(whole.folder / "out")
    check(fine, whole.physical(expected))
    with pytest.raises(ValueError, match=r"windows of 12 x 24 .*got 11 x 24 cells\. Select"):
        weather.isel(lat=slice(1, None)).orbit.downscale(whole.folder / "out")


@pytest.mark.skipif(not FIXTURE.is_file(), reason="no ../shared/fixtures/orbit2 here")
def test_the_file_of_the_public_class_is_imported(published, public):
    tiny = public(window=(12, 24), width=32, decoder_depth=2, mlp_ratio=4, cnn_ratio=4, factor=4)

    def change(content):
        named = (*tiny.default_vars[:5], "2m_temperature_max", *tiny.default_vars[5:])
        content["data"] |= {"default_vars": list(named), "dict_in_variables": {}}
        content["model"] |= {"superres_mag": 4, "embed_dim": 32, "decoder_depth": 2}
        content["model"] |= {"mlp_ratio": 4, "cnn_ratio": 4}
        content["tiling"]["do_tiling"] = False

    published.yaml(change)
    for name in ("mean", "std"):
        path = published.folder / "stats" / f"normalize_{name}.npz"
        with np.load(path) as old:
            np.savez(path, **old, **{"2m_temperature_max": old["2m_temperature_min"]})
    words = published.arguments(statics=False)
    import_orbit2(FIXTURE, published.folder / "out", **_flags(words))
    checkpoint = load_checkpoint(published.folder / "out")
    assert checkpoint.description.model.window == (12, 24)
    assert checkpoint.factor == 4
    weights = torch.load(FIXTURE, weights_only=True)["model_state_dict"]
    kept = checkpoint.model.state_dict()
    assert torch.equal(kept["smooth.weight"], weights["conv_out.weight"])


def _flags(words):
    flags = {word[2:]: value for word, value in zip(words[2::2], words[3::2], strict=True)}
    flags.pop("output")
    return flags


# --- what the checkpoint says ---


def test_the_description_says_what_a_user_must_know(orbitds, published):
    assert orbitds(*published.arguments()).code == 0
    folder = published.folder / "out"
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "orbitds.json"}
    described = json.loads((folder / "orbitds.json").read_text(encoding="utf-8"))
    assert described["inputs"] == [
        "2m_temperature",
        "2m_temperature_min",
        "temperature_850",
        "total_precipitation_24hr",
    ]
    assert described["outputs"] == list(published.network.outputs)
    assert described["spacing_km"] == pytest.approx([1667.9, 833.9], rel=1e-4)
    assert described["model"]["spatial_resolution_km"] == 28
    assert described["model"]["halo_cells"] == [1, 2]
    rain = described["statistics"]["total_precipitation_24hr"]
    assert rain == {"mean": 0.0, "std": 1.0, "threshold": 0.25}
    told = described["provenance"]
    assert (told["file"], told["data"], len(told["file_sha256"])) == ("net.ckpt", "ERA5_2", 64)
    notes = " ".join(told["notes"])
    assert "north pole" in notes
    assert "sea surface temperature" in notes
    statics = load_checkpoint(folder).model.get_buffer("static_fields")
    north = (published.statics["orography"][-1] - 370) / 830
    assert_close(statics[1, 0], torch.tensor(north), rtol=1e-5, atol=1e-6)


# --- what is refused: with one error of three parts, and without a trace ---


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def refused(orbitds, published, told, *further):
    before = contents(published.folder)
    answer = orbitds(*published.arguments(*further))
    assert answer.code != 0
    assert answer.out == ""
    assert answer.err.count("─ Error ─") == 1
    text = " ".join(answer.err.replace("│", " ").split())
    assert re.search(told, text), text
    assert contents(published.folder) == before


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_pickle_is_not_run(orbitds, published):
    canary = published.folder / "canary"
    path = published.folder / "net.ckpt"
    told = r"Wanted a checkpoint of ORBIT-2, .*got a file that does not load.*Nothing .*\. Copy"
    for content in ({"model_state_dict": Canary(canary)}, Canary(canary)):
        torch.save(content, path)
        refused(orbitds, published, told)
        path.write_bytes(pickle.dumps(content))
        refused(orbitds, published, told)
    assert not canary.exists()
    torch.save(content, path)
    torch.load(path, weights_only=False)  # it would have sung
    assert canary.exists()


@pytest.mark.parametrize("file", ["normalize_mean.npz", "orography_15deg.npy"])
def test_a_pickle_among_the_arrays_is_not_run(orbitds, published, file):
    canary = published.folder / "canary"
    (path,) = published.folder.rglob(file)
    with path.open("wb") as opened:
        np.save(opened, np.array([Canary(canary)], dtype=object), allow_pickle=True)
    refused(orbitds, published, r"Wanted plain arrays of numpy in .*Nothing in it was run\. Copy")
    path.write_bytes(pickle.dumps(Canary(canary)))
    refused(orbitds, published, r"Wanted plain arrays of numpy in .*Nothing in it was run\. Copy")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"got a file that does not load .*\. Copy"),
        (b"text, no weights", r"got a file that does not load .*\. Copy"),
        ({"state": {}}, r"got \['state'\]\. Choose"),
        ([1, 2], r"got list\. Choose"),
        ({"model_state_dict": {"a": 1}}, r"got \['model_state_dict'\]\. Choose"),
        ({"model_state_dict": {"a": torch.ones(2)}}, r"'pos_embed', got \['a'\] .*\. Choose"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused(orbitds, published, content, told):
    path = published.folder / "net.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    refused(orbitds, published, r"Wanted .*ORBIT-2.*" + told)


def test_a_cut_file_is_refused(orbitds, published):
    path = published.folder / "net.ckpt"
    path.write_bytes(path.read_bytes()[:-2000])
    refused(orbitds, published, r"got a file that does not load as tensors alone .*\. Copy")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"embed_dim": 32}, r"Wanted the weights of .*lack or misshape.*\. Give"),
        ({"depth": 3}, r"weights that lack or misshape 'blocks\.2\.attn.*Give the YAML"),
        ({"mlp_ratio": 4}, r"Wanted weights .*size mismatch for encoder\.0\.mlp.*Give the YAML"),
        ({"superres_mag": 4}, r"Wanted weights .*size mismatch for head.*Give the YAML"),
        (
            {"num_heads": 5},
            r"Wanted a width that is a multiple of heads, got width 16 and 5.*Correct",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused(orbitds, published, change, told):
    published.yaml(lambda content: content["model"].update(change))
    refused(orbitds, published, told)


def test_what_is_not_there_is_refused(orbitds, published):
    for name, told in {
        "net.ckpt": r"Wanted the file of a published .*net\.ckpt, which is none\. Check",
        "net.yaml": r"Wanted the YAML file of .*net\.yaml, which is none\. Check",
        "stats": r"Wanted normalize_mean\.npz and .*got no such files\. Copy",
        "statics": r"Wanted one file such as land_sea_mask_0\.25deg\.npy .*got \[\]\. Copy",
    }.items():
        kept = published.folder / f"kept_{name}"
        (published.folder / name).rename(kept)
        refused(orbitds, published, told)
        kept.rename(published.folder / name)


def test_an_existing_output_is_left_alone(orbitds, published):
    (published.folder / "out").mkdir()
    (published.folder / "out" / "precious").write_text("old", encoding="utf-8")
    refused(orbitds, published, r"Wanted an empty place .*which exists\. Choose")
    shutil.rmtree(published.folder / "out")
    assert orbitds(*published.arguments()).code == 0


def test_names_of_wrapped_weights_are_bare(published):
    assert set(read_weights(published.folder / "net.ckpt")) == set(published.weights)


# --- data that the checkpoint is not for ---


def test_the_row_of_the_north_pole_is_refused(published, weather, orbitds):
    assert orbitds(*published.arguments()).code == 0
    whole = weather.pad(lat=(0, 1), mode="edge").assign_coords(lat=np.linspace(-90, 90, 13))
    with pytest.raises(ValueError, match=r"cut into windows of 8 x 16 .*got 13 x 24 cells"):
        whole.orbit.downscale(published.folder / "out")
    shifted = whole.isel(lat=slice(1, None))
    with pytest.raises(ValueError, match=r"beyond 90 degrees\. Drop the row of the north pole"):
        shifted.orbit.downscale(published.folder / "out")


def test_points_beside_the_static_fields_are_refused(published, weather, orbitds):
    assert orbitds(*published.arguments()).code == 0
    beside = weather.assign_coords(lon=weather["lon"] + 5)
    with pytest.raises(ValueError, match=r"Wanted coordinates at some of the 24 points .*Regrid"):
        beside.orbit.downscale(published.folder / "out")
