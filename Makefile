# Every target sets up what it needs; `make demo` and `make test` are the two to start with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/.tools:$(PATH)
WORKFLOWS := $(wildcard .github/workflows/*.yml examples/ci/*.yml)
FAST_TESTS := tests/deploy tests/cli/test_app.py tests/cli/test_help.py tests/cli/test_load_options.py \
  tests/cli/test_taking.py tests/test_documents.py tests/test_environment.py tests/test_examples.py tests/test_hygiene.py \
  -k 'not session_in_the_document'

# What measures, and wants the machine to itself.
MEASURING := tests/test_measured_documents.py $(addprefix tests/integration/,test_stream_scaling.py \
  loadtest/test_stream_truth.py loadtest/test_truth.py tuning/test_winners.py)
# Many tests wait for a server, so that more of them than cores keep the cores busy.
TESTS_AT_ONCE = $(shell echo $$(($$(nproc) * 3 / 2)))

.PHONY: help demo test test-fast check lint lint-workflows format golden bench conformance wheel docs tools checkov \
  chart-docs chart-scores mutants clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo "Python 3.11 or 3.12 is needed (nvidia-pytriton has no build for others): make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --no-compile --quiet --disable-pip-version-check --editable '.[local,dev,docs]' --constraint constraints.txt
	@bash scripts/get_libpython.sh $(BIN)/python
	@touch $@

$(VENV)/.mutants: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[mutants]' --constraint constraints.txt
	@touch $@

tools: $(BIN)/python ## Programs that only tests and benchmarks use: helm, kubectl, promtool, chromium, wrk and the like
	bash scripts/get_tools.sh $(BIN)/python

demo: $(VENV)/.installed ## The main job on the example: package, run a real Triton, infer, load test, chart
	$(BIN)/python examples/demo.py

lint: lint-workflows ## Style, types, architecture and workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

lint-workflows: $(VENV)/.installed ## The workflows' syntax and security, and the Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(BIN)/zizmor --offline --quiet $(WORKFLOWS)
	$(BIN)/hadolint Dockerfile

format: $(VENV)/.installed ## Format the code in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(VENV)/.installed tools ## All tests, against a real Triton; some with TESTS='tests/deploy/chart -k name'
ifdef TESTS
	$(BIN)/pytest $(TESTS)
else
	$(BIN)/pytest --numprocesses $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder $(MEASURING:%=--ignore %)
	$(BIN)/pytest $(MEASURING)
endif

test-fast: $(VENV)/.installed ## The library, the help and the tree in under two minutes: no Triton, no download
	$(BIN)/pytest $(FAST_TESTS)

check: lint test ## Lint, types, architecture and tests

golden: $(VENV)/.installed ## Rewrite the golden files; read the diff before committing
	$(BIN)/pytest --update-golden tests

chart-docs: $(VENV)/.installed ## Write the chart's generated files: values, schema, README, profiles, example
	$(BIN)/python scripts/generate_chart.py

checkov: $(BIN)/python
	@bash scripts/get_checkov.sh $(BIN)/python

chart-scores: $(VENV)/.installed tools checkov ## Score the chart as the comparison table does
	$(BIN)/python scripts/score_chart.py

bench: $(VENV)/.installed tools ## Speed and memory beside their lower bounds and peers
	$(BIN)/python benchmarks/package.py
	$(BIN)/python benchmarks/loadtest.py
	$(BIN)/python benchmarks/streams.py
	$(BIN)/python benchmarks/twin.py
	$(BIN)/python benchmarks/stores.py

conformance: $(VENV)/.installed ## onnx's backend cases, packaged and served, and judged by their graphs; all of them with CONFORMANCE=--full
	$(BIN)/python tests/conformance $(CONFORMANCE)
	$(BIN)/python tests/conformance/batch_axis.py $(CONFORMANCE)

mutants: $(VENV)/.mutants ## Faults that the tests must notice; some with MUTANTS='deploy/serve_deploy/reports --sample 40'
	OPENBLAS_NUM_THREADS=1 $(BIN)/python scripts/mutants $(MUTANTS)

docs: $(VENV)/.installed ## Build the docs site into build/docs/html; a link that leads nowhere fails it
	$(BIN)/python scripts/build_docs.py

wheel: $(VENV)/.installed ## Build sdist and wheel into dist/
	$(BIN)/python -m build --outdir dist .

clean: ## Remove what the targets made
	rm -rf $(VENV) .tools dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
