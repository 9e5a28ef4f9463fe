"""Where the best weights lie in a run folder."""

from pathlib import Path

BEST = "best"
# What the weights before the best ones are called while the two change places.
OLD = ".old"


def best_of(run_folder: Path) -> Path | None:
    """Return the folder of the best weights of a run; None if it has none."""
    best = run_folder / BEST
    # the earlier ones, where the run was stopped while the two changed places
    return next((folder for folder in (best, best.with_suffix(OLD)) if folder.is_dir()), None)
