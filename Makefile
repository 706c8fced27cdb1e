# `make demo` and `make test` do all their own set-up: Python 3.10 or newer, git and make are enough.

VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
            $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$p && break; done)

.PHONY: help demo airflow test lint types unit test-chaos bench constraints build clean

help:  ## Show this list
	@grep -E "^[a-z-]+:.*## " $(MAKEFILE_LIST) | sed "s/:.*## / - /"

demo: $(READY)  ## Run the example DAG to its end, on a real Airflow and a local Airbyte
	@$(PY) -m dev.demo

airflow: $(READY)  ## Keep Airflow, with its UI, and a local Airbyte up until Ctrl-C
	@$(PY) -m dev.play

test: lint types unit  ## Everything that has to pass

lint: $(READY)  ## Style
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(READY)  ## Types
	$(VENV)/bin/mypy

unit: $(READY)  ## Tests alone; `make unit ARGS="tests/api -x"` for some of them
	$(PY) -m pytest --ignore tests/chaos $(ARGS)

test-chaos: $(READY)  ## Kill workers, triggerer and scheduler of a running Airflow, and count the syncs (5 minutes)
	$(PY) -m pytest tests/chaos $(ARGS)

bench: $(READY) .bench/official/.ready  ## Measure this package beside the official provider (20 minutes)
	@$(PY) -m pip install -qq --disable-pip-version-check --constraint constraints.txt --group bench
	@$(PY) -m benchmarks

# The official provider at the version that docs/performance.md names, on the same Airflow. It needs Python 3.11.
.bench/official/.ready: constraints.txt
	@rm -rf .bench
	@$(PY) -m venv .bench/official
	@.bench/official/bin/pip install -qq --disable-pip-version-check --constraint constraints.txt \
	  --requirement dev/airflow-version.txt apache-airflow-providers-airbyte==6.2.0
	@touch $@

build: $(READY)  ## Build the wheel and the source distribution into dist/
	$(PY) -m build

constraints: $(READY)  ## Choose the newest versions that fit, for all supported Pythons
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-emit-index-url \
	  --custom-compile-command "make constraints" --group dev --group bench pyproject.toml --constraint dev/airflow-version.txt --output-file constraints.txt

clean:  ## Remove all that is made
	rm -rf $(VENV) .airflow .bench build dist .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python from 3.10 to 3.14 found; name yours with PYTHON=…" >&2; exit 1; }
	@echo "Building the environment in $(VENV) (about a minute) …"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PY) -m pip install -qq --disable-pip-version-check --upgrade "pip>=25.1"
	@$(PY) -m pip install -qq --disable-pip-version-check --constraint constraints.txt --group dev --editable .
	@touch $@
