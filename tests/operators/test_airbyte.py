from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, TaskDeferred

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators.airbyte import AirbyteListSourcesOperator, AirbyteSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY, STRIPE_TO_POSTGRES
from airflow_provider_airbyte_api.types import JobResult
from tests.helpers.dags import Run, run
from tests.helpers.tasks import FakeTaskInstance
from tests.versions import not_on

JOB_URL = (
    "{url}/workspaces/6b0f2c1e-2f6c-4a57-9d1b-3b8f5d1f7a10/connections/{connection}/timeline?jobId={job}&openLogs=true"
)
BOTH_MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


def sync(connection_id: str = STRIPE_TO_BIGQUERY, **more: Any) -> AirbyteSyncOperator:
    return AirbyteSyncOperator(task_id="sync", connection_id=connection_id, **{"poll_interval": 0.02, **more})


def execute(task: AirbyteSyncOperator, xcoms: FakeTaskInstance | None = None) -> JobResult:
    """Run a task that does not defer, or only its first slice, without Airflow around it."""
    return task.execute(cast("Any", {"ti": xcoms or FakeTaskInstance()}))


# -- listing ---------------------------------------------------------------------------------------------------


def test_sources_come_back_as_the_apis_json_without_their_configuration(dag: DAG, airbyte: LocalAirbyte) -> None:
    AirbyteListSourcesOperator(task_id="list")
    rows = run(dag).xcom("list")
    assert [row["name"] for row in rows] == ["Snowflake", "Stripe"]
    assert rows[1]["sourceType"] == "stripe"
    assert all("configuration" not in row for row in rows)


def test_250_sources_are_250_rows_in_four_requests_whatever_is_odd_about_one(airbyte: LocalAirbyte) -> None:
    odd = {"sourceId": "odd", "name": "Ours", "sourceType": "", "flavour": {"new": [1]}, "configuration": {"a": 1}}
    template = airbyte.sources[0]
    airbyte.sources[:] = [{**template, "sourceId": str(number)} for number in range(249)] + [odd]
    rows = AirbyteListSourcesOperator(task_id="list").execute({})
    assert len({row["sourceId"] for row in rows}) == len(rows) == 250
    assert len(airbyte.requests) <= 4
    assert next(row for row in rows if row["name"] == "Ours") == {
        "sourceId": "odd",
        "name": "Ours",
        "sourceType": "",
        "flavour": {"new": [1]},
    }


def test_the_configuration_is_there_if_asked_for(airbyte: LocalAirbyte) -> None:
    rows = AirbyteListSourcesOperator(task_id="list", include_configuration=True).execute({})
    assert rows[0]["configuration"]["database"] == "SALES"


def test_only_the_sources_of_one_workspace_if_asked_for(airbyte: LocalAirbyte) -> None:
    elsewhere = "11111111-1111-4111-8111-111111111111"
    airbyte.sources[0]["workspaceId"] = elsewhere
    rows = AirbyteListSourcesOperator(task_id="list", workspace_ids=elsewhere).execute({})
    assert [row["name"] for row in rows] == ["Snowflake"]


# -- syncing ---------------------------------------------------------------------------------------------------


@BOTH_MODES
def test_a_sync_is_run_and_its_result_handed_on(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    sync(deferrable=deferrable)
    done = run(dag)
    assert done.states == {"sync": "success"}
    (job,) = airbyte.jobs
    url = JOB_URL.format(url=airbyte.url, connection=STRIPE_TO_BIGQUERY, job=job.job_id)
    result = done.xcom("sync")
    assert result == {
        "job_id": job.job_id,
        "status": "succeeded",
        "connection_id": STRIPE_TO_BIGQUERY,
        "job_type": "sync",
        "rows_synced": job.rows,
        "bytes_synced": job.size,
        "duration_seconds": 0.0,
        "start_time": result["start_time"],
        "job_url": url,
    }
    assert (done.xcom("sync", "job_id"), done.xcom("sync", "job_url")) == (job.job_id, url)


@BOTH_MODES
def test_only_the_end_of_a_job_ends_the_wait(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.script_jobs("queued", "running", "incomplete", "a word nobody knows", "running", "succeeded")
    sync(deferrable=deferrable)
    done = run(dag)
    assert done.states == {"sync": "success"}
    assert done.xcom("sync")["status"] == "succeeded"
    assert airbyte.jobs[0].poll_count == 6
    assert len(airbyte.jobs) == 1


@BOTH_MODES
@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_job_that_does_not_succeed_fails_the_task(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool, end: str
) -> None:
    airbyte.script_jobs("running", end)
    sync(deferrable=deferrable)
    done = run(dag)
    assert done.states == {"sync": "failed"}
    assert done.xcom("sync", "job_id") == 1, "which job it was is still there"


@BOTH_MODES
def test_short_outage_fails_no_task(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.script_jobs("running", "running", "succeeded")
    airbyte.respond_with(502, method="GET", path=r"/jobs/\d+")
    sync(deferrable=deferrable)
    assert run(dag).states == {"sync": "success"}
    assert len(airbyte.jobs) == 1


@BOTH_MODES
def test_one_xcom_has_the_whole_job_at_its_end(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    sync(deferrable=deferrable)
    done = run(dag)
    (job,) = airbyte.jobs
    info = done.xcom("sync", "airbyte_sync")
    assert datetime.fromisoformat(info.pop("updated_at")).utcoffset() == timedelta(0)
    assert info == {
        "job_id": job.job_id,
        "connection_id": STRIPE_TO_BIGQUERY,
        "connection_name": "Stripe → BigQuery",
        "status": "succeeded",
        "rows": job.rows,
        "bytes": job.size,
        "started_at": done.xcom("sync")["start_time"],
        "attempt": None,
        "job_url": done.xcom("sync", "job_url"),
        "reason": None,
    }


def test_the_job_is_in_the_xcoms_before_it_waits(airbyte: LocalAirbyte) -> None:
    xcoms = FakeTaskInstance()
    with pytest.raises(TaskDeferred):
        execute(sync(deferrable=True), xcoms)
    info = xcoms.pushed["airbyte_sync"]
    assert (info["job_id"], info["status"], info["rows"]) == (1, "pending", None)
    assert info["job_url"] == xcoms.pushed["job_url"]


@BOTH_MODES
def test_a_stalled_sync_is_cancelled(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.script_jobs(*["running"] * 1_000)
    sync(deferrable=deferrable, stalled_timeout=timedelta(seconds=1))
    done = run(dag)
    assert done.states == {"sync": "failed"}
    airbyte.assert_cancelled(1)
    assert done.xcom("sync", "airbyte_sync")["status"] == "cancelled"


def test_the_error_of_a_stalled_sync_says_what_happened(airbyte: LocalAirbyte) -> None:
    airbyte.script_jobs(*["running"] * 1_000)
    with pytest.raises(exceptions.AirbyteJobStalledError) as caught:
        execute(sync(stalled_timeout=0.2))
    assert "have not changed for 0.2 s (125,000 rows" in str(caught.value)
    assert "The job was cancelled. Limits: " in str(caught.value)
    assert "stalled_timeout=0.2" in str(caught.value)


@not_on("3.0", "DAG.test calls no callback")
@BOTH_MODES
def test_the_error_of_a_timeout_names_the_connection_and_links_to_the_job(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool
) -> None:
    airbyte.script_jobs(*["running"] * 1_000)
    errors: list[str] = []
    sync(deferrable=deferrable, timeout=1, on_failure_callback=lambda context: errors.append(str(context["exception"])))
    done = run(dag)
    (error,) = errors
    assert f"Airbyte connection: 'Stripe → BigQuery' ({STRIPE_TO_BIGQUERY}).\n" in error
    assert error.endswith(done.xcom("sync", "job_url"))


def test_a_sync_whose_numbers_change_has_not_stalled() -> None:
    with LocalAirbyte(job_seconds=3.0) as airbyte, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", airbyte.airflow_connection)
        assert execute(sync(stalled_timeout=1.5, poll_interval=0.1))["status"] == "succeeded"


def test_job_id_and_job_url_are_there_before_it_waits(airbyte: LocalAirbyte) -> None:
    xcoms = FakeTaskInstance()
    with pytest.raises(TaskDeferred):
        execute(sync(deferrable=True), xcoms)
    assert xcoms.pushed["job_id"] == 1
    assert xcoms.pushed["job_url"].endswith("jobId=1&openLogs=true")
    assert not airbyte.requests_to("GET", "/jobs/1")


def test_without_waiting_the_task_is_done_once_the_sync_is_started(airbyte: LocalAirbyte) -> None:
    result = execute(sync(wait_for_completion=False, deferrable=True))
    assert (result["job_id"], result["status"], result["rows_synced"]) == (1, "pending", None)
    assert not airbyte.requests_to("GET", "/jobs/1")


def test_what_the_trigger_is_built_of_is_json_without_a_secret(airbyte: LocalAirbyte) -> None:
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        execute(sync(deferrable=True, timeout=3600))
    path, kwargs = deferred.value.trigger.serialize()
    assert path == "airflow_provider_airbyte_api.triggers.airbyte.AirbyteJobTrigger"
    text = json.dumps(kwargs)
    assert kwargs["job_id"] == 1
    assert before + 3600 <= kwargs["deadline"] <= time.time() + 3600
    assert airbyte.client_secret not in text
    assert airbyte.client_id not in text


@BOTH_MODES
def test_a_sync_that_takes_too_long_is_cancelled_and_fails(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.script_jobs("running")
    sync(deferrable=deferrable, timeout=0.2)
    assert run(dag).states == {"sync": "failed"}
    assert airbyte.cancelled == [1]


def test_after_a_lost_reply_the_sync_is_taken_up_and_not_started_again(airbyte: LocalAirbyte) -> None:
    airbyte.drop_next_response()
    assert execute(sync())["status"] == "succeeded"
    assert len(airbyte.jobs) == 1


# -- refusals: each says what to do, and starts nothing --------------------------------------------------------


@pytest.mark.parametrize(
    ("connection_id", "kind", "words"),
    [
        ("stripe to bigquery", exceptions.AirbyteConfigError, "connection_id is 'stripe to bigquery', expected a UUID"),
        ("", exceptions.AirbyteConfigError, "connection_id is '': a template rendered to an empty value"),
        ("None", exceptions.AirbyteConfigError, "connection_id is 'None': a template rendered to an empty value"),
        ("00000000-0000-4000-8000-000000000000", exceptions.AirbyteNotFoundError, "Check the id"),
        (STRIPE_TO_POSTGRES, exceptions.AirbyteConnectionInactiveError, "'Stripe → Postgres' .* is inactive"),
    ],
)
def test_a_connection_that_cannot_be_synced_is_refused(
    airbyte: LocalAirbyte, connection_id: str, kind: type[exceptions.AirbyteError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        execute(sync(connection_id))
    assert isinstance(caught.value, AirflowException)
    assert not airbyte.jobs
    assert not airbyte.requests_to("POST", "/jobs")


def test_a_sync_that_is_already_running_has_a_specific_error(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    with pytest.raises(exceptions.AirbyteAlreadyRunningError, match=r"Wait for job 1 \(sync\)"):
        execute(sync(on_running="fail"))
    assert len(airbyte.jobs) == 1


def test_a_wrong_secret_is_refused(airbyte: LocalAirbyte) -> None:
    airbyte.client_secret = "another one"
    with pytest.raises(exceptions.AirbyteAuthenticationError, match=r"Check Client ID \(Login\)"):
        execute(sync())
    assert not airbyte.jobs


@pytest.mark.parametrize(
    ("host", "kind", "words"),
    [
        ("", exceptions.AirbyteConfigError, r"has no Airbyte URL \(Host\)"),
        (
            "ftp://airbyte",
            exceptions.AirbyteConfigError,
            r"Airbyte URL \(Host\) is 'ftp://airbyte', which is not an http or https URL",
        ),
        ("{url}/somewhere/else", exceptions.AirbyteUnexpectedResponseError, "Check Airbyte URL \\(Host\\)"),
    ],
)
def test_a_wrong_base_url_is_refused(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, host: str, kind: type[exceptions.AirbyteError], words: str
) -> None:
    connection = json.loads(airbyte.airflow_connection)
    connection["host"] = host.format(url=airbyte.url)
    monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", json.dumps(connection))
    with pytest.raises(kind, match=words):
        execute(sync())
    assert not airbyte.jobs


@pytest.mark.parametrize("value", [0, -1, "30", None, True, float("nan"), float("inf")])
def test_an_interval_that_is_none_is_refused_while_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(
        exceptions.AirbyteConfigError, match=r"poll_interval is .*, expected a number of seconds"
    ) as caught:
        sync(poll_interval=value)
    assert isinstance(caught.value, AirflowException)


# -- waking up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        None,
        "succeeded",
        {},
        {"status": "succeeded"},
        {"job_id": 1},
        {"job_id": 1, "status": "running"},
        {"job_id": 1, "status": "SUCCEEDED"},
        {"job_id": "1", "status": "succeeded"},
        {"job_id": 1, "status": "succeeded", "job": {"jobId": 2, "status": "succeeded"}},
        {"job_id": 1, "status": "succeeded", "job": {"jobId": 1, "status": "failed"}},
        {"job_id": 1, "status": "succeeded", "job": "all well"},
    ],
)
def test_an_event_that_is_no_verdict_is_never_success(airbyte: LocalAirbyte, event: Any) -> None:
    with pytest.raises(exceptions.AirbyteTriggerEventError, match="the job's outcome is unknown") as caught:
        sync().execute_complete(cast("Any", {"ti": FakeTaskInstance()}), event)
    assert isinstance(caught.value, AirflowException)


def test_an_event_with_the_status_alone_is_checked_with_airbyte(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "failed")
    with pytest.raises(exceptions.AirbyteJobFailedError):
        sync().execute_complete(cast("Any", {"ti": FakeTaskInstance()}), {"job_id": job.job_id, "status": "succeeded"})


def test_an_error_of_the_trigger_is_the_tasks_error_with_its_class(airbyte: LocalAirbyte) -> None:
    error = exceptions.AirbytePermissionError(method="GET", url="http://a/jobs/1", status=403, detail="No.")
    event = {"job_id": 1, "status": "error", "error": exceptions.error_to_dict(error)}
    with pytest.raises(exceptions.AirbytePermissionError, match="returned 403: No") as caught:
        sync().execute_complete(cast("Any", {"ti": FakeTaskInstance()}), event)
    assert isinstance(caught.value, AirflowException)
    assert caught.value.status == 403


def test_a_mapped_task_syncs_each_connection_once(dag: DAG, airbyte: LocalAirbyte) -> None:
    AirbyteSyncOperator.partial(task_id="sync", deferrable=True, poll_interval=0.02).expand(
        connection_id=[STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES]
    )
    done: Run = run(dag)
    assert done.succeeded
    assert sorted(job.connection_id for job in airbyte.jobs) == sorted([STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES])


def test_a_retry_ignores_the_event_of_the_previous_attempt(airbyte: LocalAirbyte) -> None:
    """As Airflow 3.0 does with a task that failed after it was deferred."""
    failed = airbyte.add_job(STRIPE_TO_BIGQUERY, "failed")
    raw = dict(AirbyteHook().get_job(failed.job_id).raw)
    event = {"status": "failed", "job_id": failed.job_id, "job": raw, "metadata": {"try_number": 1}}
    task = AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, poll_interval=0.02)
    with pytest.raises(exceptions.AirbyteJobFailedError):
        task.execute_complete(cast("Any", {"ti": FakeTaskInstance(1)}), dict(event))
    assert len(airbyte.jobs) == 1
    assert task.execute_complete(cast("Any", {"ti": FakeTaskInstance(2)}), dict(event))["job_id"] == 2


def test_a_succeeded_job_is_a_success_for_any_attempt(airbyte: LocalAirbyte) -> None:
    """A task that was queued again, because it was lost on its way to a worker, has another number."""
    done = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    raw = dict(AirbyteHook().get_job(done.job_id).raw)
    event = {"status": "succeeded", "job_id": done.job_id, "job": raw, "metadata": {"try_number": 1}}
    task = AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, asset_events="none")
    assert task.execute_complete(cast("Any", {"ti": FakeTaskInstance(2)}), event)["job_id"] == 1
    assert len(airbyte.jobs) == 1


@pytest.mark.parametrize("status", ["queued", "running"])
def test_an_attached_job_is_never_cancelled(airbyte: LocalAirbyte, status: str) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, status)
    with pytest.raises(exceptions.AirbyteJobTimeoutError):
        execute(sync(timeout=0.2))
    assert (airbyte.jobs, airbyte.cancelled) == ([job], [])
