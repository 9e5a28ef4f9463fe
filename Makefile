# `make demo` runs the main job, `make test` the tests; each installs what it needs into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= orbitds-demo

.PHONY: demo test lint wheel clean

demo: $(VENV)/.demo
	$(BIN)/orbitds demo --output $(DEMO) --overwrite

# Two processes of one thread each: half the time of one process with two. Bytecode is written
# whatever the environment says: each command that a test starts would compile the package anew.
TESTS ?= -n 2 --dist worksteal

test: lint
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not slow and not gpu" $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/codespell
	$(BIN)/shellcheck -x -P train train/slurm.sbatch train/sites/*.sh infer/slurm_array.sbatch eval/slurm.sbatch

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) dist $(DEMO)

# `pip install --group` came with pip 25.1.
$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "orbitds wants Python 3.11 or later, got " + sys.version.split()[0] + ": try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[maps]'
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[maps,cloud,grib,deepspeed]' --group dev
	touch $@
