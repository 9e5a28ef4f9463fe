"""How much memory a run takes of each process, predicted from shapes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from orbitds.config import ParallelConfig, TrainConfig
from orbitds.data.assemble import CLIMATOLOGY_BYTES
from orbitds.ledger import Ledger
from orbitds.model.trunk import Trunk
from orbitds.train.mixture import Scope
from orbitds.train.outline import Outline
from orbitds.train.portion import forget, narrow_weights, split_matrices, split_tokens
from orbitds.train.rehearsal import Rehearsal
from orbitds.train.shard import count_weights, groups_of, stays_whole, width_of
from orbitds.train.start import is_frozen

# Groups of blocks whose weights are whole on a process at a time: the one at work and the next one.
GATHERED_GROUPS = 2
_FLOAT32 = 4


@dataclass(frozen=True)
class Memory:
    """Bytes that a process holds at once, at the highest.

    Notes
    -----
    Left out: the device's context (on an H100 about half a GiB), buffers of the communication
    library, fragments of the allocator, and what kernels allocate within themselves. The types of
    intermediates are those of autocast on a CPU. Channel parallelism is taken to save weights
    alone. What `torch.compile` fuses is not known: it takes less.
    """

    weights: int
    """Its share of the weights, in float32."""
    moments: int
    """Its share of AdamW's two moments."""
    average: int
    """Its share of the running mean of the weights."""
    gathered: int
    """Weights of others while they are used, and their gradients on the way."""
    work: int
    """What forward and backward hold at the highest: activations, temporaries, gradients so far."""
    data: int
    """Its samples of a batch, those that are read ahead, and fields of the whole region."""
    host: int
    """Beside it, on the host, where `parallel.offload` asks for it."""
    gradients: int
    """Of ``work``, its share of all gradients, in float32."""
    activations: int
    """Of ``work``, what the forward pass of a part of the batch leaves for the backward pass."""

    @property
    def total(self) -> int:
        """On the device."""
        parts = (self.weights, self.moments, self.average, self.gathered, self.data)
        return sum(parts) + self.work

    @property
    def values(self) -> dict[str, int]:
        """By name, with the total."""
        return asdict(self) | {"total": self.total}


def predict_memory(
    config: TrainConfig,
    outline: Outline,
    scope: Scope,
    sizes: Mapping[str, int],
    samples: int,
) -> Memory:
    """Predict the memory of a process.

    Parameters
    ----------
    scope
        What the model is made for.
    sizes
        Processes along each axis of the mesh.
    samples
        Of the process in a step.
    """
    part = -(-samples // config.accumulate)
    parts = sizes["shard"] * sizes["sequence"] * sizes["channel"]
    processes = parts * sizes["replicate"] * sizes["tiles"]
    if config.parallel.engine == "deepspeed":  # which shares over all of them
        parts = processes
    rehearsal = Rehearsal(config, outline, scope, samples=part)
    blocks = rehearsal.blocks
    with rehearsal.mode:
        split_matrices(blocks, sizes["tensor"])
    trunk = getattr(rehearsal.model, "trunk", None)
    if isinstance(trunk, Trunk):  # samples of other models are not shared
        split_tokens(trunk, sizes["sequence"])
    forget(blocks, config.checkpointing)

    weights = count_weights(rehearsal.model)
    trained = weights - sum(
        weight.numel()
        for name, weight in rehearsal.model.named_parameters()
        if is_frozen(name, config.freeze)
    )
    of_weights, of_gradients, of_moments = _shares(config.parallel, parts)
    copies_add = parts == 1 < processes
    gathers = of_weights == parts > 1
    summed = width_of(config.parallel.reduce_dtype)
    gathered = 0
    if gathers:
        gathered = _gathered(rehearsal)
    elif copies_add and summed == _FLOAT32:  # made, and on the way, for a moment
        gathered = summed * max((count_weights(*group) for group in groups_of(blocks)), default=0)
    if gathers and config.dtype == "bfloat16":
        # whole weights are in bfloat16 as they come; elsewhere autocast makes copies
        with rehearsal.mode:
            narrow_weights(blocks)

    gradients = trained * _FLOAT32 // of_gradients
    offload = config.parallel.offload
    made = 0.0 if config.accumulate > 1 or offload else 1 / of_gradients
    if copies_add and summed < _FLOAT32:
        made += summed / _FLOAT32  # what is sent is kept beside what is made
    activations, work = _rehearse(
        rehearsal,
        waiting=0 if config.accumulate == 1 or offload else gradients,
        share=made,
        frozen=config.freeze,
    )
    states = {
        "weights": weights * _FLOAT32 // of_weights,
        "moments": 2 * trained * _FLOAT32 // of_moments,
        "average": weights * _FLOAT32 // of_weights if config.ema_decay else 0,
    }
    return Memory(
        **(dict.fromkeys(states, 0) if offload else states),
        host=sum(states.values()) + gradients if offload else 0,
        gathered=gathered,
        work=max(work, 0 if offload else gradients),
        data=_data(config, outline, rehearsal, samples),
        gradients=gradients,
        activations=activations,
    )


def _shares(config: ParallelConfig, parts: int) -> tuple[int, int, int]:
    """Return over how many processes weights, gradients and moments are spread."""
    stage = config.zero_stage if config.engine == "deepspeed" else 3
    return (parts if stage == 3 else 1), (parts if stage >= 2 else 1), parts


def _gathered(rehearsal: Rehearsal) -> int:
    """Return the bytes of whole weights: those outside the blocks, and those of some groups."""
    config = rehearsal.config
    sizes = [count_weights(*group) for group in groups_of(rehearsal.blocks)]
    group = max(sizes, default=0)
    root = count_weights(rehearsal.model) - sum(sizes)
    width, summed = width_of(config.dtype), width_of(config.parallel.reduce_dtype)
    kept = stays_whole(sum(sizes), config.dtype)
    whole = sum(sizes) if kept else min(sum(sizes), GATHERED_GROUPS * group)
    # one group's gradients as they are computed, and as they are added up
    return root * _FLOAT32 + whole * width + group * (width + summed)


def _rehearse(
    rehearsal: Rehearsal, *, waiting: int, share: float, frozen: Sequence[str]
) -> tuple[int, int]:
    """Return what the forward pass leaves, and the highest of both passes, in bytes.

    Parameters
    ----------
    waiting
        Gradients of earlier parts of the batch.
    share
        Of the gradients that are made now, what stays with the process.
    """
    model = rehearsal.model
    ledger = Ledger([*model.parameters(), *model.buffers(), *rehearsal.batch])
    ledger.hold(waiting)
    for name, weight in model.named_parameters():
        if is_frozen(name, frozen):
            weight.requires_grad = False
            continue

        def taken(weight: torch.Tensor) -> None:
            weight.grad = None
            ledger.hold(round(weight.numel() * _FLOAT32 * share))

        weight.register_post_accumulate_grad_hook(taken)
    with ledger:
        loss = rehearsal.forward()
    left = ledger.held_bytes - waiting
    with ledger:
        rehearsal.backward(loss)
    return left, ledger.highest_bytes


def _data(config: TrainConfig, outline: Outline, rehearsal: Rehearsal, samples: int) -> int:
    batch = sum(tensor.nbytes for tensor in rehearsal.batch)
    whole = batch * samples // rehearsal.batch.coarse.shape[0]
    ahead = 2 * samples * outline.stored_bytes
    tiles, outputs = outline.tiles, len(outline.outputs)
    cells = tiles.height * tiles.width
    fine = cells * outline.factor**2
    fields = (len(outline.statics) + outputs) * fine * _FLOAT32  # statics and areas
    if config.model.base == "delta":
        fields += min(CLIMATOLOGY_BYTES, outline.times * outputs * (fine + cells) * _FLOAT32)
    return whole + ahead + fields
