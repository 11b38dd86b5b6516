# Two commands matter: `make run` and `make test`. Each prepares all it needs by itself.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test setup interface bench clean

run: setup interface
	@exec $(BIN)/relevo demo

test: setup interface
	@tools/debian-packages test
	@tools/micropython
	@tools/gates

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@tools/python-environment $(PYTHON) $(VENV)
	@touch $@

# Built once and again when a source changed; without npm the API works and the page says what is missing.
interface: relevo/web/static/.built

relevo/web/static/.built: $(shell find interface -path interface/node_modules -prune -o -type f -print 2>/dev/null)
	@tools/interface

bench: setup
	@$(BIN)/python bench/ingest.py

clean:
	rm -rf $(VENV) interface/node_modules relevo/web/static .cache .mypy_cache .pytest_cache .ruff_cache
