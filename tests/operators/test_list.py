"""Lists, names and mapped syncs, on a real Airflow."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException

from airflow_provider_airbyte_api import exceptions, types
from airflow_provider_airbyte_api._validation import resolve_task_connection
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators.airbyte import (
    AirbyteCancelJobOperator,
    AirbyteListConnectionsOperator,
    AirbyteListDestinationsOperator,
    AirbyteListJobsOperator,
    AirbyteListSourcesOperator,
    AirbyteSyncOperator,
)
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteFreshnessSensor, AirbyteJobSensor
from airflow_provider_airbyte_api.task_groups import sync_connections
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import (
    NIGHTLY,
    SNOWFLAKE_TO_POSTGRES,
    STRIPE,
    STRIPE_TO_BIGQUERY,
    WORKSPACE_ID,
)
from tests.helpers.dags import run

NOBODYS = "00000000-0000-4000-8000-000000000000"


def add_connections(airbyte: LocalAirbyte, count: int, **more: Any) -> list[str]:
    """Copy a connection so often, and return the ids."""
    template = airbyte.connections[0]
    made = [
        {**template, "connectionId": str(uuid.uuid4()), "name": f"copy {number:03}", **more} for number in range(count)
    ]
    airbyte.connections.extend(made)
    return [each["connectionId"] for each in made]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (AirbyteListSourcesOperator, ["Snowflake", "Stripe"]),
        (AirbyteListDestinationsOperator, ["BigQuery", "Postgres"]),
        (AirbyteListConnectionsOperator, ["Snowflake → Postgres", "Stripe → BigQuery"]),
    ],
)
def test_what_there_is_is_listed_by_name_as_the_api_shows_it(
    dag: DAG, airbyte: LocalAirbyte, make: Any, names: list[str]
) -> None:
    make(task_id="list", workspace_names="Local")
    done = run(dag)
    assert done.succeeded
    rows = done.xcom("list")
    assert [row["name"] for row in rows] == names
    assert not any({"configuration", "configurations"} & row.keys() for row in rows)
    assert json.loads(json.dumps(rows)) == rows


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (AirbyteListSourcesOperator, "sourceId"),
        (AirbyteListDestinationsOperator, "destinationId"),
        (AirbyteListConnectionsOperator, "connectionId"),
        (AirbyteListJobsOperator, "jobId"),
    ],
)
def test_ids_are_those_of_the_rows(airbyte: LocalAirbyte, make: Any, field: str) -> None:
    for _ in range(2):
        airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    rows = make(task_id="rows").execute({})
    assert make(task_id="ids", output="ids").execute({}) == [row[field] for row in rows]
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("make", "row_type"),
    [
        (AirbyteListSourcesOperator, types.SourceRow),
        (AirbyteListDestinationsOperator, types.DestinationRow),
        (AirbyteListConnectionsOperator, types.ConnectionRow),
        (AirbyteListJobsOperator, types.JobRow),
    ],
)
def test_the_type_of_a_row_has_all_fields_that_airbyte_returns(airbyte: LocalAirbyte, make: Any, row_type: Any) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    more = {} if row_type is types.JobRow else {"include_configuration": True}
    for row in make(task_id="list", **more).execute({}):
        assert row.keys() <= row_type.__annotations__.keys()


def test_ids_are_mapped_over_as_they_are(dag: DAG, airbyte: LocalAirbyte) -> None:
    jobs = [airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded").job_id for _ in range(2)]
    with dag:
        found = AirbyteListJobsOperator(task_id="list", output="ids")
        AirbyteJobSensor.partial(task_id="wait", poll_interval=0.02).expand(job_id=found.output)
    done = run(dag)
    assert done.succeeded
    assert done.xcom("list") == jobs[::-1]


def test_an_unknown_output_is_refused_while_the_dag_is_parsed() -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match="output is 'names', expected"):
        AirbyteListSourcesOperator(task_id="list", output="names")  # type: ignore[arg-type]


def test_filters_of_airbyte_and_ours(airbyte: LocalAirbyte) -> None:
    def names(make: Any, **filters: Any) -> list[str]:
        return [row["name"] for row in make(task_id="list", **filters).execute({})]

    assert names(AirbyteListSourcesOperator, source_type="stripe") == ["Stripe"]
    assert names(AirbyteListSourcesOperator, name="Stripe", include_configuration=True) == ["Stripe"]
    assert names(AirbyteListDestinationsOperator, destination_type="bigquery") == ["BigQuery"]
    assert names(AirbyteListDestinationsOperator, name_pattern="Post*") == ["Postgres"]
    assert len(names(AirbyteListConnectionsOperator, status=None)) == 3
    assert names(AirbyteListConnectionsOperator, status="inactive") == ["Stripe → Postgres"]
    tagged = names(AirbyteListConnectionsOperator, tags="nightly", status=None)
    assert tagged == names(AirbyteListConnectionsOperator, tags=[NIGHTLY], status=None) != []
    assert names(AirbyteListConnectionsOperator, source_id=STRIPE) == ["Stripe → BigQuery"]


def test_jobs_are_listed_newest_first_between_times(airbyte: LocalAirbyte) -> None:
    for hours in (3, 2, 1):
        airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", age=hours * 3600.0)
    now = datetime.now(timezone.utc)

    def ids(**filters: Any) -> list[int]:
        return [row["jobId"] for row in AirbyteListJobsOperator(task_id="jobs", **filters).execute({})]

    assert ids() == [3, 2, 1]
    assert ids(limit=1) == [3]
    assert ids(created_after=now - timedelta(hours=2.5)) == [3, 2]
    assert ids(created_before=(now - timedelta(hours=1.5)).isoformat()) == [2, 1]
    assert ids(updated_after=(now - timedelta(hours=2.5)).strftime("%Y-%m-%dT%H:%M:%SZ"), updated_before=now) == [3, 2]
    with pytest.raises(exceptions.AirbyteConfigError, match="created_after is 'yesterday', expected a datetime"):
        ids(created_after="yesterday")
    with pytest.raises(exceptions.AirbyteConfigError, match="limit is 0"):
        ids(limit=0)


def test_250_connections_on_overlapping_pages_come_back_as_250_in_one_order(airbyte: LocalAirbyte) -> None:
    made = add_connections(airbyte, 248)
    active = [row["connectionId"] for row in airbyte.connections if row["status"] == "active"]
    airbyte._state.is_unordered = True
    first = AirbyteListConnectionsOperator(task_id="list").execute({})
    second = AirbyteListConnectionsOperator(task_id="list").execute({})
    assert first == second
    assert sorted(row["connectionId"] for row in first) == sorted(active)
    assert len(first) == 250
    assert AirbyteHook().get_connection_by_name("copy 117").connection_id == made[117]


def test_a_workspace_that_does_not_exist_is_an_error_not_an_empty_list(airbyte: LocalAirbyte) -> None:
    for make in (AirbyteListSourcesOperator, AirbyteListDestinationsOperator, AirbyteListConnectionsOperator):
        with pytest.raises(exceptions.AirbyteNotFoundError, match=f"Workspace {NOBODYS} does not exist"):
            make(task_id="list", workspace_ids=NOBODYS).execute({})
    with pytest.raises(
        exceptions.AirbyteResourceLookupError, match=r"There is no workspace named 'Lokal'\. Similar names: 'Local'"
    ):
        AirbyteListSourcesOperator(task_id="list", workspace_names="Lokal").execute({})


@pytest.mark.parametrize("filters", [{"workspace_ids": []}, {"tags": []}, {"name": ""}, {"status": "None"}])
def test_a_filter_that_rendered_to_nothing_is_refused_and_does_not_mean_everything(
    airbyte: LocalAirbyte, filters: dict[str, Any]
) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=r"it rendered to an empty value\. Omit it"):
        AirbyteListConnectionsOperator(task_id="list", **filters).execute({})
    assert not airbyte.requests


def test_a_missing_workspace_is_an_error_beside_one_that_is_there(airbyte: LocalAirbyte) -> None:
    with pytest.raises(exceptions.AirbyteNotFoundError, match=NOBODYS):
        AirbyteListSourcesOperator(task_id="list", workspace_ids=[WORKSPACE_ID, NOBODYS]).execute({})


def test_tags_and_streams_are_on_the_hook(airbyte: LocalAirbyte) -> None:
    hook = AirbyteHook()
    assert [tag.tag_id for tag in hook.list_tags(WORKSPACE_ID)] == [NIGHTLY]
    assert {stream["streamName"] for stream in hook.list_streams(STRIPE)} != set()


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
def test_a_sync_is_run_by_name(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.script_jobs("running", "succeeded")
    AirbyteSyncOperator(
        task_id="sync",
        connection_name="{{ 'Stripe' }} → BigQuery",
        workspace_name="Local",
        deferrable=deferrable,
        poll_interval=0.02,
    )
    done = run(dag)
    assert done.xcom("sync")["connection_id"] == STRIPE_TO_BIGQUERY


def test_an_ambiguous_name_is_rejected_and_nothing_started(airbyte: LocalAirbyte) -> None:
    add_connections(airbyte, 1, name="Stripe → BigQuery")
    sync = AirbyteSyncOperator(task_id="sync", connection_name="Stripe → BigQuery")
    with pytest.raises(AirflowException, match="There are 2 Airbyte connections named 'Stripe → BigQuery'"):
        sync.hook.get_connection_by_name("Stripe → BigQuery")
    assert not airbyte.jobs


@pytest.mark.parametrize(
    "given", [{}, {"connection_id": STRIPE_TO_BIGQUERY, "connection_name": "Stripe → BigQuery"}], ids=["none", "both"]
)
def test_id_or_name_has_to_be_given(given: dict[str, str]) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match="expected exactly one of the two"):
        AirbyteSyncOperator(task_id="sync", **given)  # type: ignore[arg-type]


def test_sync_connections_maps_each_connection_once(dag: DAG, airbyte: LocalAirbyte) -> None:
    tag = {"tagId": str(uuid.uuid4()), "name": "crowd", "workspaceId": WORKSPACE_ID}
    made = add_connections(airbyte, 20, tags=[tag])
    add_connections(airbyte, 1, tags=[tag], status="inactive")
    with dag:
        sync_connections(tags="crowd", sync_kwargs={"deferrable": True, "poll_interval": 0.02})
    done = run(dag)
    assert done.succeeded
    assert sorted(job.connection_id for job in airbyte.jobs) == sorted(made)
    mapped = [ti for ti in done.dag_run.get_task_instances() if ti.map_index >= 0]
    assert sorted(ti.rendered_map_index for ti in mapped) == [f"copy {number:03}" for number in range(20)]


def test_nothing_is_asked_of_airbyte_while_the_dag_is_parsed(dag: DAG, airbyte: LocalAirbyte) -> None:
    with dag:
        sync_connections(name_pattern="*")
    assert not airbyte.requests


# -- names where ids are taken -----------------------------------------------------------------------------------


def test_connections_are_listed_by_the_names_of_their_source_and_destination(airbyte: LocalAirbyte) -> None:
    def names(**which: Any) -> list[str]:
        rows = AirbyteListConnectionsOperator(task_id="list", status=None, **which).execute({})
        return [row["name"] for row in rows]

    assert names(source_name="Stripe") == ["Stripe → BigQuery", "Stripe → Postgres"]
    assert names(source_name="Stripe", destination_name="BigQuery") == ["Stripe → BigQuery"]
    with pytest.raises(
        exceptions.AirbyteResourceLookupError, match=r"no source named 'Strype'\. Similar names: 'Stripe' \("
    ):
        names(source_name="Strype")
    with pytest.raises(exceptions.AirbyteConfigError, match="expected only one of the two"):
        names(source_name="Stripe", source_id=STRIPE_TO_BIGQUERY)


def test_jobs_are_listed_by_the_name_of_their_connection(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "succeeded")
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    rows = AirbyteListJobsOperator(task_id="list", connection_name="Stripe → BigQuery").execute({})
    assert [row["jobId"] for row in rows] == [job.job_id]


def test_the_hook_finds_sources_and_destinations_by_name(airbyte: LocalAirbyte) -> None:
    hook = AirbyteHook()
    assert hook.get_source_by_name("Stripe").source_type == "stripe"
    assert hook.get_destination_by_name("BigQuery").destination_type == "bigquery"


@pytest.mark.parametrize("task", [AirbyteCancelJobOperator, AirbyteFreshnessSensor, AirbyteSyncOperator])
def test_a_name_that_two_workspaces_have_is_looked_for_in_one(airbyte: LocalAirbyte, task: Any) -> None:
    """Cancelling, waiting for fresh data and syncing find it the same way."""
    elsewhere = {**airbyte.workspaces[0], "workspaceId": str(uuid.uuid4()), "name": "Elsewhere"}
    airbyte.workspaces.append(elsewhere)
    (twin,) = add_connections(airbyte, 1, name="Stripe → BigQuery", workspaceId=elsewhere["workspaceId"])
    made = task(task_id="t", connection_name="Stripe → BigQuery", workspace_name="Elsewhere")
    assert AirbyteHook().run(resolve_task_connection(made)).connection_id == twin
    with pytest.raises(exceptions.AirbyteResourceLookupError, match="There are 2 Airbyte connections"):
        AirbyteHook().run(resolve_task_connection(task(task_id="u", connection_name="Stripe → BigQuery")))
    with pytest.raises(
        exceptions.AirbyteConfigError, match="workspace_name is '': a template rendered to an empty value"
    ):
        AirbyteHook().run(
            resolve_task_connection(task(task_id="v", connection_name="Stripe → BigQuery", workspace_name=""))
        )


@pytest.mark.parametrize(
    "given",
    [
        {"connection_id": "{{ none }}"},
        {"connection_name": "Stripe → BigQuery", "workspace_name": "{{ none }}"},
        {"connection_name": "Stripe → BigQuery", "workspace_id": "{{ none }}"},
    ],
    ids=["connection_id", "workspace_name", "workspace_id"],
)
@pytest.mark.parametrize("task", [AirbyteCancelJobOperator, AirbyteFreshnessSensor, AirbyteSyncOperator])
def test_empty_upstream_result_is_rejected(airbyte: LocalAirbyte, task: Any, given: dict[str, str]) -> None:
    """An XComArg is replaced by what that task has returned: None must not widen the search."""
    made = task(task_id="t", **given)
    for name, value in given.items():
        if value == "{{ none }}":
            setattr(made, name, None)
    with pytest.raises(exceptions.AirbyteConfigError, match="is None: a template rendered to an empty value"):
        AirbyteHook().run(resolve_task_connection(made))
    assert airbyte.requests == []


def test_a_filter_that_another_task_came_to_must_not_be_nothing(airbyte: LocalAirbyte) -> None:
    made = AirbyteListConnectionsOperator(task_id="list", source_name="{{ none }}")
    made.source_name = None
    with pytest.raises(exceptions.AirbyteConfigError, match="source_name is None: it rendered to an empty value"):
        made.execute({})


def test_a_workspace_beside_an_id_is_a_guard(airbyte: LocalAirbyte) -> None:
    elsewhere = {**airbyte.workspaces[0], "workspaceId": str(uuid.uuid4()), "name": "Elsewhere"}
    airbyte.workspaces.append(elsewhere)
    good = AirbyteSyncOperator(task_id="good", connection_id=STRIPE_TO_BIGQUERY, workspace_name="Local")
    assert AirbyteHook().run(resolve_task_connection(good)).connection_id == STRIPE_TO_BIGQUERY
    bad = AirbyteSyncOperator(task_id="bad", connection_id=STRIPE_TO_BIGQUERY, workspace_name="Elsewhere")
    with pytest.raises(
        exceptions.AirbyteResourceLookupError, match=f"is in workspace {WORKSPACE_ID}, not in Elsewhere"
    ):
        AirbyteHook().run(resolve_task_connection(bad))
    with pytest.raises(exceptions.AirbyteConfigError, match="needs no workspace"):
        AirbyteCancelJobOperator(task_id="cancel", job_id=1, workspace_name="Local")


def test_cluster_policy_applies(airbyte: LocalAirbyte) -> None:
    made = AirbyteSyncOperator(task_id="t", connection_name="Stripe → BigQuery")
    made.workspace_name = "Nowhere"
    with pytest.raises(exceptions.AirbyteResourceLookupError, match="There is no workspace named 'Nowhere'"):
        AirbyteHook().run(resolve_task_connection(made))


def test_a_name_that_looks_like_a_number_may_be_one(airbyte: LocalAirbyte) -> None:
    (number,) = add_connections(airbyte, 1, name="2024")
    made = AirbyteSyncOperator(task_id="t", connection_name="2024")
    setattr(made, "connection_name", 2024)  # noqa: B010 - what Jinja's native types make of it
    assert AirbyteHook().run(resolve_task_connection(made)).connection_id == number


def test_lookup_by_name_is_retried_during_outage(airbyte: LocalAirbyte) -> None:
    airbyte.respond_with(503, path="/connections", times=9)
    sensor = AirbyteFreshnessSensor(task_id="t", connection_name="Stripe → BigQuery", max_age=60)
    assert sensor.poke({}).is_done is False
    assert len(airbyte.requests_to("GET", "/connections")) == 1
