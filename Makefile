# Everything is set up on the way: `make run` and `make test` need only Python 3.11 or newer.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup run demo test fuzz check bench format lock clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.run ## only set everything up

run: .venv/.run ## set up and serve on http://127.0.0.1:8000/graphql
	@exec $(BIN)/coingraph serve

demo: .venv/.run ## the same on the built-in simulator: no network needed
	@exec $(BIN)/coingraph serve --demo

test: .venv/.dev .venv/.clients .venv/.audits ## set up and run the tests
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest $(ARGS)

# A finding repeats with the seed that is printed: make fuzz FUZZ_SEED=...
fuzz: .venv/.dev ## throw garbage at the server for FUZZ_SECONDS (600)
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) FUZZ_SEED=$(FUZZ_SEED) \
		$(BIN)/python -m pytest -s tests/fuzz $(ARGS)

check: .venv/.dev ## linters, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.bench ## set up and run the benchmarks (some 25 minutes)
	@$(BIN)/python -m benchmarks $(ARGS)

format: .venv/.dev ## mend what the linters can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## pin all dependencies anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header -c requirements.lock benchmarks/requirements.in \
		-o benchmarks/requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --extra dev -c requirements.lock -c benchmarks/requirements.lock \
		pyproject.toml -o requirements-dev.lock

clean: ## remove the set-up (the database in .coingraph stays)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "coingraph needs Python 3.11 or newer; point to one with: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@echo "Setting up .venv (once)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet

.venv/.run: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing the pinned packages"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	@echo "Installing the pinned packages for tests and checks"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# By the Node of the pinned packages, and by npm's own locks. Without npm's registry the tests that
# need them are skipped, and CI fails.
NPM_CI := PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund \
	--fetch-retries=1 --loglevel=error

.venv/.clients: tests/clients/package-lock.json | .venv/.dev
	@echo "Installing the client libraries that tests drive"
	@cd tests/clients && $(NPM_CI) && touch $(CURDIR)/$@ || echo "npm could not install them" >&2

.venv/.audits: tests/audits/package-lock.json | .venv/.dev
	@echo "Installing the pinned audits of GraphQL over HTTP"
	@cd tests/audits && $(NPM_CI) && touch $(CURDIR)/$@ || echo "npm could not install them" >&2

.venv/.bench: benchmarks/requirements.lock .venv/.run
	@echo "Installing the pinned packages for the benchmarks"
	@$(PIP) --require-hashes -r benchmarks/requirements.lock
	@touch $@
