# make demo   a small season, all the way from recorder cards to the report
# make test   lint and all tests
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: env demo test test-quick lint format schema bench page page-check clean

env: $(READY)

# Everything goes into .venv/: remove that folder and nothing of the installation is left.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)/ (torch with its CUDA libraries is about 3 GB) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[birdnet,jobqueue,slurm,test,lint]'
	@touch $@

demo: env
	@bash workflow/demo.sh $(CORES)

test: env lint
	pytest -n $(CORES) --dist worksteal --durations 30 --durations-min 10

test-quick: env
	pytest -n $(CORES) -m "not slow and not workflow"

lint: env
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check Snakefile workflow
	bash workflow/lint.sh

format: env
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

# The schema that editors use is written from the configuration's own classes.
schema: env
	python -m dawnchorus.config.reference .

# The explorer's page from its sources; only who changes it needs node (src/dawnchorus/explorer/frontend/README.md).
page:
	cd src/dawnchorus/explorer/frontend && npm ci && npm run build

page-check:
	cd src/dawnchorus/explorer/frontend && npm ci && npm run check

bench: env
	@for script in benchmarks/*.py; do echo "== $$script"; python $$script $(BENCH) || exit 1; done

clean:
	rm -rf demo results .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
