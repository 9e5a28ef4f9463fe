"""Plans: numbers of a run, the table, and the command that writes nothing."""

import json

import pytest

from orbitds.config import SaveConfig
from orbitds.train.plan import _states, predict
from tests.train.outlines import config, outline


@pytest.fixture(scope="module")
def small():
    run = config(
        {"heads": 4},
        batch_size=14,
        accumulate=2,
        steps=24,
        validate_every=5,
        ema_decay=0.9,
        parallel={"replicate": 2, "tensor": 2},
    )
    return predict(run, [outline()], processes=12)


def test_the_numbers_of_a_run(small):
    assert small.sizes == {
        "replicate": 2, "tiles": 1, "shard": 3, "sequence": 1, "channel": 1, "tensor": 2,
    }  # fmt: skip
    assert (small.processes, small.samples, small.samples_of_process, small.parts) == (12, 14, 3, 2)
    assert small.training_samples == {"made up": 120}
    assert small.epochs == {"made up": 24 * 14 / 120}
    assert small.state_bytes == 16 * small.parameters
    assert small.states == 2
    assert small.checkpoint_bytes == 4 * (small.parameters + 9 * 14 * 9)
    assert small.storage_bytes == 3 * small.state_bytes + 2 * small.checkpoint_bytes


def test_the_work_of_a_run_is_that_of_its_samples(small):
    one = predict(config({"heads": 4}, batch_size=1, steps=1), [outline()], processes=1)
    assert small.operations == pytest.approx(24 * 14 * one.operations)


@pytest.mark.slow
def test_pairs_share_the_steps():
    other = outline(rows=4, columns=6, samples=10)
    run = config(batch_size=4, steps=10)
    run = run.model_copy(update={"pair": None, "pairs": {"one": 3.0, "two": 1.0}})
    names = [outline(), type(other)(**vars(other) | {"name": "two"})]
    found = predict(run, names, processes=1)
    assert found.epochs == {"made up": 30 / 120, "two": 10 / 10}
    assert found.tokens == 35
    assert "of two, seen 1 times" in found.describe()


@pytest.mark.parametrize(
    ("save", "expected"),
    [
        ({"every": 10}, 2),
        ({"every": 10, "keep_last": 20}, 10),
        ({"every": 10, "keep_every": 40}, 4),  # 40, 80 and 90, 100
        ({"every": 200}, 0),
        ({}, 2),
    ],
)
def test_states_that_are_kept(save, expected):
    assert _states(SaveConfig(**save), validate_every=25, steps=100) == expected


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="start 2 processes"):
        predict(config(parallel={"tensor": 2, "shard": 1}), [outline()], processes=3)
    with pytest.raises(ValueError, match="batch of 16 for 32 ranks"):
        predict(config(), [outline()], processes=32)


def test_the_table_leaves_out_what_there_is_not(small):
    told = small.describe()
    assert "12 = replicate 2 x tiles 1 x shard 3 x sequence 1 x channel 1 x tensor 2" in told
    assert "14 samples, 3 a process, in 2 parts" in told
    assert "running mean" in told
    assert "on the host" not in told


def test_what_a_process_sends_is_told_where_it_is_known(small):
    assert set(small.sent_bytes) == {"weights", "gradients", "matrices", "numbers"}
    assert min(small.sent_bytes.values()) > 0
    assert "sent by a process in a step" in small.describe()
    for run in (config(), config(parallel={"engine": "deepspeed"})):
        alone = predict(run, [outline()], processes=1)
        assert alone.sent_bytes == {}
        assert "sent by" not in alone.describe()


def test_a_dry_run_writes_nothing(orbitds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ask = ("train", "--config", "smoke", "--dry-run", "--processes", 4)
    answer = orbitds(*ask)
    assert answer.code == 0, answer.err
    assert "4 samples, 1 a process" in answer.out
    told = json.loads(orbitds(*ask, "--json").out)
    assert told["processes"] == 4
    assert told["memory"]["total"] > told["memory"]["work"] > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--dry-run", "--processes", 5), "batch of 4 for 5 ranks"),
        (("--dry-run", "--pair", "nowhere"), "nowhere"),
        (("--processes", 2), "Add --dry-run"),
        ((), "Wanted --output"),
    ],
)
def test_the_command_refuses_what_a_run_would(orbitds, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    answer = orbitds("train", "--config", "smoke", *arguments)
    assert answer.code == 1
    assert told in answer.err
    assert not list(tmp_path.iterdir())
