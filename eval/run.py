"""Launch evaluation.

python eval/run.py --prediction fine.nc --truth truth.nc --output scores
"""

import sys

from orbitds.cli import main

sys.argv = [sys.argv[0], "eval", *sys.argv[1:]]
main()
