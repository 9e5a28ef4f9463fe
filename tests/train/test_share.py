"""What a process writes of a state."""

import pytest
import torch
from safetensors.torch import load_file

from orbitds.train.launch import ALONE
from orbitds.train.share import Share
from orbitds.train.together import Together


def _tensors():
    generator = torch.Generator().manual_seed(3)
    return {
        "flags": torch.tensor([True, False, True]),
        "half": torch.randn(3, 5, generator=generator).bfloat16(),
        "model.weight": torch.nn.Parameter(torch.randn(7, 3, generator=generator)),
        "strided": torch.randn(4, 6, generator=generator).mT[1:],
        "count": torch.tensor(2**40 + 1),
        "double": torch.tensor(0.1, dtype=torch.float64),
    }


def test_the_file_is_safetensors(tmp_path):
    tensors = _tensors()
    share = Share(tensors, Together(ALONE, None))
    share.stage(tensors)
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    with torch.no_grad():
        for tensor in tensors.values():
            tensor.zero_()
    file = share.write(tmp_path)
    path = tmp_path / "shard-00000.safetensors"
    assert file.size == path.stat().st_size
    found = load_file(path)
    assert len(found) == len(before)
    for name, tensor in before.items():
        part = found[f"{name}@{','.join('0' * tensor.ndim)}"]
        assert part.dtype == tensor.dtype
        assert torch.equal(part, tensor)
    whole = share.parts["strided"]
    assert (whole.dtype, whole.shape, whole.parts[0].offset) == ("F32", (5, 4), (0, 0))


def test_fits():
    share = Share(_tensors(), Together(ALONE, None))
    assert share.fits(_tensors())
    assert not share.fits(_tensors() | {"half": torch.zeros(3, 5)})
    assert not share.fits(_tensors() | {"flags": torch.tensor([True])})
    assert not share.fits({**_tensors(), "more": torch.zeros(1)})


def test_types_that_files_do_not_hold():
    with pytest.raises(ValueError, match=r"complex64 for wave\. Keep"):
        Share({"wave": torch.zeros(2, dtype=torch.complex64)}, Together(ALONE, None))


def test_nothing_to_write(tmp_path):
    share = Share({}, Together(ALONE, None))
    share.stage({})
    assert share.write(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_from_a_gpu(tmp_path):
    tensors = {name: tensor.detach().cuda() for name, tensor in _tensors().items()}
    share = Share(tensors, Together(ALONE, None))
    share.stage(tensors)
    for tensor in tensors.values():
        tensor.zero_()
    share.write(tmp_path)
    found = load_file(tmp_path / "shard-00000.safetensors")
    for name, tensor in _tensors().items():
        assert torch.equal(found[f"{name}@{','.join('0' * tensor.ndim)}"], tensor)
