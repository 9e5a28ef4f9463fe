"""What every model of orbitds is to training, inference and checkpoints: coarse in, fine out.

Dimensions: B batch, V input variables, U output variables, S statics, H W coarse rows and columns,
Hf Wf fine ones, N tokens, M tokens after compression, D width, P patch edge. Rows run from north
to south.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from orbitds.schema import Frozen

C = TypeVar("C", bound=Frozen)


class Prediction(NamedTuple):
    """What a model says of the fine fields, all normalised."""

    fine: Float[Tensor, "B U Hf Wf"]
    """The fine fields; the mean, where the model gives a distribution."""
    base: Float[Tensor, "B U Hf Wf"]
    """What the model started from; zero where it starts from nothing."""
    log_variance: Float[Tensor, "B U Hf Wf"] | None = None
    """Logarithm of the variance of each cell, where the model gives one."""


class Aim(NamedTuple):
    """What is asked of a network that was made for several sets of data."""

    factor: int
    """Fine cells along the edge of a coarse cell."""
    outputs: tuple[str, ...]
    """Variables it shall give."""
    statics: tuple[str, ...]
    """Fine static fields it is given, if it is given any."""


# Logarithms of variances in units of the training data's: from a thousandth to e^5 deviations.
LOG_VARIANCE = (-14.0, 10.0)


class DownscalingModel(nn.Module, ABC, Generic[C]):
    """A network that takes normalised coarse fields and gives normalised fine ones.

    Parameters
    ----------
    config
        The architecture.
    inputs, outputs
        Names of the variables it takes and gives; outputs need not be inputs.
    statics
        Names of the fine static fields it takes.
    factor
        Fine cells along the edge of a coarse cell; several where it shall have a head for each.

    Attributes
    ----------
    factor, inputs, outputs, statics
        What it is set to: the first factor, and all variables, unless ``at`` says otherwise.
    factors
        All that it has heads for.
    whole
        All outputs and statics that its weights are of.
    """

    window: tuple[int, int] | None = None
    """Rows and columns of the only window it runs on; None where it takes any."""
    halo_cells: tuple[int, int] = (0, 0)
    """Of that window, the rows and columns on each side that are halo."""
    placement: Literal["around", "northeast"] = "around"
    """Where its fine cells lie: around the centre of their coarse cell, or from there northeast."""
    patch: int = 1
    """Edge of a patch in coarse cells: windows of a field begin at multiples of it."""
    adds_to_float32: bool = False
    """Whether under autocast its fields are sums in float32: a base, and what is added to it."""
    is_one_graph: bool = True
    """Whether nothing in it depends on values, so that it can be compiled as a whole."""
    has_heads: bool = False
    """Whether it may have heads for several factors, and gives a part of its outputs if asked."""

    def __init__(
        self,
        config: C,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        statics: Sequence[str] = (),
        factor: int | Sequence[int],
    ) -> None:
        super().__init__()
        self.config = config
        self.inputs, self.outputs, self.statics = tuple(inputs), tuple(outputs), tuple(statics)
        self.factors = (factor,) if isinstance(factor, int) else tuple(factor)
        self.factor = self.factors[0]
        self.whole = self.aim

    @property
    def aim(self) -> Aim:
        """What it is set to."""
        return Aim(self.factor, self.outputs, self.statics)

    def at(
        self,
        factor: int,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        statics: Sequence[str],
    ) -> "DownscalingModel[C]":
        """Return the same network, its weights too, set to a factor and to some variables.

        Raises
        ------
        ValueError
            If it does not have them.
        """
        given = {"inputs": inputs, "outputs": outputs, "statics": statics}
        own = {"inputs": self.inputs, "outputs": self.whole.outputs, "statics": self.whole.statics}
        if not self.has_heads or factor not in self.factors:
            raise ValueError(
                f"Wanted a factor that the network has a head for, one of {list(self.factors)}, "
                f"got {factor}. Take one of these."
            )
        for what, names in given.items():
            if unknown := [name for name in names if name not in own[what]]:
                raise ValueError(
                    f"Wanted {what} of the network, some of {list(own[what])}, got {unknown}. "
                    "Take some of these."
                )
        view = copy.copy(self)
        view.factor = factor
        view.inputs, view.outputs, view.statics = tuple(inputs), tuple(outputs), tuple(statics)
        return view

    @property
    @abstractmethod
    def reach_cells(self) -> int:
        """Coarse cells around a cell that convolutions look at, attention aside."""

    @abstractmethod
    def predict(
        self,
        coarse: Float[Tensor, "B V H W"],
        *,
        latitude_deg: Float[Tensor, "B H"],
        longitude_deg: Float[Tensor, "B W"],
        spacing_km: Float[Tensor, "B 2"],
        variables: Sequence[str] | None = None,
        statics: Float[Tensor, "B S Hf Wf"] | None = None,
        climatology: tuple[Tensor, Tensor] | None = None,
        periodic: bool = False,
        phase: tuple[int, int] = (0, 0),
        noise: Float[Tensor, "B Z"] | None = None,
    ) -> Prediction:
        """Return the fine fields and what they start from.

        Parameters
        ----------
        coarse
            Normalised input variables.
        latitude_deg, longitude_deg
            Centres of the coarse rows (north to south) and columns (west to east).
        spacing_km
            Coarse and fine spacing.
        variables
            Names of the V fields; all inputs, in their order, by default.
        statics
            Normalised fine static fields in the order of ``self.statics``. Without them the model
            does not attend to them, and convolutions see zeros, their mean.
        climatology
            Fine and coarse climatology of the outputs, [B, U, Hf, Wf] and [B, U, H, W], normalised.
            Without it delta change falls back to interpolation.
        periodic
            Whether the window spans the whole circle of longitude.
        phase
            Rows and columns of the first patch that lie north and west of the field, where it is
            cut from a larger one: so the trunk meets the patches that it was trained on.
        noise
            For a model of members, the random vector that makes one; drawn anew by default.
        """

    def forward(
        self,
        coarse: Float[Tensor, "B V H W"],
        **told: Any,  # noqa: ANN401  as of predict
    ) -> Float[Tensor, "B U Hf Wf"]:
        """Return the fine fields; arguments as of ``predict``."""
        return self.predict(coarse, **told).fine


def spread_of(
    painted: Float[Tensor, "B C Hf Wf"], outputs: int
) -> tuple[Float[Tensor, "B U Hf Wf"], Float[Tensor, "B U Hf Wf"] | None]:
    """Return the fields among what a head paints, and the logarithms of their variance if any."""
    fields, spread = painted[:, :outputs], painted[:, outputs:]
    # float32: the exponential of a rounded logarithm would be wrong by percents
    return fields, spread.float().clamp(*LOG_VARIANCE) if spread.shape[1] else None


def unchanged(tensor: Tensor) -> Tensor:
    """Return what is given: what one process does where several would talk to each other."""
    return tensor
