"""Progress: lines now and then in a log, a bar on a terminal, errors let through."""

import pytest

from orbitds import progress as module
from orbitds.progress import LINE_EVERY_S, progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests wind by hand."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def log(monkeypatch, capsys):
    """Standard error as a job's log file has it."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return capsys


def test_a_log_gets_the_first_the_last_and_a_line_now_and_then(log, clock):
    with progress("downscale", 100) as report:
        for done in range(1, 101):
            report(done, f"block {done}")
            clock.now += 0.5
    lines = log.readouterr().err.splitlines()
    every = round(LINE_EVERY_S / 0.5)
    expected = [*range(1, 100, every), 100]
    assert lines == [f"downscale {done}/100 block {done}" for done in expected]


def test_the_last_line_comes_however_soon(log, clock):
    with progress("train", 3) as report:
        for done in (1, 2, 3):
            report(done, "")
    assert log.readouterr().err == "train 1/3\ntrain 3/3\n"


def test_nothing_goes_to_standard_output(log, clock):
    with progress("score", 2) as report:
        report(1, "")
    captured = log.readouterr()
    assert captured.err == "score 1/2\n"
    assert captured.out == ""


def test_no_report_no_line(log):
    with progress("train", 0):
        pass
    assert log.readouterr().err == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_an_error_inside_comes_out(monkeypatch, log, terminal):
    if terminal:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")

    def fail():
        with progress("write", 2) as report:
            report(1, "")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert "write" in log.readouterr().err


def test_a_terminal_gets_a_bar_with_the_latest_text(monkeypatch, log):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with progress("train", 4) as report:
        report(1, "loss 0.9")
        report(3, "loss 0.5")
    captured = log.readouterr()
    for part in ("train", "3/4", "loss 0.5"):
        assert part in captured.err
    assert "\x1b[" in captured.err, "a bar redraws its line"
    assert captured.out == ""
