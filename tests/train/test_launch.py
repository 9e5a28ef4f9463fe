"""The processes of a training run meet."""

import socket

import torch.distributed as dist

from orbitds.launch import ALONE
from orbitds.train.launch import free_port, launched


def test_a_process_by_itself_meets_nobody(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    with launched("cpu") as (launch, device):
        assert launch == ALONE
        assert device.type == "cpu"
        assert not dist.is_initialized()


def test_a_free_port_can_be_listened_to():
    with socket.socket() as own:
        own.bind(("127.0.0.1", free_port()))
