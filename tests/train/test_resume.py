"""A run that is killed and goes on leaves the bytes of one that was not."""

import json
import os
import random
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from orbitds.train import loop
from orbitds.train.stop import EXIT_CODE
from tests import forking
from tests.train import running


def started(folder, device="cpu", **environment):
    """Start a run that goes on from what is in the folder."""
    log = told_of(folder)
    return forking.begin(running.main, folder, device, log=log, environment=environment)


def told_of(folder):
    """Return the file of what the processes of a folder have said."""
    return folder.with_name(f"{folder.name}.said")


def ended(folder, process, code=0):
    assert forking.ended(process) == code, told_of(folder).read_text()


def results(folder):
    """What a run leaves: its log, its best weights, its last state."""
    state = folder / "states" / (folder / "states" / "latest").read_text().strip()
    files = [folder / "log.jsonl", folder / "best" / "weights.safetensors"]
    files += sorted(state.glob("*.safetensors"))
    assert len(files) == 3
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that was never stopped leaves, and how long it took."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    process, start = started(folder), time.monotonic()
    ended(folder, process)
    return results(folder), time.monotonic() - start


def killed(folder, kills, seconds, seed, device="cpu"):
    """Kill a run so often, at random moments; return the steps of its states at these."""
    moments, luck = [], random.Random(seed)
    while len(moments) < kills:
        process = started(folder, device)
        process.join(luck.uniform(0, seconds / 3))
        if process.exitcode is not None:
            ended(folder, process)
            break
        process.kill()
        forking.ended(process)
        moments.append(sorted(path.name for path in folder.glob("states/*")))
    ended(folder, started(folder, device))
    return moments


def test_a_killed_run_goes_on(whole, tmp_path):
    moments = killed(tmp_path / "run", 1, whole[1], seed=1)
    assert moments
    assert results(tmp_path / "run") == whole[0]


@pytest.mark.slow
def test_runs_killed_again_and_again_go_on(whole, tmp_path):
    kills, seed = 0, 0
    while kills < 25:
        folder = tmp_path / str(seed)
        kills += len(killed(folder, 9, whole[1], seed=100 + seed))
        assert results(folder) == whole[0]
        seed += 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_runs_killed_on_a_gpu_go_on(tmp_path):
    process, start = started(tmp_path / "whole", "cuda"), time.monotonic()
    ended(tmp_path / "whole", process)
    whole, seconds = results(tmp_path / "whole"), time.monotonic() - start
    states = [step for step in killed(tmp_path / "run", 6, 3 * seconds, 7, "cuda") if step]
    assert states  # some were killed after a state
    assert results(tmp_path / "run") == whole


@pytest.mark.parametrize("name", [pytest.param("SIGTERM", marks=pytest.mark.slow), "SIGUSR1"])
def test_a_signal_saves_and_leaves(whole, tmp_path, name):
    folder = tmp_path / "run"
    process = started(folder)
    while not (folder / "log.jsonl").exists() or not (folder / "log.jsonl").read_bytes():
        time.sleep(0.01)
    os.kill(process.pid, getattr(signal, name))
    ended(folder, process, EXIT_CODE)
    lines = (folder / "log.jsonl").read_text().splitlines()
    state = (folder / "states" / "latest").read_text().strip()
    # the state is that of the last step in the log: nothing is lost
    assert state == f"step-{json.loads(lines[-1])['step']:08d}"
    assert len(lines) < 24
    ended(folder, started(folder))
    assert results(folder) == whole[0]


@pytest.mark.slow
def test_a_run_leaves_before_its_job_ends(whole, tmp_path):
    folder = tmp_path / "run"
    process = started(folder, SLURM_JOB_END_TIME=str(time.time() + 100))  # 300 s are wanted
    ended(folder, process, EXIT_CODE)
    assert 1 <= len((folder / "log.jsonl").read_text().splitlines()) <= 2
    ended(folder, started(folder))
    assert results(folder) == whole[0]


@pytest.mark.slow
def test_a_finished_run_has_nothing_left_to_do(whole, tmp_path):
    for _ in range(2):
        ended(tmp_path / "run", started(tmp_path / "run"))
    assert results(tmp_path / "run") == whole[0]


@pytest.mark.slow
def test_a_damaged_state_is_told_and_the_one_before_it_taken(whole, tmp_path):
    folder = tmp_path / "run"
    ended(folder, started(folder))
    state = folder / "states" / "step-00000024"
    shard = next(state.glob("*.safetensors"))
    spoilt = bytearray(shard.read_bytes())
    spoilt[-3] ^= 1
    shard.write_bytes(spoilt)
    ended(folder, started(folder))
    assert "The state of step 24 is damaged" in told_of(folder).read_text()
    assert results(folder) == whole[0]


def test_other_settings_or_data_do_not_go_on(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "open_pair", lambda name: pair)
    folder = tmp_path / "run"
    config = running.CONFIG.model_copy(update={"steps": 2, "validate_every": 2})
    loop.run(config, folder, resume=True)
    kept = load_file(folder / "best" / "weights.safetensors")
    other = config.model_copy(update={"seed": 5})
    with pytest.raises(ValueError, match=r"settings of the run in .*got seed 5 \(it was 0\)"):
        loop.run(other, folder, resume=True)
    with pytest.raises(FileExistsError, match="--resume"):
        loop.run(config, folder)
    freely = config.model_copy(update={"accumulate": 3, "patience": 4})
    assert loop.run(freely, folder, resume=True) == folder / "best"
    colder = pair.__class__(
        pair.name, pair.coarse - 1, pair.fine, pair.statics, pair.split, pair.same_product
    )
    monkeypatch.setattr(loop, "open_pair", lambda name: colder)
    with pytest.raises(ValueError, match="data that the run in .* has seen, got others of synth"):
        loop.run(config, folder, resume=True)
    again = load_file(folder / "best" / "weights.safetensors")
    assert all((again[name] == kept[name]).all() for name in kept)
