"""The choice of a device, on a machine with and without a GPU."""

import pytest
import torch

from orbitds.device import choose_device, reproducible


@pytest.mark.parametrize("name", ["auto", None])
@pytest.mark.parametrize(("has_gpu", "wanted"), [(False, "cpu"), (True, "cuda")])
def test_the_first_gpu_is_chosen_where_there_is_one(monkeypatch, name, has_gpu, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert choose_device(name) == torch.device(wanted)


def test_the_cpu_is_chosen_by_name_whatever_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cuda0", "", "cpu,0", "meta"])
def test_what_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match=rf"device of this machine, got '{name}'.*CPU.*`cuda:1`"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="got 'cuda'; it has the CPU and 0 GPUs"):
        choose_device("cuda")


@pytest.mark.parametrize("wanted", [True, False])
def test_reproducible_kernels_are_asked_for_while_it_lasts(wanted):
    with reproducible(wanted):
        assert torch.are_deterministic_algorithms_enabled() is wanted
    assert not torch.are_deterministic_algorithms_enabled()
