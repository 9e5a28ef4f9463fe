"""What the CPU does, a GPU does too."""

import jaxtyping
import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.checkpoint import load_checkpoint
from orbitds.config import LossConfig, ModelConfig, OptimConfig, TrainConfig
from orbitds.data.door import enter
from orbitds.infer.downscaler import Downscaler
from orbitds.model.attention import attend, prefer
from orbitds.model.build import build
from orbitds.model.compiling import compiled
from orbitds.train.loop import fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 5e-3), (None, 0.2)])
@pytest.mark.parametrize("options", [{}, {"constraints": ("conserve",)}, {"missing": "mask"}])
@pytest.mark.parametrize("tiles", [None, (2, 3)])
def test_inference_agrees(coarse, checkpoint_folder, tiles, options, dtype, tolerance):
    if "missing" in options:
        coarse["eastward_wind"][:, 2, 3] = np.nan
    inputs = load_checkpoint(checkpoint_folder).inputs
    block = enter(coarse, inputs, missing=options.get("missing", "error")).ds
    options = {"tiles": tiles} | options
    cpu = Downscaler(checkpoint_folder, device="cpu", **options)(block)
    downscaler = Downscaler(checkpoint_folder, device="cuda", dtype=dtype, **options)
    gpu = downscaler(block)
    xr.testing.assert_allclose(gpu, cpu, rtol=tolerance, atol=tolerance)
    # in groups, with copies beside them
    for size in (1, 5):
        other = Downscaler(
            checkpoint_folder, device="cuda", dtype=dtype, batch_size=size, **options
        )(block)
        xr.testing.assert_allclose(other, gpu, rtol=tolerance / 5, atol=tolerance / 5)
    xr.testing.assert_allclose(downscaler(block), gpu, rtol=1e-4, atol=1e-4)
    model = downscaler.checkpoint.model
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}


def test_values_are_checked_on_the_device(coarse, checkpoint_folder):
    coarse["eastward_wind"][5, 2, 3] = np.nan
    with pytest.raises(ValueError, match="got NaN in 1 of 924 cells"):
        coarse.orbit.downscale(checkpoint_folder, device="cuda")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_agrees(pair, tmp_path, dtype):
    losses = {}
    for device in ("cpu", "cuda"):
        config = TrainConfig(
            pair="synthetic",
            model=ModelConfig(width=32, depth=1, decoder_depth=1, correction_width=8, base="delta"),
            loss=LossConfig(),
            optim=OptimConfig(lr=2e-3, warmup_steps=2),
            steps=10,
            batch_size=4,
            validate_every=10,
            device=device,
            dtype=dtype,
        )
        folder = tmp_path / device
        folder.mkdir()
        fit(config, [pair], folder)
        lines = (folder / "log.jsonl").read_text().splitlines()
        losses[device] = [float(line.split('"loss": ')[1].split(",")[0]) for line in lines]
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=2e-2)


@pytest.fixture
def unchecked(monkeypatch):
    """No checks of shapes: the compiler traces none of them."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def exact(monkeypatch):
    """Convolutions in float32, where cuDNN takes TF32 by itself."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


# The compiler's own use of what torch deprecates, and its advice on TF32 and the profiler.
COMPILER_WARNS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
KERNELS = {"cudnn": "cudnn_generated", "flash": "flash_fwd", "efficient": "fmha_cutlass"}


@COMPILER_WARNS
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("backend", KERNELS)
def test_a_compiled_call_runs_the_chosen_kernel(backend):
    query = torch.randn(2, 2, 512, 128, device="cuda", dtype=torch.bfloat16)
    call = compiled(lambda sides: attend(sides, sides, sides))
    with prefer(backend):
        call(query)
        with torch.profiler.profile() as profile:
            call(query)
            torch.cuda.synchronize()
    names = [event.key for event in profile.key_averages()]
    ran = {name for name, word in KERNELS.items() if any(word in key for key in names)}
    assert ran == {backend}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_samples_of_unequal_length_attend_within_themselves(dtype):
    lengths = [700, 1, 323]
    sides = [
        torch.randn(1, 2, sum(lengths), 64, device="cuda", dtype=dtype, requires_grad=True)
        for _ in range(3)
    ]
    parts = [side.split(lengths, dim=2) for side in sides]
    expected = torch.cat([attend(*part) for part in zip(*parts, strict=True)], dim=2)
    got = attend(*sides, lengths)
    direction = torch.randn_like(got)
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(got, expected, **tolerance)
    for one, other in zip(
        torch.autograd.grad(got, sides, direction),
        torch.autograd.grad(expected, sides, direction),
        strict=True,
    ):
        torch.testing.assert_close(one, other, **tolerance)


@COMPILER_WARNS
@pytest.mark.parametrize("changes", [{}, {"compression": 4}, {"edge_density": 0.05}])
@pytest.mark.parametrize("way", [compiled, lambda model: model])
@pytest.mark.usefixtures("unchecked", "exact")
def test_a_step_agrees(changes, way):
    if way is compiled and "edge_density" in changes:
        pytest.skip("the number of tokens depends on the field")
    torch.manual_seed(0)
    config = ModelConfig.model_validate({"width": 64, "depth": 2, "heads": 2} | changes)
    model = build(config, inputs=("a", "eastward_wind"), outputs=("eastward_wind",), factor=3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    sample = {
        "coarse": torch.randn(2, 2, 21, 34),
        "latitude_deg": torch.linspace(80, -80, 21).expand(2, -1),
        "longitude_deg": (torch.arange(34) * 360 / 34).expand(2, -1),
        "spacing_km": torch.tensor([[111.0, 37.0], [28.0, 9.0]]),
    }
    target = torch.randn(2, 1, 63, 102)

    def gradients(device):
        here = model.to(device)
        call = way(here) if device == "cuda" else here
        fine = call(**{name: value.to(device) for name, value in sample.items()}, periodic=True)
        ((fine - target.to(device)) ** 2).mean().backward()
        found = {name: p.grad.cpu() for name, p in here.named_parameters() if p.grad is not None}
        here.zero_grad()
        return fine.detach().cpu(), found

    (cpu, cpu_gradients), (gpu, gpu_gradients) = gradients("cpu"), gradients("cuda")
    torch.testing.assert_close(gpu, cpu, rtol=1e-4, atol=1e-4)
    assert cpu_gradients.keys() == gpu_gradients.keys()
    for name, wanted in cpu_gradients.items():
        scale = wanted.abs().max()
        assert (gpu_gradients[name] - wanted).abs().max() <= 1e-4 * scale + 1e-7, name


@COMPILER_WARNS
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("tiles", [None, (2, 3)])
def test_compiled_inference_agrees(coarse, checkpoint_folder, tiles):
    block = enter(coarse, load_checkpoint(checkpoint_folder).inputs).ds
    options = {"device": "cuda", "tiles": tiles, "batch_size": 4, "dtype": "float32"}
    wanted = Downscaler(checkpoint_folder, **options)(block)
    fine = Downscaler(checkpoint_folder, compile=True, **options)(block)
    xr.testing.assert_allclose(fine, wanted, rtol=5e-3, atol=5e-3)
