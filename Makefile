# `make` alone lists what there is. Everything runs in .venv, which `make setup` builds from constraints.txt.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.setup-done
# How pip finds torch, e.g. TORCH_ARGS='--index-url https://download.pytorch.org/whl/cpu' for the small CPU build.
TORCH_ARGS ?=
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup demo test test-all check bench docs clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(DONE)  ## build .venv with exactly the versions of constraints.txt (a no-op the second time)

# torch comes first and alone, so that nothing else chooses its build.
$(DONE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "recon needs Python 3.11 or newer: make setup PYTHON=python3.11")'
	$(BIN)/python -m pip install $(TORCH_ARGS) "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

demo: setup  ## a generated scan to a mesh, metrics and a report, in minutes and without a network
	$(BIN)/python run.py reconstruct method=spline data=shapes data.scene=knot trainer=cpu

test: setup  ## the quick tests
	$(PYTEST) -m 'not slow'

test-all: setup  ## every test: subprocesses, the wheel, the browser, real data where it is at hand
	$(PYTEST)

check: setup  ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy recon

bench: setup  ## time the hot paths, as ratios and in machine units (docs/benchmarks.md)
	$(PYTEST) benchmarks --benchmark-enable --benchmark-disable-gc -s

docs: setup  ## build the documentation as a site into outputs/docs
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:  ## remove caches and builds; .venv, outputs/ and data/ stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
