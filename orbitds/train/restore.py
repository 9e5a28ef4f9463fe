"""Tensors filled from the files of a state, however they were shared when it was written."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)

from orbitds.train.manifest import DTYPES, Manifest, key

# Tensors that an error names.
_TOLD = 8


def fill(tensors: Mapping[str, Tensor], folder: Path, manifest: Manifest) -> None:
    """Fill tensors in place from the files of a state.

    Parameters
    ----------
    tensors
        Plain, or this process's parts of distributed ones, laid out in any way.

    Raises
    ------
    ValueError
        If their names, shapes or types are not those of the state.
    """
    _check_fit(tensors, folder, manifest)
    planner = DefaultLoadPlanner()
    planner.set_up_planner(dict(tensors), _metadata(manifest), is_coordinator=True)
    files = {
        (name, part.offset): part.file
        for name, whole in manifest.tensors.items()
        for part in whole.parts
    }
    with ExitStack() as stack:
        opened = {}
        for item in planner.finish_plan(planner.create_local_plan()).items:
            name, offset = item.storage_index.fqn, tuple(item.storage_index.offset or ())
            file = files[name, offset]
            if file not in opened:
                opened[file] = stack.enter_context(safe_open(folder / file, framework="pt"))
            part = opened[file].get_tensor(key(name, offset))
            for axis, (start, length) in enumerate(
                zip(item.storage_offsets, item.lengths, strict=True)
            ):
                part = part.narrow(axis, start, length)
            planner.resolve_tensor(item).detach().copy_(part)


def _check_fit(tensors: Mapping[str, Tensor], folder: Path, manifest: Manifest) -> None:
    wanted = {name: f"{tensor.dtype} {list(tensor.shape)}" for name, tensor in tensors.items()}
    got = {
        name: f"{DTYPES[whole.dtype]} {list(whole.shape)}"
        for name, whole in manifest.tensors.items()
    }
    wrong = [
        f"{name}: wanted {wanted.get(name, 'none')}, got {got.get(name, 'none')}"
        for name in sorted(wanted.keys() | got.keys())
        if wanted.get(name) != got.get(name)
    ]
    if wrong:
        more = f"; and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        raise ValueError(
            f"Wanted the tensors of this run in the state {folder}, got others: "
            f"{'; '.join(wrong[:_TOLD])}{more}. Go on with the settings that the run began "
            "with, or choose another output folder."
        )


def _metadata(manifest: Manifest) -> Metadata:
    """Return a manifest as the planner of reads knows it."""
    return Metadata(
        {
            name: TensorStorageMetadata(
                properties=TensorProperties(dtype=DTYPES[whole.dtype]),
                size=torch.Size(whole.shape),
                chunks=[
                    ChunkStorageMetadata(torch.Size(part.offset), torch.Size(part.shape))
                    for part in whole.parts
                ],
            )
            for name, whole in manifest.tensors.items()
        }
    )
