"""The weights of a checkpoint: read once they were found to fit the architecture."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from orbitds.description import DESCRIPTION, WEIGHTS, Description, member
from orbitds.model.block import rows_by_head
from orbitds.model.build import build_bare
from orbitds.model.interface import DownscalingModel
from orbitds.resources import plain, shown
from orbitds.tensors import Shape, UnfitError, open_tensors

# Names of weights that a message repeats.
TOLD = 3


def read_weights(folder: Path, description: Description) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of a checkpoint by name, in float32, after checking that all fit.

    What was yielded is that of the described file if nothing was raised by the end.

    Raises
    ------
    ValueError
        If the file is not the described one, its tensors do not fit the architecture, or a weight
        is NaN or infinite.
    """
    wanted = f"weights that fit the architecture in {folder / DESCRIPTION}"
    path = member(folder, WEIGHTS)
    with open_tensors(path, description.sha256[WEIGHTS], wanted=wanted) as file:
        _check_weights(file.shapes, description)
        for name, stored in file.read():
            tensor = stored.float()
            if description.format == 1 and ".query_key_value." in name:
                tensor = rows_by_head(tensor, description.model.heads)
            if tensor.dtype != stored.dtype and not tensor.isfinite().all():
                raise UnfitError(f"values of {name!r} beyond float32")
            yield name, tensor


def bare_model(description: Description) -> DownscalingModel:
    """Return the network of a checkpoint without its weights; see ``build_bare``."""
    return build_bare(
        description.model,
        inputs=description.inputs,
        outputs=description.outputs,
        statics=description.statics,
        factor=description.factors,
    )


def _check_weights(shapes: Mapping[str, Shape], description: Description) -> None:
    """Refuse tensors that are not those of the architecture, before memory is taken for any."""
    config = description.model
    layers = config.depth + config.decoder_depth + getattr(config, "correction_depth", 0)
    if layers > len(shapes):  # building many layers takes long, without memory too
        raise UnfitError(f"{len(shapes)} tensors for {layers} layers")
    try:
        wanted = {
            name: tuple(like.shape) for name, like in bare_model(description).state_dict().items()
        }
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        told = plain(str(error.args[0] if error.args else error))
        raise UnfitError(f"an architecture that cannot be built ({told})") from error
    sizes = [
        f"size mismatch for {name}: {list(shapes[name])} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in shapes and shapes[name] != shape
    ]
    missing = [f"missing {name!r}" for name in wanted if name not in shapes]
    unknown = [f"unknown {shown(name)}" for name in shapes if name not in wanted]
    if told := missing or unknown or sizes:
        more = f" and {len(told) - TOLD} more" if len(told) > TOLD else ""
        raise UnfitError(f"{'; '.join(told[:TOLD])}{more}")
