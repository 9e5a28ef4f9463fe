"""Find the YAML, data and checkpoints that travel with the package, in a wheel or in a checkout."""

import difflib
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

# Letters of what strangers wrote that a message repeats: of a literal, and of a sentence.
LONGEST_SHOWN, LONGEST_TEXT = 80, 300
_PACKAGE = Path(__file__).parent
# A wheel carries the shared folders inside the package; a checkout has them at its top level.
_ROOT = _PACKAGE / "_share" if (_PACKAGE / "_share").is_dir() else _PACKAGE.parent


def share(relative: str) -> Path:
    """Return the path of a shipped file or folder, such as ``"configs/model/tiny.yaml"``.

    Raises
    ------
    ValueError
        If the path would leave the shipped folders.
    """
    path = (_ROOT / relative).resolve()
    if not path.is_relative_to(_ROOT.resolve()):
        raise ValueError(f"Wanted a path inside {_ROOT}, got {relative!r}, which leaves it.")
    return path


def names(folder: str, suffix: str = ".yaml") -> list[str]:
    """Return the names of what is shipped in a folder, sorted, without the suffix."""
    return sorted(path.name.removesuffix(suffix) for path in share(folder).glob(f"*{suffix}"))


def locate(name_or_path: str | Path, folder: str) -> Path:
    """Return the file behind a name shipped in a folder, or behind the user's own YAML path.

    Raises
    ------
    FileNotFoundError
        If there is neither; the message lists the names and the nearest one.
    """
    own = Path(name_or_path)
    if own.suffix in {".yaml", ".yml"}:
        if own.is_file():
            return own
        raise FileNotFoundError(f"Wanted a YAML file, got {own}, which does not exist.")
    known = names(folder)
    if str(name_or_path) not in known:
        raise FileNotFoundError(
            f"Wanted one of {known} or the path of a YAML file, got {str(name_or_path)!r}."
            + did_you_mean(str(name_or_path), known)
        )
    return share(f"{folder}/{name_or_path}.yaml")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping safely: no tags, no objects, no duplicate keys.

    Raises
    ------
    ValueError
        If the file is not a plain YAML mapping.
    """
    yaml = import_module("yaml")  # not at the top: `import orbitds` does without it
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_strict_loader())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"Wanted plain YAML in {path}, got: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"Wanted `key: value` lines in {path}, got {type(content).__name__}.")  # noqa: TRY004
    return content


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or nothing."""
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def shown(written: object) -> str:
    """Return the beginning of what a stranger wrote, as a literal that is fit for a terminal."""
    text = ascii(written)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def plain(text: str) -> str:
    """Return a stranger's text as it is if it is short and harmless, else its beginning."""
    return text if text.isprintable() and len(text) <= LONGEST_TEXT else shown(text)[1:-1]


def _strict_loader() -> type:
    yaml = import_module("yaml")

    class Strict(yaml.SafeLoader):
        """A safe loader for which a key given twice is an error, not the last one winning."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict:  # noqa: ANN401, FBT001, FBT002  PyYAML's signature
            keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} stands twice", node.start_mark
                    )
            return super().construct_mapping(node, deep=deep)

    return Strict
