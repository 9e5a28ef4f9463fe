"""A training step without values: shapes alone, so that a laptop rehearses any size in seconds."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from orbitds.config import TrainConfig
from orbitds.data.batch import Sample
from orbitds.model.build import build
from orbitds.train.mixture import Scope
from orbitds.train.objective import objective
from orbitds.train.outline import Outline
from orbitds.train.setting import Setting
from orbitds.train.shard import blocks_of


class Rehearsal:
    """A model and a batch that have sizes and no values.

    Parameters
    ----------
    config
        The run; where a density of edges decides on the tokens, as many as there may be.
    outline
        Of the pair that the batch is from.
    scope
        What the model is made for, which may be other pairs too.
    samples
        In the batch.
    """

    def __init__(
        self, config: TrainConfig, outline: Outline, scope: Scope, *, samples: int
    ) -> None:
        self.config = config
        self.mode = FakeTensorMode()
        self.tokens = 0
        self._setting = _Sizes(outline, scope, has_climatology=config.model.base == "delta")
        # what an edge density leaves depends on the field; its most is what the budget allows
        architecture = config.architecture.model_copy(update={"edge_density": None})
        with self.mode:
            self.model = build(
                architecture,
                inputs=scope.inputs,
                outputs=scope.outputs,
                statics=scope.statics,
                factor=scope.factors,
            )
            self.batch = _batch(outline, samples, has_climatology=config.model.base == "delta")
        self.model.train()
        self.blocks = blocks_of(self.model)  # none in a network of convolutions
        for block in self.blocks[:1]:
            block.register_forward_pre_hook(self._count)

    def forward(self) -> Tensor:
        """Return the weighted sum of the loss of the batch."""
        with self.mode:
            config = self.config
            return objective(self.model, self.batch, self._setting, config.loss, config.dtype)[0]

    def backward(self, loss: Tensor) -> None:
        """Go back to the weights."""
        with self.mode:
            loss.backward()

    def _count(self, _block: object, arguments: tuple[Any, ...]) -> None:
        self.tokens = arguments[0].shape[1]  # of a sample


class _Sizes(Setting):
    """What the objective asks of a setting, without data."""

    def __init__(self, outline: Outline, scope: Scope, *, has_climatology: bool) -> None:
        told = {
            "pair": SimpleNamespace(outputs=outline.outputs),
            "tiles": outline.tiles,
            "climatology": outline if has_climatology else None,  # asked whether there is one
            "names": outline.inputs,
            "aim": scope.aim(outline),
        }
        for name, value in told.items():
            object.__setattr__(self, name, value)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.names  # pyright: ignore[reportAttributeAccessIssue]  set above


def _batch(outline: Outline, samples: int, *, has_climatology: bool) -> Sample:
    rows, columns = outline.tiles.window
    fine = rows * outline.factor, columns * outline.factor
    outputs = len(outline.outputs)
    known = outputs if has_climatology else 0
    return Sample(
        coarse=torch.empty(samples, len(outline.inputs), rows, columns),
        fine=torch.empty(samples, outputs, *fine),
        weight=torch.empty(samples, outputs, *fine),
        statics=torch.empty(samples, len(outline.statics), *fine),
        fine_climatology=torch.empty(samples, known, *fine),
        coarse_climatology=torch.empty(samples, known, rows, columns),
        latitude_deg=torch.empty(samples, rows),
        longitude_deg=torch.empty(samples, columns),
        spacing_km=torch.empty(samples, 2),
    )
