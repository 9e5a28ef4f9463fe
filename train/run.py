"""Launch training.

python train/run.py --config demo --output runs/demo
"""

import sys

from orbitds.cli import main

sys.argv = [sys.argv[0], "train", *sys.argv[1:]]
main()
