"""Predictions for many GPUs, beside what is measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from math import gcd, prod
from statistics import fmean
from typing import Any, NamedTuple

from scaling.cases import FIELD_TILES, SIZES, Size, grid_of, model_of, settings_of
from scaling.cost import Cost, Losses, cost, fit_losses
from scaling.machines import H200, with_host
from scaling.network import Network
from training_run import outline_of

from orbitds.config import ParallelConfig, TrainConfig
from orbitds.train.memory import predict_memory
from orbitds.train.mesh import AXES
from orbitds.train.mixture import Scope
from orbitds.train.rehearsal import Rehearsal
from orbitds.train.shard import count_weights
from orbitds.train.traffic import Talk, count_traffic

PROCESSES = (2, 4, 8, 64, 4096, 32768)
WEAK = ("tiles", "tiles-bf16", "fsdp", "fsdp-bf16")
# That the update reads and writes for each weight: its gradient for the norm, once more to scale
# it, which writes it, and for AdamW weight, gradient and moments, all but the gradient written.
UPDATE_BYTES = 4 + 8 + 28
# Where weights are shared, over no more than a host; beyond, copies.
SHARING = 8


@dataclass(frozen=True)
class Prediction:
    """A case on so many GPUs."""

    size: str
    case: str
    processes: int
    axes: dict[str, int]
    low: float
    """Efficiency, if the loss of two GPUs grows as the delay of the latest."""
    high: float
    """Efficiency, if it stays that of two, and what copies say beside computing costs no more than
    what processes that share weights say; where samples are shared, if the host takes no time."""
    cost: Cost
    """Of the lower one."""
    sent: float
    """Bytes that a process sends in a step."""
    measured: float | None
    """Efficiency, where steps of it and of a process alone are measured."""
    is_fitted: bool = False
    """Whether its own measurement went into the prediction."""


class Fitted(NamedTuple):
    """What is fitted to steps on two, by how processes talk beside computing."""

    copies: Losses
    """Whose gradients are added up."""
    shared: Losses
    """Weights, which are gathered as well."""


class Model:
    """The model of cost, fitted to a measurement on two GPUs.

    Parameters
    ----------
    measured
        What ``bench_scaling.py measure`` wrote on two GPUs; rows of more are shown beside the
        predictions, and nothing is fitted to them.
    network
        Of the machine; of the one that was measured, the host's link is fitted where collectives
        were timed.
    slower
        How many times longer than on the measured machine computing takes.
    cut
        What ``bench_scaling.py cut`` wrote, of any numbers of processes: what a step of one of them
        computes beside a step alone. Where it tells nothing, shared weights spare the update of
        what others hold.
    """

    def __init__(
        self,
        measured: Mapping[str, Any],
        network: Network,
        *,
        slower: float = 1.0,
        cut: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.network, self.slower = network, slower
        self.echoes = [row for one in cut for row in one["rows"] if "error" not in row]
        self._seen_rows = [row for row in measured["rows"] if "error" not in row]
        self.rows = [row for row in self._seen_rows if row.get("processes", 2) == 2]
        self._own = network if slower == 1 else with_host(H200, measured)
        self.losses = self._fitted(self._own)

    def knows(self, size: Size) -> bool:
        """Return whether what a process alone takes is measured, or follows from the least."""
        needed = "one" if size.least == 1 else "fsdp"
        return self._row(size, needed) is not None

    def weak(self, size: Size, processes: int) -> Iterator[Prediction]:
        """Predict a tile for each process."""
        one = self._alone(size)
        ways = {"tiles": {"tiles": processes}} if size.least == 1 else {}
        cases = [*ways.items(), ("fsdp", sharing(processes))]
        for case, axes in cases:
            compute = one + self._more(size, axes, self.network)
            for suffix, dtype in (("", "float32"), ("-bf16", "bfloat16")):
                yield self._predict(size, case + suffix, axes, compute, one, dtype=dtype)
        if 4 <= processes <= SHARING:
            axes = {"replicate": 2, "shard": processes // 2}
            compute = one + self._more(size, axes, self.network)
            yield self._predict(size, "hsdp", axes, compute, one)

    def strong(self, size: Size, processes: int) -> Prediction:
        """Predict a field of 16 tiles."""
        one = self._alone(size)
        parts = FIELD_TILES // processes
        axes = {"tiles": processes}
        compute = one * parts + self._more(size, axes, self.network)
        return self._predict(size, "strong", axes, compute, one * parts, parts=parts)

    def shared(self, size: Size, axis: str, processes: int) -> Prediction | None:
        """Predict samples that processes share; None where nothing tells their computing.

        It is that of steps among echoes, or else of the share of computing that each process does
        whole, which is fitted to two.
        """
        together = gcd(processes, model_of(size, tiny=False).heads)
        if together == 1:
            return None
        one = self._alone(size)
        axes = {axis: together}
        if together < processes:
            axes["tiles"] = processes // together
        rows = self._echoes(size, axes)
        if rows and rows[0]["size"] == size.name:
            return self._among_echoes(rows[0], size, axis, axes)
        serial = self._serial(size, axis)
        if serial is None:
            return None
        compute = one * (serial + (1 - serial) / together)
        found = self._predict(size, axis, axes, compute, one / together)
        return replace(found, is_fitted=processes == 2)

    def _predict(
        self,
        size: Size,
        case: str,
        axes: dict[str, int],
        compute: float,
        ideal: float,
        parts: int = 1,
        dtype: str = "float32",
    ) -> Prediction:
        told = _told(size, axes, parts, dtype)
        own = self._losses_of(axes)
        least = own._replace(contention=min(own.contention, self.losses.shared.contention))
        both = [
            cost(compute, *told, self.network, losses, grows=grows)
            for losses, grows in ((own, True), (least, False))
        ]
        return Prediction(
            size.name,
            case,
            prod(axes.values()),
            axes,
            ideal / both[0].step,
            ideal / both[1].step,
            both[0],
            sum(talk.sent for talk in told.talks),
            self._seen(size, case, axes) if self.slower == 1 else None,
        )

    def _alone(self, size: Size) -> float:
        """Return the seconds of a process alone; of a size that fits none, from the least.

        That is of a process among echoes, or else what is left of the step on two.
        """
        if (row := self._row(size, "one")) is not None:
            return self.slower * row["ms"] / 1e3
        for row in self.echoes:
            if (row["size"], row["case"]) == (size.name, "fsdp"):
                here = row["ms"] / 1e3 + self._spared(size, row["axes"], self._own)
                return self.slower * here
        row = self._row(size, "fsdp")
        assert row is not None
        told = _told(size, row["axes"])
        # twice and more, for what is hidden depends on it
        compute = whole = row["ms"] / 1e3
        for _ in range(20):
            found = cost(compute, *told, self._own, self.losses.shared, grows=True)
            compute += whole - found.step
        return self.slower * (compute + self._spared(size, row["axes"], self._own))

    def _losses_of(self, axes: Mapping[str, int]) -> Losses:
        """Return what was fitted to processes that talk as these do."""
        shares = any(axes.get(axis, 1) > 1 for axis in ("shard", "sequence", "channel"))
        return self.losses.shared if shares else self.losses.copies

    def _more(self, size: Size, axes: Mapping[str, int], network: Network) -> float:
        """Return by how many seconds a step computes longer than alone, a batch for each process.

        That is known of the machine that was measured, from echoes; of any the update is shorter
        where processes share the weights.
        """
        rows = self._echoes(size, axes) if network is self._own else []
        if rows:
            return fmean(row["ms"] - row["apart_ms"][0] for row in rows) / 1e3
        return -self._spared(size, axes, network)

    def _echoes(self, size: Size, axes: Mapping[str, int]) -> list[Mapping[str, Any]]:
        """Return steps among echoes that share a model and its samples as these axes do.

        Those of the size, or else of the same weights. Copies and tiles, and how gradients are
        added up, change next to nothing of what one of them computes.
        """
        alike = [
            row
            for row in self.echoes
            if "axes" in row
            and "apart_ms" in row
            and SIZES[row["size"]].preset == size.preset
            and _shared(row["axes"]) == _shared(axes)
        ]
        return [row for row in alike if row["size"] == size.name] or alike

    def _among_echoes(
        self, row: Mapping[str, Any], size: Size, axis: str, axes: dict[str, int]
    ) -> Prediction:
        """Predict shared samples: kernels of a step among echoes, and as long as the host takes."""
        one = self._alone(size)
        ideal = one / axes[axis]
        found = self._predict(size, axis, axes, one * row["ms"] / row["apart_ms"][0], ideal)
        if "profile_ms" not in row:
            return found
        kernels = row["profile_ms"]["work"] / row["apart_profile_ms"]["work"]
        return replace(found, high=self._predict(size, axis, axes, one * kernels, ideal).high)

    def _spared(self, size: Size, axes: Mapping[str, int], network: Network) -> float:
        """Return the seconds that an update is shorter by where processes share the weights."""
        own = self._own.memory_bytes_per_s
        update = UPDATE_BYTES * _weights(size) / own
        for row in (*self.rows, *self.echoes):
            if "update_ms" in row and SIZES[row["size"]].preset == size.preset:
                update = row["update_ms"] / 1e3
        return update * own / network.memory_bytes_per_s * (1 - 1 / axes.get("shard", 1))

    def _serial(self, size: Size, axis: str) -> float | None:
        """Return the share of computing that two processes each do whole."""
        row = self._row(size, axis)
        if row is None or row["axes"].get(axis) != 2:
            return None
        one = self._alone(size) / self.slower
        step = one / 2 / row["efficiency"]  # were the devices as warm as then
        told = _told(size, row["axes"])
        low, high = 0.0, 1.0
        for _ in range(40):
            serial = (low + high) / 2
            compute = one * (serial + (1 - serial) / 2)
            found = cost(compute, *told, self._own, self._losses_of(row["axes"]), grows=True)
            low, high = (serial, high) if found.step < step else (low, serial)
        return (low + high) / 2

    def _row(self, size: Size, case: str) -> Mapping[str, Any] | None:
        """Return what was measured of a case on two."""
        found = (row for row in self.rows if (row["size"], row["case"]) == (size.name, case))
        return next(found, None)

    def _seen(self, size: Size, case: str, axes: dict[str, int]) -> float | None:
        if size.least > 1:  # nobody knows what it takes alone
            return None
        for row in self._seen_rows:
            if (row["size"], row["case"], row.get("axes")) == (size.name, case, axes):
                return row["efficiency"]
        return None

    def _fitted(self, network: Network) -> Fitted:
        points: dict[str, list[tuple[float, Cost]]] = {"tiles": [], "fsdp": []}
        for row in self.rows:
            size = SIZES[row["size"]]
            if row["case"] not in WEAK or size.least > 1 or not self.knows(size):
                continue
            one = self._alone(size) / self.slower
            own = one + self._more(size, row["axes"], network)
            told = _told(size, row["axes"], dtype=row.get("reduce_dtype", "float32"))
            # beside devices that were as warm as then
            seconds = one / row["efficiency"]
            way = row["case"].removesuffix("-bf16")
            points[way].append((seconds, cost(own, *told, network, Losses(1, 1), grows=True)))
        met = [1 / row["efficiency"] - 1 for row in self.rows if row["case"] == "met"]
        several = max(fmean(met), 0.0) if met else None
        if not all(points.values()):
            return Fitted(*2 * [fit_losses([*chain(*points.values())], several)])
        return Fitted(*(fit_losses(own, several) for own in points.values()))


def joined(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return measurements on several numbers of processes as one."""
    merged = dict(files[0])
    for name in ("rows", "probe"):
        merged[name] = [row for one in files for row in one[name]]
    return merged


def sharing(processes: int) -> dict[str, int]:
    """Return how so many processes share weights: within a host, copies beyond."""
    if processes <= SHARING:
        return {"shard": processes}
    return {"replicate": processes // SHARING, "shard": SHARING}


def memory(size: Size, axes: Mapping[str, int], dtype: str) -> int:
    """Return the bytes that a run is predicted to hold, a batch for each process."""
    outline = outline_of(grid_of(tiny=False))
    config = _config(size, 1, dtype)
    return predict_memory(config, outline, Scope.of([outline]), _along(axes), size.batch).total


def _along(axes: Mapping[str, int]) -> dict[str, int]:
    return {axis: axes.get(axis, 1) for axis in AXES}


def _shared(axes: Mapping[str, int]) -> dict[str, int]:
    """Return the axes along which processes share a model or its samples."""
    return {axis: size for axis, size in axes.items() if axis not in ("replicate", "tiles")}


@cache
def _weights(size: Size) -> int:
    """Return how many weights a size has."""
    config = TrainConfig(pair="random", model=model_of(size, tiny=False))
    outline = outline_of(grid_of(tiny=False))
    return count_weights(Rehearsal(config, outline, Scope.of([outline]), samples=1).model)


class _Told(NamedTuple):
    """What is said in a step, and by processes along which axes."""

    talks: Sequence[Talk]
    sizes: Mapping[str, int]


def _told(size: Size, axes: Mapping[str, int], parts: int = 1, dtype: str = "float32") -> _Told:
    sizes = _along(axes)
    return _Told(_talks(size, tuple(sizes.values()), parts, dtype), sizes)


@cache
def _talks(size: Size, sizes: tuple[int, ...], parts: int, reduce_dtype: str) -> Sequence[Talk]:
    config = _config(size, parts, reduce_dtype)
    along = dict(zip(AXES, sizes, strict=True))
    outline = outline_of(grid_of(tiny=False))
    return count_traffic(config, outline, Scope.of([outline]), along, parts * size.batch)


def _config(size: Size, parts: int, reduce_dtype: str) -> TrainConfig:
    return TrainConfig(
        pair="random",
        model=model_of(size, tiny=False),
        dtype="bfloat16",
        accumulate=parts,
        batch_size=parts,
        parallel=ParallelConfig.model_validate({"reduce_dtype": reduce_dtype}),
        **settings_of(size),
    )
