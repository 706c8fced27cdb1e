"""What Airflow sees of the package."""

from __future__ import annotations

import importlib
import importlib.resources
import json
import subprocess
import sys
from importlib.metadata import entry_points, version

import jsonschema
import pytest

import airflow_provider_airbyte_api
from airflow_provider_airbyte_api.get_provider_info import get_provider_info
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from tests.versions import since


@since("3.2", "the file does not know all that it heeds")
def test_the_provider_info_fits_airflows_own_schema() -> None:
    schema = json.loads((importlib.resources.files("airflow") / "provider.yaml.schema.json").read_text())
    schema["required"] = ["name", "package-name", "description"]  # the rest is for Airflow's own release managers
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_finds_the_provider_by_its_entry_point() -> None:
    (found,) = (each for each in entry_points(group="apache_airflow_provider") if "airbyte" in each.value)
    assert found.load() is get_provider_info
    assert found.dist is not None
    assert found.dist.name == get_provider_info()["package-name"]


def test_every_module_that_the_provider_info_names_can_be_imported() -> None:
    info = get_provider_info()
    for room in ("hooks", "operators", "sensors", "triggers"):
        for group in info[room]:
            for module in group["python-modules"]:
                importlib.import_module(module)
    for kind in info["connection-types"]:
        module, _, name = kind["hook-class-name"].rpartition(".")
        hook = getattr(importlib.import_module(module), name)
        assert hook is AirbyteHook
        assert hook.conn_type == kind["connection-type"]
        assert hook.hook_name == kind["hook-name"]


def test_the_version_is_stated_in_one_place() -> None:
    assert version("airflow-provider-airbyte-api") == airflow_provider_airbyte_api.__version__


PROBE = """
import sys
{imports}
print(*sorted(name for name in sys.modules if any(f"{{name}}.".startswith(f"{{each}}.") for each in {watched})))
"""


def loaded(imports: str, watched: tuple[str, ...]) -> list[str]:
    program = PROBE.format(imports=imports, watched=watched)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()[-1].split() if done.stdout.strip() else []


def test_the_modules_that_airflow_imports_while_it_configures_itself_import_nothing_of_airflow() -> None:
    assert loaded("import airflow_provider_airbyte_api.get_provider_info", ("airflow", "requests", "aiohttp")) == []


def test_the_local_airbyte_starts_without_airflow() -> None:
    """Importing Airflow takes seconds; a program that only serves has no use for it."""
    assert loaded("import airflow_provider_airbyte_api.testing", ("airflow",)) == []


@since("3.0", "importing Airflow imports them")
@pytest.mark.parametrize(
    "imports", ["airflow_provider_airbyte_api.assets", "airflow_provider_airbyte_api.triggers._sync_events"]
)
def test_a_dag_that_is_scheduled_on_syncs_loads_no_http_library(imports: str) -> None:
    assert loaded(f"import {imports}", ("requests", "aiohttp", "urllib3")) == []


@since("3.0", "importing Airflow imports them")
@pytest.mark.parametrize("room", ["operators", "sensors"])
def test_a_dag_file_that_imports_us_loads_no_http_library_and_no_trigger(room: str) -> None:
    watched = ("requests", "aiohttp", "urllib3")
    without = loaded("import airflow.sdk; airflow.sdk.BaseOperator; airflow.sdk.BaseSensorOperator", watched)
    assert loaded(f"import airflow_provider_airbyte_api.{room}.airbyte", watched) == without == []


@pytest.mark.parametrize(
    ("room", "modules"),
    [
        ("operators", {"_base", "_cancel", "_clear", "_list", "_sync", "_update", "airbyte"}),
        ("sensors", {"airbyte"}),
    ],
)
def test_a_dag_file_that_imports_us_loads_only_what_declares_tasks(room: str, modules: set[str]) -> None:
    """That is a few milliseconds; all of ``api`` and the hook would be 40, for each parsing process."""
    ours = set(loaded(f"import airflow_provider_airbyte_api.{room}.airbyte", ("airflow_provider_airbyte_api",)))
    assert ours - {f"airflow_provider_airbyte_api.{name}" for name in ("get_provider_info", "connection_form")} == {
        "airflow_provider_airbyte_api",
        "airflow_provider_airbyte_api._airflow_compat",
        "airflow_provider_airbyte_api._defaults",
        "airflow_provider_airbyte_api._validation",
        "airflow_provider_airbyte_api.api",
        "airflow_provider_airbyte_api.api.safe",
        "airflow_provider_airbyte_api.links",
        "airflow_provider_airbyte_api.links.airbyte",
        f"airflow_provider_airbyte_api.{room}",
        *(f"airflow_provider_airbyte_api.{room}.{module}" for module in modules),
        "airflow_provider_airbyte_api._tracebacks",
        "airflow_provider_airbyte_api.types",
    }
