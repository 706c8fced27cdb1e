"""Waiting for fresh data, whoever syncs it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSensorTimeout, AirflowSkipException, TaskDeferred
from pytest_mock import MockerFixture

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import backoff
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteFreshnessSensor
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY, WORKSPACE_ID
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteFreshnessTrigger
from tests.helpers.clock import until
from tests.helpers.dags import run
from tests.helpers.tasks import FakeTaskInstance

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
HOUR = timedelta(hours=1)


def sensor(**more: Any) -> AirbyteFreshnessSensor:
    given = {"connection_id": STRIPE_TO_BIGQUERY, "max_age": HOUR, "poke_interval": 0.05, "timeout": 20.0, **more}
    return AirbyteFreshnessSensor(task_id="fresh", **given)


def poke(**more: Any) -> Any:
    return sensor(**more).poke({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]


def add_sync(airbyte: LocalAirbyte, status: str = "succeeded", *, age: float, rows: int = 250_000) -> int:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, status, age=age)
    job.rows = rows
    return job.job_id


@MODES
def test_data_that_is_fresh_already_is_not_waited_for(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    job_id = add_sync(airbyte, age=60.0)
    sensor(deferrable=deferrable)
    done = run(dag)
    assert done.succeeded
    assert done.xcom("fresh")["job_id"] == job_id
    assert done.xcom("fresh")["job_url"] == done.xcom("fresh", "job_url")
    assert len(airbyte.requests_to("GET", "/jobs")) == 1, "one look is one request"


@MODES
def test_a_sync_that_anybody_runs_makes_it_fresh(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    add_sync(airbyte, age=7200.0)
    running = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    sensor(deferrable=deferrable, connection_id=None, connection_name="Stripe → BigQuery")
    threading.Timer(1.0, airbyte.finish_job, [running.job_id]).start()
    done = run(dag)
    assert done.succeeded
    assert done.xcom("fresh")["job_id"] == running.job_id
    assert f"/workspaces/{WORKSPACE_ID}/" in done.xcom("fresh")["job_url"]
    assert airbyte.cancelled == []


@pytest.mark.parametrize(
    ("age", "demand", "is_fresh"),
    [
        (60, {}, True),
        (3700, {}, False),
        (3700, {"max_age": 4000.0}, True),
        (60, {"min_rows": 250_000}, True),
        (60, {"min_rows": 250_001}, False),
        (60, {"max_age": None, "completed_after": "{before}"}, True),
        (7200, {"max_age": None, "completed_after": "{before}"}, False),
        (3500, {"completed_after": "{before}"}, True),
        (60, {"completed_after": "{after}"}, False),
    ],
)
def test_young_late_and_large_enough(airbyte: LocalAirbyte, age: float, demand: dict[str, Any], is_fresh: bool) -> None:
    add_sync(airbyte, age=age)
    now = datetime.now(timezone.utc)
    moments = {"{before}": (now - HOUR).isoformat(), "{after}": now + HOUR}
    given = {name: moments.get(str(value), value) for name, value in demand.items()}
    assert poke(**given).is_done is is_fresh


def test_the_link_to_the_connection_is_there_while_it_pokes(airbyte: LocalAirbyte) -> None:
    xcoms = FakeTaskInstance()
    waiting = sensor()
    for _ in range(2):
        assert waiting.poke({"ti": xcoms}).is_done is False  # type: ignore[typeddict-item]
    page = f"{airbyte.url}/workspaces/{WORKSPACE_ID}/connections/{STRIPE_TO_BIGQUERY}"
    assert xcoms.pushed["connection_url"] == page
    assert "job_url" not in xcoms.pushed


def test_other_connections_and_what_is_no_sync_do_not_count(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "succeeded", age=60.0)
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", age=60.0, job_type="reset")
    assert not poke().is_done


def test_by_default_it_waits_for_a_sync_after_the_data_interval(airbyte: LocalAirbyte) -> None:
    add_sync(airbyte, age=7200.0)
    now = datetime.now(timezone.utc)
    task = sensor(max_age=None)
    assert not task.poke({"ti": FakeTaskInstance(), "data_interval_end": now - HOUR}).is_done  # type: ignore[typeddict-item]
    earlier: Any = {"ti": FakeTaskInstance(), "data_interval_end": now - 3 * HOUR}
    assert task.poke(earlier).is_done
    with pytest.raises(exceptions.AirbyteConfigError, match="no data interval: set max_age or completed_after"):
        poke(max_age=None)


@MODES
def test_fail_on_failed_sync_ends_the_wait(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    add_sync(airbyte, age=7200.0)
    running = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    sensor(deferrable=deferrable, on_failed="fail")
    threading.Timer(0.7, airbyte.finish_job, [running.job_id, "failed"]).start()
    assert run(dag).states == {"fresh": "failed"}


def test_a_failed_sync_is_followed_by_another_by_default(airbyte: LocalAirbyte) -> None:
    add_sync(airbyte, "failed", age=60.0)
    assert not poke().is_done
    with pytest.raises(exceptions.AirbyteJobFailedError, match="'Stripe → BigQuery'"):
        poke(on_failed="fail")
    with pytest.raises(AirflowSkipException):
        poke(on_failed="fail", soft_fail=True)
    add_sync(airbyte, age=30.0)
    assert poke(on_failed="fail").is_done


def test_a_failure_that_ends_the_wait_has_its_reason(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.fail_job(job.job_id, "The password is wrong.")
    message = "^Sync failed: source, config_error: The password is wrong"
    with pytest.raises(exceptions.AirbyteJobConfigError, match=message) as caught:
        poke(on_failed="fail")
    assert caught.value.reason is not None


async def test_a_failure_that_ends_a_deferred_wait_has_its_reason(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.fail_job(job.job_id, "The password is wrong.")
    trigger = AirbyteFreshnessTrigger(STRIPE_TO_BIGQUERY, poll_interval=0.02, max_age=3600.0, on_failed="fail")
    (payload,) = [event.payload async for event in trigger.run()]
    error = exceptions.error_from_dict(payload["error"])
    assert isinstance(error, exceptions.AirbyteJobConfigError)
    assert error.reason is not None
    assert (error.reason.origin, error.reason.kind) == ("source", "config_error")


def test_a_failure_that_a_running_sync_may_mend_is_no_reason_to_fail(airbyte: LocalAirbyte) -> None:
    add_sync(airbyte, "failed", age=60.0)
    add_sync(airbyte, "running", age=5.0)
    assert not poke(on_failed="fail").is_done


def test_a_success_before_many_failures_is_found(airbyte: LocalAirbyte) -> None:
    job_id = add_sync(airbyte, age=1800.0)
    for _ in range(150):
        add_sync(airbyte, "failed", age=60.0)
    assert poke().xcom_value["job_id"] == job_id


def test_outage_fails_no_rescheduled_sensor(airbyte: LocalAirbyte) -> None:
    """As with reschedule, where each look is a process of its own."""
    airbyte.respond_with(503, path="/connections/.*", times=9)
    assert not poke().is_done
    assert len(airbyte.requests_to("GET", "/connections/.*")) == 1


def test_an_event_that_is_no_success_is_never_fresh(airbyte: LocalAirbyte) -> None:
    job_id = add_sync(airbyte, "failed", age=1.0)
    with pytest.raises(exceptions.AirbyteJobFailedError):
        sensor().execute_complete({"ti": FakeTaskInstance()}, {"status": "failed", "job_id": job_id})  # type: ignore[typeddict-item]


def test_an_old_failure_is_no_reason_to_fail(airbyte: LocalAirbyte) -> None:
    add_sync(airbyte, "failed", age=7200.0)
    assert not poke(on_failed="fail").is_done


@MODES
@pytest.mark.parametrize("soft_fail", [False, True])
def test_out_of_time_is_what_airflow_says_of_sensors(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool, soft_fail: bool
) -> None:
    sensor(deferrable=deferrable, timeout=0.5, soft_fail=soft_fail)
    assert run(dag).states == {"fresh": "skipped" if soft_fail else "failed"}


def test_a_timeout_event_is_a_sensor_timeout() -> None:
    event = {
        "status": "timeout",
        "job_id": 0,
        "error": {"type": "AirbyteJobTimeoutError", "message": "too late", "fields": {"job_id": 0}},
    }
    with pytest.raises(AirflowSensorTimeout, match="too late"):
        sensor().execute_complete({}, event)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"connection_id": None}, "expected exactly one of the two"),
        ({"max_age": -1}, "max_age is -1"),
        ({"max_age": "6h"}, "max_age is '6h', expected a number of seconds or a timedelta above 0"),
        ({"min_rows": 1.5}, "min_rows is 1.5"),
        ({"on_failed": "skip"}, "on_failed is 'skip', expected one of wait, fail"),
    ],
)
def test_what_cannot_be_used_is_named_when_the_dag_is_parsed(given: dict[str, Any], message: str) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=message):
        sensor(**given)


async def test_the_trigger_retries_errors_and_shares_token_and_session(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(backoff, "OUTAGE_WAIT_MAX", 0.01)
    made = [AirbyteFreshnessTrigger(STRIPE_TO_BIGQUERY, poll_interval=0.1, max_age=3600.0) for _ in range(20)]
    waiting = [asyncio.create_task(_events(trigger)) for trigger in made]
    await until(lambda: len(airbyte.requests_to("GET", "/jobs")) >= 40)
    airbyte.respond_with(503, path="/jobs", times=30)
    failing = len(airbyte.requests_to("GET", "/jobs"))
    await until(lambda: len(airbyte.requests_to("GET", "/jobs")) > failing + 30)
    job_id = add_sync(airbyte, age=1.0)
    events = [(await each)[0] for each in waiting]
    assert {(event["status"], event["job_id"]) for event in events} == {("succeeded", job_id)}
    assert len(airbyte.requests_to("POST", "/applications/token")) == 1
    assert airbyte.peak_in_flight <= 4


async def test_one_session_and_one_token_serve_all_polls_of_one_trigger(
    airbyte: LocalAirbyte, mocker: MockerFixture
) -> None:
    opened = mocker.spy(aiohttp, "ClientSession")
    waiting = asyncio.create_task(_events(AirbyteFreshnessTrigger(STRIPE_TO_BIGQUERY, poll_interval=0.05, max_age=60)))
    await until(lambda: len(airbyte.requests_to("GET", "/jobs")) >= 5)
    add_sync(airbyte, age=1.0)
    await waiting
    assert opened.call_count == 1
    assert len(airbyte.requests_to("POST", "/applications/token")) == 1


async def test_the_trigger_logs_its_criteria_at_intervals(
    airbyte: LocalAirbyte, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_airbyte_api.api import freshness

    trigger = AirbyteFreshnessTrigger(STRIPE_TO_BIGQUERY, poll_interval=0.02, max_age=60)
    said = mocker.patch.object(trigger.log, "log")
    waiting = asyncio.create_task(_events(trigger))
    await until(lambda: len(airbyte.requests_to("GET", "/jobs")) >= 5)
    assert [call.args[2] for call in said.call_args_list] == ["Not fresh yet: none of the latest syncs succeeded"]
    monkeypatch.setattr(freshness, "PROGRESS_LOG_INTERVAL", 0.05)
    await until(lambda: said.call_count >= 3)
    add_sync(airbyte, age=1.0)
    await waiting


async def test_the_trigger_gives_up_in_time(airbyte: LocalAirbyte) -> None:
    late = AirbyteFreshnessTrigger(STRIPE_TO_BIGQUERY, poll_interval=60.0, deadline=time.time() + 0.3)
    (event,) = await asyncio.wait_for(_events(late), timeout=10)
    assert event["status"] == "timeout"
    airbyte.respond_with(503, path="/jobs", times=99)
    away = AirbyteFreshnessTrigger(STRIPE_TO_BIGQUERY, poll_interval=0.05, unreachable_timeout=0.2)
    (event,) = await asyncio.wait_for(_events(away), timeout=10)
    assert event["error"]["type"] == "AirbyteUnreachableError"
    assert "returned 503" in event["error"]["message"]


def test_the_trigger_is_rebuilt_from_what_it_serializes() -> None:
    first = AirbyteFreshnessTrigger("c", "a", 5.0, 1.0, 2.0, 3, "fail", 4.0, 6.0, "Mine", {"name": "Mine"})
    assert AirbyteFreshnessTrigger(**first.serialize()[1]).serialize() == first.serialize()


async def _events(trigger: AirbyteFreshnessTrigger) -> list[dict[str, Any]]:
    return [event.payload async for event in trigger.run()]


def test_rows_that_a_list_leaves_out_are_asked_for(airbyte: LocalAirbyte) -> None:
    airbyte._state.list_shows_stats = False
    add_sync(airbyte, age=60.0, rows=5)
    assert poke(min_rows=5).is_done
    assert not poke(min_rows=6).is_done


@MODES
@pytest.mark.parametrize("list_shows_stats", [True, False])
def test_a_job_is_asked_for_once_where_the_list_leaves_out_its_rows(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool, list_shows_stats: bool
) -> None:
    airbyte._state.list_shows_stats = list_shows_stats
    small = [add_sync(airbyte, age=60.0, rows=5) for _ in range(3)]
    sensor(deferrable=deferrable, min_rows=6)

    def add_large_sync() -> None:
        before = len(airbyte.requests_to("GET", "/jobs"))
        while len(airbyte.requests_to("GET", "/jobs")) < before + 3:
            time.sleep(0.01)
        add_sync(airbyte, age=0.0, rows=6)

    threading.Timer(0.5, add_large_sync).start()
    done = run(dag)
    assert done.succeeded
    assert done.xcom("fresh")["rows_synced"] == 6
    processes = 2 if deferrable else 1  # the worker looks before it defers
    for job_id in small:
        assert len(airbyte.requests_to("GET", f"/jobs/{job_id}")) == (0 if list_shows_stats else processes)


def test_a_replica_that_lags_does_not_make_a_fresh_job_one_that_runs(airbyte: LocalAirbyte) -> None:
    airbyte._state.list_shows_stats = False
    job_id = add_sync(airbyte, age=60.0, rows=5)
    body = {"jobId": job_id, "status": "running", "jobType": "sync", "connectionId": STRIPE_TO_BIGQUERY}
    airbyte.respond_with(200, path=f"/jobs/{job_id}", body=json.dumps({**body, "rowsSynced": 5}))
    waiting = sensor(min_rows=5)
    assert not waiting.poke({"ti": FakeTaskInstance()}).is_done  # type: ignore[typeddict-item]
    assert waiting.poke({"ti": FakeTaskInstance()}).is_done  # type: ignore[typeddict-item]


def test_a_moment_without_airbyte_fails_no_sensor_that_defers(airbyte: LocalAirbyte, fast_clock: None) -> None:
    airbyte.respond_with(503, path=f"/connections/{STRIPE_TO_BIGQUERY}", times=3)
    with pytest.raises(TaskDeferred):
        sensor(deferrable=True).execute({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]
