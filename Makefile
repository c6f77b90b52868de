# Everything runs in .venv, which the first target that needs it creates. Needs Python 3.11 to 3.13 and the package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXPERIMENT ?= quickstart
RESULTS ?= results/$(EXPERIMENT)
TESTS ?= -n auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup compare sweep report bench docs test test-all check format lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*## "} {printf "  %-10s %s\n", $$1, $$2}'

setup: $(READY) ## create the environment in .venv, with the command .venv/bin/poolbench

compare: $(READY) ## the main job: train and compare the quickstart's poolings (a few minutes on 2 cores)
	$(BIN)/poolbench train experiment=quickstart

sweep: $(READY) ## run a named experiment: make sweep EXPERIMENT=cifar10_small
	$(BIN)/poolbench train experiment=$(EXPERIMENT)

report: $(READY) ## tables and figures of an experiment's records: make report EXPERIMENT=quickstart
	$(BIN)/poolbench report $(RESULTS)

bench: $(READY) ## every benchmark: operators, calls, data, training, pipeline, start, layout, audit, repeatability, report (about an hour)
	$(BIN)/poolbench bench
	$(BIN)/python benchmarks/calls.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/layout.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/repeatability.py
	$(BIN)/python benchmarks/neighbour.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/calibration.py

docs: $(READY) ## docs/operators.md and its pictures, from docstrings and YAML
	OMP_NUM_THREADS=1 $(BIN)/python docs/make_operators.py

test: $(READY) ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" $(TESTS)

test-all: $(READY) ## the tests, with the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TESTS)

check: $(READY) ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(READY) ## compile requirements.txt from pyproject.toml anew
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --upgrade --extra dev pyproject.toml -o requirements.txt

clean: ## remove the environment and every cache; results stay
	rm -rf $(VENV) .cache build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv is taken where it is installed, else brought into the environment itself.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "poolbench needs Python 3.11 to 3.13; choose one with make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
