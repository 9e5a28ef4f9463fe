"""What a run writes down: one JSON object a line."""

import json
import math
from pathlib import Path


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
