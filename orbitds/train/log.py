"""What a run writes down: one JSON object a line."""

import json
from pathlib import Path


class JsonLines:
    """A log with one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **values: float | str) -> None:
        """Append a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
