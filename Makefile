# Every target sets up what it needs; `make demo` and `make test` are the two to start with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/.tools:$(PATH)

.PHONY: help demo test check lint format golden bench conformance wheel tools chart-docs chart-scores clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo "Python 3.11 or 3.12 is needed (nvidia-pytriton has no build for others): make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[local,dev]' --constraint constraints.txt
	@bash scripts/get_libpython.sh $(BIN)/python
	@touch $@

tools: $(VENV)/.installed ## Programs that only tests and benchmarks use: helm, kubectl, promtool, chromium, wrk and the like
	bash scripts/get_tools.sh $(BIN)/python

demo: $(VENV)/.installed ## The main job on the example: package, run a real Triton, infer, load test, chart
	$(BIN)/python examples/demo.py

lint: $(VENV)/.installed ## Style, types and architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed ## Format the code in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: tools ## All tests, against a real Triton
	$(BIN)/pytest

check: lint test ## Lint, types, architecture and tests

golden: $(VENV)/.installed ## Rewrite the golden files; read the diff before committing
	$(BIN)/pytest --update-golden tests

chart-docs: $(VENV)/.installed ## Write the chart's generated files: values, schema, README, profiles, example
	$(BIN)/python scripts/generate_chart.py

chart-scores: tools ## Score the chart as the comparison table does
	$(BIN)/python scripts/score_chart.py

bench: tools ## Speed and memory beside their lower bounds and peers
	$(BIN)/python benchmarks/package.py
	$(BIN)/python benchmarks/loadtest.py

conformance: $(VENV)/.installed ## onnx's backend cases, packaged and served; all of them with CONFORMANCE=--full
	$(BIN)/python tests/conformance $(CONFORMANCE)

wheel: $(VENV)/.installed ## Build sdist and wheel into dist/
	$(BIN)/python -m build --outdir dist .

clean: ## Remove what the targets made
	rm -rf $(VENV) .tools dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
