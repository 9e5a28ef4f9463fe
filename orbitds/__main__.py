"""Run the command line as ``python -m orbitds``."""

from orbitds.cli import main

main()
