"""The pytest plugin: a local Airbyte for tests of DAGs. pytest loads it if this package is installed.

It imports Airflow and the server only for a test that uses its fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_airbyte_api._defaults import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.testing import LocalAirbyte

MARKER = "local_airbyte"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker ``local_airbyte``."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(conn_id, **options): the id of the Airflow connection to the fixture local_airbyte, and the "
        "parameters of LocalAirbyte, such as job_seconds.",
    )


@pytest.fixture
def local_airbyte(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAirbyte]:
    """Yield a local Airbyte with fresh data.

    The Airflow connection ``airbyte_api_default`` leads to it, or the one that the marker ``local_airbyte`` names.
    """
    from airflow_provider_airbyte_api.testing import LocalAirbyte  # noqa: PLC0415 - see above

    mark = request.node.get_closest_marker(MARKER)
    options = {} if mark is None else dict(mark.kwargs)
    conn_id = str(options.pop("conn_id", DEFAULT_CONN_ID))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    with LocalAirbyte(**options) as airbyte:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", airbyte.airflow_connection)
        yield airbyte


@pytest.fixture
def airbyte_run_dag(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs a DAG until it has finished, triggers included, and returns the DAG run.

    Triggers run in this process, so no worker has to notice a deferral: ``[airbyte_api] min_deferral`` is 0.
    """
    monkeypatch.setenv("AIRFLOW__AIRBYTE_API__MIN_DEFERRAL", "0")
    from airflow_provider_airbyte_api.testing.dags import run_dag  # noqa: PLC0415 - it imports Airflow

    return run_dag
