"""A ledger of memory: what is held while operations run, and its highest, by shapes alone."""

import weakref
from collections.abc import Callable, Iterable

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Ledger(TorchDispatchMode):
    """Counts the bytes of what operations make, until nobody holds it any more.

    Parameters
    ----------
    known
        Tensors that are accounted for elsewhere.

    Notes
    -----
    What a kernel allocates and frees within itself is not seen.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.held_bytes = 0
        self.highest_bytes = 0
        self._known: dict[int, weakref.ref] = {}
        for tensor in known:
            storage = tensor.untyped_storage()
            self._known[storage._cdata] = weakref.ref(storage)

    def hold(self, size: int) -> None:
        """Enter bytes that stay."""
        self.held_bytes += size
        self.highest_bytes = max(self.highest_bytes, self.held_bytes)

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._enter(leaf)
        return out

    def _enter(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        known = self._known.get(key)
        if known is not None and known() is storage:
            return

        def freed(gone: weakref.ref) -> None:
            self.held_bytes -= size
            if self._known.get(key) is gone:
                del self._known[key]

        self._known[key] = weakref.ref(storage, freed)
        self.hold(size)
