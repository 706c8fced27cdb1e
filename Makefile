# `make demo` and `make test` do all their own set-up: Python 3.10 or newer, git and make are enough.

VENV   := .venv
PY     := $(VENV)/bin/python
UV     := $(VENV)/bin/uv
READY  := $(VENV)/.ready
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
            $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$p && break; done)
# Most tests wait for something more often than they compute, and some for long: idle processes take over their queue.
# Those on a running Airflow need the processors for themselves, and come after the others.
PYTEST_ONE := -m pytest $(if $(RERUNS),--reruns $(RERUNS) -r R)
PYTEST := $(PYTEST_ONE) -n 4 --dist worksteal -m "not running_airflow"
ON_AIRFLOW := $(PYTEST_ONE) -m running_airflow
# `make test RERUNS=1` runs a failed test once more, and lists it: for a machine that is busy with other things, where a
# process of Airflow may not start in time.
# `make test UNIT=coverage` takes longer, and says which branches no test reaches.
UNIT   := unit
# Tests that have their own target.
EXCLUDED_TESTS := --ignore tests/chaos --ignore tests/cluster --ignore tests/installed --ignore tests/fidelity/test_clients.py --ignore tests/migration/test_official.py --ignore tests/site

# Tests of what Airflow has no part in. `make test-airflow-2.11 FEWER=1` omits them.
WITHOUT_AIRFLOW := api clients polling testing

# Each supported Airflow: its newest patch, and the day whose versions of all else it is tested with; the newest, with
# the newest of all.
AIRFLOW_2.11 := 2.11.2 --exclude-newer 2026-03-21
AIRFLOW_3.0  := 3.0.6 --exclude-newer 2025-09-05
AIRFLOW_3.1  := 3.1.8 --exclude-newer 2026-03-18
AIRFLOW_3.2  := 3.2.2 --exclude-newer 2026-06-05
AIRFLOW_3.3  := 3.3.2
# The next one, before its release: it has to fail no other target.
BETA_3.4     := 3.4.0b2
TASK_SDK_3.4 := 1.4.0b2
OLDER        := 2.11 3.0 3.1 3.2
# The tests import from common-compat, and this is the day of the oldest version that has what they import.
COMMON_COMPAT := --exclude-newer-package apache-airflow-providers-common-compat=2026-01-20

# The clients of others that the local Airbyte is tested with, each in an environment of its own.
CLIENTS          := sdk pyairbyte dagster
CLIENT_sdk       := airbyte-api>=1,<2
CLIENT_pyairbyte := airbyte
CLIENT_dagster   := dagster-airbyte

.SECONDARY:
.PHONY: help demo airflow screenshots test lint types unit coverage stack test-chaos test-cluster matrix test-constraints test-clients test-migration bench docs build constraints clean

help:  ## Show this list
	@grep -E "^[a-z%-]+:.*## " $(MAKEFILE_LIST) | sed "s/:.*## / - /"

demo: $(READY)  ## Run the example DAG on a real Airflow and a local Airbyte
	@$(PY) -m dev.demo

airflow: $(READY)  ## Keep Airflow, with its UI, and a local Airbyte up until Ctrl-C
	@$(PY) -m dev.sandbox

screenshots: $(READY)  ## Take the pictures of Airflow's UI in docs/images again, with Chromium
	@$(PY) -m dev.screenshots

test: lint types $(UNIT) stack  ## Everything that has to pass on the newest Airflow

lint: $(READY)  ## Style, the directions of imports, and that each import is a declared dependency
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/deptry airflow_provider_airbyte_api

types: $(READY)  ## Types
	$(VENV)/bin/mypy

unit: $(READY)  ## Tests but those on a running Airflow; `make unit ARGS="tests/api -x"` for some of them
	$(PY) $(PYTEST) $(EXCLUDED_TESTS) $(ARGS)

coverage: $(READY)  ## Branch coverage of the unit tests (at least 95 %)
	@rm -f .coverage .coverage.*
	$(PY) -m coverage run $(PYTEST) $(EXCLUDED_TESTS) $(ARGS)
	@$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

stack: $(READY)  ## Tests on a running Airflow: scheduler, triggerer, API server, and a browser where there is one
	$(PY) $(ON_AIRFLOW) $(EXCLUDED_TESTS) $(ARGS)

test-chaos: $(READY)  ## Kill workers, triggerer and scheduler of a running Airflow, and count the syncs (20 minutes)
	$(PY) $(PYTEST_ONE) tests/chaos $(ARGS)

test-chaos-%: smoke-airflow-%  ## The same for the syncs of tasks on an older Airflow: `make test-chaos-2.11`
	.airflows/$*/bin/python $(PYTEST_ONE) tests/chaos/test_cases.py $(ARGS)

test-cluster: .cluster/.ready  ## Kill and restart each part of an Airflow on Celery, Redis and Postgres (25 minutes); `ARGS="-k worker"` for some cases
	.cluster/bin/python $(PYTEST_ONE) tests/cluster $(ARGS)

.cluster/.ready: constraints/cluster.txt $(READY)
	@echo "Building an environment with Airflow on Celery …"
	@rm -rf $(@D)
	@$(UV) venv --quiet --python $(PY) $(@D)
	@$(UV) pip install --quiet --compile-bytecode --python $(@D)/bin/python --requirement $<
	@$(UV) pip install --quiet --python $(@D)/bin/python --no-deps --editable .
	@touch $@

matrix: $(OLDER:%=test-airflow-%)  ## All tests that apply, on each older Airflow

test-airflow-%: smoke-airflow-%  ## All tests that apply, on that Airflow: `make test-airflow-3.0`
	.airflows/$*/bin/python $(PYTEST) $(EXCLUDED_TESTS) --ignore tests/fidelity \
	  $(if $(FEWER),$(WITHOUT_AIRFLOW:%=--ignore tests/%)) $(ARGS)
	$(if $(ARGS),,.airflows/$*/bin/python $(ON_AIRFLOW) $(EXCLUDED_TESTS))

smoke-airflow-%: .airflows/%/.ready build  ## The built wheel on that Airflow: imports, form, commands, the example DAG
	@$(UV) pip install --quiet --python .airflows/$*/bin/python --no-deps --reinstall dist/*.whl
	.airflows/$*/bin/python $(PYTEST_ONE) tests/installed

.airflows/%/.ready: constraints/airflow-%.txt $(READY)
	@echo "Building an environment with Airflow $* …"
	@rm -rf $(@D)
	@$(UV) venv --quiet --python $(PY) $(@D)
	@$(UV) pip install --quiet --python $(@D)/bin/python --requirement $<
	@touch $@

test-constraints: $(READY) build  ## Resolve the wheel with each supported release of Airflow; install it on some (30 minutes)
	$(PY) -m dev.releases $(ARGS)

test-clients: $(CLIENTS:%=.clients/%/.ready)  ## Let clients of others (SDK, PyAirbyte, Dagster) talk to the local Airbyte
	$(PY) $(PYTEST_ONE) tests/fidelity/test_clients.py $(ARGS)

.clients/%/.ready: constraints/client-%.txt $(READY)
	@echo "Building an environment with the client $* …"
	@rm -rf $(@D)
	@$(UV) venv --quiet --python ">=3.11,<3.13" $(@D)
	@$(UV) pip install --quiet --python $(@D)/bin/python --requirement $<
	@touch $@

test-migration: $(READY) .bench/official/.ready  ## Run DAGs on the official provider and, migrated, on this package
	$(PY) $(PYTEST_ONE) tests/migration/test_official.py $(ARGS)

bench: $(READY) .bench/official/.ready  ## Measure this package beside the official provider (25 minutes)
	@$(UV) pip install --quiet --python $(PY) --constraint constraints/airflow-3.3.txt --group bench
	@$(PY) -m compileall -q airflow_provider_airbyte_api  # as pip does with a package that is not editable
	@$(PY) -m benchmarks

# The official provider at the version that docs/performance.md names, on the same Airflow. It needs Python 3.11.
.bench/official/.ready: constraints/airflow-3.3.txt $(READY)
	@rm -rf .bench
	@$(UV) venv --quiet --python $(PY) .bench/official
	@$(UV) pip install --quiet --compile-bytecode --python .bench/official/bin/python \
	  --constraint constraints/airflow-3.3.txt \
	  apache-airflow==$(firstword $(AIRFLOW_3.3)) apache-airflow-providers-airbyte==6.2.0 \
	  asyncpg psycopg2-binary
	@touch $@

docs: $(READY)  ## Build the documentation's site into build/docs/, and check it
	@$(UV) pip install --quiet --python $(PY) --constraint constraints/airflow-3.3.txt --group docs
	$(PY) -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	$(PY) $(PYTEST_ONE) tests/site

build: $(READY)  ## Build the wheel and the source distribution into dist/, with checksums and an SBOM, and check them
	@rm -rf dist
	@$(PY) -m build --no-isolation --outdir dist . >/dev/null
	@$(PY) -m twine check --strict dist/*
	@$(PY) -m dev.sbom dist

constraints: $(READY) $(OLDER:%=constrain-%) constrain-3.4 $(CLIENTS:%=constrain-client-%) ## Choose the newest versions that fit, for all supported Pythons
	$(call constrain,3.3) --group dev --group bench --group docs
	$(call constrain,3.3,cluster) --group cluster

constrain-%:
	$(call constrain,$*) $(COMMON_COMPAT) --group test

# A version before its release is chosen only where it is named. This one needs Python 3.11.
constrain-3.4:
	@printf "%s\n" apache-airflow==$(BETA_3.4) apache-airflow-core==$(BETA_3.4) \
	  apache-airflow-task-sdk==$(TASK_SDK_3.4) | $(UV) pip compile - pyproject.toml --quiet --upgrade --universal \
	  --python-version 3.11 --no-annotate --no-emit-index-url --custom-compile-command "make constraints" \
	  --output-file constraints/airflow-3.4.txt --group test

constrain-client-%:
	@echo "$(CLIENT_$*)" | $(UV) pip compile - --quiet --upgrade --universal --python-version 3.11 \
	  --no-annotate --no-emit-index-url --custom-compile-command "make constraints" \
	  --output-file constraints/client-$*.txt

# uv reads what to install from its standard input as well.
define constrain
	@echo "apache-airflow==$(AIRFLOW_$(1))" | cut -d' ' -f1 | $(UV) pip compile - pyproject.toml \
	  --quiet --upgrade --universal --python-version 3.10 --no-annotate --no-emit-index-url \
	  --custom-compile-command "make constraints" --output-file constraints/$(or $(2),airflow-$(1)).txt \
	  $(wordlist 2,3,$(AIRFLOW_$(1)))
endef

clean:  ## Remove all build output
	rm -rf $(VENV) .airflow .airflows .bench .clients .cluster build dist .coverage* .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml constraints/airflow-3.3.txt
	@test -n "$(PYTHON)" || { echo "No Python from 3.10 to 3.14 found; name yours with PYTHON=…" >&2; exit 1; }
	@echo "Building the environment in $(VENV) (about a minute) …"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PY) -m pip install -qq --disable-pip-version-check --upgrade "pip>=25.1"
	@$(PY) -m pip install -qq --disable-pip-version-check --constraint constraints/airflow-3.3.txt --group dev --editable .
	@touch $@
