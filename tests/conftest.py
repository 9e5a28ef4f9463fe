"""What many tests share: a small pair, its statistics, a checkpoint for it, a caller's dataset.

What has session scope is shared by all tests: copy it before you change it.
"""

import pickle
from dataclasses import dataclass

# Here, not first by a module of orbitds: while that is imported, the hook of jaxtyping looks for
# bytecode under names of its own, and what is large would be compiled anew in each process.
import beartype.roar  # noqa: F401
import cf_xarray.units  # noqa: F401
import cyclopts  # noqa: F401
import einops  # noqa: F401
import netCDF4  # noqa: F401
import pydantic  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import torch
import torch._dynamo
import torch.nn.functional as F
import zarr  # noqa: F401
from rich.console import Console

from orbitds import cli
from orbitds.checkpoint import save_checkpoint
from orbitds.config import ModelConfig
from orbitds.data.climatology import Climatology
from orbitds.data.pair import stack
from orbitds.data.stats import statistics as statistics_of
from orbitds.data.synthetic import synthetic_pair
from orbitds.model.reslim import Reslim
from orbitds.region import Region
from orbitds.train import course
from orbitds.train.count import count
from tests.forking import CONTEXT, KNOWN
from tests.mixed import other_pair, save_mixed

# Before any process is started, be it by the loader of a training.
CONTEXT.set_forkserver_preload([*KNOWN])

# As small as it gets; an odd number of coarse cells makes patches that reach over the border.
TINY = ModelConfig(
    width=16,
    depth=1,
    decoder_depth=1,
    base="delta",
    correction_width=4,
    correction_depth=1,
    position_octaves=4,
)


@pytest.fixture(scope="session")
def pair():
    """Global wind and precipitation, 7 x 11 coarse cells of 3 x 3 fine ones, 4 years of months."""
    return synthetic_pair(rows=7, columns=11, factor=3)


@pytest.fixture(scope="session")
def statistics(pair):
    """Mean and standard deviation of the pair's training years."""
    return statistics_of(pair.part("train"))


@pytest.fixture(scope="session")
def checkpoint_folder(pair, statistics, tmp_path_factory):
    """A checkpoint for the pair: delta change, statics, climatology, and weights at random.

    Nothing starts at zero, so that every part of the model shows in its output.
    """
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    model = untrained_for(pair)
    fine, coarse = Climatology.of(pair.part("train")).means()
    save_checkpoint(
        folder,
        model,
        statistics=statistics,
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={"pair": pair.name, "period": list(pair.split["train"])},
        region=Region(pair.fine_grid, stack(pair.statics, pair.static_names).values, fine, coarse),
        same_product=pair.same_product,
    )
    return folder


@pytest.fixture(scope="session")
def mixed_folder(pair, tmp_path_factory):
    """A checkpoint of two pairs, of factors 3 and 2, with weights at random."""
    config = TINY.model_copy(update={"base": "bicubic"})
    return save_mixed(tmp_path_factory.mktemp("mixed") / "both", [pair, other_pair()], config)


# What decides on no operation of a step.
UNCOUNTED = {
    "steps",
    "seed",
    "validate_every",
    "save",
    "log",
    "optim",
    "patience",
    "pair",
    "device",
}


@pytest.fixture(scope="session", autouse=True)
def counted_once():
    """Runs of the same model count their operations once: it takes longer than a few steps."""
    known = {}

    def counted(config, outline, scope):
        key = config.model_dump_json(exclude=UNCOUNTED), pickle.dumps((outline, scope))
        if key not in known:
            known[key] = count(config, outline, scope)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "count", counted)
        yield


@pytest.fixture
def coarse(pair):
    """The coarse test year as a user would have it, with units; yours to change."""
    return pair.part("test").coarse.copy(deep=True)


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def orbitds(monkeypatch, capsys):
    """Run the command line in this process."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    # made anew: one that was made on import keeps the width of the terminal of that moment
    monkeypatch.setattr(cli.app, "error_console", Console(stderr=True))

    def run(*arguments):
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["orbitds", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        return Answer(code, *capsys.readouterr())

    return run


# --- ORBIT-2's public network, plainly: what imported weights are compared with ---


@dataclass(frozen=True)
class Public:
    """A network as ORBIT-2's public code has it, with weights at random under its names."""

    window: tuple[int, int] = (8, 16)
    default_vars: tuple[str, ...] = (
        "land_sea_mask",
        "orography",
        "lattitude",
        "landcover",
        "2m_temperature",
        "2m_temperature_min",
        "temperature_850",
        "total_precipitation_24hr",
    )
    outputs: tuple[str, ...] = ("total_precipitation_24hr", "2m_temperature_min")
    patch: int = 2
    width: int = 16
    depth: int = 2
    decoder_depth: int = 1
    heads: int = 4
    mlp_ratio: int = 3
    cnn_ratio: int = 3
    factor: int = 2
    km: float = 28

    def weights(self):
        """Return a state dict."""
        width, count = self.width, len(self.outputs)
        tokens = self.window[0] * self.window[1] // self.patch**2
        shapes = {
            "var_embed": (1, len(self.default_vars), width),
            "var_query": (1, 1, width),
            "pos_embed": (1, tokens, width),
            "var_agg.q.weight": (width, width),
            "var_agg.kv.weight": (2 * width, width),
        }
        linear = {"spatial_embed": (width, 1), "var_agg.proj": (width, width), "norm": (width,)}
        for index in range(len(self.default_vars)):
            linear[f"token_embeds.{index}.proj"] = (width, 1, self.patch, self.patch)
        for index in range(self.depth):
            inner = self.mlp_ratio * width
            linear |= {
                f"blocks.{index}.norm1": (width,),
                f"blocks.{index}.attn.qkv": (3 * width, width),
                f"blocks.{index}.attn.proj": (width, width),
                f"blocks.{index}.norm2": (width,),
                f"blocks.{index}.mlp.fc1": (inner, width),
                f"blocks.{index}.mlp.fc2": (width, inner),
            }
        hidden = {f"head.{2 * layer}": (width, width) for layer in range(self.decoder_depth)}
        painted = count * (self.factor * self.patch) ** 2
        linear |= hidden | {f"head.{2 * self.decoder_depth}": (painted, width)}
        linear["path2.0"] = (self.cnn_ratio * self.factor**2, count + 4, 3, 3)
        linear["path2.3"] = (count, self.cnn_ratio, 3, 3)
        linear["conv_out"] = (count, count, 3, 3)
        for name, shape in linear.items():
            shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        generator = torch.Generator().manual_seed(11)
        return {name: 0.3 * torch.randn(s, generator=generator) for name, s in shapes.items()}

    def forward(self, weights, x, names):
        """Return the answer to fields [B, V, H, W] with rows from south to north.

        Every token of every variable is built; nothing of orbitds is used.
        """
        w = {name: tensor.double() for name, tensor in weights.items()}
        x, (batch, _, height, columns) = x.double(), x.shape
        tokens = []
        names = list(names)
        for place, name in enumerate(names):
            k = self.default_vars.index(name)
            kernel = w[f"token_embeds.{k}.proj.weight"], w[f"token_embeds.{k}.proj.bias"]
            token = F.conv2d(x[:, place : place + 1], *kernel, stride=self.patch)
            tokens.append(token.flatten(2).mT + w["var_embed"][0, k])
        all_ = torch.stack(tokens, dim=2).flatten(0, 1)  # BN V D
        query = (w["var_query"] @ w["var_agg.q.weight"].T).expand(len(all_), -1, -1)
        key, value = (all_ @ w["var_agg.kv.weight"].T).chunk(2, dim=-1)
        t = self._attend(query, key, value).reshape(batch, -1, self.width)
        t = self._linear(w, "var_agg.proj", t) + w["pos_embed"]
        t = t + self._linear(w, "spatial_embed", torch.tensor([self.km]).double())
        for index in range(self.depth):
            block = f"blocks.{index}"
            three = self._linear(w, f"{block}.attn.qkv", self._norm(w, f"{block}.norm1", t))
            t = t + self._linear(w, f"{block}.attn.proj", self._attend(*three.chunk(3, dim=-1)))
            inner = self._linear(w, f"{block}.mlp.fc1", self._norm(w, f"{block}.norm2", t))
            t = t + self._linear(w, f"{block}.mlp.fc2", F.gelu(inner))
        t = self._norm(w, "norm", t)
        for layer in range(self.decoder_depth):
            t = F.gelu(self._linear(w, f"head.{2 * layer}", t))
        t = self._linear(w, f"head.{2 * self.decoder_depth}", t)
        p, h, v = self.patch, height * self.factor, columns * self.factor
        squares = t.reshape(batch, h // p, v // p, p, p, -1).permute(0, 5, 1, 3, 2, 4)
        decoded = squares.reshape(batch, -1, h, v)
        decoded = F.conv2d(decoded, w["conv_out.weight"], w["conv_out.bias"], padding=1)
        statics = ("land_sea_mask", "orography", "lattitude", "landcover")
        seen = x[:, [names.index(name) for name in (*self.outputs, *statics)]]
        path = F.gelu(F.conv2d(seen, w["path2.0.weight"], w["path2.0.bias"], padding=1))
        path = F.pixel_shuffle(path, self.factor)
        return decoded + F.conv2d(path, w["path2.3.weight"], w["path2.3.bias"], padding=1)

    def _attend(self, query, key, value):
        heads = [
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)
        ]
        scores = heads[0] @ heads[1].mT / heads[0].shape[-1] ** 0.5
        return (scores.softmax(-1) @ heads[2]).transpose(1, 2).flatten(2)

    def _linear(self, w, name, x):
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def _norm(self, w, name, x):
        return F.layer_norm(x, (self.width,), w[f"{name}.weight"], w[f"{name}.bias"])


@pytest.fixture(scope="session")
def public():
    """ORBIT-2's public network, as small as it gets."""
    return Public


def untrained_for(pair, **changes):
    """Return a tiny model for a pair, with weights at random that are nowhere zero."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        model = Reslim(
            TINY.model_copy(update=changes),
            inputs=pair.inputs,
            outputs=pair.outputs,
            statics=pair.static_names,
            factor=pair.factor,
        )
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def told_of(pair):
    """Return what a model takes of two times of a pair, as it stands."""
    fields = torch.tensor(stack(pair.coarse, pair.inputs).values[:2])
    grid = pair.coarse_grid
    return {
        "coarse": fields / fields.std(),
        "latitude_deg": torch.tensor(grid.latitude_deg).float().expand(2, -1),
        "longitude_deg": torch.tensor(grid.longitude_deg).float().expand(2, -1),
        "spacing_km": torch.tensor([[600.0, 200.0]]).expand(2, -1),
        "periodic": True,
    }
