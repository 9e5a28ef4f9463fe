"""A small model on a sample, by one process and by several that share it: both must agree."""

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from orbitds.config import ModelConfig
from orbitds.model.build import build

INPUTS = ("2m_temperature", "eastward_wind", "total_precipitation_24hr", "northward_wind")
OUTPUTS = ("eastward_wind", "surface_pressure")
STATICS = ("orography",)
FACTOR = 3
TINY: dict[str, Any] = {
    "width": 24,
    "depth": 2,
    "heads": 6,
    "mlp_ratio": 2.5,
    "decoder_depth": 3,
    "base": "bicubic",
    "correction_width": 4,
    "correction_depth": 1,
    "position_octaves": 4,
}
RANDOM: dict[str, Any] = {"dropout": 0.2, "drop_path": 0.4, "drop_variables": 0.5}


def model_of(dtype=torch.float64, **settings) -> Any:
    """A model without zeros among its weights, the same in each process."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(31)
        config = ModelConfig(**(TINY | settings))
        model = build(config, inputs=INPUTS, outputs=OUTPUTS, statics=STATICS, factor=FACTOR)
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape) * (0.5 * weight[0].numel() ** -0.5))
    return model.to(dtype).train()


def sample_of(
    dtype=torch.float64, *, rows=7, columns=11, batch=2, variables=INPUTS, **more
) -> dict[str, Any]:
    """Arguments of ``predict``, by name; an odd number of cells and of tokens' rows."""
    generator = torch.Generator().manual_seed(32)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    step = 360 / columns if more.get("periodic") else 2.5
    return {
        "coarse": normal(batch, len(INPUTS), rows, columns)[:, : len(variables)],
        "variables": variables,
        "latitude_deg": (50 - 2.5 * torch.arange(rows, dtype=dtype)).expand(batch, -1),
        "longitude_deg": (step * torch.arange(columns, dtype=dtype)).expand(batch, -1),
        "spacing_km": torch.tensor([[278.0, 93.0]], dtype=dtype).expand(batch, -1),
        "statics": normal(batch, 1, rows * FACTOR, columns * FACTOR),
        **more,
    }


def step_of(model, sample, *, same=1, seed=33):
    """One weighted squared error and its gradients, divided among processes; fine and loss."""
    torch.manual_seed(seed)
    fine = model.predict(**sample).fine
    generator = torch.Generator().manual_seed(34)
    target = torch.randn(fine.shape, generator=generator, dtype=torch.float64).to(fine)
    weight = torch.rand(fine.shape, generator=generator, dtype=torch.float64).to(fine)
    loss = (weight * (fine - target) ** 2).sum() / weight.sum()
    (loss / same).backward()
    return fine.detach(), loss.detach()


def gradients_of(model, group=None):
    """Whole gradients by name, summed over the processes of a group."""
    found = {}
    for name, weight in model.named_parameters():
        grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        grad = grad.full_tensor() if isinstance(grad, DTensor) else grad.clone()
        if group is not None:
            dist.all_reduce(grad, group=group)
        found[name] = grad
    return found


def worst(got, wanted):
    """Largest difference over the largest value."""
    return float((got - wanted).abs().max() / wanted.abs().max())


def compare(shared, sample, *, tolerance, same=1, group=None, reduced=True, **settings):
    """Compare a shared model with a whole one: what they return, the loss, all gradients."""
    whole = model_of(sample["coarse"].dtype, **settings).to(sample["coarse"].device)
    wanted, loss = step_of(whole, sample)
    got, shared_loss = step_of(shared, sample, same=same)
    assert wanted.abs().max() > 0.1
    assert worst(got, wanted) < tolerance, ("fine", worst(got, wanted), settings)
    assert worst(shared_loss, loss) < tolerance
    grads = gradients_of(shared, group if reduced else None)
    for name, expected in gradients_of(whole).items():
        scale = expected.abs().max()
        if name.endswith("query_key_value.bias"):  # the keys' is rounding alone
            scale = scale + 1e-3
        if (
            scale == 0
        ):  # not in this sample, as a level of the quadtree; or cancels but for rounding
            assert grads[name].abs().max() < tolerance, name
            continue
        error = float((grads[name] - expected).abs().max() / scale)
        assert error < tolerance, (name, error, settings)
