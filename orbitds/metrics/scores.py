"""All sums of one variable: streamed over time, kept by block of time, merged, saved."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from orbitds.metrics import steps
from orbitds.metrics.extremes import highest
from orbitds.metrics.frame import Frame, Traits, When
from orbitds.metrics.moments import Sums
from orbitds.metrics.steps import Step

# Cells of a field that are worked on at once: a few times, or one large field.
CHUNK_CELLS = 2**20
Fields = dict[str, Float[Tensor, "T H W"]]
# What a sum is of, and the block, season, year or time that it is over.
Key = tuple[str, str]
EXTREME = "extreme"


@dataclass(eq=False)
class Scores:
    """Sums over the times of one variable, for the truth and all methods.

    Memory is bounded: fields of sums for each season and method, of extremes for each year, and
    small sums for each third of a month. Sums of parts are the sums of the whole, in any order, to
    the rounding of float64; the same time cannot be in two parts.

    Parameters
    ----------
    members
        Number of members of the first method, which is their mean; 0 without.
    """

    traits: Traits
    frame: Frame
    methods: tuple[str, ...]
    members: int = 0
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What the rows of sums over regions are, by kind: ``regions`` and ``structure``."""
    sums: dict[Key, Tensor] = field(default_factory=dict)

    def add(
        self,
        fields: Fields,
        truth: Float[Tensor, "T H W"],
        when: Sequence[When],
        *,
        coarse: Float[Tensor, "T Hc Wc"] | None = None,
        members: Float[Tensor, "M T H W"] | None = None,
    ) -> None:
        """Add fields of all methods in the unit of the variable.

        Parameters
        ----------
        truth
            Cells where it is NaN do not count.
        when
            Each time, which has not been added before.
        coarse
            What the prediction was made from, if the frame has a factor.

        Raises
        ------
        ValueError
            If a prediction is NaN where the truth is not, or a time was added before. Then nothing
            is added.
        """
        self._check(fields, truth, when)
        for chunk in _chunks(when, truth[0].numel()):
            step = Step.of(
                truth[chunk],
                {method: fields[method][chunk] for method in self.methods},
                self.frame.cells,
                self.traits.offset,
                coarse=None if coarse is None else coarse[chunk],
                members=None if members is None else members[:, chunk],
            )
            self._add(step, list(when[chunk]))

    def merge(self, other: "Scores") -> "Scores":
        """Return the scores of two parts together; the parts stay as they are.

        Raises
        ------
        ValueError
            If they are not parts of one evaluation, or share a time.
        """
        merged = type(self)(self.traits, self.frame, self.methods, self.members)
        merged.take(self)
        merged.take(other)
        return merged

    def take(self, other: "Scores") -> None:
        """Add another part in place.

        Raises
        ------
        ValueError
            If they are not parts of one evaluation, or share a time. Then nothing is added.
        """
        self._check_kin(other)
        _check_new(
            {key for kind, key in other.sums if kind == "steps" and (kind, key) in self.sums}
        )
        self.names |= other.names
        for key, value in other.sums.items():
            # copied: what a thread has allocated it can use again, if nothing of it stays
            self._put(key, value if key in self.sums else value.clone())

    def save(self, path: Path) -> None:
        """Write the sums to a safetensors file."""
        told = self._told() | {"names": self.names}
        tensors = {json.dumps(key): value.contiguous() for key, value in self.sums.items()}
        save_file(tensors, path, metadata={"scores": json.dumps(told)})

    @classmethod
    def load(cls, path: Path, traits: Traits, frame: Frame) -> "Scores":
        """Return the sums that a process has saved.

        Raises
        ------
        ValueError
            If the file is of another evaluation.
        """
        with safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {}).get("scores", "{}"))
            wanted = json.loads(json.dumps(cls(traits, frame, ())._told()))
            unlike = [key for key in ("format", "traits", "frame") if told.get(key) != wanted[key]]
            if unlike:
                raise ValueError(
                    f"Wanted a part of this evaluation, got {path}, which differs in "
                    f"{', '.join(unlike)}. Remove it, or score in the same way."
                )
            keys = {text: json.loads(text) for text in file.keys()}  # noqa: SIM118  no mapping
            sums = {(kind, key): file.get_tensor(text) for text, (kind, key) in keys.items()}
        names = {kind: tuple(rows) for kind, rows in told["names"].items()}
        return cls(traits, frame, tuple(told["methods"]), told["members"], names, sums)

    @property
    def times(self) -> list[str]:
        """Labels of all times, in order."""
        return sorted(key for kind, key in self.sums if kind == "steps")

    def of(self, kind: str) -> dict[str, Tensor]:
        """Return all sums of a kind, in the order of their keys."""
        keys = sorted(key for found, key in self.sums if found == kind)
        return {key: self.sums[kind, key] for key in keys}

    def _told(self) -> dict:
        return {
            "format": 1,
            "methods": self.methods,
            "members": self.members,
            "traits": asdict(self.traits),
            "frame": self.frame.fingerprint,
        }

    def _check_kin(self, other: "Scores") -> None:
        """Refuse sums that cannot be added to these."""
        for what in ("methods", "traits", "members"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise ValueError(
                    f"Wanted parts of one evaluation, got {what} {mine} and {theirs}. "
                    "Score all parts in the same way."
                )
        if self.frame is not other.frame and self.frame.fingerprint != other.frame.fingerprint:
            raise ValueError(
                "Wanted parts on one grid with the same regions, got two. "
                "Score all parts in the same way."
            )
        for kind in self.names.keys() & other.names.keys():
            if self.names[kind] != other.names[kind]:
                unlike = sorted(set(self.names[kind]) ^ set(other.names[kind]))
                raise ValueError(
                    f"Wanted parts of one evaluation, got unlike sums: {unlike}. "
                    "Score all parts in the same way."
                )

    def _check(self, fields: Fields, truth: Tensor, when: Sequence[When]) -> None:
        """Refuse a prediction with gaps, and a time that was there before."""
        labels = Counter(at.label for at in when)
        _check_new({at for at, count in labels.items() if count > 1 or ("steps", at) in self.sums})
        valid = ~truth.isnan()
        for method in self.methods:
            if fields[method].sum().isfinite():
                continue
            lost = int((fields[method].isnan() & valid).sum())
            if lost:
                raise ValueError(
                    f"Wanted {method!r} wherever there is truth, got NaN in {lost} of "
                    f"{int(valid.sum())} cells. Check the downscaling, or mask the truth there."
                )

    def _add(self, step: Step, when: list[When]) -> None:
        """Add times of one season and year."""
        traits = self.traits
        moments = steps.region_sums(step, self.frame, is_rain=traits.is_rain)
        by_region = self._put_rows("regions", moments, when)
        rows = ["weight", "truth", *steps.named("error", self.methods)]
        series = by_region[:, [self.names["regions"].index(row) for row in rows], 0]
        for at, row in zip(when, series, strict=True):
            self._put(("steps", at.label), row.clone())
        places = [place for place, at in enumerate(when) if at.is_detailed]
        if places:
            detailed = [when[place] for place in places]
            part = step if len(places) == len(when) else step.at(places)
            structure = steps.structure_sums(part, traits.data_range, is_rain=traits.is_rain)
            self._put_rows("structure", structure, detailed)
            for kind, values in steps.curve_sums(part, self.frame).items():
                self._put_blocks(kind, values, detailed)
        season, year = when[0].season, f"{when[0].year:04d}"
        cells = step.centred.shape[1]
        steps.add_truth_fields(step, self._field(("cells", season), 2, cells))
        steps.add_error_fields(step, self._field(("maps", ""), len(self.methods), 2, cells))
        self._put(("tails", season), steps.histograms(step, traits.bins))
        if step.members is not None:
            self._put(("ranks", ""), steps.ranks(step))
        if traits.extreme:
            peaks = highest(step.stacked, step.valid_cells, traits.extreme)
            self._put((EXTREME, year), peaks)

    def _put_rows(self, kind: str, sums: Sums, when: list[When]) -> Float[Tensor, "T K R"]:
        """Add sums over regions, whose names are those of the rows."""
        self.names[kind] = tuple(sums)
        stacked = torch.stack(list(sums.values()), dim=1)
        self._put_blocks(kind, stacked, when)
        return stacked

    def _put_blocks(self, kind: str, values: Float[Tensor, "T *K"], when: list[When]) -> None:
        """Add values of times to their blocks."""
        for block in dict.fromkeys(at.block for at in when):
            places = [place for place, at in enumerate(when) if at.block == block]
            self._put((kind, block), values[places].sum(dim=0))

    def _field(self, key: Key, *shape: int) -> Tensor:
        """Return sums of a shape, zero at first."""
        if key not in self.sums:
            self.sums[key] = torch.zeros(shape, dtype=torch.float64)
        return self.sums[key]

    def _put(self, key: Key, value: Tensor) -> None:
        """Add a value to what is there, in place; of extremes the higher one is kept."""
        found = self.sums.get(key)
        if found is None:
            self.sums[key] = value
        elif key[0] == EXTREME:
            torch.maximum(found, value, out=found)
        else:
            found.add_(value)


def _chunks(when: Sequence[When], cells: int) -> Iterator[slice]:
    """Yield slices of times of one season and year, as many as make up a chunk."""
    most = max(1, CHUNK_CELLS // cells)
    start = 0
    for stop in range(1, len(when) + 1):
        ends = stop == len(when) or _period(when[stop]) != _period(when[start])
        if ends or stop - start == most:
            yield slice(start, stop)
            start = stop


def _period(at: When) -> tuple[int, str]:
    return at.year, at.season


def _check_new(twice: set[str]) -> None:
    if twice:
        raise ValueError(
            f"Wanted each time once, got {min(twice)} twice, and {len(twice) - 1} more. "
            "Give each process its own times."
        )
