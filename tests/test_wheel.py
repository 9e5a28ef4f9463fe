"""The wheel: what is in it, and the demo from it in an environment of its own. Slow."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ("configs", "data_catalog")
LARGEST_BYTES = 60e6
# What an install may see of the world: where packages come from, but no other Python's packages.
NOT_FOR_INSTALLS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="no checkout to build"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """The programs of a fresh environment with the wheel and its maps."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    constraints = ROOT / "constraints.txt"
    _run(programs / "python", "-m", "pip", "install", "-q", "-c", constraints, f"{wheel}[maps]")
    return programs


def test_one_top_level_name(names):
    top = {name.split("/")[0] for name in names}
    (information,) = top - {"orbitds"}
    assert information.startswith("orbitds-")
    assert information.endswith(".dist-info")


def test_everything_that_is_shared_is_inside(names):
    inside = set(names)
    shared = [path for folder in SHARED for path in (ROOT / folder).rglob("*") if path.is_file()]
    relative = {
        path.relative_to(ROOT).as_posix() for path in shared if "__pycache__" not in str(path)
    }
    assert {name for name in relative if f"orbitds/_share/{name}" not in inside} == set()
    for name in (
        "configs/train/demo.yaml",
        "data_catalog/variables.yaml",
        "data_catalog/files/fnoc_navy_winds_2p5deg.nc",
        "data_catalog/files/LICENSE-ferret-datasets.txt",
        *(
            "data_catalog/files/cartopy/shapefiles/natural_earth/physical/ne_110m_coastline" + end
            for end in (".shp", ".shx", ".dbf")
        ),
    ):
        assert f"orbitds/_share/{name}" in inside


def test_every_module_is_inside_and_nothing_of_the_workshop(names):
    inside = set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "orbitds").rglob("*.py")}
    assert modules <= inside
    assert "orbitds/py.typed" in inside
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc")] == []
    assert [name for name in names if Path(name).name.startswith(("test_", "conftest"))] == []


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size < LARGEST_BYTES


def test_wheel_tells_its_terms(wheel, names):
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    (licence,) = (name for name in names if name.endswith("/LICENSE"))
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(metadata).decode()
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert "License-Expression: Apache-2.0" in text
    assert "Provides-Extra: maps" in text


def test_demo_runs_from_the_wheel(programs, tmp_path):
    """In an empty folder, with an empty home, and without a way to a network."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    nowhere = "http://127.0.0.1:9"
    kept = ("PATH", "LANG", "SYSTEMROOT", "OMP_NUM_THREADS")
    environment = {key: os.environ[key] for key in kept if key in os.environ}
    environment |= {"HOME": str(tmp_path / "home"), "http_proxy": nowhere, "https_proxy": nowhere}

    def run(*command):
        return _run(*command, cwd=tmp_path / "work", env=environment)

    where = "import orbitds; print(orbitds.__file__)"
    assert Path(run(programs / "python", "-c", where).strip()).is_relative_to(programs.parent)
    assert "fnoc_navy_winds_2p5deg" in run(programs / "orbitds", "catalog", "list")
    told = run(programs / "orbitds", "demo", "--steps", "5")
    assert "Reslim" in told
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["orbitds-demo"]
    made = tmp_path / "work" / "orbitds-demo"
    promised = ["fine.nc", "fine.zarr/zarr.json", "scores.md", "scores.json"]
    promised += ["checkpoint/weights.safetensors", "checkpoint/orbitds.json"]
    promised += ["checkpoint/climatology.safetensors"]
    promised += [f"maps/{wind}.png" for wind in ("eastward_wind", "northward_wind")]
    assert [name for name in promised if not (made / name).is_file()] == []


def _run(*command, **options):
    options.setdefault(
        "env", {key: value for key, value in os.environ.items() if key not in NOT_FOR_INSTALLS}
    )
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, **options
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
