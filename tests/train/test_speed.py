"""The meter: rates by a clock that tests wind, and what they are called."""

import pytest
import torch

from orbitds.train import speed as module
from orbitds.train.speed import EVERY_S, Meter, Rates, Work, memory_bytes, peak_of

WORK = Work(samples=6, tokens=1500, operations=3e12)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def meter(clock, **changes):
    told = {"steps": 20, "device": torch.device("cpu"), "clock": clock}
    return Meter(**told | changes)


def test_rates_come_every_few_seconds_and_leave_the_first_step_out(clock):
    one = meter(clock)
    clock.now += 60  # the first step compiles
    assert one.step(WORK) is None
    for _ in range(3):
        clock.now += 1.5
        assert one.step(WORK) is None
    clock.now += 1.5
    rates = one.step(WORK)
    assert rates.samples_per_s == pytest.approx(4 * 6 / 6.0)
    assert rates.tokens_per_s == pytest.approx(4 * 1500 / 6.0)
    assert rates.step_s == pytest.approx(1.5)
    assert rates.left_s == pytest.approx(15 * 1.5)
    assert rates.of_peak is None
    clock.now += 2 * EVERY_S  # counted anew
    assert one.step(WORK).samples_per_s == pytest.approx(6 / (2 * EVERY_S))


def test_validations_do_not_count_as_time_of_steps(clock):
    one = meter(clock)
    one.step(WORK)
    clock.now += 3
    one.step(WORK)
    with one.paused():
        clock.now += 1000
    clock.now += 3
    assert one.step(WORK).step_s == pytest.approx(3)


def test_the_last_step_gives_rates_even_of_a_single_one(clock):
    one = meter(clock, first=19)
    clock.now += 2
    rates = one.step(WORK)
    assert (rates.samples_per_s, rates.left_s) == (pytest.approx(3), 0)


def test_the_share_of_the_peak_is_of_all_devices(clock, monkeypatch):
    monkeypatch.setattr(module, "_is_gpu", lambda device: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    one = meter(clock, processes=4, dtype="bfloat16")
    one.step(WORK)
    before = len(waits)
    for _ in range(9):
        clock.now += 0.5
        assert one.step(WORK) is None
    assert len(waits) == before  # the device is not waited for at each step
    clock.now += 0.5
    rates = one.step(WORK)
    assert len(waits) == before + 1
    assert rates.of_peak == pytest.approx(10 * 3e12 / 5 / (4 * 989e12))
    assert rates.memory_gib == 3


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA H200", "float32", 67e12),
        ("NVIDIA A100-SXM4-40GB", "bfloat16", 312e12),
        ("AMD Instinct MI250X", "bfloat16", 191.5e12),
        ("something else", "float32", None),
    ],
)
def test_peaks_go_by_the_name_of_the_device(name, dtype, expected):
    assert peak_of(name, dtype) == expected


def test_rates_as_text_and_as_values():
    rates = Rates(12.345, 61_725.0, 0.5, None, 3.21, 3723.4)
    assert str(rates) == "12.3 samples/s, 61.7k tokens/s, 3.2 GiB, 1:02:03 left"
    assert "of_peak" not in rates.values
    assert rates.values["step_s"] == 0.5
    known = Rates(12.345, 6.1e9, 0.5, 0.417, 3.21, 59.6)
    assert str(known) == ("12.3 samples/s, 6.1G tokens/s, 42 % of peak, 3.2 GiB, 0:01:00 left")
    assert known.values["of_peak"] == 0.417


def test_memory_on_the_host_is_that_of_the_process():
    held = torch.zeros(2**24)  # 64 MiB, touched
    assert held.nbytes < memory_bytes(torch.device("cpu")) < 2**36
