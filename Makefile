# One command per task. Everything is installed into .venv; downloads are cached by pip and by
# oci-lsp in the user's cache directory.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test lint format clean

help:
	@echo "make demo    set up .venv, fetch the starter model, repair a small project before your eyes"
	@echo "make test    set up .venv and run all tests (the real 0.5B model is fetched once)"
	@echo "make lint    ruff and strict mypy; what is generated must be up to date"
	@echo "make format  let ruff format the code; write what is generated"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "oci-lsp needs Python 3.11 or newer; make PYTHON=... names one")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local,dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/oci-lsp demo --yes

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/ruff check --target-version py39 oci_lsp/verify/inside
	$(BIN)/vermin --quiet --no-tips --exclude sys.monitoring --target=3.9- oci_lsp/verify/inside
	$(BIN)/mypy --python-version 3.10 oci_lsp/verify/inside
	$(BIN)/python scripts/settings_docs.py --check

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python scripts/settings_docs.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
