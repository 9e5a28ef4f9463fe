"""Parts of a network of which each factor has its own, beside what all factors share."""

from collections.abc import Callable, Sequence

from torch import nn


def for_factors(factors: Sequence[int], make: Callable[[int], nn.Module]) -> nn.Module:
    """Return the parts of all factors, as ``make`` gives them.

    A network of one factor has the part itself, so that its weights have plain names; of several
    the names go on with the factor: ``paint.weight`` and ``paint.4.weight``.
    """
    if len(factors) == 1:
        return make(factors[0])
    return nn.ModuleDict({str(factor): make(factor) for factor in factors})


def of_factor(parts: nn.Module, factor: int) -> nn.Module:
    """Return the part of a factor, among what ``for_factors`` gave."""
    return parts[str(factor)] if isinstance(parts, nn.ModuleDict) else parts
