"""Attention in one place: which kernel runs is decided here, and nowhere else.

The choice is made in Python for each call and handed to PyTorch as the one backend allowed, inside
whatever is compiled: `torch.compile` then traces that kernel and no other. (An order of backends
set *around* a compiled call has no effect.) `eval/bench_model.py --kernels` prints the kernels that
ran, from the profiler.
"""

import contextlib
import importlib
import importlib.util
import threading
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from orbitds.resources import did_you_mean

Backend = Literal["auto", "cudnn", "flash_attn", "flash", "efficient", "math"]

_SDPA = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
# The widest head that the fused half-precision kernels take, and what its width is a multiple of.
LARGEST_HEAD, HEAD_STEP = 256, 8

_LOCK = threading.Lock()
_preferred: Backend = "auto"


@contextlib.contextmanager
def prefer(backend: Backend) -> Iterator[None]:
    """Use one backend for all attention of this process while the context lasts.

    Raises
    ------
    ValueError
        If there is no such backend; a backend that cannot run here fails when attention is called.
    """
    global _preferred
    if backend not in get_args(Backend):
        raise ValueError(
            f"Wanted an attention backend of {list(get_args(Backend))}, got {backend!r}."
            f"{did_you_mean(backend, get_args(Backend))}"
        )
    before, _preferred = _preferred, backend
    try:
        yield
    finally:
        _preferred = before


def attend(
    query: Float[Tensor, "B h N d"],
    key: Float[Tensor, "B h M d"],
    value: Float[Tensor, "B h M d"],
    lengths: Sequence[int] | None = None,
) -> Float[Tensor, "B h N d"]:
    """Return softmax(query key^T / sqrt(d)) value, by the fastest kernel there is for it.

    Parameters
    ----------
    lengths
        Where samples of unequal length lie one after another in a batch of one: the tokens of each.
        They attend within their sample alone.
    """
    backend = choose(query) if _preferred == "auto" else _preferred
    if lengths is not None:
        return _attend_ragged(query, key, value, lengths, backend)
    if backend == "auto":
        return F.scaled_dot_product_attention(query, key, value)
    if backend == "flash_attn":
        # this package has tokens before heads
        parts = (part.transpose(1, 2) for part in (query, key, value))
        return _flash_attn().flash_attn_func(*parts).transpose(1, 2)
    if torch.compiler.is_compiling():
        with sdpa_kernel(_SDPA[backend]):
            return F.scaled_dot_product_attention(query, key, value)
    # what PyTorch allows is one setting of the process: threads that took turns within the context
    # would put back each other's
    with _LOCK, sdpa_kernel(_SDPA[backend]):
        return F.scaled_dot_product_attention(query, key, value)


def choose(query: Float[Tensor, "B h N d"]) -> Backend:
    """Return the backend for queries of this device, type and head; ``auto`` leaves it to PyTorch.

    Notes
    -----
    On Hopper and later cuDNN is 1.3 to 1.8 times as fast as the built-in flash kernel at every
    head measured (64 to 256), but none of its kernels takes a single token; before Hopper,
    flash-attn where installed.
    """
    if query.device.type != "cuda":
        return "auto"
    half = query.dtype in (torch.bfloat16, torch.float16)
    tokens, head = query.shape[-2:]
    fits = half and tokens > 1 and head <= LARGEST_HEAD and head % HEAD_STEP == 0
    return _choose(query.device.index or 0, fits)


@torch.compiler.assume_constant_result
def _choose(device: int, fits: bool) -> Backend:  # noqa: FBT001  a constant for the compiler
    if torch.version.hip is not None:
        return "flash_attn" if fits and has_flash_attn() else "auto"
    major, _ = torch.cuda.get_device_capability(device)
    if not fits or major < 8:  # float32, odd heads, one token, older GPUs: PyTorch's own order
        return "auto"
    if major >= 9 and torch.backends.cudnn.is_available():
        return "cudnn"
    return "flash_attn" if has_flash_attn() else "flash"


def has_flash_attn() -> bool:
    """Return whether the optional package flash-attn is installed."""
    return importlib.util.find_spec("flash_attn") is not None


def _flash_attn():  # noqa: ANN202  an optional module
    if not has_flash_attn():
        raise ImportError(
            "Wanted the attention backend 'flash_attn', got no package flash-attn. "
            "Install orbitds[flash], or choose another backend."
        )
    return importlib.import_module("flash_attn")


def _attend_ragged(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], backend: Backend
) -> Tensor:
    fused = backend in ("cudnn", "flash") and query.device.type == "cuda"
    if backend == "flash_attn" or (fused and _has_varlen()):
        ends = torch.tensor([0, *lengths], device=query.device, dtype=torch.int32).cumsum(0)
        ends = ends.to(torch.int32)
        parts = [part[0].transpose(0, 1) for part in (query, key, value)]
        longest = max(lengths)
        if backend == "flash_attn":
            ragged = _flash_attn().flash_attn_varlen_func
        else:
            ragged = importlib.import_module("torch.nn.attention.varlen").varlen_attn
        return ragged(*parts, ends, ends, longest, longest).transpose(0, 1)[None]
    samples = (part.split(tuple(lengths), dim=2) for part in (query, key, value))
    return torch.cat([attend(*sample) for sample in zip(*samples, strict=True)], dim=2)


def _has_varlen() -> bool:
    """Return whether this PyTorch has attention over samples of unequal length (2.10 and later)."""
    return importlib.util.find_spec("torch.nn.attention.varlen") is not None
