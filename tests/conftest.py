"""What all tests share: an Airflow home of their own, and a local Airbyte."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.versions import AIRFLOW

# Airflow reads its configuration when it is first imported.
_HOME = Path(tempfile.mkdtemp(prefix="airbyte-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
REPOSITORY = Path(__file__).resolve().parent.parent
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = "127.0.0.1,localhost"
os.environ.update(
    AIRFLOW_HOME=str(_HOME),
    AIRFLOW__CORE__UNIT_TEST_MODE="True",
    AIRFLOW__AIRBYTE_API__MIN_DEFERRAL="0",  # a trigger that runs in the test's own process has no worker to wait for
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(_HOME / "dags"),  # empty: DAG.test would parse what is in it, each time
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME}/airflow.db",
)
if AIRFLOW < (3, 0):
    os.environ["AIRFLOW__CORE__EXECUTOR"] = "SequentialExecutor"  # that of unit tests does not go with SQLite there

from airflow_provider_airbyte_api import _defaults  # noqa: E402
from airflow_provider_airbyte_api.clients.token_cache import TOKENS  # noqa: E402
from airflow_provider_airbyte_api.testing import LocalAirbyte  # noqa: E402
from dev.stack import AirflowStack  # noqa: E402

pytest_plugins = ["tests.helpers.clock", "tests.helpers.dags", "tests.helpers.supervisor"]
pytest.register_assert_rewrite("tests.helpers")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that uses the running Airflow."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.running_airflow)


@pytest.fixture(autouse=True)
def _clear_token_cache() -> None:
    TOKENS.clear()


@pytest.fixture(autouse=True)
def _no_min_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_defaults, "MIN_POLL_INTERVAL", 0.0)


@pytest.fixture(scope="session", autouse=AIRFLOW < (3, 0))
def _database_of_airflow_2(database: None) -> None:
    """Make Airflow's tables: there, a task reads and writes them itself."""


@pytest.fixture
def airbyte(local_airbyte: LocalAirbyte) -> LocalAirbyte:
    """A local Airbyte whose jobs end at the second look, known to Airflow as ``airbyte_api_default``."""
    return local_airbyte


@pytest.fixture(scope="session")
def stack_airbyte() -> Iterator[LocalAirbyte]:
    with LocalAirbyte(job_seconds=14.0) as local:
        yield local


LINEAGE = "lineage.jsonl"
"""The file in the stack's home that OpenLineage writes its events to."""


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, stack_airbyte: LocalAirbyte) -> Iterator[AirflowStack]:
    home: Path = tmp_path_factory.mktemp("airflow")
    environment = {
        "AIRFLOW_CONN_AIRBYTE_API_DEFAULT": stack_airbyte.airflow_connection,
        "EXAMPLE_AIRBYTE_HOST": stack_airbyte.url,
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(home / LINEAGE), "append": True}
        ),
    }
    with AirflowStack(home, REPOSITORY / "example_dags", environment) as running:
        yield running
        processes = running.processes()
    assert len(processes) > 4
    assert not [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
