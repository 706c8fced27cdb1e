"""What OpenLineage is told, from the events that a running Airflow has written."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, cast

import pytest

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE, STRIPE_TO_BIGQUERY
from dev.stack import AirflowStack
from tests.conftest import LINEAGE
from tests.helpers.clock import wait_until
from tests.helpers.tasks import FakeTaskInstance
from tests.versions import since


def told(stack: AirflowStack, job: str, kind: str, run_id: str) -> dict[str, Any]:
    """Return the event of a task's end that OpenLineage has written; it does so a moment after the end."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        file = stack.home / LINEAGE
        lines = file.read_text().splitlines() if file.exists() else []
        for event in map(json.loads, lines):
            is_of_the_run = run_id in json.dumps(event["run"]["facets"])
            if (event["job"]["name"], event["eventType"]) == (job, kind) and is_of_the_run:
                return cast("dict[str, Any]", event)
        time.sleep(0.5)
    raise AssertionError(f"no {kind} of {job}: {[(json.loads(line)['job']['name']) for line in lines]}")


def finish(stack: AirflowStack, dag_id: str) -> tuple[str, str]:
    run_id = stack.trigger(dag_id)
    wait_until(lambda: stack.run_state(dag_id, run_id) in ("success", "failed"), 150, pause=0.5)
    return run_id, stack.run_state(dag_id, run_id)


@since("3.0", "its REST API is another one")
def test_a_sync_on_a_running_airflow_emits_its_datasets(stack: AirflowStack, stack_airbyte: LocalAirbyte) -> None:
    run_id, state = finish(stack, "example_airbyte_lineage")
    assert state == "success"
    job = stack.xcom("example_airbyte_lineage", run_id, "sync")
    event = told(stack, "example_airbyte_lineage.sync", "COMPLETE", run_id)
    (read,), (written,) = event["inputs"], event["outputs"]
    assert (read["namespace"], read["name"]) == ("snowflake://acme.us-west-1.aws", "SALES.PUBLIC.orders")
    assert (written["namespace"], written["name"]) == ("postgres://db.acme.example:5432", "raw.public.orders")
    statistics = written["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (job["rows_synced"], job["bytes_synced"])
    assert [field["name"] for field in read["facets"]["schema"]["fields"]] == ["id", "updated_at"]
    facets = event["run"]["facets"]
    assert (facets["externalQuery"]["externalQueryId"], facets["externalQuery"]["source"]) == (
        str(job["job_id"]),
        job["job_url"],
    )
    facet = facets["airbyte_job"]
    assert (facet["jobId"], facet["status"], facet["connectionName"]) == (
        job["job_id"],
        "succeeded",
        "Snowflake → Postgres",
    )
    assert stack_airbyte.client_secret not in (stack.home / LINEAGE).read_text()


@since("3.0", "its REST API is another one")
def test_a_failed_sync_has_an_error_facet(stack: AirflowStack, stack_airbyte: LocalAirbyte) -> None:
    stack_airbyte.script_jobs("running", "failed", reason="The password is wrong.")
    try:
        run_id, state = finish(stack, "example_airbyte_lineage")
    finally:
        stack_airbyte._state.script = stack_airbyte._state.reason = None
    assert state == "failed"
    event = told(stack, "example_airbyte_lineage.sync", "FAIL", run_id)
    assert event["run"]["facets"]["airbyte_job"]["status"] == "failed"
    message = event["run"]["facets"]["errorMessage"]["message"]
    assert message.startswith("Sync failed: source, config_error: The password is wrong. Job ")
    assert "Snowflake → Postgres" in message
    assert event["run"]["facets"]["externalQuery"]["source"].startswith(stack_airbyte.url)
    assert [each["name"] for each in event["outputs"]] == ["raw.public.orders"]


def execute(**more: Any) -> AirbyteSyncOperator:
    task = AirbyteSyncOperator(task_id="sync", **{"poll_interval": 0.02, **more})
    task.execute(cast("Any", {"ti": FakeTaskInstance()}))
    return task


def test_with_several_streams_the_numbers_are_the_jobs_and_no_streams(airbyte: LocalAirbyte) -> None:
    lineage = execute(connection_id=STRIPE_TO_BIGQUERY).get_openlineage_facets_on_complete(None)
    assert [(each.namespace, each.name) for each in lineage.outputs] == [
        ("bigquery", "acme.raw.invoices"),
        ("bigquery", "acme.raw.customers"),
    ]
    assert lineage.inputs[0].name == f"sources/{STRIPE}/invoices"
    assert not any(each.outputFacets for each in lineage.outputs)
    assert lineage.run_facets["airbyte_job"].rowsSynced == 250_000
    assert airbyte.requests_to("GET", "/streams") == [], "columns are not asked for"


def test_lineage_is_no_reason_to_fail(airbyte: LocalAirbyte) -> None:
    task = execute(connection_id=SNOWFLAKE_TO_POSTGRES)
    airbyte.respond_with(403, path="/sources/.*")
    lineage = task.get_openlineage_facets_on_complete(None)
    assert (lineage.inputs, lineage.outputs) == ([], [])
    assert lineage.run_facets["airbyte_job"].connectionName == "Snowflake → Postgres"
    assert lineage.run_facets["externalQuery"].source.endswith("&openLogs=true")


def test_without_the_columns_there_are_still_the_datasets(airbyte: LocalAirbyte) -> None:
    task = execute(connection_id=SNOWFLAKE_TO_POSTGRES, emit_schema_facet=True)
    airbyte.respond_with(500, path="/streams", times=9)
    lineage = task.get_openlineage_facets_on_complete(None)
    assert [each.name for each in lineage.outputs] == ["raw.public.orders"]
    assert lineage.outputs[0].facets == {}


def test_columns_of_another_shape_leave_the_datasets(airbyte: LocalAirbyte) -> None:
    task = execute(connection_id=SNOWFLAKE_TO_POSTGRES, emit_schema_facet=True)
    airbyte.respond_with(200, path="/streams", body='[{"streamName": "orders", "propertyFields": [5]}]')
    lineage = task.get_openlineage_facets_on_complete(None)
    assert [each.name for each in lineage.outputs] == ["raw.public.orders"]


def test_a_task_that_never_got_to_a_job_has_no_lineage(airbyte: LocalAirbyte) -> None:
    task = AirbyteSyncOperator(task_id="sync", connection_id=SNOWFLAKE_TO_POSTGRES)
    assert task.get_openlineage_facets_on_failure(None).outputs == []
    assert airbyte.requests == []


def test_without_openlineage_nothing_of_it_is_imported_and_a_sync_is_run(airbyte: LocalAirbyte) -> None:
    program = """
import sys
import airflow.configuration
sys.modules["openlineage"] = sys.modules["airflow.providers.openlineage"] = None
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
class FakeTaskInstance:
    dag_id, task_id, run_id, map_index, try_number, max_tries = "fake", "sync", sys.argv[1], -1, 1, 0
    def xcom_push(self, key, value): pass
AirbyteSyncOperator(task_id="sync", connection_id=sys.argv[1], poll_interval=0.02).execute({"ti": FakeTaskInstance()})
assert not any(name.startswith("openlineage.") for name in sys.modules)
assert "airflow_provider_airbyte_api.operators._openlineage" not in sys.modules
print("synced")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, SNOWFLAKE_TO_POSTGRES], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip().endswith("synced"), done.stderr[-2000:]


@pytest.mark.parametrize("name", ["get_openlineage_facets_on_complete", "get_openlineage_facets_on_failure"])
def test_the_methods_are_there_for_openlineage_to_find(name: str) -> None:
    assert callable(getattr(AirbyteSyncOperator, name))
