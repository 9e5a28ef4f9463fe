"""Batches: as even as can be, or all of one size; smaller once memory ran out."""

import pytest
import torch

from orbitds.infer.batch import Batch, check_batch_size, is_out_of_memory


def sizes(batch, windows):
    found = []
    while windows > 0:
        found.append(batch.cut(windows))
        windows -= found[-1]
    return found


@pytest.mark.parametrize(
    ("windows", "even"), [(10, [4, 3, 3]), (3, [3]), (4, [4]), (5, [3, 2]), (8, [4, 4])]
)
def test_batches_are_even_or_constant(windows, even):
    assert sizes(Batch(4, is_constant=False), windows) == even
    assert sizes(Batch(4, is_constant=True), windows) == [4] * -(-windows // 4)


def test_a_batch_is_halved_from_what_failed():
    batch = Batch(16, is_constant=False)
    with pytest.warns(UserWarning, match="Memory ran out with 6 windows at once"):
        batch.halve(6, MemoryError())
    assert batch.size == 3
    batch.halve(3, MemoryError())  # without a second warning
    assert batch.size == 1
    with pytest.raises(MemoryError, match="Wanted memory for one window.*got an error: full"):
        batch.halve(1, MemoryError("full"))


@pytest.mark.parametrize("asked", [None, "auto"])
def test_no_number_is_a_choice(asked):
    assert check_batch_size(asked) is None
    assert check_batch_size(3) == 3


@pytest.mark.parametrize("asked", [0, -1])
def test_wrong_sizes_are_refused(asked):
    with pytest.raises(ValueError, match=rf"Wanted the batch size.*got {asked}\. Try"):
        check_batch_size(asked)


def test_what_says_that_memory_ran_out():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_real_lack_of_memory_is_known():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60)
    assert is_out_of_memory(error.value)
