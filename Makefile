# `make run` and `make test` are all that a newcomer types. They need make and a Python with venv;
# the first call installs into .venv, every later one works without a network.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV   ?= .venv
RECIPE ?= laptop/python-docs
# Two processes more than two cores: now and then each waits for a server, a signal or a disk.
TESTERS ?= 4

python := $(VENV)/bin/python
set_up := $(PYTHON) scripts/set_up $(VENV)

.PHONY: help install run test test-whole test-all test-data lint format types layers docs peers lock clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

install: ## the environment alone, in .venv
	@$(set_up) train serve

run: ## turn the wheel on this machine's own Python documentation
	@$(set_up) train serve
	@$(python) -m volano run $(RECIPE)

test: ## the test suite
	@$(set_up) train serve dev
	@OMP_NUM_THREADS=1 $(python) -m pytest -n $(TESTERS) --dist loadgroup

test-whole: ## what of the suite takes minutes a test, which CI runs too
	@$(set_up) train serve dev
	@OMP_NUM_THREADS=1 $(python) -m pytest -n $(TESTERS) --dist loadgroup -m whole

test-all: ## the test suite, whole grids and all
	@$(set_up) train serve dev
	@OMP_NUM_THREADS=1 $(python) -m pytest -n $(TESTERS) --dist loadgroup -m "not gpu"

test-data: ## the tests that need no torch, in an environment without it
	@$(set_up) dev
	@OMP_NUM_THREADS=1 $(python) -m pytest -n $(TESTERS) --dist loadgroup

lint: ## style and format
	@$(set_up) train serve dev
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .

format: ## rewrite what the formatter and the linter can mend
	@$(set_up) train serve dev
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

types: ## mypy, strict
	@$(set_up) train serve dev
	@$(python) -m mypy

layers: ## no room imports from above or from its own row
	@$(set_up) train serve dev
	@$(VENV)/bin/lint-imports --no-logo

docs: ## docs/reference, written from the code
	@$(set_up) train serve dev
	@$(python) scripts/write_reference.py

peers: ## the peers that benchmarks run beside, in environments of their own (build/peers …)
	@for list in benchmarks/*peers.txt; do \
		folder=build/$$(basename $$list .txt); \
		echo "making $$folder with what $$list names …" >&2; \
		$(PYTHON) -m venv $$folder || exit 1; \
		$$folder/bin/python -m pip install --quiet --disable-pip-version-check -r $$list || exit 1; \
	done

lock: ## newest version of every dependency into requirements.lock
	@$(set_up) train serve dev
	@$(python) scripts/write_lock --upgrade

clean: ## the environment and every cache; never runs/, which is work
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
