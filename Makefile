# Reply Twice. `make help` lists what can be done; `make run` is all a shop needs.
SHELL := /bin/bash
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .uv/bin/uv
BIN := .venv/bin
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup run train test check fix chaos bench-nlu bench lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/ready .venv-rasa/ready ## Build both environments from their lock files

run: setup ## Train if needed, start everything, print the addresses (Ctrl-C ends it)
	@exec $(BIN)/python -m bot run

train: setup ## Train the model if its inputs changed
	@$(BIN)/python -m bot train

test: setup ## Run every test (brings its own browser, PostgreSQL and Redis)
	@$(BIN)/python -m scripts.browser
	@$(BIN)/python -m scripts.redis_server
	@$(BIN)/python -m pytest

check: setup ## Lint, format, types, and which module may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: setup ## Let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

chaos: setup ## Kill processes at random, count what was lost or doubled (40 minutes; KILLS=100 per database)
	@$(BIN)/python -m tests.chaos --kills $(or $(KILLS),100)
	@$(BIN)/python -m pytest -q tests/integration/test_state_machine.py tests/integration/test_fuzz.py --hypothesis-profile=long

bench-nlu: setup ## Measure judgement: make bench-nlu DATA=folder with dev.jsonl and hint3/
	@LOG_LEVEL=ERROR RASA_TELEMETRY_ENABLED=false TF_CPP_MIN_LOG_LEVEL=3 .venv-rasa/bin/python -W ignore -m bench.nlu $(DATA)
	@TF_CPP_MIN_LOG_LEVEL=3 .venv-rasa/bin/python -W ignore -m bench.threshold $(DATA)

bench: setup ## Measure speed beside stock Rasa, write docs/performance.md (QUICK=1, EPOCHS=100, ONLY="answers growth")
	@$(BIN)/python -m bench.performance $(if $(QUICK),--quick) $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(ONLY),--only $(ONLY))

lock: $(UV) ## Resolve both lock files anew
	$(UV) pip compile -q --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header --upgrade pyproject.toml --group dev -o requirements/bot.txt
	$(UV) pip compile -q --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header --upgrade requirements/rasa.in -o requirements/rasa.txt

clean: ## Remove environments, models and caches (var/, the shop's data, stays)
	rm -rf .uv .venv .venv-rasa models .rasa .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(UV):
	@echo "set-up: fetching uv"
	@$(PYTHON) -m pip install -q --disable-pip-version-check --no-warn-script-location --target .uv uv==$(UV_VERSION)

.venv/ready: requirements/bot.txt | $(UV)
	@echo "set-up: environment of bot and actions (.venv)"
	@$(UV) venv -q --clear --python 3.12 .venv
	@$(UV) pip sync -q --compile-bytecode --python .venv/bin/python --require-hashes $<
	@touch $@

.venv-rasa/ready: requirements/rasa.txt | $(UV)
	@echo "set-up: environment of Rasa (.venv-rasa), about 2.5 GB"
	@$(UV) venv -q --clear --python 3.10 .venv-rasa
	@$(UV) pip sync -q --compile-bytecode --python .venv-rasa/bin/python --require-hashes $<
	@touch $@
