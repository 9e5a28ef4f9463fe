"""Score a part of the times of an evaluation, for several processes at once.

    python eval/score_part.py --config my_eval.yaml --share 1/8     # and 2/8 to 8/8, anywhere

The settings are those of `orbitds eval --config`. Each process writes the sums of its part into
`parts/` in the output folder; the one that finds all parts there writes the report, that of one
process to rounding. torchrun, srun and SLURM arrays say the share by themselves, as in
eval/slurm.sbatch. A part that is there already is not scored again.
"""

import argparse
import os
from contextlib import ExitStack

from orbitds.catalog import open_dataset
from orbitds.checkpoint import load_checkpoint
from orbitds.config import EvalConfig, parse, read_config
from orbitds.eval.evaluate import prepare
from orbitds.eval.evaluation import Evaluation
from orbitds.eval.heap import share_heap
from orbitds.eval.options import Options
from orbitds.eval.parts import table_of_parts, write_part
from orbitds.eval.report import write_report
from orbitds.eval.run import past_of, tiles_of, truth_and_coarse
from orbitds.eval.sides import Sides
from orbitds.eval.simple import SimpleMethods
from orbitds.grid import Grid
from orbitds.infer.shares import share_of

# Of a process, in the folder of parts: its part is whole.
DONE = "done_{}_of_{}"


def main(arguments: list[str] | None = None) -> None:
    """Score a part, and report if it was the last one."""
    told = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    told.add_argument("--config", required=True, help="settings of `orbitds eval`: file or name")
    told.add_argument("--share", help="K/N, where no launcher says it")
    options = told.parse_args(arguments)
    share_heap()
    config = parse(EvalConfig, read_config(options.config, "eval"), source=options.config)
    share = share_of(os.environ, options.share)
    parts = config.output / "parts"
    mark = parts / DONE.format(share.rank + 1, share.world)
    with ExitStack() as stack:
        evaluation = opened(config, stack)
        if not mark.exists():
            write_part(evaluation, parts, (share.rank, share.world))
            mark.touch()
        marks = [parts / DONE.format(rank + 1, share.world) for rank in range(share.world)]
        waiting = sum(not other.exists() for other in marks)
        if waiting:
            print(f"part {share} done, {waiting} to come")
            return
        told_of = {"prediction": config.prediction, "processes": str(share.world)}
        scores = table_of_parts(evaluation, parts, share.world)
        write_report(scores, config.output, told_of, maps=config.maps)
    print(f"wrote {config.output / 'report.html'}")


def opened(config: EvalConfig, stack: ExitStack) -> Evaluation:
    """Return the evaluation of a config, ready to be scored.

    Raises
    ------
    ValueError
        If it names further predictions, which parts do not know.
    """
    if config.others:
        raise ValueError(
            f"Wanted one prediction, got others {list(config.others)}. Score each of them by "
            "itself, or all of them by `orbitds eval`."
        )
    prediction = stack.enter_context(open_dataset(config.prediction))
    truth, coarse = truth_and_coarse(config, stack)
    checkpoint = load_checkpoint(config.checkpoint) if config.checkpoint else None
    simple = None
    if coarse is not None:
        sides = Sides.of(prediction, truth, coarse, missing=config.missing)
        assert sides.coarse is not None
        methods = SimpleMethods.on(
            Grid.of(sides.coarse),
            sides.grid,
            sides.names,
            checkpoint=checkpoint,
            past=past_of(config, sides),
        )
        simple = methods.fields
    options = Options(
        coarse=coarse,
        checkpoint=checkpoint,
        missing=config.missing,
        label=config.label,
        region_names=config.regions,
        tiles=tiles_of(config),
        simple=simple,
        ssim=config.ssim,
    )
    return prepare(prediction, truth, options)


if __name__ == "__main__":
    main()
