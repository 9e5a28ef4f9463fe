"""A checkpoint comes back bit by bit, or is refused; nothing in it is ever run."""

import hashlib
import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import ModelConfig
from orbitds.description import (
    CLIMATOLOGY,
    DESCRIPTION,
    WEIGHTS,
    file_hash,
    find_checkpoint,
)
from orbitds.model.reslim import Reslim
from orbitds.region import Region
from orbitds.sets import Choice

FILES = (WEIGHTS, DESCRIPTION, CLIMATOLOGY)


@pytest.fixture
def folder(checkpoint_folder, tmp_path):
    """A copy of the checkpoint, to be damaged."""
    return Path(shutil.copytree(checkpoint_folder, tmp_path / "copy"))


def random_model(*, seed=0, **settings):
    """A small Reslim without zeros among its weights."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = Reslim(
            ModelConfig(width=8, depth=1, decoder_depth=1, correction_width=4, **settings),
            inputs=["eastward_wind", "northward_wind"],
            outputs=["northward_wind", "total_precipitation_24hr"],
            statics=["orography"],
            factor=3,
        )
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def outputs_of(model):
    """What a model gives for fixed fields of 5 x 7 cells."""
    generator = torch.Generator().manual_seed(1)
    fields = [
        torch.randn(2, count, rows, columns, generator=generator)
        for count, rows, columns in [(2, 5, 7), (1, 15, 21), (2, 15, 21), (2, 5, 7)]
    ]
    with torch.inference_mode():
        return model(
            fields[0],
            latitude_deg=torch.linspace(60, 20, 5).expand(2, -1),
            longitude_deg=torch.linspace(5, 65, 7).expand(2, -1),
            spacing_km=torch.tensor([[1000.0, 333.0]]).expand(2, -1),
            statics=fields[1],
            climatology=(fields[2].abs(), fields[3].abs()),
        )


def save(folder, model, statistics, **more):
    rows = dict.fromkeys((*model.inputs, *model.outputs), statistics["eastward_wind"])
    save_checkpoint(
        folder, model, statistics=rows, spacing_km=(1000.0, 333.0), provenance={"step": 7}, **more
    )


def change(folder, edit):
    """Edit the description of a checkpoint in place."""
    path = folder / DESCRIPTION
    description = json.loads(path.read_text(encoding="utf-8"))
    edit(description)
    path.write_text(json.dumps(description), encoding="utf-8")


def replace_file(folder, name, content):
    """Replace a file of a checkpoint, and its hash in the description."""
    (folder / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    change(folder, lambda description: description["sha256"].update({name: digest}))


class Canary:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["delta", "bicubic"])
def test_a_model_comes_back_bit_by_bit(tmp_path, statistics, base):
    model = random_model(base=base, dropout=0.5, drop_path=0.5).eval()
    save(tmp_path / "new" / "one", model, statistics)
    loaded = load_checkpoint(tmp_path / "new" / "one")
    assert not loaded.model.training
    assert torch.equal(outputs_of(loaded.model), outputs_of(model))
    assert loaded.model.config == model.config
    assert loaded.inputs == ("eastward_wind", "northward_wind")
    assert loaded.outputs == ("northward_wind", "total_precipitation_24hr")
    assert loaded.factor == 3
    assert loaded.region is None
    assert loaded.name == "one"
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], weight)


def test_different_weights_give_different_outputs(tmp_path, statistics):
    # or else the test above would say nothing
    outputs = []
    for seed in (0, 1):
        save(tmp_path / str(seed), random_model(seed=seed), statistics)
        outputs.append(outputs_of(load_checkpoint(tmp_path / str(seed)).model))
    assert not torch.allclose(*outputs)


def test_the_description_comes_back(folder, statistics, pair):
    description = load_checkpoint(folder).description
    assert description.statistics == statistics
    assert description.spacing_km == (pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km)
    assert description.statics == ("orography",)
    assert description.provenance["pair"] == "synthetic"
    assert description.provenance["orbitds"]
    for name, digest in description.sha256.items():
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert load_checkpoint(folder).fingerprint == description.sha256[WEIGHTS]


def test_a_region_comes_back_in_single_precision(folder, pair):
    region = load_checkpoint(folder).region
    np.testing.assert_array_equal(region.grid.latitude_deg, pair.fine_grid.latitude_deg)
    np.testing.assert_array_equal(region.grid.longitude_deg, pair.fine_grid.longitude_deg)
    np.testing.assert_array_equal(region.statics[0], pair.statics["orography"])
    # of the training years, 2001 and 2002
    month = pair.fine["eastward_wind"][[4, 16]].mean("time")
    np.testing.assert_allclose(region.fine_climatology[4, 0], month, rtol=1e-5, atol=1e-6)
    assert region.coarse_climatology.shape == (12, 2, 7, 11)


def test_a_region_without_climatology_comes_back(tmp_path, statistics, pair):
    statics = np.random.default_rng(0).normal(size=(1, 21, 33)).astype(np.float32)
    save(tmp_path / "x", random_model(), statistics, region=Region(pair.fine_grid, statics))
    region = load_checkpoint(tmp_path / "x").region
    np.testing.assert_array_equal(region.statics, statics)
    assert region.fine_climatology is region.coarse_climatology is None


def test_saving_again_writes_the_same_bytes(folder, tmp_path):
    loaded = load_checkpoint(folder)
    description = loaded.description
    save_checkpoint(
        tmp_path / "again",
        loaded.model,
        statistics=description.statistics,
        spacing_km=description.spacing_km,
        provenance=description.provenance,
        region=loaded.region,
        same_product=description.same_product,
    )
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_normalizers_know_the_statistics(folder, statistics):
    normalizer = load_checkpoint(folder).normalizer(("eastward_wind", "total_precipitation_24hr"))
    row = statistics["eastward_wind"]
    normalized = normalizer(torch.full((2, 1, 1), 5.0))
    expected = [(5.0 - row.mean) / row.std, np.log(6.0)]
    np.testing.assert_allclose(normalized.flatten(), expected, rtol=1e-6)


def test_everybody_may_read_what_was_saved(tmp_path, statistics, pair):
    mask = os.umask(0o022)
    try:
        statics = np.zeros((1, 21, 33))
        save(tmp_path / "x", random_model(), statistics, region=Region(pair.fine_grid, statics))
    finally:
        os.umask(mask)
    for name in FILES:
        assert (tmp_path / "x" / name).stat().st_mode & 0o777 == 0o644


def test_an_empty_folder_may_be_filled(tmp_path, statistics):
    save(tmp_path, random_model(), statistics)
    assert load_checkpoint(tmp_path).factor == 3


# --- which checkpoint ---------------------------------------------------------------------------


def test_a_checkpoint_is_read_once(folder):
    assert load_checkpoint(folder) is load_checkpoint(str(folder))
    assert load_checkpoint(folder.parent / "." / folder.name) is load_checkpoint(folder)


def test_a_checkpoint_that_took_anothers_place_is_noticed(tmp_path, statistics):
    outputs = []
    for seed in (0, 1):
        shutil.rmtree(tmp_path / "best", ignore_errors=True)
        save(tmp_path / "best", random_model(seed=seed), statistics)
        outputs.append(outputs_of(load_checkpoint(tmp_path / "best").model))
    assert torch.equal(outputs[1], outputs_of(random_model(seed=1).eval()))
    assert not torch.equal(*outputs)


def test_shipped_checkpoints_go_by_their_name(folder, monkeypatch, tmp_path):
    monkeypatch.setattr("orbitds.description.share", lambda relative: tmp_path / relative)
    shutil.copytree(folder, tmp_path / "data_catalog/checkpoints/small_winds")
    assert load_checkpoint("small_winds").name == "small_winds"
    with pytest.raises(FileNotFoundError, match=r"got 'small_wind'.*Did you mean 'small_winds'\?"):
        load_checkpoint("small_wind")


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [WEIGHTS, CLIMATOLOGY])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_one_wrong_bit_is_noticed(folder, name, place):
    content = bytearray((folder / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} with sha256.*damaged or was replaced.*again"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", [WEIGHTS, CLIMATOLOGY])
@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_truncated_file_is_noticed(folder, name, kept):
    (folder / name).write_bytes((folder / name).read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"{name} with sha256.*damaged"):
        load_checkpoint(folder)


@pytest.mark.parametrize("kept", [0, 50, -10])
def test_a_truncated_description_is_noticed(folder, kept):
    (folder / DESCRIPTION).write_bytes((folder / DESCRIPTION).read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"description of a checkpoint in .*{DESCRIPTION}.*again"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}.*(again|orbitds export)"):
        load_checkpoint(folder)


def test_a_folder_that_is_no_checkpoint_is_told_what_it_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"without {WEIGHTS} and {DESCRIPTION}.*export"):
        find_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"Wanted a checkpoint folder.*nowhere"):
        find_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d["model"].update(wide=8), "wide"),
        (lambda d: d["statistics"]["orography"].update(median=1), "median"),
        (lambda d: d.pop("factor"), "factor"),
        (lambda d: d.update(factor="three"), "factor"),
        (lambda d: d["model"].update(heads=3), "heads"),
        (lambda d: d.update(format=0), "format"),
    ],
    ids=["unknown", "unknown in model", "unknown in row", "absent", "type", "value", "format"],
)
def test_a_description_that_says_something_else_is_refused(folder, edit, told):
    change(folder, edit)
    with pytest.raises(ValueError, match=rf"description of a checkpoint.*{told}.*Export"):
        load_checkpoint(folder)


def test_a_description_from_before_kinds_and_thresholds_loads(folder):
    """Whatever came later has a default, so that old checkpoints stay what they are."""
    expected = load_checkpoint(folder).description

    def older(described):
        described["model"].pop("kind")
        for row in described["statistics"].values():
            row.pop("threshold")

    change(folder, older)
    assert load_checkpoint(folder).description == expected


def test_weights_from_before_the_order_of_heads_load(folder):
    """In format 1 all queries came before all keys and all values."""
    expected = load_checkpoint(folder).model.state_dict()
    heads = load_checkpoint(folder).description.model.heads
    assert heads > 1
    weights = load_file(folder / WEIGHTS)
    for name, tensor in weights.items():
        if "query_key_value" in name:
            by_head = tensor.unflatten(0, (heads, 3, -1)).transpose(0, 1)
            weights[name] = by_head.flatten(0, 2).contiguous()
            assert not torch.equal(weights[name], tensor)
    save_file(weights, folder / WEIGHTS)
    change(folder, lambda d: d["sha256"].update({WEIGHTS: file_hash(folder / WEIGHTS)}))
    change(folder, lambda d: d.update(format=1))
    loaded = load_checkpoint(folder).model.state_dict()
    for name, tensor in loaded.items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d["sha256"].pop(WEIGHTS),
        lambda d: d.update(sha256={}),
        lambda d: d["sha256"].update({"../other.safetensors": "00"}),
    ],
    ids=["weights", "all", "further"],
)
def test_hashes_are_wanted_of_these_files_and_of_no_others(folder, edit):
    change(folder, edit)
    with pytest.raises(ValueError, match=rf"Wanted .*{WEIGHTS}.*{CLIMATOLOGY}.*got \["):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d["model"].update(width=8),
        lambda d: d["model"].update(depth=2),
        lambda d: d["model"].update(correction_width=0),
        lambda d: d.update(factor=4),
        lambda d: d.update(outputs=["eastward_wind"]),
    ],
    ids=["width", "depth", "fewer", "factor", "outputs"],
)
def test_weights_of_another_architecture_are_refused(folder, edit):
    change(folder, edit)
    with pytest.raises(ValueError, match=r"(?s)weights that fit the architecture.*Export"):
        load_checkpoint(folder)


def test_a_climatology_that_lacks_a_field_is_refused(folder):
    # with a hash that agrees
    replace_file(folder, CLIMATOLOGY, (folder / WEIGHTS).read_bytes())
    with pytest.raises(ValueError, match=r"climatology and static fields.*Export"):
        load_checkpoint(folder)


# --- code ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".pkl", ""])
def test_a_pickle_is_refused_without_being_loaded(tmp_path, suffix):
    path, trace = tmp_path / f"model{suffix}", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Canary(trace)))
    with pytest.raises(ValueError, match=r"pickle, which can run code.*orbitds export"):
        load_checkpoint(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists(), "the canary sings when it is let out"


@pytest.mark.parametrize("name", [WEIGHTS, CLIMATOLOGY])
@pytest.mark.parametrize("writer", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_a_pickle_inside_is_refused_without_being_loaded(folder, tmp_path, name, writer):
    trace = tmp_path / "trace"
    with (tmp_path / "file").open("wb") as file:
        writer({"weight": Canary(trace)}, file)
    replace_file(folder, name, (tmp_path / "file").read_bytes())
    with pytest.raises(ValueError, match=r"Export the run again"):
        load_checkpoint(folder)
    assert not trace.exists()


# --- hostile ---


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d["model"].update(width=10**9),
        lambda d: d["model"].update(width=10**30),
        lambda d: d["model"].update(depth=10**9),
        lambda d: d["model"].update(decoder_depth=10**12),
        lambda d: d["model"].update(correction_depth=10**12),
        lambda d: d["model"].update(position_octaves=10**12),
        lambda d: d["model"].update(mlp_ratio=1e300),
        lambda d: d["model"].update(patch=10**9),
        lambda d: d.update(factor=10**9),
        lambda d: d.update(factor=10**400),
        lambda d: d.update(outputs=["no_such_variable"]),
        lambda d: d.update(inputs=[f"x{i}" for i in range(10**5)]),
        lambda d: d["model"].update(kind="vit", patch=10**5),
    ],
    ids=lambda edit: None,
)
def test_an_architecture_larger_than_its_weights_takes_no_memory(folder, edit):
    change(folder, edit)
    with pytest.raises(ValueError, match=r"weights that fit the architecture.*, got .*\. Export"):
        load_checkpoint(folder)


def renamed(folder, edit):
    """Change the weights, and their hash."""
    weights = load_file(folder / WEIGHTS)
    edit(weights)
    save_file(weights, folder / WEIGHTS)
    replace_file(folder, WEIGHTS, (folder / WEIGHTS).read_bytes())


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda w: w.pop("trunk.norm.weight"), r"missing 'trunk\.norm\.weight'"),
        (lambda w: w.update({"../x": torch.zeros(1)}), r"unknown '\.\./x'"),
        (lambda w: w.update({"\x1b[2J": torch.zeros(1)}), r"unknown '\\x1b\[2J'"),
        (
            lambda w: w.update({"trunk.norm.weight": torch.zeros(4, 4)}),
            r"size mismatch for trunk\.norm\.weight: \[4, 4\] instead of \[16\]",
        ),
        (
            lambda w: w["trunk.norm.weight"].fill_(torch.nan),
            r"NaN or infinite values in 'trunk\.norm\.weight'",
        ),
        (
            lambda w: w.update({"trunk.norm.weight": torch.ones(16).int()}),
            r"'trunk\.norm\.weight' of type 'I32', not F64, F32",
        ),
        (
            lambda w: w.update(
                {"trunk.norm.weight": torch.full((16,), 1e300, dtype=torch.float64)}
            ),
            r"values of 'trunk\.norm\.weight' beyond float32",
        ),
    ],
    ids=["missing", "unknown", "escape", "shape", "nan", "type", "range"],
)
def test_weights_that_do_not_fit_are_named(folder, edit, told):
    renamed(folder, edit)
    with pytest.raises(ValueError, match=rf"Wanted weights that fit .*, got {told}.*\. Export"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda r: r.update(latitude_deg=r["latitude_deg"][:-1]), "arrays "),
        (lambda r: r.update(statics=r["statics"][:, 1:]), "arrays "),
        (lambda r: r.update(statics=torch.zeros(2, 21, 33)), "arrays "),
        (lambda r: r.update(fine_climatology=r["fine_climatology"][:11]), "arrays "),
        (lambda r: r.update(coarse_climatology=r["fine_climatology"].clone()), "arrays "),
        (lambda r: r.pop("coarse_climatology"), "arrays "),
        (lambda r: r.update(more=torch.zeros(1)), "arrays "),
        (lambda r: r["statics"].fill_(torch.nan), "NaN or infinite values in 'statics'"),
        (lambda r: r["fine_climatology"][0, 0, 0].fill_(torch.inf), "NaN or inf.*'fine_climat"),
        (lambda r: r["latitude_deg"].neg_(), "Wanted a uniform latitude axis"),
        (lambda r: r["longitude_deg"][3].add_(5), "Wanted a uniform longitude axis"),
    ],
    ids=lambda value: None,
)
def test_a_climatology_that_does_not_fit_is_refused(folder, edit, told):
    arrays = load_file(folder / CLIMATOLOGY)
    edit(arrays)
    save_file(arrays, folder / CLIMATOLOGY)
    replace_file(folder, CLIMATOLOGY, (folder / CLIMATOLOGY).read_bytes())
    with pytest.raises(ValueError, match=rf"Wanted climatology and .*, got {told}.*\. Export the"):
        load_checkpoint(folder)


@pytest.mark.parametrize("std", [0, -1.0, float("nan"), float("inf")])
def test_statistics_that_would_divide_by_nothing_are_refused(folder, std):
    change(folder, lambda d: d["statistics"]["orography"].update(std=std))
    with pytest.raises(ValueError, match=r"description .*statistics.orography.std .*\. Export"):
        load_checkpoint(folder)


def test_a_checkpoint_of_a_newer_orbitds_says_so(folder):
    change(folder, lambda d: d.update(format=4, invented="later"))
    with pytest.raises(
        ValueError, match=r"got format 4, .*a newer orbitds.*pip install -U orbitds"
    ):
        load_checkpoint(folder)


# --- memory, and other processes ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_weights_in_another_precision_load_into_float32(folder, dtype):
    weights = load_file(folder / WEIGHTS)
    renamed(folder, lambda w: w.update({name: t.to(dtype) for name, t in w.items()}))
    loaded = load_checkpoint(folder).model
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, weights[name].to(dtype).float())
    assert outputs_finite(loaded)


def outputs_finite(model):
    """Whether a model of the pair answers."""
    fields = torch.zeros(1, len(model.inputs), 7, 11)
    told = {"latitude_deg": torch.linspace(60, -60, 7)[None]}
    told |= {"longitude_deg": torch.linspace(0, 300, 11)[None]}
    with torch.inference_mode():
        fine = model(fields, spacing_km=torch.tensor([[600.0, 200.0]]), **told)
    return bool(fine.isfinite().all())


def test_loading_draws_no_random_numbers_and_leaves_nothing_without_memory(folder):
    before = torch.get_rng_state()
    model = load_checkpoint(folder).model
    assert torch.equal(torch.get_rng_state(), before)
    assert not [
        name for name, t in (*model.named_parameters(), *model.named_buffers()) if t.is_meta
    ]
    assert all(weight.requires_grad for weight in model.parameters())


def test_a_default_device_of_the_caller_changes_nothing(folder):
    with torch.device("meta"):
        model = load_checkpoint(folder).model
    assert all(held.device.type == "cpu" for held in (*model.parameters(), *model.buffers()))


def test_a_checkpoint_travels_as_its_folder_and_identity(folder, statistics):
    checkpoint = load_checkpoint(folder)
    assert checkpoint.folder == folder.resolve()
    assert checkpoint.identity == file_hash(folder / DESCRIPTION)
    sent = pickle.dumps(checkpoint)
    assert len(sent) < 500
    assert pickle.loads(sent) is checkpoint, "loaded once in a process"
    shutil.rmtree(folder)
    save(folder, random_model(), statistics)
    with pytest.raises(ValueError, match=r"Wanted the checkpoint in .* that the job began with"):
        pickle.loads(sent)


def test_a_changed_checkpoint_travels_as_it_is(folder):
    checkpoint = replace(load_checkpoint(folder), region=None)
    assert checkpoint.folder is checkpoint.identity is None
    there = pickle.loads(pickle.dumps(checkpoint))
    assert there.region is None
    assert there.description == checkpoint.description
    for name, tensor in there.model.state_dict().items():
        assert torch.equal(tensor, checkpoint.model.state_dict()[name])


def test_threads_that_ask_at_once_get_one(folder):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load_checkpoint, [folder] * 8))
    assert all(checkpoint is found[0] for checkpoint in found)


# --- what stands there already ------------------------------------------------------------------


def test_a_folder_that_holds_something_is_left_alone(folder, statistics):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match=r"empty place.*which exists.*another folder"):
        save(folder, random_model(), statistics)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_in_the_place_is_left_alone(tmp_path, statistics):
    (tmp_path / "x").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"empty place.*which exists"):
        save(tmp_path / "x", random_model(), statistics)
    assert (tmp_path / "x").read_text(encoding="utf-8") == "mine"


def test_the_objective_travels(tmp_path, statistics):
    told = {"spacing_km": (30.0, 30.0), "provenance": {}, "statistics": statistics}
    save_checkpoint(tmp_path / "masked", random_model(), objective="masked", **told)
    assert load_checkpoint(tmp_path / "masked").description.objective == "masked"


# --- several sets ---


def test_a_checkpoint_of_several_sets_comes_back(mixed_folder, tmp_path):
    one = load_checkpoint(mixed_folder)
    description = one.description
    assert (description.format, description.factors, one.factor) == (3, (3, 2), 3)
    assert one.region is None
    save_checkpoint(
        tmp_path / "again",
        one.model,
        statistics=description.statistics,
        spacing_km=description.spacing_km,
        provenance=description.provenance,
        sets=description.sets,
    )
    again = load_checkpoint(tmp_path / "again")
    assert again.description.sets == description.sets
    for name, weight in one.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weight)
    assert again.fingerprint == one.fingerprint


def test_a_part_is_described_as_if_there_were_nothing_else(mixed_folder):
    whole = load_checkpoint(mixed_folder)
    names = ("northward_wind",)
    choice = Choice(2, names, names, (), (2000.0, 1000.0), same_product=False, told="told")
    part = whole.of(choice)
    assert (part.factor, part.inputs, part.outputs) == (2, names, names)
    assert part.description.sets == ()
    assert part.description.spacing_km == (2000.0, 1000.0)
    assert part.model.aim == (2, names, ())
    assert part.fingerprint == whole.fingerprint
    assert whole.of(choice) is part
    assert pickle.loads(pickle.dumps(part)) is part
    assert whole.model.aim.factor == whole.factor == 3


def test_one_set_is_written_as_older_versions_read_it(checkpoint_folder):
    told = json.loads((checkpoint_folder / DESCRIPTION).read_text())
    assert told["format"] == 2
    assert "sets" not in told
