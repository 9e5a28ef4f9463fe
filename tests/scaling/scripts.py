"""Scripts of `eval`, run in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVAL = ROOT / "eval"


def python(*command) -> subprocess.CompletedProcess:
    """Run Python with arguments, of which a script of `eval` is one."""
    told = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, command)], check=False, capture_output=True, text=True, env=told
    )
