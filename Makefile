# mtquant. `make demo` trains on real bars and writes a report; `make test` runs the tests. Both build .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PINS := --constraint constraints.txt

.PHONY: help demo test check format bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    train on the bundled real bars, backtest, write the HTML report"
	@echo "make test    all tests (except those that need the internet or a GPU)"
	@echo "make check   format, lint, types, import direction"
	@echo "make format  rewrite the code in the house format"
	@echo "make bench   the benchmarks of scripts/benchmarks"
	@echo "make clean   delete .venv and caches"

demo: $(VENV)/.core
	$(BIN)/mtquant demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not network and not gpu"

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layering.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(BIN)/python scripts/benchmarks/simulator.py
	$(BIN)/python scripts/benchmarks/audit.py
	$(BIN)/python scripts/benchmarks/features.py
	$(BIN)/python scripts/benchmarks/significance.py
	$(BIN)/python scripts/benchmarks/leaks.py
	$(BIN)/python scripts/benchmarks/backtest.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "mtquant needs Python 3.11 or newer, and '$(PYTHON)' was not found: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mtquant needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1): make PYTHON=/path/to/newer" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

# torch goes first and pinned: chosen by the resolver beside the others, it may be one that brings CUDA packages along.
$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/.python
	@echo "installing mtquant into $(VENV) (several minutes the first time)"
	$(PIP) install $(PINS) torch
	$(PIP) install $(PINS) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) install $(PINS) --editable ".[dev,llm,dashboard]"
	@touch $@

$(VENV)/.bench: $(VENV)/.core
	$(PIP) install $(PINS) --editable ".[bench]"
	@touch $@
