"""Imports go one way: the tree of folders is the diagram."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "airflow_provider_airbyte_api"
NAME = PACKAGE.name
MAY_IMPORT = {
    "_defaults": set(),
    "types": set(),
    "exceptions": {"api"},
    "api": {"_defaults", "api", "exceptions", "types"},
    "clients": {"api", "clients", "exceptions", "__init__"},
    "connection_form": set(),
    "assets": {"_defaults", "api", "exceptions", "hooks"},
    "hooks": {"_airflow_compat", "_defaults", "api", "clients", "connection_form", "exceptions", "hooks", "types"},
    "_validation": {"_airflow_compat", "api", "exceptions", "hooks"},
    "_airflow_compat": set(),
    "_options": {"_defaults", "api", "exceptions"},
    "retry_policy": {"exceptions"},
    "polling": {"_defaults", "api", "clients", "exceptions", "polling", "types"},
    "triggers": {
        *("_airflow_compat", "_defaults", "_options", "api", "clients", "exceptions", "hooks", "polling", "triggers"),
        "types",
    },
    "_tracebacks": {"exceptions"},
    "operators": {
        *("_airflow_compat", "_defaults", "_options", "_tracebacks", "_validation", "api", "assets", "exceptions"),
        "types",
        *("hooks", "links", "triggers", "operators"),
    },
    "links": {"links"},
    "task_groups": {"_validation", "api", "operators"},
    "sensors": {
        "_airflow_compat",
        "_defaults",
        "_tracebacks",
        "_validation",
        "api",
        "exceptions",
        "hooks",
        "links",
        "types",
        "triggers",
        "sensors",
    },
    "cli": {"_airflow_compat", "_defaults", "api", "cli", "clients", "exceptions", "hooks"},
    "__main__": {"cli"},
    "testing": {"_airflow_compat", "_defaults", "api", "testing"},
    "pytest_plugin": {"_defaults", "api", "testing"},
    "get_provider_info": {"_defaults", "connection_form"},
    "__init__": set(),
}
PURE = {"aiohttp", "requests", "airflow", "urllib3", "socket", "asyncio", "threading", "time", "random"}
FOREIGN = {
    "api": PURE,
    "connection_form": PURE,
    "_defaults": PURE,
    "get_provider_info": PURE,
    "__init__": PURE,
    "clients": {"airflow"},
    "testing": {"airflow"},
    "pytest_plugin": {"airflow"},
}
RUNS_DAGS = PACKAGE / "testing" / "dags.py"


def layer_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_layer_imports_only_what_lies_below_it(module: Path) -> None:
    layer = layer_of(module)
    for name in imported(module):
        parts = name.split(".")
        if parts[0] == NAME:
            target = parts[1] if (PACKAGE / parts[1]).exists() or (PACKAGE / f"{parts[1]}.py").exists() else "__init__"
            assert target in MAY_IMPORT[layer], f"{layer} imports {name}"
        else:
            assert parts[0] not in FOREIGN.get(layer, set()) or module == RUNS_DAGS, f"{layer} imports {name}"


def test_aiohttp_is_imported_by_one_driver_and_requests_by_the_other() -> None:
    for library, drivers in (
        ("aiohttp", ["_aiohttp_compat.py", "async_client.py"]),
        ("requests", ["deadline.py", "network.py", "sync_client.py"]),
    ):
        users = {
            path.relative_to(PACKAGE) for path in MODULES for name in imported(path) if name.split(".")[0] == library
        }
        users = {path for path in users if path.parts[0] != "testing"}
        assert users == {Path("clients") / driver for driver in drivers}
