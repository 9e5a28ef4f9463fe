"""The rules of the house that a machine can check: what lies where, how long, how named."""

import ast
import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import orbitds
from orbitds.catalog import dataset_entry, dataset_names, pair_entry, pair_names
from orbitds.config import EvalConfig, InferConfig, ModelConfig, TrainConfig, parse, read_config
from orbitds.resources import names, read_yaml, share
from orbitds.variables import variable

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "orbitds"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
LAUNCH = ("train", "infer", "eval")
FOLDERS = (*LAUNCH, "configs", "data_catalog")
TOP_LEVEL = {
    "pyproject.toml",
    "constraints.txt",
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "orbitds",
    "tests",
    *FOLDERS,
}
# Lines of a module: 250 is the aim, and beyond this there are two nouns in it.
LONGEST = 300
UNTESTED = {
    "__main__.py": "two lines, run by test_cli.py",
}
UNPINNED = {
    "build": "builds the wheel, which does not depend on its version",
    "pre-commit": "runs what is pinned",
    "orbitds": "an extra of extras",
    "flash-attn": "built against the torch and the CUDA of the site",
}
# What a bare import does without; xarray brings none of them.
LATE = ("torch", "matplotlib", "cartopy", "pydantic", "distributed", "dask", "zarr", "yaml", "rich")

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="the rules are those of a checkout"
)


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tracked():
    """The files that git tracks."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git")
    command = ["git", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"git: {done.stderr}")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


# --- layout ---


def test_top_level_is_what_the_house_says(tracked):
    assert {name for name in TOP_LEVEL if not (ROOT / name).exists()} == set()
    found = {path.relative_to(ROOT).parts[0] for path in tracked}
    assert {name for name in found if not name.startswith(".")} <= TOP_LEVEL


@pytest.mark.parametrize("folder", LAUNCH)
def test_launch_folders_define_nothing(folder):
    text = (ROOT / folder / "run.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 15
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, defined)]
    assert (ROOT / folder / "README.md").is_file()


@pytest.mark.parametrize("folder", FOLDERS)
def test_top_level_folders_are_no_packages(folder):
    assert list((ROOT / folder).rglob("__init__.py")) == []


def test_modules_are_short():
    lengths = {str(path): len(_read(PACKAGE / path).splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_each_module_has_its_test():
    missing = [
        str(path)
        for path in MODULES
        if path.name != "__init__.py"  # names and docstrings only
        and not (ROOT / "tests" / path.parent / f"test_{path.name}").is_file()
    ]
    assert set(missing) == set(UNTESTED)


def test_inner_init_files_hold_a_docstring_only():
    for path in MODULES:
        if path.name == "__init__.py" and path.parent != Path():
            body = ast.parse(_read(PACKAGE / path)).body
            assert [type(node) for node in body] == [ast.Expr], path


def test_readme_names_every_file_and_no_other():
    named, top = _tree(_read(ROOT / "README.md"))
    files = {str(path) for path in MODULES if path.name != "__init__.py"} | {"__init__.py"}
    folders = {f"{path.parent}/" for path in MODULES if path.parent != Path()}
    assert named == files | folders
    assert {name.rstrip("/") for name in top} == {"orbitds", "tests", *FOLDERS}


def test_nothing_is_left_undone():
    wanting = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError")
    folders = [ROOT / name for name in ("orbitds", "tests", *FOLDERS)]
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    assert len(paths) > len(MODULES)
    found = [path for path in paths if wanting.search(_read(path)) and path != Path(__file__)]
    assert found == []


def test_no_file_knows_a_home_or_this_checkout(tracked):
    # a machine's own folders, wherever the tests run; not the end of another path or address
    own = [str(place) for place in (Path.home(), ROOT, ROOT.parent) if len(place.parts) > 1]
    homes = [r"/home/\w+", r"/Users/\w+", r"[A-Z]:\\Users\\\w+"]
    pattern = "|".join([*map(re.escape, own), *homes])
    wanting = re.compile(rf"(?<![\w.:/~}}-])(?:{pattern})(?![\w-])".encode())
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in tracked
        if path != Path(__file__) and (match := wanting.search(path.read_bytes()))
    }
    assert found == {}


# --- imports ---


def test_import_is_light():
    code = (
        "import sys, orbitds, xarray\n"
        "assert hasattr(xarray.Dataset, 'orbit')\n"
        f"print(*[name for name in {LATE} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_public_names_are_there():
    for name in orbitds.__all__:
        assert getattr(orbitds, name) is not None
        assert name in dir(orbitds)
    with pytest.raises(AttributeError, match="no attribute 'Downscalr'"):
        _ = orbitds.Downscalr


# --- dependencies ---


def test_extras_that_are_named_exist(project):
    extras = set(project["project"]["optional-dependencies"])
    paths = [*PACKAGE.rglob("*.py"), ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml"]
    paths += [ROOT / folder / "README.md" for folder in LAUNCH]
    named = {
        extra.strip(): path
        for path in paths
        for group in re.findall(r"(?:orbitds|'\.)\[([\w, -]+)\]", _read(path))
        for extra in group.split(",")
    }
    assert "maps" in named
    assert {extra: path for extra, path in named.items() if extra not in extras} == {}


def test_constraints_pin_every_dependency(project):
    pins = {}
    for line in _read(ROOT / "constraints.txt").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), f"no pin: {line}"
            if pin.marker is None or pin.marker.evaluate():
                pins[_canonical(pin.name)] = str(pin.specifier).removeprefix("==")
    listed = [
        *project["project"]["dependencies"],
        *itertools.chain(*project["project"]["optional-dependencies"].values()),
        *itertools.chain(*project["dependency-groups"].values()),
    ]
    wanted = {_canonical(Requirement(line).name): Requirement(line) for line in listed}
    assert set(wanted) - set(pins) == set(UNPINNED)
    assert set(pins) - set(wanted) == set()
    outside = {name: pin for name, pin in pins.items() if not wanted[name].specifier.contains(pin)}
    assert outside == {}


# --- YAML ---


def test_shipped_settings_fit_their_models():
    for name in names("configs/model"):
        path = share(f"configs/model/{name}.yaml")
        parse(ModelConfig, read_yaml(path), source=name)
    count = 0
    for stage, kind in {"train": TrainConfig, "infer": InferConfig, "eval": EvalConfig}.items():
        for name in names(f"configs/{stage}"):
            config = parse(kind, read_config(name, stage), source=f"{stage}/{name}")
            count += 1
            if isinstance(config, TrainConfig):
                assert set(config.mixture) <= set(pair_names())
    shipped = [path for path in share("configs").rglob("*") if path.is_file()]
    assert count + len(names("configs/model")) == len(shipped), "a file that nothing reads"


def test_catalog_describes_what_is_there():
    described = set()
    for name in dataset_names():
        entry = dataset_entry(name)
        if entry.path and share(f"data_catalog/files/{entry.path}").exists():
            described.add(entry.path)
        else:
            assert entry.access, f"{name} is not shipped, and nothing says how to get it"
        assert entry.licence
        assert entry.citation
        assert len(entry.title) <= 76, "a line of `orbitds catalog list`"
        assert all(variable(field).name == field for field in entry.variables)
    data = {path.name for path in share("data_catalog/files").glob("*.nc")}
    assert data == described, "embedded data that no entry describes"
    for name in pair_names():
        entry = pair_entry(name)
        statics = entry.statics.dataset if entry.statics else None
        named = {entry.fine, entry.coarse, statics}
        assert {key for key in named if isinstance(key, str)} <= set(dataset_names())


# --- helpers ---


def _read(path):
    return path.read_text(encoding="utf-8")


def _canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _tree(readme):
    """Return the paths under orbitds/ and the top-level names of the tree in the README."""
    block = re.search(r"^```\w*\n(orbitds/ .*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    assert block, "no fenced block that starts with orbitds/"
    named, top, parents = set(), [], []
    for line in block.group(1).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        entry, phrase = re.split(r" {2,}", line.strip(), maxsplit=1)
        assert phrase.strip(), f"{entry} without a phrase"
        parents[depth:] = [entry]
        if depth == 0:
            top += entry.split()
        else:
            assert parents[0] == "orbitds/"
            assert all(parent.endswith("/") for parent in parents[:depth])
            assert "".join(parents[1:]) not in named, f"{entry} stands twice"
            named.add("".join(parents[1:]))
    return named, top
