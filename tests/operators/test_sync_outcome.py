"""The outcome of a finished sync in its task: result, log, and the errors of min_rows."""

from __future__ import annotations

import logging
import time
import traceback
from typing import Any, cast

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators._base import AirbyteJobOperator
from airflow_provider_airbyte_api.operators.airbyte import AirbyteClearOperator, AirbyteSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte, LocalJob
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from airflow_provider_airbyte_api.types import JobResult
from tests.helpers.tasks import FakeTaskInstance, FakeTaskStateStore

BOTH_MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


def sync(**more: Any) -> AirbyteSyncOperator:
    return AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, **{"poll_interval": 0.02, **more})


def context(store: FakeTaskStateStore | None = None, attempt: int = 1) -> Any:
    return cast("Any", {"ti": FakeTaskInstance(attempt, 1), "task_state_store": store})


def finish_task(task: AirbyteSyncOperator, job: LocalJob, deferrable: bool) -> JobResult:
    """Finish a task that follows ``job``, which has finished: in the worker, or resumed by a trigger."""
    job.created_at = job.updated_at = time.time()
    if not deferrable:
        return task.execute(context(stored_record(job)))
    event = {
        "status": job.status,
        "job_id": job.job_id,
        "job": job.as_json(with_stats=True),
        "metadata": {"name": "Stripe → BigQuery", "workspace_id": WORKSPACE_ID},
    }
    return task.execute_complete(context(), event)


def stored_record(job: LocalJob) -> FakeTaskStateStore:
    record = {
        "connection_id": job.connection_id,
        "previous_job_id": 0,
        "started_at": 0.0,
        "max_tries": 1,
        "job_id": job.job_id,
    }
    return FakeTaskStateStore(airbyte_job=record)


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what the task has logged; Airflow 2 itself warns of each connection whose type has an underscore."""
    return [each.getMessage() for each in caplog.records if each.levelno >= level and each.name == "task"]


@pytest.fixture(autouse=True)
def _capture_logs(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own loggers do not hand on to pytest's."""
    for each in (AirbyteJobOperator, AirbyteHook):
        monkeypatch.setattr(each, "log", logging.getLogger("task"))
    caplog.set_level(logging.INFO)


@BOTH_MODES
def test_a_sync_that_moved_nothing_is_green_with_a_warning(
    airbyte: LocalAirbyte, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    job.rows = job.size = 0
    assert finish_task(sync(), job, deferrable)["rows_synced"] == 0
    (warning,) = messages(caplog, logging.WARNING)
    assert warning.startswith("Check job 1: Airbyte reports success with 0 rows and 0 bytes")
    assert warning.splitlines()[1].startswith("http"), "a line of its own"


@BOTH_MODES
def test_a_sync_that_moved_something_has_no_warning(
    airbyte: LocalAirbyte, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    finish_task(sync(min_rows=1), airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded"), deferrable)
    assert messages(caplog, logging.WARNING) == []


@BOTH_MODES
def test_fewer_rows_than_min_rows_fail_the_task_though_the_sync_succeeded(
    airbyte: LocalAirbyte, deferrable: bool
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    job.rows = 9
    with pytest.raises(exceptions.AirbyteJobError, match=r"^Too few rows: .* The sync itself succeeded"):
        _ = finish_task(sync(min_rows=10), job, True) if deferrable else sync(min_rows=10**9).execute(context())


def test_a_retry_after_too_few_rows_starts_a_new_sync(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    with pytest.raises(exceptions.AirbyteJobError, match="Too few rows"):
        sync(min_rows=10**9).execute(context(store))
    with pytest.raises(exceptions.AirbyteJobError, match="Too few rows: job 2"):
        sync(min_rows=10**9).execute(context(store, attempt=2))
    assert len(airbyte.jobs) == 2


def test_a_retry_that_gets_the_event_of_too_few_rows_again_starts_a_new_sync(airbyte: LocalAirbyte) -> None:
    """Airflow 3.0 passes the event of an earlier attempt to the retry."""
    store = FakeTaskStateStore()
    with pytest.raises(exceptions.AirbyteJobError, match="Too few rows"):
        sync(min_rows=10**9).execute(context(store))
    (job,) = airbyte.jobs
    raw = job.as_json(with_stats=True)
    event = {"status": "succeeded", "job_id": job.job_id, "job": raw, "metadata": {"try_number": 1}}
    with pytest.raises(exceptions.AirbyteJobError, match="Too few rows: job 2"):
        sync(min_rows=10**9).execute_complete(context(store, attempt=2), event)


@pytest.mark.parametrize("value", [-1, "10", True, 1.5])
def test_min_rows_is_a_whole_number(value: object) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=r"min_rows is .*, expected a whole number"):
        sync(min_rows=value)


@BOTH_MODES
def test_rows_that_an_event_leaves_out_are_asked_for(airbyte: LocalAirbyte, deferrable: bool) -> None:
    """Some servers leave statistics out of lists, which a trigger polls."""
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    raw = job.as_json(with_stats=False)
    event = {"status": "succeeded", "job_id": job.job_id, "job": raw, "metadata": {}}
    assert sync(deferrable=deferrable, min_rows=1).execute_complete(context(), event)["rows_synced"] == job.rows


@BOTH_MODES
def test_a_failed_sync_is_a_short_traceback_with_the_reason_first(airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.script_jobs("failed")
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "failed")
    with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
        _ = finish_task(sync(), job, deferrable) if deferrable else sync().execute(context())
    assert str(caught.value).startswith("Sync failed: job ")
    frames = [each for each in traceback.extract_tb(caught.value.__traceback__) if "airflow_provider" in each.filename]
    assert len(frames) == 1, frames
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_log_line_has_the_verb_first_and_the_address_on_a_line_of_its_own(
    airbyte: LocalAirbyte, caplog: pytest.LogCaptureFixture
) -> None:
    sync().execute(context())
    sync().execute(context(stored_record(airbyte.jobs[0]), attempt=2))
    AirbyteClearOperator(task_id="clear", connection_id=STRIPE_TO_BIGQUERY, poll_interval=0.02).execute(context())
    lines = messages(caplog, logging.INFO)
    for start in (
        "Started sync: job 1 of Airbyte connection 'Stripe → BigQuery'",
        "Resuming job 1 of an earlier attempt",
        "Sync succeeded: job 1 of 'Stripe → BigQuery'",
        "Started reset: job 2 of",
        "Reset succeeded: job 2 of",
    ):
        assert any(each.startswith(start) for each in lines), (start, lines)
    assert all(each.startswith("http") for each in lines if "http" in each)
