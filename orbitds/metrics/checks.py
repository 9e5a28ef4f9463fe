"""What scores refuse: predictions with gaps, times that come twice, parts that do not belong."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from orbitds.metrics.frame import When

if TYPE_CHECKING:
    from orbitds.metrics.scores import Scores


def check_fields(
    fields: Mapping[str, Float[Tensor, "T H W"]], truth: Float[Tensor, "T H W"]
) -> None:
    """Refuse a prediction that is NaN where the truth is not.

    Raises
    ------
    ValueError
        If one is.
    """
    for method, field in fields.items():
        if field.sum().isfinite():
            continue
        valid = ~truth.isnan()
        lost = int((field.isnan() & valid).sum())
        if lost:
            raise ValueError(
                f"Wanted {method!r} wherever there is truth, got NaN in {lost} of "
                f"{int(valid.sum())} cells. Check the downscaling, or mask the truth there."
            )


def check_times(when: Sequence[When], sums: Collection[tuple[str, str]]) -> None:
    """Refuse a time that comes twice, or is in the sums already.

    Raises
    ------
    ValueError
        If one does.
    """
    labels = Counter(at.label for at in when)
    _refuse({at for at, count in labels.items() if count > 1 or ("steps", at) in sums})


def check_kin(one: "Scores", other: "Scores") -> None:
    """Refuse sums that cannot be added.

    Raises
    ------
    ValueError
        If they are not parts of one evaluation, or share a time.
    """
    for what in ("methods", "traits", "members"):
        mine, theirs = getattr(one, what), getattr(other, what)
        if mine != theirs:
            raise ValueError(
                f"Wanted parts of one evaluation, got {what} {mine} and {theirs}. "
                "Score all parts in the same way."
            )
    if one.frame is not other.frame and one.frame.fingerprint != other.frame.fingerprint:
        raise ValueError(
            "Wanted parts on one grid with the same regions, got two. "
            "Score all parts in the same way."
        )
    for kind in one.names.keys() & other.names.keys():
        if one.names[kind] != other.names[kind]:
            unlike = sorted(set(one.names[kind]) ^ set(other.names[kind]))
            raise ValueError(
                f"Wanted parts of one evaluation, got unlike sums: {unlike}. "
                "Score all parts in the same way."
            )
    _refuse({key for kind, key in other.sums if kind == "steps" and (kind, key) in one.sums})


def _refuse(twice: set[str]) -> None:
    if twice:
        raise ValueError(
            f"Wanted each time once, got {min(twice)} twice, and {len(twice) - 1} more. "
            "Give each process its own times."
        )
