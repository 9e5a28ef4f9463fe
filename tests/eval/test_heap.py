"""One heap for all threads, where the C library can."""

import platform
import sys

from orbitds.eval.heap import share_heap


def test_it_does_so_with_the_gnu_library_alone(monkeypatch):
    assert share_heap() is (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not share_heap()
