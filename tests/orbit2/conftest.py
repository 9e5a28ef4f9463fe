"""A published checkpoint on disk, made up: everything beside it, and data for it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

# 12 rows of 15 degrees without the one of the north pole; two tiles each way with halos of 1 and 2.
ROWS, COLUMNS = 12, 24
MEAN = {"land_sea_mask": 0.3, "orography": 370.0, "lattitude": -7.5, "landcover": 8.0}
STD = {"land_sea_mask": 0.45, "orography": 830.0, "lattitude": 52.0, "landcover": 6.0}
MEAN |= {"2m_temperature": 278.0, "2m_temperature_min": 275.0, "temperature_850": 274.0}
STD |= {"2m_temperature": 21.0, "2m_temperature_min": 21.5, "temperature_850": 15.5}
WEATHER = {
    "2m_temperature": ("K", 278.0, 20.0),
    "2m_temperature_min": ("K", 275.0, 20.0),
    "temperature_850": ("K", 274.0, 15.0),
}


@dataclass(frozen=True, eq=False)
class Published:
    """Files of a published checkpoint, and the network in them."""

    folder: Path
    network: object
    weights: dict
    statics: dict
    shape = (ROWS, COLUMNS)
    mean, std = MEAN, STD

    def yaml(self, change=None):
        """Write the YAML file, changed."""
        net = self.network
        names = list(net.default_vars)
        content = {
            "trainer": {"max_epochs": 3},
            "tiling": {"do_tiling": True, "div": 2, "overlap": 2},
            "model": {
                "preset": "res_slimvit",
                "superres_mag": net.factor,
                "cnn_ratio": net.cnn_ratio,
                "patch_size": net.patch,
                "embed_dim": net.width,
                "depth": net.depth,
                "decoder_depth": net.decoder_depth,
                "num_heads": net.heads,
                "mlp_ratio": net.mlp_ratio,
                "drop_path": 0.1,
                "drop_rate": 0.1,
            },
            "data": {
                "low_res_dir": {"ERA5_2": "/somewhere"},
                "spatial_resolution": {"ERA5_1": 625, "ERA5_2": net.km, "PRISM": 18},
                "default_vars": names,
                "dict_in_variables": {"ERA5_2": [*names[4:], *names[:4]], "PRISM": names[:5]},
                "dict_out_variables": {"ERA5_2": list(net.outputs), "PRISM": names[4:5]},
            },
        }
        if change is not None:
            change(content)
        (self.folder / "net.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return content

    def arguments(self, *further, statics=True):
        """Return the words of the command."""
        words = ["import-orbit2", self.folder / "net.ckpt", "--config", self.folder / "net.yaml"]
        words += ["--statistics", self.folder / "stats", "--output", self.folder / "out"]
        return [*words, *(["--statics", self.folder / "statics"] if statics else []), *further]

    def normalized(self, ds):
        """Normalise by hand, in the order of the embeddings: [T, V, H, W], rows from the south."""
        statics, names = self.statics, self.network.default_vars
        theirs = ds.rename({"t2m": "2m_temperature", "t850": "temperature_850"})
        out = []
        for name in names:
            if name in statics:
                field = np.broadcast_to(statics[name], (ds.sizes["time"], ROWS, COLUMNS))
            else:
                field = theirs[name].values
            field = field.astype(np.float64)
            if name == "total_precipitation_24hr":
                mm = field * 1000
                out.append(np.log1p(np.where(mm <= 0.25, 0, mm)))
            else:
                mean, std = np.float32(MEAN[name]), np.float32(STD[name])
                out.append((field - mean) / std)
        return torch.from_numpy(np.stack(out, axis=1)).float()

    def physical(self, fine):
        """Undo the normalisation by hand."""
        fine = np.asarray(fine)
        return {
            name: np.expm1(np.maximum(fine[:, k], 0))
            if name == "total_precipitation_24hr"
            else fine[:, k] * STD[name] + MEAN[name]
            for k, name in enumerate(self.network.outputs)
        }


@pytest.fixture
def published(public, tmp_path):
    """The files of a tiled model."""
    return _publish(public(), tmp_path)


@pytest.fixture
def publish():
    """Write the files of a network into a folder."""
    return _publish


def _publish(network, folder):
    weights = network.weights()
    state = {"epoch": 3, "model_state_dict": {f"module.{k}": v for k, v in weights.items()}}
    torch.save(state, folder / "net.ckpt")
    (folder / "stats").mkdir()
    for name, numbers in {"mean": MEAN, "std": STD}.items():
        arrays = {key: np.array([value], dtype=np.float32) for key, value in numbers.items()}
        np.savez(folder / "stats" / f"normalize_{name}.npz", **arrays)
    generator = np.random.default_rng(5)
    latitude = np.linspace(-90, 75, ROWS)
    statics = {
        "land_sea_mask": generator.integers(0, 2, (ROWS, COLUMNS)).astype(np.float32),
        "orography": generator.uniform(0, 3000, (ROWS, COLUMNS)).astype(np.float32),
        "lattitude": np.repeat(latitude[:, None], COLUMNS, 1).astype(np.float32),
        "landcover": generator.integers(0, 17, (ROWS, COLUMNS)).astype(np.float32),
    }
    (folder / "statics").mkdir()
    for name, field in statics.items():
        np.save(folder / "statics" / f"{name}_15deg.npy", field)
    made = Published(folder, network, weights, statics)
    made.yaml()
    return made


@pytest.fixture
def weather():
    """Fields as a user has them: rows from the south, ERA5's names, precipitation in metres."""
    generator = np.random.default_rng(9)
    shape = (2, ROWS, COLUMNS)
    dims = ("time", "lat", "lon")
    fields = {
        name: (
            dims,
            (mean + std * generator.standard_normal(shape)).astype(np.float32),
            {"units": u},
        )
        for name, (u, mean, std) in WEATHER.items()
    }
    rain = generator.gamma(0.5, 2e-3, shape) * (generator.random(shape) < 0.7)
    rain[0, 0, :6] = [0.0, 0.0002, 0.00024999, 0.00025001, 0.0003, 0.02]
    fields["total_precipitation_24hr"] = (dims, rain.astype(np.float64), {"units": "m"})
    ds = xr.Dataset(
        fields,
        coords={
            "time": np.array(["2021-01-01", "2021-07-01"], dtype="datetime64[ns]"),
            "lat": ("lat", np.linspace(-90, 75, ROWS), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(COLUMNS) * 15.0, {"units": "degrees_east"}),
        },
    )
    return ds.rename({"2m_temperature": "t2m", "temperature_850": "t850"})
