"""How many windows run at once, and what happens where they are too many for the memory."""

import warnings
from typing import Literal

BatchSize = Literal["auto"] | int | None

# Fine cells worked on at once on a CPU: larger batches leave its caches, and take longer.
BATCH_FINE_CELLS = 2**18
# More windows at once than this do not make a GPU faster.
LARGEST_BATCH = 16


def check_batch_size(batch_size: BatchSize) -> int | None:
    """Return how many windows are asked for, None to choose.

    Raises
    ------
    ValueError
        If it is no number of windows.
    """
    if batch_size is None or batch_size == "auto":
        return None
    if isinstance(batch_size, int) and batch_size > 0:
        return batch_size
    raise ValueError(
        f"Wanted the batch size as 'auto' or a number of windows, got {batch_size!r}. Try "
        "batch_size=1, or leave it out."
    )


class Batch:
    """The number of windows that run at once; less from the first time that memory runs out.

    Parameters
    ----------
    size
        Windows.
    is_constant
        Whether every batch has this size, filled up where windows are left over: what is computed
        of a window then never depends on how many others there are, and a compiled model meets
        one shape.
    """

    def __init__(self, size: int, *, is_constant: bool) -> None:
        self.size = size
        self.is_constant = is_constant
        self._has_warned = False

    def cut(self, windows: int) -> int:
        """Return the size of the batches that so many windows are cut into."""
        if self.is_constant or windows <= self.size:
            return self.size if self.is_constant else windows
        batches = -(-windows // self.size)
        return -(-windows // batches)  # as even as can be

    def halve(self, size: int, error: BaseException) -> None:
        """Take half of a batch that did not fit into memory, for the rest of the job.

        Raises
        ------
        MemoryError
            If it was a single window.
        """
        if size == 1:
            raise MemoryError(
                f"Wanted memory for one window of the field, got an error: {error}. Cut the field "
                "into more tiles (tiles=(4, 8), --tiles 4x8), free memory, or choose another "
                "device."
            ) from error
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"Memory ran out with {size} windows at once: going on with half as "
                "many, and fewer if need be. A smaller batch_size avoids this.",
                UserWarning,
                stacklevel=2,
            )
        self.size = min(self.size, size // 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or on the host."""
    if isinstance(error, MemoryError):
        return True
    told = str(error).lower()
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in told
        or "can't allocate memory" in told
        or "not enough memory" in told
    )
