# Every target sets up what it needs; `make demo` and `make test` are the two to start with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test check lint format golden bench conformance clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[local,dev]' --constraint constraints.txt
	@touch $@

lint: $(VENV)/.installed ## Style, types and architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed ## Format the code in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(VENV)/.installed ## All tests, against a real Triton
	$(BIN)/pytest

check: lint test ## Lint, types, architecture and tests

golden: $(VENV)/.installed ## Rewrite the golden files; read the diff before committing
	$(BIN)/pytest --update-golden tests

clean: ## Remove what the targets made
	rm -rf $(VENV) .tools dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
