"""Memory of threads: one heap for all of them."""

import ctypes
import sys

# Of mallopt(3) in the GNU C library.
M_ARENA_MAX = -8


def share_heap() -> bool:
    """Let the threads of this process allocate from one heap; return whether the C library does so.

    The GNU C library gives each thread a heap of its own, which keeps what was freed in it: a fifth
    of the memory of a large evaluation. For processes that do nothing else, before their threads
    begin. Elsewhere it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(M_ARENA_MAX, 1) == 1
