"""States of a run in one process: round trips, damage, kills, failures."""

import json
import os
import shutil
import signal
import threading
import time

import pytest
import torch

from orbitds.config import SaveConfig
from orbitds.train import share as share_module
from orbitds.train.launch import ALONE
from orbitds.train.manifest import MANIFEST
from orbitds.train.states import States
from tests.distributed.processes import run, wait_for

SHARD = "shard-00000.safetensors"


def _states(folder, **config):
    return States(folder, SaveConfig(**config), ALONE, None)


def _tensors(step, **sizes):
    """Return tensors that differ from step to step, of all types that a run has."""
    generator = torch.Generator().manual_seed(step)
    return {
        "model.weight": torch.nn.Parameter(torch.randn(5, 3, generator=generator)),
        "exp_avg.weight": torch.randn(5, 3, generator=generator).bfloat16(),
        "average.scale": torch.randn((), generator=generator),
        "count": torch.tensor(step),
        "order": torch.randint(2**60, (7, 1, 3), generator=generator),
    }


def _empty():
    tensors = _tensors(0)
    with torch.no_grad():
        for tensor in tensors.values():
            tensor.fill_(99)
    return tensors


def _is(tensors, step):
    expected = _tensors(step)
    assert tensors.keys() == expected.keys()
    return all(torch.equal(tensors[name], expected[name]) for name in expected)


def _write(folder, *steps, **config):
    states = _states(folder, **({"keep_last": 9} | config))
    for step in steps:
        states.save(step, _tensors(step), {"best": step / 10})
    states.wait()
    return states


def test_round_trip(tmp_path):
    folder = tmp_path / "states"
    _write(folder, 3, 12)
    into = _empty()
    given = dict(into)
    assert _states(folder).load(into) == {"step": 12, "best": 1.2}
    assert _is(into, 12)
    assert all(into[name] is given[name] for name in given)
    assert (folder / "latest").read_text() == "step-00000012\n"


def test_there_is_none(tmp_path):
    into = _empty()
    assert _states(tmp_path / "states").load(into) is None
    assert into["count"] == 99
    assert not (tmp_path / "states").exists()


def test_training_goes_on(tmp_path):
    """Tensors and facts change after save, twice in the same staging memory."""
    states = _states(tmp_path, keep_last=9)
    for step in (1, 2):
        tensors, facts = _tensors(step), {"list": [step]}
        states.save(step, tensors, facts)
        with torch.no_grad():
            for tensor in tensors.values():
                tensor.zero_()
        facts["list"].append(0)
    states.wait()
    for step in (2, 1):
        into = _empty()
        assert _states(tmp_path).load(into) == {"step": step, "list": [step]}
        assert _is(into, step)
        shutil.rmtree(tmp_path / f"step-{step:08d}")


def test_other_tensors_later(tmp_path):
    states = _write(tmp_path, 1)
    states.save(2, {"more": torch.arange(3)}, {})
    states.wait()
    into = {"more": torch.zeros(3, dtype=torch.int64)}
    assert _states(tmp_path).load(into) == {"step": 2}
    assert into["more"].tolist() == [0, 1, 2]


def test_what_the_run_is_at_is_not_saved_again(tmp_path):
    states = _write(tmp_path, 4)
    written = (tmp_path / "step-00000004" / SHARD).stat().st_mtime_ns
    states.save(4, _tensors(4), {})
    resumed = _states(tmp_path)
    resumed.load(_empty())
    resumed.save(4, _tensors(4), {})
    resumed.wait()
    assert (tmp_path / "step-00000004" / SHARD).stat().st_mtime_ns == written


def test_what_is_kept(tmp_path):
    _write(tmp_path, *range(1, 8), keep_last=2, keep_every=3)
    kept = sorted(path.name for path in tmp_path.glob("*-*"))
    assert kept == ["step-00000003", "step-00000006", "step-00000007"]


# --- damage ---


def _truncate(folder):
    path = folder / SHARD
    path.write_bytes(path.read_bytes()[:-1])
    return f"{SHARD} has .* bytes of"


def _flip(folder):
    path = folder / SHARD
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    return f"{SHARD} has other bytes"


def _flip_header(folder):
    path = folder / SHARD
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    return f"{SHARD} has other bytes"


def _lose(folder):
    (folder / SHARD).unlink()
    return f"{SHARD} is missing"


def _lose_manifest(folder):
    (folder / MANIFEST).unlink()
    return f"{MANIFEST} is missing"


def _garble_manifest(folder):
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('"step": 20', '"step": 21'))
    return f"{MANIFEST} is not as"


def _empty_folder(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    return f"{MANIFEST} is missing"


@pytest.mark.parametrize(
    "damage",
    [_truncate, _flip, _flip_header, _lose, _lose_manifest, _garble_manifest, _empty_folder],
)
def test_damage_is_said_and_the_state_before_taken(tmp_path, damage):
    _write(tmp_path, 10, 20)
    told = damage(tmp_path / "step-00000020")
    into = _empty()
    states = _states(tmp_path, keep_last=1)
    with pytest.warns(match=rf"step 20 is damaged: {told}.*goes on from .*step-00000010"):
        assert states.load(into) == {"step": 10, "best": 1.0}
    assert _is(into, 10)
    # it neither comes back nor outlives the whole ones
    states.save(15, _tensors(15), {})
    states.wait()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"step-00000015", "damaged-step-00000020", "latest"}
    assert _states(tmp_path).load(into) == {"step": 15}


def test_no_whole_state_is_an_error_each_time(tmp_path):
    _write(tmp_path, 10, 20)
    _flip(tmp_path / "step-00000020")
    _lose(tmp_path / "step-00000010")
    for _ in range(2):
        into = _empty()
        with pytest.raises(OSError, match=r"alone: step 20: .* other bytes.*; step 10: .* missing"):
            _states(tmp_path).load(into)
        assert into["count"] == 99


@pytest.mark.parametrize("pointer", [b"", b"\xff\x00garbage", b"step-99999999\n", None])
def test_the_pointer_is_for_people(tmp_path, pointer):
    _write(tmp_path, 10, 20)
    (tmp_path / "latest").unlink()
    if pointer is not None:
        (tmp_path / "latest").write_bytes(pointer)
    assert _states(tmp_path).load(_empty())["step"] == 20


def test_others_than_the_tensors_of_the_run(tmp_path):
    _write(tmp_path, 10)
    with pytest.raises(ValueError, match=r"count: wanted none, got torch.int64 \[\]"):
        _states(tmp_path).load({k: v for k, v in _empty().items() if k != "count"})


def test_no_pickle_is_read(tmp_path, monkeypatch):
    _write(tmp_path, 10)
    for name in ("load", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", None)
    monkeypatch.setattr(torch, "load", None)
    assert _states(tmp_path).load(_empty())["step"] == 10


# --- the background ---


@pytest.fixture
def slow(monkeypatch):
    """Hold every shard back until the event is set."""
    go = threading.Event()
    write_file = share_module.write_file

    def write_later(path, pieces):
        assert go.wait(60)
        return write_file(path, pieces)

    monkeypatch.setattr(share_module, "write_file", write_later)
    yield go
    go.set()


def test_save_and_poll_do_not_wait(tmp_path, slow):
    states = _states(tmp_path)
    states.save(1, _tensors(1), {})
    for _ in range(3):
        states.poll()
    assert not list(tmp_path.glob("step-*"))
    slow.set()
    end = time.monotonic() + 20
    while not (tmp_path / "latest").exists():
        assert time.monotonic() < end
        states.poll()
    states.wait()
    assert [path.name for path in tmp_path.glob("*step*")] == ["step-00000001"]


def test_a_second_save_waits_for_the_first(tmp_path, slow):
    states = _states(tmp_path)
    states.save(1, _tensors(1), {})
    threading.Timer(0.2, slow.set).start()
    states.save(2, _tensors(2), {})
    assert (tmp_path / "step-00000001" / MANIFEST).exists()
    states.wait()
    into = _empty()
    assert _states(tmp_path).load(into) == {"step": 2}
    assert _is(into, 2)


def test_facts_that_json_does_not_hold(tmp_path):
    states = _states(tmp_path)
    with pytest.raises(TypeError, match="JSON"):
        states.save(1, _tensors(1), {"x": {1, 2}})
    states.wait()
    assert list(tmp_path.iterdir()) == []


def _disk_full(folder, monkeypatch):
    (folder / ".partial-00000002").mkdir()
    (folder / ".partial-00000002" / SHARD).symlink_to("/dev/full")
    return rf"\.partial-00000002/{SHARD}: No space left"


def _full_for_the_manifest(folder, monkeypatch):
    (folder / ".partial-00000002").mkdir()
    (folder / ".partial-00000002" / MANIFEST).symlink_to("/dev/full")
    return rf"\.partial-00000002/{MANIFEST}: No space left"


def _folder_is_deleted(folder, monkeypatch):
    write_file = share_module.write_file

    def write_nowhere(path, pieces):
        shutil.rmtree(path.parent)
        return write_file(path, pieces)

    monkeypatch.setattr(share_module, "write_file", write_nowhere)
    return rf"\.partial-00000002/{SHARD}: No such file"


@pytest.mark.parametrize("finish", ["poll", "wait", "save"])
@pytest.mark.parametrize("fail", [_disk_full, _full_for_the_manifest, _folder_is_deleted])
def test_failures_keep_what_was(tmp_path, monkeypatch, fail, finish):
    states = _write(tmp_path, 1)
    with monkeypatch.context() as context:
        told = fail(tmp_path, context)
        states.save(2, _tensors(2), {})
        with pytest.raises(OSError, match=rf"step 2, got from process 0: .*{told}.*start the run"):
            _finish(states, finish)
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000001", "latest"}
    # the error is told once, and a caller who made room may go on
    states.poll()
    states.save(3, _tensors(3), {})
    states.wait()
    assert _states(tmp_path).load(_empty()) == {"step": 3}


def _finish(states, how):
    if how == "poll":
        end = time.monotonic() + 20
        while time.monotonic() < end:
            states.poll()
            time.sleep(0.001)
    elif how == "wait":
        states.wait()
    else:
        states.save(3, _tensors(3), {})


# --- kills ---


def _kill(rank, folder, kills):
    """Save in a loop, be killed at a random moment, look at what is there; again and again."""
    generator = torch.Generator().manual_seed(kills)
    told = folder.parent / "told"
    cut_off, reached = 0, 0
    for turn in range(kills):
        child = os.fork()
        if child == 0:
            _save_for_ever(folder, told)
        wait_for(told, timeout_s=20)  # the first state is there
        time.sleep(0.4 * torch.rand((), generator=generator).item())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        cut_off += any(folder.glob(".*"))
        at_least = json.loads(told.read_text())
        into = _many(0)
        facts = _states(folder).load(into)
        assert facts["step"] == facts["value"] >= at_least, turn
        assert all((tensor == facts["value"]).all() for tensor in into.values()), turn
        assert not any(folder.glob(".*"))
        reached = facts["step"]
    return cut_off, reached


def _save_for_ever(folder, told):
    try:
        states = _states(folder, keep_last=2)
        facts = states.load(_many(0))
        step = facts["step"] if facts else 0
        while True:
            step += 1
            states.save(step, _many(step), {"value": step})
            for _ in range(3):
                states.poll()
            states.wait()
            partial = told.with_suffix(".partial")
            partial.write_text(json.dumps(step))
            partial.replace(told)
    finally:
        os._exit(1)  # nothing of the test runs in the child


def _many(value):
    return {f"t{place}": torch.full((150_001,), value, dtype=torch.float64) for place in range(4)}


@pytest.mark.distributed
def test_killed_at_any_moment(tmp_path):
    ((_, step),) = run(_kill, 1, tmp_path / "states", 3)
    assert step >= 1


@pytest.mark.slow
@pytest.mark.distributed
def test_killed_often(tmp_path):
    ((cut_off, step),) = run(_kill, 1, tmp_path / "states", 25)
    assert cut_off >= 5, "kills met no state that was being written"
    assert step >= 10, "hardly a state was written in between"
