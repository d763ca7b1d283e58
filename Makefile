# Targets set up what they need: `make run` and `make test` need only Python 3.11 or newer.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run demo test test-fast test-endurance test-newest check-tiers fuzz check bench format lock \
	clean

help: ## list all targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.run ## only set up: create .venv and install the pinned packages

run: $(VENV)/.run ## set up and serve on http://127.0.0.1:8000/graphql
	@exec $(BIN)/coingraph serve

demo: $(VENV)/.run ## the same with the built-in simulator instead of CoinGecko: needs no network
	@exec $(BIN)/coingraph serve --demo

# A worker for each processor and one more, as tests often wait; idle workers take tests from others.
# WORKERS=0 runs the tests in one process, as for a debugger. CI sets RUNNER to measure coverage.
WORKERS ?= $(shell $(BIN)/python -c 'import os; print(1 + os.cpu_count())')
RUNNER ?= $(BIN)/python -m pytest
PYTEST = env PATH="$(CURDIR)/$(BIN):$$PATH" $(RUNNER) -n $(WORKERS) --dist worksteal
FAST := not processes and not slow and not endurance
MAIN := not endurance
ENDURANCE := endurance

test: $(VENV)/.dev $(VENV)/.clients $(VENV)/.audits ## set up and run all tests but the endurance tests
	@$(PYTEST) -m '$(MAIN)' $(ARGS)

test-fast: $(VENV)/.dev ## only quick tests that start no processes
	@$(PYTEST) -m '$(FAST)' $(ARGS)

test-endurance: $(VENV)/.dev ## kills, outages, long fuzzing, and another PostgreSQL if installed
	@$(PYTEST) -m '$(ENDURANCE)' $(ARGS)
	@tests/other_postgres.sh $(PYTEST) -m '$(FAST)' \
		tests/models tests/ingestion tests/schema tests/resolvers $(ARGS)

check-tiers: $(VENV)/.dev ## verify that every test runs in test or in test-endurance
	@$(BIN)/python -m tests.tiers '$(FAST)' '$(MAIN)' '$(ENDURANCE)'

test-newest: ## test-fast on the newest Python that is installed
	@$(MAKE) --no-print-directory test-fast VENV=.venv-newest PYTHON="$$(tests/newest_python.sh)"

# The printed seed reproduces a finding: make fuzz FUZZ_SEED=...
FUZZ_SECONDS ?= 600
FUZZ_SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
fuzz: $(VENV)/.dev ## fuzz the server for FUZZ_SECONDS (600), then all properties, from a random seed
	$(eval FUZZ_SEED := $(FUZZ_SEED))
	@echo "FUZZ_SEED=$(FUZZ_SEED)"
	@FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) \
		$(BIN)/python -m pytest -s --timeout=0 tests/fuzz $(ARGS)
	@$(PYTEST) --timeout=0 -m 'hypothesis and $(FAST)' \
		--hypothesis-profile=drawn --hypothesis-seed=$(FUZZ_SEED) $(ARGS)

# .pre-commit-config.yaml runs the same.
check: $(VENV)/.dev ## linters, types, import rules, and the words of documents and code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.words

bench: $(VENV)/.bench ## set up and run the benchmarks (about 25 minutes)
	@$(BIN)/python -m benchmarks $(ARGS)

format: $(VENV)/.dev ## apply what the linters can correct
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## pin all dependencies again (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header -c requirements.lock benchmarks/requirements.in \
		-o benchmarks/requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --extra dev -c requirements.lock -c benchmarks/requirements.lock \
		pyproject.toml -o requirements-dev.lock
	printf 'hatchling\n' | uv pip compile -q --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header -c requirements-dev.lock - -o requirements-build.lock

clean: ## remove .venv and all caches (the database in .coingraph stays)
	rm -rf .venv .venv-newest .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "coingraph needs Python 3.11 or newer; point to one with: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@echo "Setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet

# The build backend is not among the packages that run: it is installed apart, only for the build.
$(VENV)/.run: requirements.lock requirements-build.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the pinned packages"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --require-hashes --upgrade --target $(VENV)/build -r requirements-build.lock
	@PYTHONPATH=$(CURDIR)/$(VENV)/build $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Installing the pinned packages for tests and checks"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# With the Node of the pinned packages, and npm's lock files. Without npm's registry the tests that
# need these packages are skipped, and CI fails.
NPM_CI := PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund \
	--fetch-retries=1 --loglevel=error

$(VENV)/.clients: tests/clients/package-lock.json | $(VENV)/.dev
	@echo "Installing the client libraries that tests drive"
	@cd tests/clients && $(NPM_CI) && touch $(CURDIR)/$@ || echo "npm could not install them" >&2

$(VENV)/.audits: tests/audits/package-lock.json | $(VENV)/.dev
	@echo "Installing the pinned audits of GraphQL over HTTP"
	@cd tests/audits && $(NPM_CI) && touch $(CURDIR)/$@ || echo "npm could not install them" >&2

$(VENV)/.bench: benchmarks/requirements.lock $(VENV)/.run
	@echo "Installing the pinned packages for the benchmarks"
	@$(PIP) --require-hashes -r benchmarks/requirements.lock
	@touch $@
