# make run   a picture from a fresh checkout; make test   all quick tests; make check   format, lint, types, tests
# make web   build the browser editor, check its types, run its tests
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: run test test-all check web bench clean

run: $(STAMP)
	$(BIN)/nodegraph run workflows/text_to_image.json --output out

test: $(STAMP)
	$(BIN)/python -m pytest -q

test-all: $(STAMP)
	HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -q -m "slow or not slow"

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

web: $(STAMP)
	$(BIN)/nodegraph build-web
	$(BIN)/python -m pytest -q tests/test_web.py

bench: $(STAMP)
	$(BIN)/python bench/all.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test,dev]"
	$(BIN)/pip install --quiet --no-deps k-diffusion==0.1.1.post1 # samplers are tested against it; its dependencies are a training suite
	touch $(STAMP)

clean:
	rm -rf .venv build out *.egg-info nodegraph/editor web/node_modules
