"""Leaving by a signal, with the exit code that says so."""

import os
import signal
import threading

import pytest

from orbitds.stop import EXIT_CODE, Left, Signals


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_is_noted_and_handlers_come_back(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with Signals() as signals:
        assert signals.reason() is None
        os.kill(os.getpid(), number)
        assert signals.reason() == f"got {name}"
    assert signal.getsignal(number) == before


def test_other_threads_set_no_handlers():
    before, within = signal.getsignal(signal.SIGTERM), []

    def watch():
        with Signals() as signals:
            within.append((signal.getsignal(signal.SIGTERM), signals.reason()))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert within == [(before, None)]


def test_leaving_ends_the_process_with_its_code():
    with pytest.raises(SystemExit) as ended:
        raise Left("kept 3 units")
    assert ended.value.code == EXIT_CODE == 75
    assert str(ended.value) == "kept 3 units"
