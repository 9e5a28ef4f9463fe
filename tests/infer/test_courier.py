"""The courier: on the CPU nothing is carried, on a GPU it is the same values."""

import pytest
import torch

from orbitds.checkpoint import load_checkpoint
from orbitds.infer import courier
from orbitds.infer.courier import Courier, on_device


def test_nothing_is_carried_on_the_cpu():
    carrier = Courier(torch.device("cpu"))
    field = torch.randn(3, 4)
    there = carrier.arrived(carrier.bring(field))
    assert there.data_ptr() == field.data_ptr()
    out = carrier.empty(3, 4)
    with carrier.beside():
        carrier.send(there * 2, out)
    carrier.wait()
    assert torch.equal(out, field * 2)
    assert (out.dtype, out.is_pinned()) == (torch.float32, False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_copies_wait_for_what_they_need(monkeypatch):
    carrier = Courier(torch.device("cuda"))
    for turn in range(20):
        host = carrier.empty(64, 1024, 1024)
        assert host.is_pinned()
        host.fill_(turn)
        there = carrier.arrived(carrier.bring(host))
        for _ in range(5):
            there = there + 1
        out = carrier.empty(64, 1024, 1024)
        carrier.send(there, out)
        del there
        torch.full((64, 1024, 1024), -1.0, device="cuda")  # would take its memory
        carrier.wait()
        assert (out == turn + 5).all()
    monkeypatch.setattr(courier, "PINNED_BYTES", 10)
    assert not carrier.empty(3).is_pinned()


def test_a_model_is_copied_without_its_own_moving(checkpoint_folder):
    model = load_checkpoint(checkpoint_folder).model
    assert on_device(model, torch.device("cpu")) is model
    there = on_device(model, torch.device("meta"))
    assert {weight.device.type for weight in there.parameters()} == {"meta"}
    assert {buffer.device.type for buffer in there.buffers()} == {"meta"}
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}
    assert there.state_dict().keys() == model.state_dict().keys()
    assert not there.training
