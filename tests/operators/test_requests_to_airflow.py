"""How many requests a task sends to Airflow's API server, in each part that runs in a worker."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteJobSensor
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from tests.helpers.dags import run
from tests.helpers.tasks import sync
from tests.versions import since

pytestmark = since("3.3", "Airflow's own store of a task")

MAX_START, MAX_END = 10, 7
"""Maximum number of requests of the part before the deferral, and of the one after it."""


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The requests of each part of a task run, from the request that starts it on."""
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor

    client: Any = InProcessTestSupervisor._Client
    original = client.request
    found: list[list[str]] = []

    def request(self: Any, method: str, path: str, *arguments: Any, **more: Any) -> Any:
        if path.endswith("/run"):
            found.append([])
        found[-1].append(f"{method} {path.split('?', maxsplit=1)[0]}")
        return original(self, method, path, *arguments, **more)

    monkeypatch.setattr(client, "request", request)
    return found


@pytest.mark.parametrize("is_mapped", [False, True], ids=["", "mapped"])
def test_the_start_and_the_end_of_a_deferred_sync_cost_few_requests(
    dag: DAG, airbyte: LocalAirbyte, parts: list[list[str]], is_mapped: bool
) -> None:
    """The Airflow connection is in the environment; from the API server, it would be one more request in each part."""
    if is_mapped:
        expanded = AirbyteSyncOperator.partial(task_id="sync", deferrable=True, poll_interval=0.02)
        expanded.expand(connection_id=[STRIPE_TO_BIGQUERY])
    else:
        sync(deferrable=True)
    assert run(dag).succeeded
    start, end = parts
    assert len(start) <= MAX_START, start
    assert len(end) <= MAX_END, end


def test_a_sync_without_asset_events_asks_for_no_asset(dag: DAG, airbyte: LocalAirbyte, parts: list[list[str]]) -> None:
    sync(deferrable=True, asset_events="none")
    assert run(dag).succeeded
    assert len(parts[1]) <= MAX_END - 2, parts[1]


def test_a_sensor_pushes_each_link_once(dag: DAG, airbyte: LocalAirbyte, parts: list[list[str]]) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    AirbyteJobSensor(task_id="wait", job_id=job.job_id, poll_interval=1)
    assert run(dag).succeeded
    for key in ("job_url", "connection_url"):
        assert sum(f"/{key}" in each for part in parts for each in part) == 1
