"""What processes settle among themselves."""

import pytest
import torch.distributed as dist

from orbitds.train.launch import ALONE, launched
from orbitds.train.together import Together, attempt
from tests.distributed.processes import run, wait_for


def _fail(*told):
    raise KeyError(*told)


def test_alone():
    together = Together(ALONE, None)
    assert together.gather(3) == [3]
    assert together.everywhere(int, "5") == [5]
    assert together.by_main(int, "4") == 4
    assert together.share_out("a", lambda values: [value + "b" for value in values]) == "ab"
    assert together.answer() is None
    for ready in (False, True):
        together.ask(ready=ready)
        assert together.answer() is ready
    assert together.answer() is None
    for call in (together.by_main, together.everywhere):
        with pytest.raises(KeyError, match="gone"):
            call(_fail, "gone")


def _settle(rank, folder):
    with launched("cpu") as (launch, _):
        together = Together(launch, dist.group.WORLD)
        assert together.gather(rank) == [0, 1, 2]
        assert together.by_main(lambda: f"told by {rank}") == "told by 0"
        shares = together.share_out(rank + 1, lambda values: [sum(values) * v for v in values])
        assert shares == 6 * (rank + 1)
        # an error in one process is raised in all
        for call in (
            lambda: together.by_main(_fail, rank),
            lambda: together.share_out(rank, lambda values: _fail(values[0])),
            lambda: together.everywhere(lambda: _fail(0) if rank == 0 else rank),
        ):
            told = attempt(call)
            assert isinstance(told, KeyError), told
            assert told.args == (0,)
        # nobody is ready before the last is; asking does not wait for the slow one
        answers = []
        for turn in range(3):
            if rank == 2 and turn == 0:
                wait_for(folder / "0", folder / "1")
            together.ask(ready=turn >= rank)
            (folder / str(rank)).touch()
            answers.append(together.answer())
        return answers


@pytest.mark.distributed
def test_three_processes(tmp_path):
    assert run(_settle, 3, tmp_path) == [[False, False, True]] * 3
