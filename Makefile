# The daily verbs. Each one prepares the environment first (scripts/setup); nothing else has to be installed by hand.
# PYTHON=/path/to/python3 chooses the interpreter, ARGS="..." goes to the program behind the verb.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PY := .venv/bin/python
WORKERS ?= 4

export MAKE_GOAL = $(firstword $(MAKECMDGOALS))
# Every program that is started would compile the whole of src/ again, and every test process all tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

.PHONY: setup
setup: ## Make .venv with the locked dependencies (done by every other verb, too)
	@PYTHON="$(PYTHON)" scripts/setup

.PHONY: demo
demo: setup ## Run and verify the main job on a real repository: REPO=<path or URL>, ACT=<n>, MODEL=<name>
	@$(PY) -m builderos.interfaces.cli.main demo $${REPO:+--repo "$$REPO"} $${ACT:+--act "$$ACT"} $${MODEL:+--model "$$MODEL"} $(ARGS)

.PHONY: up
up: setup ## Serve at a printed address (PORT=0 picks a free port)
	@.venv/bin/builderos up $(ARGS)

.PHONY: test
test: setup ## Run the tests: WORKERS=<n>, ARGS="tests/core -x"
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

.PHONY: soak
soak: setup ## Run the proofs of safety with their full counts (long)
	@BUILDEROS_SOAK=1 $(PY) -m pytest -n 0 --timeout 0 -o faulthandler_timeout=0 -m soak $(ARGS)

.PHONY: live
live: setup ## Ask real models, for those who have keys (it costs money); without keys all is skipped
	@BUILDEROS_LIVE=1 $(PY) -m pytest -n 0 -rs tests/ports/test_live_models.py $(ARGS)

.PHONY: bench
bench: setup ## Print the speed ratios side by side: FULL=1 for the full sizes
	@FULL="$(FULL)" $(PY) -m bench $(ARGS)

.PHONY: check
check: lint types imports ## Everything that reads the code without running it

.PHONY: lint
lint: setup ## Style and likely mistakes
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

.PHONY: types
types: setup ## Types, strict; of the console also likely mistakes
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright
	@$(PY) scripts/console.py check

.PHONY: imports
imports: setup ## Floors and rooms: imports only go down
	@.venv/bin/lint-imports --no-logo

.PHONY: format
format: setup ## Format the code and mend what can be mended
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

.PHONY: openapi
openapi: setup ## Write openapi.json anew from the code, and the console's types from it
	@$(PY) -m builderos.interfaces.http.openapi > openapi.json.new && mv openapi.json.new openapi.json
	@$(PY) scripts/console.py types

.PHONY: reference
reference: setup ## Write docs/reference anew from the code
	@$(PY) -m scripts.reference

.PHONY: screenshots
screenshots: setup ## Take the pictures of the console in docs/pictures anew
	@$(PY) -m scripts.screenshots

# uv resolves for every supported Python and platform at once; only this verb needs it, so it has a place of its own.
# It does not ask for `setup`: a lock that cannot be installed must still be mendable.
.PHONY: lock
lock: ## Write requirements/*.lock anew from pyproject.toml: UPGRADE=1 takes newer versions
	@[ -x $(PY) ] || PYTHON="$(PYTHON)" scripts/setup
	@[ -x .make/lock/bin/uv ] || { $(PY) -m venv .make/lock && .make/lock/bin/python -m pip install -qq 'uv>=0.13,<0.14'; }
	@.make/lock/bin/uv pip compile $(COMPILE) --output-file requirements/runtime.lock
	@.make/lock/bin/uv pip compile $(COMPILE) --group dev --constraints requirements/runtime.lock --output-file requirements/dev.lock
	@.make/lock/bin/uv pip compile $(LOCKING) requirements/bucket.in --output-file requirements/bucket.lock
	@.make/lock/bin/uv pip compile $(LOCKING) requirements/notebook.in --output-file requirements/notebook.lock
	@.make/lock/bin/uv pip compile $(LOCKING) requirements/marimo.in --output-file requirements/marimo.lock
	@.make/lock/bin/uv pip compile $(LOCKING) requirements/mlflow.in --output-file requirements/mlflow.lock
	@.make/lock/bin/uv pip compile $(LOCKING) requirements/streamlit.in --output-file requirements/streamlit.lock

COMPILE = pyproject.toml $(LOCKING)
LOCKING = --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## Remove the environment, caches and built files; no data of yours
	rm -rf .venv .make build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf src/builderos/interfaces/console/dist web/node_modules web/tools/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
