"""What a checkpoint folder says of itself, found and checked without building the network."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt, ValidationError, model_validator

from orbitds import hub
from orbitds.config import ModelConfig
from orbitds.model.orbit2 import Orbit2Config
from orbitds.normalize import Statistics
from orbitds.resources import did_you_mean, plain, share, shown
from orbitds.schema import Frozen
from orbitds.sets import Choice, Spacing, TrainingSet

WEIGHTS, DESCRIPTION, CLIMATOLOGY = "weights.safetensors", "orbitds.json", "climatology.safetensors"
FILES = (WEIGHTS, DESCRIPTION, CLIMATOLOGY)
SHIPPED = "data_catalog/checkpoints"
# Bytes of a description; that of 75 variables has ten thousand.
DESCRIPTION_BYTES = 2**24
NEWEST = 3


class Description(Frozen):
    """What ``orbitds.json`` says."""

    format: Literal[1, 2, 3] = 2
    """Version of this layout; in 1 the rows of `query_key_value` were not yet in order of heads,
    from 3 on there may be several sets."""
    model: ModelConfig | Orbit2Config
    """Architecture."""
    inputs: tuple[str, ...]
    """Input variables, in the order of the weights."""
    outputs: tuple[str, ...]
    """Output variables."""
    statics: tuple[str, ...]
    """Fine static fields."""
    factor: PositiveInt
    """Fine cells along the edge of a coarse cell; of several sets, that of the first."""
    statistics: dict[str, Statistics]
    """Mean and standard deviation of each variable over the training period."""
    spacing_km: tuple[Spacing, Spacing]
    """Coarse and fine spacing of the training data; of several sets, of the first."""
    sets: tuple[TrainingSet, ...] = ()
    """The pairs that it was trained on, where these are several; inputs, outputs and statics are
    then the unions of theirs."""
    window_cells: tuple[PositiveInt, PositiveInt] | None = None
    """Coarse rows and columns of the windows that it was trained on, where fields were cropped."""
    same_product: bool = False
    """Whether the coarse training data are block means of the product of the targets, so that the
    means of an answer may be held to the input."""
    objective: Literal["downscale", "masked"] = "downscale"
    """What it learned: to downscale, or to reconstruct hidden parts of its inputs."""
    sha256: dict[str, str]
    """Hash of each safetensors file."""
    provenance: dict[str, Any]
    """Pair, period, steps, versions: how the checkpoint came about."""

    @property
    def factors(self) -> tuple[int, ...]:
        """All factors that the network has a head for."""
        return tuple(dict.fromkeys(one.factor for one in self.sets)) or (self.factor,)

    def stored(self) -> dict[str, Any]:
        """Return what is written; of a single set it is what older versions of orbitds read."""
        return self.model_dump(mode="json", exclude=None if self.sets else {"sets"})

    def of(self, choice: Choice) -> "Description":
        """Return the description of a part of it, as if it were trained on that alone."""
        part = {key: value for key, value in choice._asdict().items() if key != "told"}
        return self.model_copy(update=part | {"sets": ()})

    @model_validator(mode="after")
    def _sets_make_up_the_whole(self) -> "Description":
        if not self.sets:
            return self
        if self.format < 3 or self.factor not in self.factors:
            raise ValueError(f"several sets in format {self.format}, factor {self.factor}")
        for what in ("inputs", "outputs", "statics"):
            of_sets = {name for one in self.sets for name in getattr(one, what)}
            if of_sets != set(getattr(self, what)):
                raise ValueError(f"{what} of the sets that are not those of the checkpoint")
        return self

    @model_validator(mode="after")
    def _names_once(self) -> "Description":
        for what in ("inputs", "outputs", "statics"):
            names = getattr(self, what)
            if len(set(names)) < len(names) or not (names or what == "statics"):
                raise ValueError(f"{what} {shown(names)}, which should name each variable once")
        return self


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Return the folder of a checkpoint, without reading it.

    Parameters
    ----------
    name_or_path
        The name of a shipped checkpoint, a folder, or a name on the Hugging Face Hub,
        ``hf://owner/name@revision``.

    Raises
    ------
    OSError
        If there is none, or not all of it.
    ValueError
        If it is a pickle, the name is none, or a file is a link to another place.
    """
    if hub.is_hub_name(name_or_path):
        path = hub.fetch(str(name_or_path), FILES)
    else:
        path = _local(name_or_path)
    missing = [name for name in (WEIGHTS, DESCRIPTION) if not (path / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"Wanted a checkpoint folder with {WEIGHTS} and {DESCRIPTION}, got {name_or_path} "
            f"without {' and '.join(missing)}. Export the run with `orbitds export`."
        )
    return path.resolve()


def known_checkpoints() -> dict[str, Path]:
    """Return the folders of the checkpoints that ship, and of those in the Hub's cache, by name."""
    shipped = {name: share(f"{SHIPPED}/{name}") for name in _shipped()}
    return shipped | hub.cached(DESCRIPTION)


def name_of(folder: Path) -> str:
    """Return what a checkpoint is called in outputs: its folder, or its repository and commit."""
    return hub.snapshot_name(folder) or folder.name


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(folder: Path) -> Description:
    """Return what a checkpoint folder says of itself; its other files are there, and not yet read.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If it says nothing that fits, or a file lies elsewhere.
    """
    description = parse_description(folder, read_description(folder))
    for name in description.sha256:
        member(folder, name)
    return description


def read_description(folder: Path) -> bytes:
    """Return the content of a description: its hash is that of the whole checkpoint.

    Raises
    ------
    ValueError
        If it is too long to be one.
    """
    path = member(folder, DESCRIPTION)
    with path.open("rb") as file:
        content = file.read(DESCRIPTION_BYTES + 1)
    if len(content) > DESCRIPTION_BYTES:
        raise ValueError(
            f"Wanted the description of a checkpoint in {path}, got more than {DESCRIPTION_BYTES} "
            "bytes. Export the run again."
        )
    return content


@lru_cache(maxsize=4)
def parse_description(folder: Path, content: bytes) -> Description:
    """Return what the description of a folder says; it is worked through once per process."""
    try:
        description = Description.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(_told(folder / DESCRIPTION, error)) from error
    if not {WEIGHTS} <= set(description.sha256) <= {WEIGHTS, CLIMATOLOGY}:
        got = shown(sorted(description.sha256))
        raise ValueError(f"Wanted hashes of {WEIGHTS} and {CLIMATOLOGY}, got {got}. Export again.")
    return description


def member(folder: Path, name: str) -> Path:
    """Return the path of a file of a checkpoint: a regular file that lies in its folder.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or it is a pipe or a device.
    ValueError
        If it is a link that leads out of the folder; those in the Hub's cache lead to its store.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"Wanted {path}, which belongs to the checkpoint, got no such file. Copy or export the "
            "checkpoint again."
        )
    home = path.resolve()
    if not any(home.is_relative_to(place) for place in (folder.resolve(), *hub.stores(folder))):
        raise ValueError(
            f"Wanted {path} in the folder of the checkpoint, got a link to {home}. Copy the file "
            "to its place: a checkpoint is whole in its folder."
        )
    return path


def _local(name_or_path: str | Path) -> Path:
    path, shipped = Path(name_or_path), _shipped()
    if path.is_file():
        raise ValueError(
            f"Wanted a checkpoint folder with {WEIGHTS} and {DESCRIPTION}, got the file {path}. "
            "A .ckpt, .pt or .pth file is a pickle, which can run code when it is loaded: orbitds "
            "does not. Export the run with `orbitds export`."
        )
    if str(name_or_path) in shipped:
        return share(f"{SHIPPED}/{name_or_path}")
    if not path.is_dir():
        raise FileNotFoundError(
            f"Wanted a checkpoint folder, one of the shipped checkpoints {shipped} or a name on "
            f"the Hugging Face Hub as hf://owner/name, got {str(name_or_path)!r}. Check the path."
            + did_you_mean(str(path), shipped)
        )
    return path


def _shipped() -> list[str]:
    return sorted(path.name for path in share(SHIPPED).glob("*") if (path / DESCRIPTION).is_file())


def _told(path: Path, error: ValidationError) -> str:
    """Return what is wrong with a description, in what strangers wrote nothing that acts."""
    details = error.errors()
    wanted = f"Wanted the description of a checkpoint in {path}, got"
    for item in details:
        got = item["input"]
        if item["loc"] == ("format",) and isinstance(got, int) and got > NEWEST:
            return (
                f"{wanted} format {got}, which is of a newer orbitds than this one, which knows "
                f"formats 1 to {NEWEST}. Install a newer one: pip install -U orbitds."
            )
    places = [(".".join(map(str, item["loc"])), item["msg"]) for item in details]
    told = "; ".join(f"{plain(place)} {plain(text)}".strip() for place, text in places[:5])
    return f"{wanted} {told}. Export the run again."
