"""Who a process is, by torchrun, by srun, or alone."""

import pytest

from orbitds.launch import ALONE, Launch, first_host, launch_of

SRUN = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "16",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_STEP_NODELIST": "frontier[00012-00013]",
}


def test_a_process_by_itself_is_alone():
    assert launch_of({}) == ALONE
    assert ALONE.is_main


def test_a_job_script_without_srun_is_alone():
    assert launch_of({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "16", "SLURM_PROCID": "0"}) == ALONE


def test_srun_says_who_it_is():
    wanted = Launch(rank=9, world=16, local_rank=1, master="frontier00012:34567")
    assert launch_of(SRUN) == wanted
    assert not wanted.is_main
    told = launch_of(SRUN | {"MASTER_ADDR": "login1", "MASTER_PORT": "29500"})
    assert told.master == "login1:29500"


def test_torchrun_goes_before_srun():
    said = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "a",
        "MASTER_PORT": "5",
    }
    assert launch_of(SRUN | said) == Launch(rank=3, world=4, local_rank=1, master="a:5")


def test_half_of_torchrun_is_told():
    with pytest.raises(ValueError, match="got none of WORLD_SIZE, MASTER_ADDR, MASTER_PORT"):
        launch_of({"RANK": "0"})


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("nid001234", "nid001234"),
        ("nid[001234-001240]", "nid001234"),
        ("nid[001234,001240]", "nid001234"),
        ("a1,b2", "a1"),
        ("gpu-a[7-9],cpu3", "gpu-a7"),
    ],
)
def test_the_first_host_of_a_list(nodes, host):
    assert first_host(nodes) == host
