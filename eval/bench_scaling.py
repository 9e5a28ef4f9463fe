"""How training scales: measured on the processes that are there, predicted for more.

    torchrun --nproc-per-node 2 eval/bench_scaling.py measure --output scaling
    python eval/bench_scaling.py cut --processes 2 8 --output scaling
    python eval/bench_scaling.py predict scaling --figure scaling.png

``measure`` times steps and collectives on 2, 4, 8 processes: ``tiles``, ``fsdp``, ``hsdp`` (each
process has a tile and samples of its own, and the field grows), ``-bf16`` with gradients of blocks
added up in bfloat16 (``parallel.reduce_dtype``); ``strong`` (a field of 16 tiles); ``sequence``,
``tensor`` (a sample shared). Steps are taken in turns with those of the same devices that say
nothing to each other (``apart``), for a device grows warm and slow, and no two are alike;
efficiency is the rate over the sum of the rates apart. ``met`` is of steps that tell each other
their losses alone, so that each waits for the latest; ``one`` is the main process by itself.
Beside it samples a second; what a profile of the main process's GPU says: how long NCCL's kernels
ran, how long while no other did (bare), how long other kernels and products among them took, how
long nothing ran (idle); memory. ``cut`` times the steps of the first of so many processes on one
GPU, the others being echoes of it that come back at once, and *at a pace*: each operation takes the
time that the model of cost says, on a stream of its own, and holds multiprocessors. A step is that
of ``bench_train.py``. ``predict`` needs no GPU: from steps and collectives measured on two it
predicts those of more, by a model of cost (``scaling/cost.py``), and shows what else was measured
beside that.

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
from scaling.cases import SIZES
from scaling.echo import TIMED, Pace, among, ask_for_pace, pace_of
from scaling.machines import FRONTIER, H200, slower_than_measured, with_host
from scaling.measure import Bench
from scaling.predict import PROCESSES, Model, joined
from scaling.probe import SIZES as PROBED
from scaling.probe import TINY_SIZES, probe
from scaling.rows import echo_table, efficiency_table, parts_table, table

from orbitds.device import choose_device
from orbitds.train.launch import Launch, launched

CASES = ("tiles", "tiles-bf16", "fsdp", "fsdp-bf16", "hsdp", "strong", "sequence", "tensor")


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
            told = {key: row[key] for key in row if key not in ("all_ms", "paced")}
            print(json.dumps(told), flush=True)
        self.write()

    def write(self) -> None:
        """Write what there is so far."""
        if self.writes:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            told = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in self.told.items()]
            for name, rows in (("probe", self.probe), ("rows", self.rows)):
                lines = ",\n".join(map(json.dumps, rows))  # a row a line
                told.append(f"{json.dumps(name)}: [\n{lines}\n]")
            self.path.write_text("{" + ", ".join(told) + "}\n", encoding="utf-8")


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
        _bench(options, launch, device, book, None)
        if launch.is_main:
            print(f"\n{book.told['device']}, {launch.world} processes\n\n{table(book.rows)}")


def cut(options: argparse.Namespace) -> None:
    """Time the steps of the first of so many processes, the others being echoes of it."""
    device = choose_device("auto")
    pace = pace_of(options)
    for world in options.processes:
        launch = Launch(world=world, master="nobody")
        with among(world):
            path = options.output / f"cut_{world}.json"
            told = _machine(launch, device) | {
                "pace": pace.network.host,
                "held": pace.multiprocessors,
            }
            book = Book(path, told, writes=True)
            _bench(options, launch, device, book, pace)
        print(f"\n{book.told['device']}, first of {world}, the others echoes of it\n")
        print(table(book.rows))


def predict(options: argparse.Namespace) -> None:
    """Predict steps on more GPUs from steps measured on two."""
    files = [_read(path) for path in sorted(options.folder.glob("measured_*.json"))]
    two = [one for one in files if one["processes"] == 2]
    if not two:
        raise SystemExit(
            f"Wanted measured_2.json in {options.folder}, for predictions are fitted to two "
            f"processes, got {len(files)} other measurements. Run `measure` with two processes."
        )
    measured = joined(two + [one for one in files if one not in two])
    echoes = [_read(path) for path in sorted(options.folder.glob("cut_*.json"))]
    print(f"from {measured['device']}, torch {measured['torch']}: {options.folder}")
    weak = {}
    for network, slower in ((H200, 1.0), (FRONTIER, slower_than_measured("MI250X"))):
        own = with_host(network, measured) if slower == 1 else network
        model = Model(measured, own, slower=slower, cut=echoes)
        sizes = [size for name in options.sizes if model.knows(size := SIZES[name])]
        weak[own] = [one for size in sizes for n in PROCESSES for one in model.weak(size, n)]
        small = [size for size in sizes if size.least == 1 and not size.weak_alone]
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
        copies, sharing = model.losses
        print(
            f"contention {copies.contention:.2f} of copies, {sharing.contention:.2f} of shared "
            f"weights, several {copies.several:.3f}\n"
        )
        print(efficiency_table(weak[own]), end="\n\n")
        print(efficiency_table([*strong, *shared]), end="\n\n")
        print(parts_table([one for one in weak[own] if one.processes in (2, 8, 32768)]))
    rows = [row for one in echoes for row in one["rows"] if row["size"] in options.sizes]
    if rows:
        print(f"\n## One GPU, the others echoes of it\n\n{echo_table(rows)}")
    if options.figure:
        from scaling.figure import draw  # matplotlib is an extra, and no part of a measurement

        draw(weak, options.figure)
        print(f"\n{options.figure}")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _bench(
    options: argparse.Namespace,
    launch: Launch,
    device: torch.device,
    book: Book,
    pace: Pace | None,
) -> None:
    until = time.monotonic() + options.seconds
    bench = Bench(launch, device, tiny=options.tiny, pace=pace, until=until, say=book.say)
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
            ask_for_pace(command)
    command = commands.add_parser("predict", help=predict.__doc__)
    command.set_defaults(call=predict)
    command.add_argument(
        "folder", type=Path, nargs="?", default=TIMED.parent, help="of `measure` and `cut`"
    )
    command.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    command.add_argument("--figure", type=Path, help="a PNG to draw")
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
