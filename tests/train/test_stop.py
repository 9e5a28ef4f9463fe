"""When a run saves and leaves."""

import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from orbitds.config import SaveConfig
from orbitds.train.stop import EXIT_CODE, Stop, Stopped


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_signals(name):
    number = getattr(signal, name)
    heard = []
    earlier = signal.signal(number, lambda *_: heard.append(name))
    try:
        with Stop(SaveConfig(), {}) as stop:
            assert stop.reason() is None
            for _ in range(2):  # impatient schedulers send it again
                os.kill(os.getpid(), number)
            assert stop.reason() == f"got {name}"
        assert not heard
        os.kill(os.getpid(), number)
        assert heard == [name]
    finally:
        signal.signal(number, earlier)


def test_handlers_are_as_before():
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    within = []
    with suppress(RuntimeError), Stop(SaveConfig(), {}):
        within = [signal.getsignal(number) for number in numbers]
        raise RuntimeError
    assert [a == b for a, b in zip(within, before, strict=True)] == [False, False, True]
    assert [signal.getsignal(number) for number in numbers] == before


def test_the_end_of_the_job(monkeypatch):
    now = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    environment = {"SLURM_JOB_END_TIME": "1700000400"}
    with Stop(SaveConfig(stop_before_s=100), environment) as stop:
        now += 299
        assert stop.reason() is None
        now += 1
        assert stop.reason().startswith("the job ends at ")


@pytest.mark.parametrize("environment", [{}, {"SLURM_JOB_END_TIME": ""}])
def test_no_job_has_no_end(environment):
    with Stop(SaveConfig(stop_before_s=1e12), environment) as stop:
        assert stop.reason() is None


def test_a_job_that_is_too_short_is_said(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    stop = Stop(SaveConfig(stop_before_s=60), {"SLURM_JOB_END_TIME": "1060"})
    with pytest.warns(UserWarning, match=r"ends in 60 s.*60 s before.*stop_before_s"), stop:
        assert stop.reason() is not None


def test_an_end_that_is_no_number():
    with pytest.raises(ValueError, match=r"SLURM_JOB_END_TIME, got 'noon'"):
        Stop(SaveConfig(), {"SLURM_JOB_END_TIME": "noon"})


def test_outside_the_main_thread_the_clock_is_watched():
    found = []

    def watch():
        environment = {"SLURM_JOB_END_TIME": "5"}
        with pytest.warns(match="ends in 0 s"), Stop(SaveConfig(), environment) as stop:
            found.append(stop.reason())

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert found[0].startswith("the job ends")


def test_exit():
    with pytest.raises(SystemExit) as ended:
        raise Stopped("got SIGTERM", 123)
    assert ended.value.code == EXIT_CODE == 75
    assert str(ended.value) == (
        "saved the state of step 123 and stopped: got SIGTERM. "
        "Start the same command again to go on."
    )
