"""The whole Airflow, as ``airflow standalone`` runs it: scheduler, triggerer, DAG processor and execution API."""

from __future__ import annotations

import time

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from dev.stack import AirflowStack
from tests.helpers.clock import wait_until
from tests.versions import since

pytestmark = since("3.0", "its REST API is another one")

DAG_ID = "example_airbyte"


def test_a_deferred_sync_is_started_waits_in_the_triggerer_and_resumes(
    stack: AirflowStack, stack_airbyte: LocalAirbyte
) -> None:
    before = len(stack_airbyte.jobs)
    run_id = stack.trigger(DAG_ID)
    seen: set[str] = set()
    links: dict[str, str] = {}
    until = time.monotonic() + 120
    while (state := stack.run_state(DAG_ID, run_id)) not in ("success", "failed") and time.monotonic() < until:
        seen.add(stack.states(DAG_ID, run_id)["sync"])
        if "deferred" in seen and not links:
            links = stack.links(DAG_ID, run_id, "sync")
        time.sleep(0.2)
    log = stack.task_log(DAG_ID, run_id, "sync")
    assert state == "success", log
    assert "deferred" in seen
    result = stack.xcom(DAG_ID, run_id, "sync")
    assert (result["status"], result["rows_synced"]) == ("succeeded", 250_000)
    assert stack.xcom(DAG_ID, run_id, "sync", "job_url") == result["job_url"]
    page = f"{stack_airbyte.url}/workspaces/{WORKSPACE_ID}/connections/{STRIPE_TO_BIGQUERY}"
    assert links == {"Airbyte job": result["job_url"], "Airbyte connection": page}, "they are there while it waits"
    assert stack.links(DAG_ID, run_id, "sync") == links
    waited = stack.links(DAG_ID, run_id, "wait_for_second")
    assert waited["Airbyte job"] == stack.xcom(DAG_ID, run_id, "wait_for_second")["job_url"] != ""
    assert len(stack_airbyte.jobs) == before + 2
    for words in (
        "Started sync: job",
        "is running",
        "Sync succeeded: job",
        f"\n{result['job_url']}\n",
        "of 'Stripe → BigQuery'",
        ": 250,000 rows",
    ):
        assert words in log
    assert stack_airbyte.client_secret not in log


@since("3.3", "its triggers have no on_kill")
def test_a_deferred_sync_that_is_marked_failed_is_cancelled(stack: AirflowStack, stack_airbyte: LocalAirbyte) -> None:
    """The trigger reads the state and the XCom of its task in a real triggerer: nothing else has Airflow's answers."""
    run_id = stack.trigger(DAG_ID)
    try:
        wait_until(lambda: stack.states(DAG_ID, run_id)["sync"] == "deferred", 120, pause=0.2)
        job_id = stack.xcom(DAG_ID, run_id, "sync", "job_id")
        (job,) = (each for each in stack_airbyte.jobs if each.job_id == job_id)
        job.seconds = 600.0  # however slow this machine is
        polls = len(stack_airbyte.requests_to("GET", f"/jobs/{job_id}"))
        wait_until(lambda: len(stack_airbyte.requests_to("GET", f"/jobs/{job_id}")) > polls, 120)
        stack.patch(f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/sync", {"new_state": "failed"})
        wait_until(lambda: job_id in stack_airbyte.cancelled, 120)
    finally:
        wait_until(lambda: stack.run_state(DAG_ID, run_id) in ("success", "failed"), 120, pause=0.2)


@since("3.1", "before 3.0.3 its triggers write no XCom")
def test_a_deferred_sync_shows_growing_numbers_and_then_why_it_failed(
    stack: AirflowStack, stack_airbyte: LocalAirbyte
) -> None:
    run_id = stack.trigger(DAG_ID)
    try:
        wait_until(lambda: stack.states(DAG_ID, run_id)["sync"] == "deferred", 120, pause=0.2)
        job_id = stack.xcom(DAG_ID, run_id, "sync", "job_id")
        (job,) = (each for each in stack_airbyte.jobs if each.job_id == job_id)
        job.seconds = 600.0
        seen: list[int] = []

        def rows_have_grown() -> bool:
            info = stack.xcom(DAG_ID, run_id, "sync", "airbyte_sync")
            if info["status"] == "running" and info["rows"] and info["rows"] not in seen:
                seen.append(info["rows"])
            return len(seen) >= 3

        wait_until(rows_have_grown, 180, pause=1.0)
        assert seen == sorted(seen)
        assert stack.states(DAG_ID, run_id)["sync"] == "deferred", "it waits all the while"
        wait_until(lambda: "rows/s" in stack.task_log(DAG_ID, run_id, "sync"), 120, pause=2.0)
        stack_airbyte.fail_job(job_id, "The password is wrong.")
        wait_until(lambda: stack.states(DAG_ID, run_id)["sync"] == "failed", 120, pause=0.5)
        info = stack.xcom(DAG_ID, run_id, "sync", "airbyte_sync")
        assert (info["status"], info["reason"]["kind"]) == ("failed", "config_error")
        log = stack.task_log(DAG_ID, run_id, "sync")
        assert "Sync failed: source, config_error: The password is wrong." in log
        assert "Could not write the XCom" not in log
    finally:
        wait_until(lambda: stack.run_state(DAG_ID, run_id) in ("success", "failed"), 120, pause=0.2)


def test_the_provider_and_its_connection_form_are_known_to_the_ui(stack: AirflowStack) -> None:
    providers = {row["package_name"]: row for row in stack.get("/providers?limit=100")["providers"]}
    assert providers["airflow-provider-airbyte-api"]["version"]


def test_the_test_button_reports_a_valid_and_an_invalid_connection(
    stack: AirflowStack, stack_airbyte: LocalAirbyte
) -> None:
    body = {
        "connection_id": "tried",
        "conn_type": "airbyte_api",
        "host": stack_airbyte.url,
        "login": stack_airbyte.client_id,
        "password": stack_airbyte.client_secret,
    }
    good = stack.post("/connections/test", body)
    assert good["status"] is True
    assert f"Connected to Airbyte 2.1.0 (community) at {stack_airbyte.api_url}" in good["message"]
    bad = stack.post("/connections/test", {**body, "password": "wrong"})
    assert (bad["status"], "The client id or the client secret is wrong" in bad["message"]) == (False, True)
