"""What the convolutional networks have in common: the base of Reslim, and the fields they see."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.config import ModelConfig
from orbitds.model.interface import DownscalingModel, Prediction, spread_of
from orbitds.model.residual import Base
from orbitds.variables import variable


class ConvolutionalModel(DownscalingModel[ModelConfig]):
    """A network of convolutions alone, for comparison with Reslim.

    It starts from the base of Reslim and sees the same inputs, fine statics and fine structure of
    the climatology, so that a comparison is one of networks. An untrained one equals its base.
    Neither place nor resolution are known to it, as in the published networks.

    Parameters
    ----------
    config
        The architecture; what it says of patches, heads, MLP, decoder, correction and compression
        is of no concern here.
    inputs, outputs, statics, factor
        As of ``DownscalingModel``.

    Raises
    ------
    ValueError
        If the config asks for members, which need noise.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        statics: Sequence[str] = (),
        factor: int,
    ) -> None:
        super().__init__(config, inputs=inputs, outputs=outputs, statics=statics, factor=factor)
        if config.predicts == "members":
            raise ValueError(
                f"Wanted a network that takes noise for members, got {config.kind}, which has no "
                "place for it. Take the kind reslim or vit, or another loss."
            )
        self.base = Base(
            self.outputs,
            method=config.base,
            log_outputs=[variable(name).transform == "log1p" for name in self.outputs],
        )
        count = len(self.outputs)
        self.details = len(self.statics) + (count if self.base.is_delta else 0)
        """Fields that it sees on the fine grid: climatology and statics."""
        self.painted = 2 * count if config.predicts == "gaussian" else count
        """Fields that it paints: of each output also the logarithm of the variance, or not."""

    def predict(
        self,
        coarse: Float[Tensor, "B V H W"],
        *,
        latitude_deg: Float[Tensor, "B H"],  # noqa: ARG002  it knows no place
        longitude_deg: Float[Tensor, "B W"],  # noqa: ARG002  likewise
        spacing_km: Float[Tensor, "B 2"],  # noqa: ARG002  nor resolution
        variables: Sequence[str] | None = None,
        statics: Float[Tensor, "B S Hf Wf"] | None = None,
        climatology: tuple[Tensor, Tensor] | None = None,
        periodic: bool = False,
        phase: tuple[int, int] = (0, 0),
        noise: Float[Tensor, "B Z"] | None = None,  # noqa: ARG002  it has no members
    ) -> Prediction:
        """Return the fine fields and the base they start from; see ``DownscalingModel``."""
        variables = self.inputs if variables is None else tuple(variables)
        base, structure = self.base(
            coarse, variables, climatology, factor=self.factor, periodic=periodic
        )
        mean = torch.zeros_like(base[:, :1]).expand(-1, len(self.statics), -1, -1)
        terrain = mean if statics is None else statics
        details = [structure, terrain] if self.base.is_delta else [terrain]
        painted = self.paint(
            self._in_order(coarse, variables),
            base,
            torch.cat([detail.to(base) for detail in details], dim=1),
            periodic=periodic,
            phase=phase,
        )
        decoded, log_variance = spread_of(painted, len(self.outputs))
        return Prediction(base + decoded, base, log_variance)

    @abstractmethod
    def paint(
        self,
        fields: Float[Tensor, "B V H W"],
        base: Float[Tensor, "B U Hf Wf"],
        details: Float[Tensor, "B S Hf Wf"],
        *,
        periodic: bool,
        phase: tuple[int, int],
    ) -> Float[Tensor, "B C Hf Wf"]:
        """Return what to add to the base, and logarithms of variances behind it if any.

        Parameters
        ----------
        fields
            All inputs in their order, zero where one is not given.
        details
            Fine structure of the climatology where the base is delta change, and the statics.
        """

    def _in_order(self, coarse: Tensor, variables: Sequence[str]) -> Tensor:
        """Return the fields in the order of the inputs; zero, their mean, stands for others."""
        unknown = [name for name in variables if name not in self.inputs]
        if unknown or coarse.shape[1] != len(variables):
            raise ValueError(
                f"Wanted some of the variables {list(self.inputs)} with one field for each, got "
                f"{coarse.shape[1]} fields of {list(variables)}. Select the variables this model "
                "was built for."
            )
        if tuple(variables) == self.inputs:
            return coarse
        fields = torch.zeros_like(coarse[:, :1]).repeat(1, len(self.inputs), 1, 1)
        fields[:, [self.inputs.index(name) for name in variables]] = coarse
        return fields
