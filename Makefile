# make run   a picture from a fresh checkout; make test   all quick tests; make check   format, lint, types, tests
# make web   build the browser editor, check its types, run its tests
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
TESTS := .venv/installed-for-tests

.PHONY: run test test-all check web bench clean

run: $(STAMP)
	$(BIN)/nodegraph run workflows/text_to_image.json --output out

test: $(TESTS)
	$(BIN)/python -m pytest -q

test-all: $(TESTS)
	HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -q -m "slow or not slow"

check: $(TESTS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

web: $(TESTS)
	$(BIN)/nodegraph build-web
	$(BIN)/python -m pytest -q tests/test_web.py

bench: $(TESTS)
	$(BIN)/python bench/all.py

$(STAMP): pyproject.toml constraints.txt
	@echo "installing into .venv: a few minutes, most of them torch"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $(STAMP)

$(TESTS): $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test,dev]"
	$(BIN)/pip install --quiet --no-deps k-diffusion==0.1.1.post1 # samplers are tested against it; its dependencies are a training suite
	touch $(TESTS)

clean:
	rm -rf .venv build out *.egg-info nodegraph/editor web/node_modules
