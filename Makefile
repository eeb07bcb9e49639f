# Everything runs in .venv, which is made on first use and again whenever pyproject.toml or
# constraints.txt change. `make` alone lists the targets.

PYTHON ?= python3
ARGS ?=

RUN := .venv/bin/python
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo figures bench test slow lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s  %s\n", $$1, $$2 }' Makefile
	@echo 'Variables: ARGS="..." is passed on to the command; PYTHON=python3.12 chooses who makes .venv.'

demo: .venv/stamp ## free energy of two singular models and a regular one against theory
	$(RUN) -m experiments.free_energy --preset demo $(ARGS)

figures: .venv/stamp ## run all experiments and keep their figures and JSON in figures/
	@for file in experiments/*/__main__.py; do \
	  $(RUN) -m experiments $$(basename $$(dirname $$file)) --figures-dir figures $(ARGS) || exit; \
	done

bench: .venv/stamp ## timings against numpyro and blackjax; writes docs/benchmarks.md
	$(RUN) -m benchmarks $(ARGS)

test: .venv/stamp-dev ## the tests that every change must pass
	$(RUN) -m pytest $(ARGS)

slow: .venv/stamp-dev ## calibration and coverage tests
	$(RUN) -m pytest -m slow $(ARGS)

lint: .venv/stamp-dev ## style, formatting and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean: ## remove .venv, build products and caches (results/ stays)
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are touched last, so that an interrupted installation starts afresh.
.venv/stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: slt_jax needs Python 3.11 or newer, which PYTHON=$(PYTHON) is not; try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: PYTHON=$(PYTHON) lacks the venv module; install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Installing slt_jax into .venv; the first time takes some minutes."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(INSTALL) -e .
	@touch $@

.venv/stamp-dev: .venv/stamp
	@echo "Installing the developer tools into .venv."
	@$(INSTALL) -e '.[dev]'
	@touch $@
