"""What a run will be, known before it starts: processes, memory, work, storage."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from orbitds.config import SaveConfig, TrainConfig
from orbitds.data.order import Order
from orbitds.data.pair import open_pair
from orbitds.train.count import Count, count
from orbitds.train.launch import Launch
from orbitds.train.memory import Memory, predict_memory
from orbitds.train.mesh import make_mesh
from orbitds.train.mixture import Scope, check_mixture
from orbitds.train.outline import Outline, outline_of
from orbitds.train.setting import check_names, posed
from orbitds.train.traffic import Talk, count_traffic

_FLOAT32 = 4


@dataclass(frozen=True)
class Plan:
    """What a run will be."""

    sizes: dict[str, int]
    """Processes along each axis."""
    processes: int
    samples: int
    """Of a step, over all processes."""
    samples_of_process: int
    """Of the process that has most of them, in a step."""
    parts: int
    """That a process's samples are worked through in."""
    parameters: int
    tokens: int
    """Of a sample in the blocks; of several pairs, of the largest."""
    operations: float
    """Of all steps, forward and backward, without what checkpointing computes again."""
    steps: int
    training_samples: dict[str, int]
    """Of each pair."""
    epochs: dict[str, float]
    """How often each pair's samples are seen, on average."""
    memory: Memory
    """Of a process; of several pairs, for the largest."""
    sent_bytes: dict[str, float]
    """That a process sends in a step, by purpose; of several pairs, for the one with most. Empty
    for one process, and for DeepSpeed, where they are not counted."""
    state_bytes: int
    """Of one state of the run, over all its files."""
    states: int
    """That are kept at the end."""
    checkpoint_bytes: int
    """Of the best weights, with the fields of the region."""

    @property
    def storage_bytes(self) -> int:
        """At most, while another state or checkpoint is written beside those that are kept."""
        return (self.states + 1) * self.state_bytes + 2 * self.checkpoint_bytes

    @property
    def values(self) -> dict[str, Any]:
        """All numbers by name, for JSON."""
        told = asdict(self) | {"memory": self.memory.values}
        return told | {"storage_bytes": self.storage_bytes}

    def describe(self) -> str:
        """Return the plan for people."""
        axes = " x ".join(f"{axis} {size}" for axis, size in self.sizes.items())
        seen = (
            f"{count:,} training samples{f' of {name}' if len(self.epochs) > 1 else ''}, seen "
            f"{self.epochs[name]:.3g} times"
            for name, count in self.training_samples.items()
        )
        memory = self.memory
        rows = [
            ("processes", f"{self.processes:,} = {axes}"),
            (
                "a step",
                f"{self.samples:,} samples, {self.samples_of_process:,} a process, in "
                f"{self.parts} part{'s' * (self.parts > 1)}",
            ),
            ("the run", f"{self.steps:,} steps, {self.operations:.3g} operations"),
            *(("", text) for text in seen),
            ("the model", f"{self.parameters:,} parameters, {self.tokens:,} tokens a sample"),
            ("memory", f"{_gib(memory.total)} a process, predicted"),
            ("  weights", f"{_gib(memory.weights)} in float32"),
            ("  moments", _gib(memory.moments)),
            ("  running mean", _gib(memory.average)),
            ("  gathered", f"{_gib(memory.gathered)} of weights and gradients on their way"),
            ("  work", f"{_gib(memory.work)} at the highest of forward and backward:"),
            ("", f"activations {_gib(memory.activations)}, gradients {_gib(memory.gradients)}"),
            ("  data", f"{_gib(memory.data)}: its samples, those read ahead, fields of the region"),
            ("on the host", f"{_gib(memory.host)} of weights and moments"),
            ("network", f"{_gib(sum(self.sent_bytes.values()))} sent by a process in a step:"),
            ("", ", ".join(f"{name} {_gib(size)}" for name, size in self.sent_bytes.items())),
            ("states", f"{self.states} kept of {_gib(self.state_bytes)} each"),
            ("checkpoint", _gib(self.checkpoint_bytes)),
            ("storage", f"{_gib(self.storage_bytes)} at most"),
        ]
        empty = {"  running mean": memory.average, "  gathered": memory.gathered}
        empty["on the host"] = memory.host
        empty["network"] = bool(self.sent_bytes)
        return "\n".join(f"{name:16}{text}" for name, text in rows if text and empty.get(name, 1))


def plan(config: TrainConfig, processes: int) -> Plan:
    """Open a run's data, refuse what a run would refuse, and predict; nothing is written.

    Parameters
    ----------
    processes
        That the run will be started on.

    Raises
    ------
    ValueError, OSError
        As the run would, of sizes and data that do not fit or are not there.
    """
    pairs = [posed(config, open_pair(name)) for name in config.mixture]
    check_mixture(config, pairs)
    check_names(config, pairs)
    return predict(config, [outline_of(config, pair) for pair in pairs], processes)


def predict(config: TrainConfig, outlines: Sequence[Outline], processes: int) -> Plan:
    """Predict a run from the sizes of its data alone.

    Parameters
    ----------
    outlines
        Of the pairs of ``config.mixture``.

    Raises
    ------
    ValueError
        If the sizes of ``config.parallel`` do not make that many processes, or a batch has not one
        sample for each.
    """
    mesh = make_mesh(config.parallel, Launch(world=processes), torch.device("cpu"))
    shares = list(config.mixture.values())
    Order(  # refuses a batch that is too small
        seed=config.seed,
        batch_size=config.batch_size,
        parts=config.accumulate,
        first=0,
        last=1,
        world=mesh.data_world,
    )
    samples = -(-config.batch_size // mesh.data_world)
    scope = Scope.of(outlines)
    counts = [count(config, outline, scope) for outline in outlines]
    memories = [predict_memory(config, one, scope, mesh.sizes, samples) for one in outlines]
    memory = max(memories, key=lambda memory: memory.total)
    talks: list[list[Talk]] = []
    if config.parallel.engine == "torch":
        talks = [count_traffic(config, one, scope, mesh.sizes, samples) for one in outlines]
    seen = [share / sum(shares) * config.steps * config.batch_size for share in shares]
    parameters = counts[0].parameters
    trained = counts[0].trained
    averaged = parameters if config.ema_decay else 0
    return Plan(
        sizes=mesh.sizes,
        processes=mesh.world,
        samples=config.batch_size,
        samples_of_process=samples,
        parts=config.accumulate,
        parameters=parameters,
        tokens=max(one.tokens for one in counts),
        operations=_operations(counts, seen),
        steps=config.steps,
        training_samples={outline.name: outline.samples for outline in outlines},
        epochs={
            outline.name: times / outline.samples
            for outline, times in zip(outlines, seen, strict=True)
        },
        memory=memory,
        sent_bytes=max(map(_by_purpose, talks), key=lambda sent: sum(sent.values()), default={}),
        state_bytes=(parameters + averaged) * _FLOAT32 + 2 * trained * _FLOAT32,
        states=_states(config.save, config.validate_every, config.steps),
        checkpoint_bytes=parameters * _FLOAT32 + _region_bytes(config, outlines),
    )


def _operations(counts: Sequence[Count], seen: Sequence[float]) -> float:
    return sum(one.operations * times for one, times in zip(counts, seen, strict=True))


def _by_purpose(talks: Sequence[Talk]) -> dict[str, float]:
    sent: dict[str, float] = {}
    for talk in talks:
        sent[talk.purpose] = sent.get(talk.purpose, 0.0) + talk.sent
    return sent


def _states(config: SaveConfig, validate_every: int, steps: int) -> int:
    """Return how many states are there at the end."""
    saved = range(0, steps + 1, config.every or validate_every)[1:]
    kept = set(saved[-config.keep_last :])
    if config.keep_every is not None:
        kept |= {step for step in saved if step % config.keep_every == 0}
    return len(kept)


def _region_bytes(config: TrainConfig, outlines: Sequence[Outline]) -> int:
    """Return the bytes of statics and monthly climatology of a region; several pairs have none."""
    if len(outlines) > 1:
        return 0
    outline = outlines[0]
    cells = outline.tiles.height * outline.tiles.width
    fine = cells * outline.factor**2
    months = 12 * len(outline.outputs) * (fine + cells) if config.model.base == "delta" else 0
    return _FLOAT32 * (len(outline.statics) * fine + months)


def _gib(size: int | float) -> str:
    if size < 2**20:
        return f"{size / 2**10:,.3g} KiB"
    return f"{size / 2**30:,.3g} GiB" if size >= 2**30 else f"{size / 2**20:,.3g} MiB"
