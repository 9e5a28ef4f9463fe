"""How settings, rows and descriptions are written down: frozen models closed to unknown names."""

from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from orbitds.resources import did_you_mean

C = TypeVar("C", bound=BaseModel)


class Frozen(BaseModel):
    """A group of settings: immutable, documented field by field, closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def parse(kind: type[C], settings: dict[str, Any], *, source: str) -> C:
    """Build a settings object from plain values, with an error a scientist can act on.

    Raises
    ------
    ValueError
        If a name is unknown or a value does not fit; the message says which and the nearest name.
    """
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        lines = [_explain(kind, dict(item)) for item in error.errors()]
        raise ValueError(f"{source}: " + "; ".join(lines)) from None


def _explain(kind: type[BaseModel], item: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown name {place!r}.{_nearest(kind, place)}"
    if not place:  # a rule over several fields, which says itself what it got
        return item["msg"].removeprefix("Value error, ")
    return f"{place}: {item['msg']} (got {item.get('input')!r})"


def _nearest(kind: type[BaseModel], wrong: str) -> str:
    """Return a hint at the name that was meant: spelled alike, or standing in another group."""
    names = _dotted_names(kind)
    leaf = wrong.rpartition(".")[2]
    misplaced = next((name for name in names if name.rpartition(".")[2] == leaf), None)
    return f" Did you mean {misplaced!r}?" if misplaced else did_you_mean(wrong, names)


def _dotted_names(kind: type[BaseModel]) -> list[str]:
    names = [field.alias or name for name, field in kind.model_fields.items()]
    for group, field in kind.model_fields.items():
        for inner in (field.annotation, *get_args(field.annotation)):  # `Group | None` too
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                names += [f"{group}.{name}" for name in _dotted_names(inner)]
    return names
