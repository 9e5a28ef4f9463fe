"""What a run writes down, one JSON object a line; and what it says of its data at the start."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from orbitds.data.pair import Pair


class JsonLines:
    """A log with one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **values: int | float | str) -> None:
        """Append a line; what is not finite becomes null, since JSON has no other word for it."""
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite) + "\n")


def tell_pairs(pairs: Sequence[Pair]) -> None:
    """Write to standard error what of each pair is left out, and where its statics are from."""
    for pair in pairs:
        source = pair.statics.attrs.get("source")
        statics = [f"statics: {source}"] if source and pair.static_names else []
        for line in (*pair.notes, *statics):
            sys.stderr.write(f"{pair.name}: {line}\n")
