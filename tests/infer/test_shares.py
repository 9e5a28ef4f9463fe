"""Whose units: by hand, by torchrun, srun and job arrays."""

import pytest

from orbitds.infer.shares import Share, share_of

ARRAY = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in
         {"ID": 6, "MIN": 2, "MAX": 8, "COUNT": 4}.items()}  # fmt: skip
SRUN = {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "a1", "SLURM_JOB_ID": "7"}  # fmt: skip
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a",
            "MASTER_PORT": "5"}  # fmt: skip


@pytest.mark.parametrize("world", [1, 3, 8, 40])
@pytest.mark.parametrize("units", [1, 7, 24])
def test_shares_are_all_units_once(units, world):
    dealt = [number for rank in range(world) for number in Share(rank, world).of(units)]
    assert dealt == list(range(units))
    sizes = {len(Share(rank, world).of(units)) for rank in range(world)}
    assert max(sizes) - min(sizes) <= 1


def test_a_process_by_itself_has_all():
    assert share_of({}) == Share()
    assert Share().is_alone


def test_launchers_say_it():
    assert share_of(TORCHRUN) == Share(3, 4, 1)
    assert share_of(SRUN) == Share(1, 3, 1)
    assert share_of(ARRAY) == Share(2, 4)
    assert share_of(ARRAY | SRUN) == Share(7, 12, 1)
    assert str(share_of(ARRAY)) == "3/4"


def test_by_hand_goes_before_launchers():
    assert share_of(TORCHRUN, "2/5") == Share(1, 5)


@pytest.mark.parametrize("wrong", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_what_is_no_share_is_refused(wrong):
    with pytest.raises(ValueError, match=r"Wanted a share as K/N from 1/N to N/N, got"):
        share_of({}, wrong)


def test_an_array_with_holes_is_refused():
    holes = ARRAY | {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MAX": "9"}
    with pytest.raises(ValueError, match="Wanted an array whose numbers follow each other"):
        share_of(holes)


def test_an_array_of_one_task():
    assert share_of(dict.fromkeys(ARRAY, "4") | {"SLURM_ARRAY_TASK_COUNT": "1"}) == Share()
