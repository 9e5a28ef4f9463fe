"""How much each output of each pair counts: by what the untrained network leaves to be learned."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from orbitds.config import TrainConfig
from orbitds.data.order import Order, StepSampler
from orbitds.model.build import build
from orbitds.train.setting import Setting
from orbitds.train.together import Together

# What a run folder holds of it.
BALANCE = "balance.json"
# Draws the samples, the same ones whatever the seed of the run.
SEED = 0
# Nothing is left to learn of an output whose base errs less than this, in standard deviations.
LEAST_ERROR = 1e-8


def balanced(
    config: TrainConfig, settings: Sequence[Setting], together: Together, output: Path
) -> list[Setting]:
    """Return settings that know the error of their base, if the loss is balanced by it.

    The first process computes it, or reads what it wrote when the run began; all learn the same.

    Raises
    ------
    ValueError
        If there is nothing to learn of an output, or it has no values in the samples.
    """
    if config.loss.balance != "base":
        return list(settings)
    errors = together.by_main(_known, config, settings, output / BALANCE)
    return [replace(setting, base_errors=errors) for setting in settings]


def base_errors(config: TrainConfig, setting: Setting) -> dict[str, float]:
    """Return the normalised mean square error of a pair's base, by output.

    It is the error of the untrained network over ``loss.balance_samples`` samples of the training
    years, drawn as training draws them, weighted by area.
    """
    samples = setting.train
    order = Order(
        seed=SEED,
        batch_size=config.loss.balance_samples,
        first=0,
        last=1,
        shuffle="crops" if config.tiles.crop_cells else "tiles",
    )
    drawn = StepSampler(len(samples), order, tiles=len(samples.tiles.tiles)).batch(0)
    # the base depends neither on the size of the trunk nor on other pairs of the run
    small = {"depth": 0, "decoder_depth": 0, "compression": 1.0, "edge_density": None}
    pair = setting.pair
    model = build(
        config.architecture.model_copy(update=small),
        inputs=setting.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    alone = replace(setting, aim=None)
    model.to(samples.assemble.device).eval()
    square = area = torch.zeros(())
    for index in drawn:
        batch = samples.batch([index])
        with torch.no_grad():
            base = alone.forward(model, batch).base
        weight = batch.weight.double()
        square = square + (weight * (base - batch.fine).double().square()).sum(dim=(0, 2, 3)).cpu()
        area = area + weight.sum(dim=(0, 2, 3)).cpu()
    errors = dict(zip(pair.outputs, (square / area).tolist(), strict=True))
    for name, error in errors.items():
        if not error > LEAST_ERROR:  # NaN is none either
            raise ValueError(
                f"Wanted an error of the base to balance the loss by, got {error:.2g} for {name} "
                f"of {pair.name} over {len(drawn)} samples. Leave that output out, raise "
                "loss.balance_samples, or set loss.balance to variables."
            )
    return errors


def _known(
    config: TrainConfig, settings: Sequence[Setting], path: Path
) -> Mapping[str, Mapping[str, float]]:
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    errors = {setting.pair.name: base_errors(config, setting) for setting in settings}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(errors, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    for pair, outputs in errors.items():
        told = ", ".join(f"{name} {error**0.5:.3g}" for name, error in outputs.items())
        sys.stderr.write(f"{pair}: the base errs by {told} standard deviations (RMSE)\n")
    return errors
