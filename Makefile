# Everything runs in .venv, which the first target that needs it creates. Needs Python 3.11 to 3.13 and the package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXPERIMENT ?= quickstart
RESULTS ?= results/$(EXPERIMENT)
# Of every experiment, unless one is named.
ALL_OR_ONE = $(if $(filter filefile,$(origin EXPERIMENT)$(origin RESULTS)),results,$(RESULTS))
TESTS ?= -n auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup compare sweep report status work serve dashboard wandb-sync bench docs site test test-all test-gpu test-faults check format lock clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run

setup: $(READY) ## create the environment in .venv, with the command .venv/bin/poolbench

compare: $(READY) ## the main job: train and compare the quickstart's poolings (a few minutes on 2 cores)
	$(BIN)/poolbench train experiment=quickstart

sweep: $(READY) ## run a named experiment: make sweep EXPERIMENT=cifar10_small
	$(BIN)/poolbench train "experiment=$(EXPERIMENT)"

report: $(READY) ## tables and figures of an experiment's records: make report EXPERIMENT=quickstart
	$(BIN)/poolbench report "$(RESULTS)"

status: $(READY) ## how far a sweep is: make status EXPERIMENT=quickstart
	$(BIN)/poolbench status "$(RESULTS)"

work: $(READY) ## one more worker at a sweep: make work EXPERIMENT=quickstart
	$(BIN)/poolbench work "$(RESULTS)"

##@ Dashboards

serve: $(READY) ## the pages of all experiments on this machine, refreshed while workers run
	$(BIN)/poolbench serve "$(ALL_OR_ONE)"

dashboard: $(READY) ## a W&B workspace and report of an experiment: make dashboard EXPERIMENT=quickstart
	$(BIN)/poolbench dashboard "$(RESULTS)"

wandb-sync: $(READY) ## send the W&B runs that were kept offline (of all experiments, or of RESULTS=FOLDER)
	$(BIN)/poolbench wandb-sync "$(ALL_OR_ONE)"

##@ Measure

bench: $(READY) ## every benchmark of docs/performance.md, kept there (over an hour; nothing else should run meanwhile)
	$(BIN)/python benchmarks/record.py
	$(BIN)/python docs/make_performance.py

##@ Documents

docs: $(READY) ## docs/operators.md and its pictures, from docstrings and YAML; docs/findings.md from committed tables
	OMP_NUM_THREADS=1 $(BIN)/python docs/make_operators.py
	$(BIN)/python docs/make_findings.py

site: $(READY) ## the documentation as a site, in site/: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

##@ Develop

test: $(READY) ## the tests, a few minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" $(TESTS)

test-all: $(READY) ## all tests, the exhaustive ones too (over an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TESTS)

test-gpu: $(READY) ## what needs a CUDA device; fails where there is none
	$(BIN)/python -m pytest tests/gpu

test-faults: $(READY) ## workers killed, stopped, hung and out of disk (about half an hour; SLURM where there is one)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults tests/sweep

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
	rm -rf $(VENV) .cache build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
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
