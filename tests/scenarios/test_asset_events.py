"""Finished syncs start DAGs, on a whole Airflow."""

from __future__ import annotations

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from dev.stack import AirflowStack
from tests.helpers.clock import wait_until
from tests.versions import since

pytestmark = since("3.0", "its REST API is another one")


def arrivals(stack: AirflowStack, dag_id: str, job_id: int) -> list[str]:
    """Return the finished runs of ``dag_id`` that this job has started."""
    runs = stack.get(f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
    finished = [run["dag_run_id"] for run in runs if run["state"] == "success"]
    return [
        run_id
        for run_id in finished
        if any(told["job_id"] == job_id for told in stack.xcom(dag_id, run_id, "what_arrived"))
    ]


def wait_for_arrival(stack: AirflowStack, dag_id: str, job_id: int, seconds: float = 120.0) -> list[str]:
    found: list[str] = []

    def has_arrived() -> bool:
        found[:] = arrivals(stack, dag_id, job_id)
        return bool(found)

    wait_until(has_arrived, seconds, pause=1.0)
    return found


def test_a_sync_that_was_started_elsewhere_starts_a_dag_once(stack: AirflowStack, stack_airbyte: LocalAirbyte) -> None:
    stack.trigger("example_airbyte_events")  # it is parsed by now, and so are its watchers
    polls = len(stack_airbyte.requests_to("GET", "/jobs"))
    wait_until(lambda: len(stack_airbyte.requests_to("GET", "/jobs")) >= polls + 2, 60)
    job = stack_airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    wait_for_arrival(stack, "example_airbyte_events", job.job_id)
    later = stack_airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    wait_for_arrival(stack, "example_airbyte_events", later.job_id)
    assert len(arrivals(stack, "example_airbyte_events", job.job_id)) == 1


def test_a_sync_of_airflows_own_starts_the_dag_that_waits_for_its_asset(stack: AirflowStack) -> None:
    run_id = stack.trigger("example_airbyte")
    wait_until(lambda: stack.run_state("example_airbyte", run_id) in ("success", "failed"), 120, pause=0.5)
    job_id = stack.xcom("example_airbyte", run_id, "sync")["job_id"]
    (arrived,) = wait_for_arrival(stack, "example_airbyte_assets", job_id)
    (told,) = stack.xcom("example_airbyte_assets", arrived, "what_arrived")
    assert {name: told[name] for name in ("status", "rows_synced", "connection_id")} == {
        "status": "succeeded",
        "rows_synced": 250_000,
        "connection_id": STRIPE_TO_BIGQUERY,
    }
