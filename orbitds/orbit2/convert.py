"""Published ORBIT-2 checkpoints become checkpoints of orbitds.

Nothing in the published files is executed: weights are loaded as tensors alone, arrays without
objects, settings as plain YAML.

References
----------
ORBIT-2 (Wang et al. 2025, arXiv 2505.04802); Hugging Face ``jychoi-hpc/ORBIT-2``; public code
``XiaoWang-Github/ORBIT-2``: normalisation in ``data/itermodule.py``, tiles in
``data/iterdataset.py``, grids in ``scripts/regrid.py``.
"""

import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from orbitds.checkpoint import save_checkpoint
from orbitds.description import file_hash
from orbitds.model.orbit2 import STATICS, Orbit2
from orbitds.model.orbit2_weights import bare, translate
from orbitds.normalize import Normalizer
from orbitds.orbit2.arrays import read_statics, read_statistics
from orbitds.orbit2.settings import Settings, read_settings

# How torch says that a file is damaged, or no checkpoint, or would run code.
UNLOADABLE = (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError)
# What a user must know of the data that the published models want.
NOTES = (
    "Rows of the public data run from -90 degrees northwards without the row of the north pole: "
    "drop that row of a global field, as the first of ERA5's 721 rows.",
    "2m_temperature, its minimum and maximum were sea surface temperature over sea in training.",
    "Fine cells start at the centre of their coarse cell and lie to its north and east.",
    "Precipitation up to 0.25 mm a day counts as none in the input.",
)


def import_orbit2(
    checkpoint: Path,
    output: Path,
    *,
    config: Path,
    statistics: Path,
    statics: Path | None = None,
    data: str | None = None,
    outputs: Sequence[str] | None = None,
    spacing_km: float | None = None,
) -> None:
    """Make a checkpoint of orbitds from the files of a published one.

    Parameters
    ----------
    checkpoint
        The published ``.ckpt`` file.
    output
        Folder of the checkpoint; must be new or empty.
    config
        The YAML file published beside it.
    statistics
        Folder with ``normalize_mean.npz`` and ``normalize_std.npz``.
    statics
        Folder with the global static fields, which then travel inside the checkpoint; without them
        they are inputs.
    data, outputs
        As of ``read_settings``.
    spacing_km
        Coarse spacing of the data; by default that of the static fields, or else that of the file.

    Raises
    ------
    ValueError, OSError
        If a file is missing, unsafe, or does not fit the others; nothing is written then.
    """
    weights = read_weights(checkpoint)
    fields = None if statics is None else torch.from_numpy(read_statics(statics))
    settings = read_settings(
        config,
        tokens=_size(weights, "pos_embed", -2),
        count=_size(weights, "conv_out.bias", 0),
        data=data,
        outputs=outputs,
        statics_grid=None if fields is None else (fields.shape[-2], fields.shape[-1]),
    )
    rows = read_statistics(statistics, (*settings.inputs, *settings.outputs))
    if fields is not None:  # as the network keeps them: normalised, from north to south
        fields = Normalizer(STATICS, rows)(fields).float().flip(-2)
    coarse_km = spacing_km or settings.spacing_km
    save_checkpoint(
        output,
        _model(weights, settings, fields, source=checkpoint),
        statistics=rows,
        spacing_km=(coarse_km, coarse_km / settings.factor),
        provenance={
            "source": "a published checkpoint of ORBIT-2 (Wang et al. 2025, arXiv 2505.04802)",
            "file": checkpoint.name,
            "file_sha256": file_hash(checkpoint),
            "config": config.name,
            "config_sha256": file_hash(config),
            "data": settings.data,
            "notes": list(NOTES),
        },
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights of a published checkpoint, running nothing that stands in the file.

    Raises
    ------
    ValueError
        If it holds anything but tensors and plain values, or no weights.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"Wanted the file of a published ORBIT-2 checkpoint, got {path}, which is none. Check "
            "the path."
        )
    wanted = f"Wanted a checkpoint of ORBIT-2, tensors under `model_state_dict`, in {path}"
    # what the system denies is no damage; a pickle of an odd make is refused, not warned of
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except UNLOADABLE as error:
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{wanted}, got a file that does not load as tensors alone ({told}). Nothing in it "
                "was run. Copy the published file again."
            ) from error
    weights = content.get("model_state_dict") if isinstance(content, dict) else None
    if not (isinstance(weights, dict) and all(isinstance(t, Tensor) for t in weights.values())):
        got = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{wanted}, got {got}. Choose the published .ckpt file.")
    return {bare(str(name)): tensor for name, tensor in weights.items()}


def _size(weights: dict[str, Tensor], name: str, axis: int) -> int:
    if name not in weights:
        raise ValueError(
            f"Wanted the weights of ORBIT-2's Res_Slim_ViT, among them {name!r}, got "
            f"{sorted(weights)[:3]} and others without it. Choose the published .ckpt file."
        )
    return weights[name].shape[axis]


def _model(
    weights: dict[str, Tensor], settings: Settings, fields: Tensor | None, *, source: Path
) -> Orbit2:
    inputs = settings.inputs
    if fields is not None:
        inputs = tuple(name for name in inputs if name not in STATICS)
    model = Orbit2(
        settings.model, inputs=inputs, outputs=settings.outputs, factor=settings.factor
    ).eval()
    ours = translate(weights, settings.model)
    if fields is not None:
        ours["static_fields"] = fields
    try:
        model.load_state_dict(ours)
    except RuntimeError as error:
        raise ValueError(
            f"Wanted weights in {source} of the architecture that the YAML file describes, got "
            f"{error}. Give the YAML file published beside the checkpoint."
        ) from error
    return model
