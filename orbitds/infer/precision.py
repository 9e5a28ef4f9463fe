"""In which floating-point type a model computes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from orbitds.model.interface import DownscalingModel

Dtype = Literal["float32", "bfloat16"]
# From Ampere on, GPUs multiply bfloat16 fast.
LEAST_CAPABILITY = 8


def check_dtype(dtype: str | None) -> Dtype | None:
    """Return a type to compute in, or refuse what is none.

    Raises
    ------
    ValueError
        If it is neither ``float32`` nor ``bfloat16``.
    """
    if dtype is not None and dtype not in get_args(Dtype):
        raise ValueError(
            f"Wanted the dtype 'float32' or 'bfloat16', got {dtype!r}. Choose one of the two, or "
            "leave it out."
        )
    return dtype  # pyright: ignore[reportReturnType]  checked above


def choose_dtype(dtype: Dtype | None, device: torch.device, model: DownscalingModel) -> Dtype:
    """Return the type to compute in: as asked for, else what the device is fast in.

    bfloat16 on GPUs from Ampere on, for models that add what they compute in it to a base in
    float32; others would return fields rounded to three digits. float32 elsewhere.
    """
    if dtype is not None:
        return dtype
    if device.type != "cuda" or not model.adds_to_float32:
        return "float32"
    major, _ = torch.cuda.get_device_capability(device)
    return "bfloat16" if major >= LEAST_CAPABILITY else "float32"


def computing_in(dtype: Dtype, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which products are computed in a type, and sums kept as they are."""
    if dtype == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
