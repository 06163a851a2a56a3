# Everything starts from a clean clone with Python 3.11 or newer; nothing else needs to be installed by hand.

PYTHON ?= python3
PYTHONS ?= 3.12 3.13
# Tests wait more than they compute, so more of them run at a time than there are cores; the long ones too. All other Pythons
# run at the same time.
JOBS ?= 6
LONG_JOBS ?= 3
PYTHON_JOBS ?= 3
# Tests start the command some hundred times. Without bytecode on the disk, each start would compile everything again.
export PYTHONDONTWRITEBYTECODE :=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALLED := $(VENV)/.installed
SHELL := bash
.SHELLFLAGS := -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-pythons lint format chaos conformance metrics terminal docs diagram alerts version bench redis clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Run the two-minute demo: the watcher and the workers are killed, and nothing is lost
	$(BIN)/python examples/workflow-tracker/demo.py

test: $(READY) redis ## Run all tests except the long ones (JOBS=6)
	$(BIN)/pytest -n $(JOBS) -m "not long"

test-long: $(READY) redis ## Run the long tests (KUBEBUILDER_ASSETS=DIR for a real API server, KUBECDC_KILLS=50, KUBECDC_OBJECTS=3000, KUBECDC_EVENTS=100000, KUBECDC_NAMESPACES=5000 and KUBECDC_LARGE_OBJECTS=120 for full numbers, LONG_JOBS=3)
	$(BIN)/pytest -n $(LONG_JOBS) -m long

test-pythons: $(READY) redis ## Run the tests on every other supported Python that is installed, except the long ones and those in tests/once.py (PYTHONS="3.12 3.13", PYTHON_JOBS=3 for each)
	@$(MAKE) --no-print-directory --jobs --output-sync=target $(PYTHONS:%=test-on-%)

test-on-%:
	@tests/on_python $* -n $(PYTHON_JOBS)

lint: $(READY) ## Check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

chaos: $(READY) redis ## Inject faults for ten minutes, with a printed seed (MINUTES=10 SEED=n SERVER=simulator|real, real where KUBEBUILDER_ASSETS is set, BUS=redis|sqlite|sqs|pubsub|rq, redis where redis-server is, LOAD=objects|namespaces)
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SERVER),--server $(SERVER)) $(if $(BUS),--bus $(BUS)) $(if $(SEED),--seed $(SEED)) $(if $(LOAD),--load $(LOAD))

conformance: $(READY) redis ## Run the conformance suite on each back end, and write the matrix to docs/conformance.md
	$(BIN)/python -m tests.conformance

metrics: $(READY) ## Write the metrics that the code defines to docs/metrics.md
	$(BIN)/python -m tests.metrics_page

terminal: $(READY) ## Write what the commands print at 80 and 200 columns to docs/terminal.md
	$(BIN)/python -m tests.docs.terminal

docs: $(READY) ## Build the pages of docs/ as a site in build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --config-file docs/site/mkdocs.yml

diagram: $(READY) ## Draw the picture in docs/concepts.md (tests/docs/diagram.py)
	$(BIN)/python -m tests.docs.diagram

version: $(READY) ## Write VERSION=x.y.z wherever the version appears, and into the CHANGELOG (docs/releasing.md)
	$(BIN)/python -m tests.packaging.version $(VERSION)

alerts: $(READY) ## Generate the objects in deploy/ from its alerts and dashboard
	$(BIN)/python -m tests.deploy.rules

bench: $(READY) redis ## Measure kubecdc beside bare loops of the same work; prints a table and writes build/bench.json (ONLY=name,name)
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

redis: # Only tests and benchmarks need it. If it is missing and cannot be installed, those that need it are skipped
	@command -v redis-server >/dev/null || [ "$$(id -u)" != 0 ] || { apt-get update -q && apt-get install -yq --no-install-recommends redis-server; }

clean: ## Remove everything that was built
	rm -rf $(VENV) .venv-3.* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What users install. The first installation takes a while, so pip says what it collects.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "kubecdc needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { apt-get update -q && apt-get install -yq python3-venv; }
	@echo "installing kubecdc into $(VENV):"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off --editable . | sed -un 's/^Collecting \([A-Za-z0-9._-]*\).*/  \1/p'
	@touch $@

# And what the tests need, with uv, which takes a tenth of pip's time. If uv cannot reach a package index, pip is used:
# it may have settings of its own.
$(READY): $(INSTALLED)
	@echo "installing what the tests need"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off --quiet uv
	@$(BIN)/uv pip install --quiet --python $(VENV) --editable '.[dev]' || $(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@
