"""What a job tells of the distribution that a model predicts: members, spread, or neither."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.checkpoint import Checkpoint
from orbitds.normalize import Normalizer
from orbitds.variables import variable

# Members that a spread is taken from where none are asked for.
USUAL_MEMBERS = 10
# `2m_temperature_spread`: the standard deviation of what is predicted for `2m_temperature`.
SPREAD = "_spread"


@dataclass(frozen=True)
class Distribution:
    """What is drawn, and what of it is told."""

    members: int | None = None
    """Length of the dimension ``member`` of the answer; None where it has none."""
    drawn: int = 1
    """Fields that the model computes for each time."""
    spread: Literal["members", "variance"] | None = None
    """Where the spread is from, if it is wanted: from what is drawn, or predicted itself."""
    stirred: bool = False
    """Whether the model takes noise."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, members: int | None, *, spread: bool) -> "Distribution":
        """Return what is asked for of a checkpoint.

        Raises
        ------
        ValueError
            If it has no such distribution, or members are too few.
        """
        predicts = checkpoint.model.config.predicts
        if members is not None and members < 1:
            raise ValueError(f"Wanted one or more members, got {members}. Leave them out for one.")
        if predicts == "field" and (members is not None or spread):
            raise ValueError(
                f"Wanted a checkpoint that predicts a distribution, for {_asked(members, spread)}, "
                f"got {checkpoint.name!r}, which has no predictive distribution: trained with the "
                f"loss {_loss(checkpoint)}. Leave it out, or choose a checkpoint trained with the "
                "loss 'crps' (members) or 'gaussian' (spread)."
            )
        if predicts == "gaussian":
            if members is not None:
                raise ValueError(
                    f"Wanted a checkpoint of members, got {checkpoint.name!r}, which predicts a "
                    f"mean and a variance of each cell: trained with the loss {_loss(checkpoint)}. "
                    "Ask for spread=True instead."
                )
            return cls(spread="variance" if spread else None)
        if predicts == "field":
            return cls()
        if spread and members == 1:
            raise ValueError(
                "Wanted two or more members for a spread, got 1. Ask for more, or leave the number "
                f"out: {USUAL_MEMBERS} are drawn then."
            )
        drawn = members or (USUAL_MEMBERS if spread else 1)
        return cls(members, drawn, "members" if spread else None, stirred=True)

    def channels(self, outputs: int) -> int:
        """Return how many fields are blended for so many outputs."""
        return 2 * outputs if self.spread == "variance" else outputs

    def told(
        self, field: Float[Tensor, "S Hf Wf"]
    ) -> tuple[Float[Tensor, "t *rest"], Float[Tensor, "t Hf Wf"] | None]:
        """Return what is told of the drawn fields of a variable, and their spread.

        That is the members where they are asked for; their mean where the spread alone is: it is
        what the spread is around. The spread is the standard deviation with ``drawn - 1``, so that
        its square does not depend on how many are drawn.

        Parameters
        ----------
        field
            Physical, the drawn ones of a time one after another.
        """
        drawn = field.unflatten(0, (-1, self.drawn))
        spread = drawn.std(dim=1) if self.spread == "members" else None
        if self.members is not None:
            return drawn, spread
        return drawn.mean(dim=1) if self.drawn > 1 else drawn[:, 0], spread


def physical_spread(
    mean: Float[Tensor, "S U Hf Wf"], variance: Float[Tensor, "S U Hf Wf"], normalizer: Normalizer
) -> Float[Tensor, "S U Hf Wf"]:
    """Return the standard deviation in physical units of a normal distribution of normalised ones.

    Parameters
    ----------
    mean, variance
        Normalised, one of each cell.

    Notes
    -----
    Exact for z-scored variables: sigma times the standard deviation of the statistics. Where the
    normalised variable is Y = log(1 + X), 1 + X is log-normal, and so the standard deviation of X
    is exp(mu + sigma^2 / 2) sqrt(exp(sigma^2) - 1); that part of it lies below X = 0, which the
    bounds of a variable cut off, is left out of account. The field beside it, exp(mu) - 1, is then
    the median.
    """
    mean, variance = mean.double(), variance.double()
    plain = variance.sqrt() * normalizer.std.to(mean.device)
    is_log = torch.tensor(
        [variable(name).transform == "log1p" for name in normalizer.names], device=mean.device
    )[:, None, None]
    logarithmic = torch.exp(mean + variance / 2) * torch.expm1(variance).sqrt()
    return torch.where(is_log, logarithmic, plain).float()


def _asked(members: int | None, spread: bool) -> str:  # noqa: FBT001  said as it was asked
    asked = ([] if members is None else [f"members={members}"]) + (
        ["spread=True"] if spread else []
    )
    return " and ".join(asked)


def _loss(checkpoint: Checkpoint) -> str:
    config = checkpoint.description.provenance.get("config")
    loss = config.get("loss") if isinstance(config, dict) else None
    kind = loss.get("kind") if isinstance(loss, dict) else None
    return repr(kind) if kind else "of a single field"
