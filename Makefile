# One entry for each chore, the same for a person and for CI.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LIBRARY ?= demo-output/library
DATA ?= ../shared/data
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test lint bench train docs clean

help:  ## List the chores
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(BIN)/diptych: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Diptych needs Python 3.11 or newer; call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

install: $(BIN)/diptych  ## Make .venv with the diptych command and everything tests need

demo: install  ## Index a small set of pictures (or FOLDER=...) and search it
	$(BIN)/python -m api.demo $(if $(FOLDER),--folder '$(FOLDER)') --out demo-output

test: install  ## Check style, types and imports, then run the tests
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

lint: install  ## Ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install  ## Measure indexing and vectors side by side; writes benchmarks/results
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks.indexing
	$(BIN)/python -m benchmarks.vectors

train: install  ## Train the compact encoder from DATA (its small form: make train SMALL=1)
	$(BIN)/python -m pip install --quiet --editable '.[training]'
	$(BIN)/python -m training.compact --data '$(DATA)' --out training-output $(if $(SMALL),--small)

docs: install  ## Write docs/cli.md from the commands' own help
	$(BIN)/python -m api.cli.document > docs/cli.md

clean:  ## Remove what make made
	rm -rf $(VENV) demo-output training-output build *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage
