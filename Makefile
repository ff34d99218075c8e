# make run   a picture from a fresh checkout; make test   all quick tests; make check   format, lint, types, tests
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: run test test-all check bench clean

run: $(STAMP)
	$(BIN)/nodegraph run workflows/text_to_image.json --output out

test: $(STAMP)
	$(BIN)/python -m pytest -q

test-all: $(STAMP)
	$(BIN)/python -m pytest -q -m "slow or not slow"

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

bench: $(STAMP)
	$(BIN)/python bench/all.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test,dev]"
	touch $(STAMP)

clean:
	rm -rf .venv build out *.egg-info
