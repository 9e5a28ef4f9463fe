"""How gradients of copies are best added up between processes beside the backward pass.

    torchrun --nproc-per-node 2 eval/bench_sums.py --sizes 126M 1B

Ways are taken in turns on the same devices: ``nothing`` (processes say nothing to each other),
``losses`` (each waits for the latest of a step, and no gradient travels), ``blocks`` (as in a run:
one sum once the backward pass is through with a group of blocks), the same in bfloat16
(``parallel.reduce_dtype``), ``parcels N`` (a sum whenever N MiB wait, those of 32 MiB or more as
they are), ``end`` (one after another when the backward pass has ended). With ``--ctas N`` also
``blocks``, NCCL's kernels holding N multiprocessors at most. With ``--echoes N`` one GPU does, and
the other processes are echoes of it (``scaling/echo.py``), each operation at its time.

Of each way the median of steps over all processes, the efficiency beside ``nothing``, and what a
profile of the main process's GPU says: see ``bench_scaling.py``.
"""

import argparse
from collections.abc import Iterable
from functools import partial
from itertools import chain

import torch
import torch.distributed as dist
from scaling.cases import SIZES, Case, run_of
from scaling.echo import among, ask_for_pace, at_pace, pace_of
from scaling.rows import table
from scaling.turns import compared, in_turns, profile
from training_run import Run, reset

from orbitds.device import choose_device
from orbitds.train.gradients import GradientSum
from orbitds.train.launch import Launch, launched

MIB = 2**20
LARGE_BYTES = 32 * MIB


class Parcels(GradientSum):
    """Sums as soon as so many bytes wait; 0 for when all is there, each gradient by itself."""

    def __init__(
        self, weights: Iterable[torch.Tensor], size: int, group: dist.ProcessGroup
    ) -> None:
        super().__init__(weights, [], group)
        self.size = size

    def finish(self) -> None:
        """Send the rest, and return once each gradient is the sum."""
        if self.size == 0:
            for weight in chain(*self._waiting.values()):
                assert weight.grad is not None
                dist.all_reduce(weight.grad, group=self.group)
            self._waiting.clear()
        super().finish()

    def _take(self, weight: torch.Tensor) -> None:
        if not self.is_last:
            return
        assert weight.grad is not None
        if self.size and weight.grad.nbytes >= LARGE_BYTES:
            work = dist.all_reduce(weight.grad, group=self.group, async_op=True)
            assert work is not None
            self._sent.append(([], [], work))
            return
        waiting = self._waiting[weight.dtype]
        waiting.append(weight)
        if self.size and sum(one.nbytes for one in waiting) >= self.size:
            self._send(weight.dtype)


def measure(options: argparse.Namespace) -> None:
    """Measure all ways with each size."""
    if options.echoes:
        launch = Launch(world=options.echoes, master="nobody")
        with among(options.echoes), at_pace(pace_of(options)):
            _measure(options, launch, choose_device("auto"))
        return
    with launched("auto") as (launch, device):
        if launch.world == 1:
            raise SystemExit(
                "Wanted several processes, got one. Start them by torchrun, or ask for --echoes."
            )
        _measure(options, launch, device)


def _measure(options: argparse.Namespace, launch: Launch, device: torch.device) -> None:
    groups = {}
    for ctas in options.ctas:
        told = dist.ProcessGroupNCCL.Options()
        told.config.max_ctas = ctas
        groups[ctas] = dist.new_group(backend="nccl", pg_options=told)
    for name in options.sizes:
        size = SIZES[name]
        reset(device)
        torch.compiler.reset()
        copies = Case("tiles", {"tiles": launch.world})
        run = run_of(size, copies, launch, device, tiny=options.tiny)
        weights = list(run.engine.weights.values())
        everyone = run.mesh.addends
        assert everyone is not None
        sums: dict[str, GradientSum | None] = {"nothing": None, "losses": None}
        sums["blocks"] = run.engine.sum
        sums["blocks, bfloat16"] = run.sum_by_blocks(everyone, torch.bfloat16)
        for size_mib in options.parcels:
            sums[f"parcels {size_mib}"] = Parcels(weights, size_mib * MIB, everyone)
        sums["end"] = Parcels(weights, 0, everyone)
        for ctas, group in groups.items():
            sums[f"blocks, {ctas} CTAs"] = run.sum_by_blocks(group)
        rows = _rows(run, sums, options.rounds, options.steps)
        if launch.is_main:
            others = f"echoes that hold {options.held}" if options.echoes else "all there"
            print(f"\n{device}, {launch.world} processes, {others}, torch {torch.__version__}\n")
            print(table([{"size": name, **row} for row in rows]), flush=True)


def _rows(run: Run, sums: dict[str, GradientSum | None], rounds: int, steps: int) -> list[dict]:
    def choose(way: str) -> None:
        run.choose(sums[way], quiet=way == "nothing")

    def steps_of(way: str) -> list[float]:
        choose(way)
        return run.times_ms(steps, 1)

    choose("losses")
    run.several(5)
    times = in_turns({way: partial(steps_of, way) for way in sums}, rounds)
    rows = []
    for way in sums:
        dist.barrier()
        choose(way)
        rows.append({"case": way, **compared(times[way], times["nothing"]), **profile(run)})
    return rows


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    whole = [name for name, size in SIZES.items() if size.least == 1]
    parser.add_argument("--sizes", nargs="+", choices=whole, default=["126M", "1B"])
    parser.add_argument("--parcels", nargs="*", type=int, default=[32, 128], help="in MiB")
    parser.add_argument("--ctas", nargs="*", type=int, default=[], help="with NCCL alone")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5, help="of a round")
    parser.add_argument("--tiny", action="store_true", help="small models: a rehearsal")
    parser.add_argument("--echoes", type=int, help="processes, all but one echoes: see above")
    ask_for_pace(parser)
    options = parser.parse_args()
    if options.echoes and options.ctas:
        parser.error(
            "--ctas is of NCCL, which echoes do without: leave one of --ctas, --echoes out"
        )
    measure(options)


if __name__ == "__main__":
    main()
