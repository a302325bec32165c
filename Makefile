# `make` prints this help. Nothing here needs more than a shell, Python 3.11+ and what `make setup` installs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
TORCH_BACKEND ?=
DEMO_SECONDS ?= 60
PYTEST := $(BIN)/python -m pytest
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test format lint types arch unit property parity contract integration soak fuzz bench paper default-model check clean

help: ## print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.demo: pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory install EXTRAS= STAMP=$@

$(VENV)/.dev: pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory install EXTRAS='[dev]' STAMP=$@

.PHONY: install
install:
ifneq ($(UV),)
	@test -x $(BIN)/python || uv venv -q --python $(PYTHON) $(VENV)
	uv pip install -q --python $(BIN)/python $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND)) -c constraints.txt -e '.$(EXTRAS)'
else
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@test -z '$(TORCH_BACKEND)' || $(BIN)/pip install -q uv
	$(if $(TORCH_BACKEND),$(BIN)/uv pip install -q --python $(BIN)/python --torch-backend $(TORCH_BACKEND),$(BIN)/pip install -q) -c constraints.txt -e '.$(EXTRAS)'
endif
	@touch $(STAMP)

setup: $(VENV)/.dev ## create .venv with everything for work on the code (TORCH_BACKEND=cpu: the small torch)

demo: $(VENV)/.demo ## run the whole engine on one machine, no server, for DEMO_SECONDS (60)
	$(BIN)/stream-engine demo --seconds $(DEMO_SECONDS)

test: $(VENV)/.dev ## every test, against a real Kafka and a real Redis that are fetched if missing (WORKERS=2 processes)
	$(PYTEST) -n $(WORKERS) --dist worksteal -m 'not soak and not gpu'

format: $(VENV)/.dev ## put the code into the house's form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev ## form, imports, sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

arch: $(VENV)/.dev ## the import law
	$(BIN)/lint-imports --no-cache

unit property parity contract integration: $(VENV)/.dev ## one folder of tests
	$(PYTEST) -m 'not soak and not gpu' tests/$@

CHAOS_KILLS ?= 60
CHAOS_SEED ?= 5
soak: $(VENV)/.dev ## the long forms of the tests (CHAOS_KILLS=100 CHAOS_SEED=7: how much goes wrong, and how)
	CHAOS_KILLS=$(CHAOS_KILLS) CHAOS_SEED=$(CHAOS_SEED) $(PYTEST) -s -m soak tests

CASES ?= 1000000
fuzz: $(VENV)/.dev ## hostile messages, schemas and stored blobs, CASES (1000000) of them, and an account
	$(BIN)/python -m tests.fuzz --cases $(CASES)

bench: $(VENV)/.dev ## the benchmarks, side by side with the peer; results in tests/benchmarks/results
	$(BIN)/python -m tests.benchmarks

QUICK ?=
paper: $(VENV)/.dev ## the paper's claims, measured on ../shared/data: docs/paper.md, in hours (QUICK=1: a small form in minutes)
	$(BIN)/python -m tests.benchmarks.paper $(if $(QUICK),--quick)

LEAVE_OUT ?=
SEEDS ?= 3
MODEL_OUT ?= $(if $(LEAVE_OUT),out/default-without-$(LEAVE_OUT),recurrent_core/models/elinformer/default)
default-model: $(VENV)/.dev ## train the model that ships, on ../shared/data (LEAVE_OUT=set or group 0-3: for honest scores; SEEDS=3 networks teach it)
	$(BIN)/python -m stream_engine.training.default --out $(MODEL_OUT) --leave-out '$(LEAVE_OUT)' --seeds $(SEEDS)

check: lint types arch test ## exactly what CI runs

clean: ## remove what was built (not the fetched servers)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
