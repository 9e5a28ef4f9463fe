"""Launch inference.

python infer/run.py coarse.nc --checkpoint C --output fine.nc
"""

import sys

from orbitds.cli import main

sys.argv = [sys.argv[0], "infer", *sys.argv[1:]]
main()
