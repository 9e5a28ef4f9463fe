"""How training scales: measured on the processes that are there, predicted for more.

    torchrun --nproc-per-node 2 eval/bench_scaling.py measure --output scaling
    python eval/bench_scaling.py cut --processes 2 8 --output scaling
    python eval/bench_scaling.py predict --measured scaling/measured_2.json --figure scaling.png

``measure`` times steps and collectives on 2, 4, 8 processes (``tiles``, ``fsdp``, ``hsdp``: each
process has a tile and samples of its own, and the field grows; ``strong``: a field of 16 tiles;
``sequence``, ``tensor``: a sample shared). Beside each case: samples a second; efficiency, which
is the rate over that of so many single processes; the exposed share, which is the time of the step
that the same share of the work does not take in a process alone; what NCCL's kernels took on the
main process's GPU, and took while no other kernel ran (bare). ``cut`` times the steps of the first
of so many processes on one GPU, with collectives that return at once. A step is that of
``bench_train.py``. ``predict`` needs no GPU: from steps and collectives measured on two it
predicts those of more, by a model of cost (``scaling/cost.py``); without ``--measured`` from the
figures of ``results/train.md``.

A case that fails in all processes, or in the main one alone, is noted and the others go on; rows
are written as they come, so that what goes wrong later costs none of them.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from scaling.cases import SIZES
from scaling.machines import FRONTIER, H200, slower_than_measured, with_host
from scaling.measure import Bench
from scaling.predict import PROCESSES, Model
from scaling.probe import SIZES as PROBED
from scaling.probe import TINY_SIZES, probe
from scaling.rows import efficiency_table, parts_table, table

from orbitds.device import choose_device
from orbitds.train.launch import Launch, launched

MEASURED = Path(__file__).parent / "results" / "scaling_measured.json"
CASES = ("tiles", "fsdp", "hsdp", "strong", "sequence", "tensor")


class Book:
    """Rows of a measurement, printed and written as they come."""

    def __init__(self, path: Path, told: dict[str, Any], *, writes: bool) -> None:
        self.path, self.told, self.writes = path, told, writes
        self.rows: list[dict[str, Any]] = []
        self.probe: list[dict[str, Any]] = []

    def say(self, row: dict[str, Any]) -> None:
        """Take note of a row."""
        self.rows.append(row)
        if self.writes:
            print(json.dumps({key: row[key] for key in row if key != "all_ms"}), flush=True)
        self.write()

    def write(self) -> None:
        """Write what there is so far."""
        if self.writes:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            told = {**self.told, "probe": self.probe, "rows": self.rows}
            self.path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def measure(options: argparse.Namespace) -> None:
    """Time steps and collectives on the processes that are there."""
    with launched("auto") as (launch, device):
        if launch.master is None and launch.world == 1:
            print("one process: what it does alone is measured, and nothing to compare with it")
        path = options.output / f"measured_{launch.world}.json"
        book = Book(path, _machine(launch, device), writes=launch.is_main)
        if launch.world > 1:
            book.probe = probe(device, TINY_SIZES if options.tiny else PROBED)
            book.write()
        _bench(options, launch, device, book, cut=False)
        if launch.is_main:
            print(f"\n{book.told['device']}, {launch.world} processes\n\n{table(book.rows)}")


def cut(options: argparse.Namespace) -> None:
    """Time the steps of the first of so many processes, communication cut out."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    device = choose_device("auto")
    for world in options.processes:
        launch = Launch(world=world, master="nobody")
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world)
        try:
            path = options.output / f"cut_{world}.json"
            book = Book(path, _machine(launch, device), writes=True)
            _bench(options, launch, device, book, cut=True)
        finally:
            dist.destroy_process_group()
        print(f"\n{book.told['device']}, first of {world}, communication cut out\n")
        print(table(book.rows))


def predict(options: argparse.Namespace) -> None:
    """Predict steps on more GPUs from steps measured on two."""
    measured = json.loads(options.measured.read_text(encoding="utf-8"))
    print(f"from {measured['device']}: {measured.get('source', options.measured.name)}")
    bare = [json.loads(path.read_text(encoding="utf-8")) for path in options.cut]
    weak = {}
    for network, slower in ((H200, 1.0), (FRONTIER, slower_than_measured("MI250X"))):
        own = with_host(network, measured) if slower == 1 else network
        model = Model(measured, own, slower=slower, cut=bare)
        sizes = [size for name in options.sizes if model.knows(size := SIZES[name])]
        weak[own] = [one for size in sizes for n in PROCESSES for one in model.weak(size, n)]
        small = [size for size in sizes if size.least == 1]
        strong = [model.strong(size, n) for size in small for n in (2, 4, 8, 16)]
        shared = [
            one
            for size in small
            for axis in ("sequence", "tensor")
            for n in (2, 4, 8)
            if (one := model.shared(size, axis, n)) is not None
        ]
        told = f"{own.host.latency_s * 1e6:.0f} us and {own.host.bytes_per_s / 1e9:.0f} GB/s within"
        told += f" a host, {own.between.latency_s * 1e6:.0f} us and "
        told += f"{own.between.bytes_per_s / 1e9:.1f} GB/s between hosts"
        told += f" ({own.host_source}; {own.source}); computing takes {slower:.2f} times as long;"
        print(f"\n## {own.name}\n\n{told}")
        print(f"contention {model.losses.contention:.2f}, several {model.losses.several:.3f}\n")
        print(efficiency_table(weak[own]), end="\n\n")
        print(efficiency_table([*strong, *shared]), end="\n\n")
        print(parts_table([one for one in weak[own] if one.processes in (2, 8, 32768)]))
    if options.figure:
        from scaling.figure import draw  # matplotlib is an extra, and no part of a measurement

        draw(weak, options.figure)
        print(f"\n{options.figure}")


def _bench(
    options: argparse.Namespace, launch: Launch, device: torch.device, book: Book, *, cut: bool
) -> None:
    until = time.monotonic() + options.seconds
    bench = Bench(launch, device, tiny=options.tiny, cut=cut, until=until, say=book.say)
    for name in options.sizes:
        bench.size(SIZES[name], options.cases)


def _machine(launch: Launch, device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    told = {"device": name, "processes": launch.world, "torch": torch.__version__}
    return told | {"python": platform.python_version()}


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for call in (measure, cut):
        command = commands.add_parser(call.__name__, help=call.__doc__)
        command.set_defaults(call=call)
        command.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
        command.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
        command.add_argument("--tiny", action="store_true", help="small models: a rehearsal")
        command.add_argument(
            "--seconds", type=float, default=600, help="after which no case begins"
        )
        command.add_argument("--output", type=Path, default=Path("scaling"), help="folder")
        if call is cut:
            command.add_argument("--processes", nargs="+", type=int, default=[2, 8])
    command = commands.add_parser("predict", help=predict.__doc__)
    command.set_defaults(call=predict)
    command.add_argument("--measured", type=Path, default=MEASURED, help="of `measure`")
    command.add_argument("--cut", type=Path, nargs="+", default=[], help="of `cut`")
    command.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    command.add_argument("--figure", type=Path, help="a PNG to draw")
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
