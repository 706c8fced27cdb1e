from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from airflow.providers.common.compat.connection import get_async_connection
from pytest_mock import MockerFixture

from airflow_provider_airbyte_api.api import backoff, progress
from airflow_provider_airbyte_api.api.poll_plan import LIST_THRESHOLD
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.polling.service import PollingService
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.jobs import ROWS, SIZE
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from airflow_provider_airbyte_api.triggers import _settings_cache
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger
from tests.helpers.clock import until

MIN_DEFERRAL = "AIRFLOW__AIRBYTE_API__MIN_DEFERRAL"


def trigger(job_id: int, **more: Any) -> AirbyteJobTrigger:
    arguments: dict[str, Any] = {
        "job_id": job_id,
        "connection_id": STRIPE_TO_BIGQUERY,
        "airbyte_conn_id": "airbyte_api_default",
        "poll_interval": 0.02,
    }
    return AirbyteJobTrigger(**{**arguments, **more})


async def events(waiting: AirbyteJobTrigger) -> list[dict[str, Any]]:
    return [event.payload async for event in waiting.run()]


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
async def test_one_event_has_the_final_status(airbyte: LocalAirbyte, end: str) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY)
    job.script = ["queued", "running", "incomplete", "a word nobody knows", end]
    (event,) = await events(trigger(job.job_id, metadata={"name": "Mine"}))
    assert (event["status"], event["job_id"], event["poll_count"]) == (end, job.job_id, 5)
    assert event["metadata"] == {"name": "Mine"}
    assert event["job"]["jobId"] == job.job_id
    assert json.loads(json.dumps(event)) == event


async def test_a_deadline_is_an_event_too_and_cancels_nothing(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    (event,) = await events(trigger(job.job_id, deadline=time.time() + 0.1))
    assert (event["status"], event["error"]["type"]) == ("timeout", "AirbyteJobTimeoutError")
    assert job.status == "running"


async def test_non_retryable_error_is_an_error_event(airbyte: LocalAirbyte) -> None:
    (event,) = await events(trigger(999))
    assert (event["status"], event["error"]["type"]) == ("error", "AirbyteNotFoundError")
    assert "Job 999 is no longer visible" in event["error"]["message"]


async def test_a_wrong_secret_is_an_event_without_the_secret(airbyte: LocalAirbyte) -> None:
    secret, airbyte.client_secret = airbyte.client_secret, "changed"
    (event,) = await events(trigger(1))
    assert event["error"]["type"] == "AirbyteAuthenticationError"
    assert secret not in json.dumps(event)


async def test_network_errors_are_retried(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(backoff, "OUTAGE_WAIT_MAX", 0.01)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY)
    job.script = ["running", "running", "succeeded"]
    for status in (502, 503, 429, 500):
        airbyte.respond_with(status, path="/jobs/1")
    airbyte.drop_next_response("GET", "/jobs/1")
    airbyte.revoke_tokens()
    (event,) = await events(trigger(job.job_id))
    assert event["status"] == "succeeded"


async def test_it_is_rebuilt_from_what_it_serializes(airbyte: LocalAirbyte) -> None:
    first = trigger(1, deadline=5.0, queue_deadline=4.0, cancel_on_kill=True, metadata={"name": "Mine"})
    path, kwargs = first.serialize()
    module, _, name = path.rpartition(".")
    assert (module, name) == (AirbyteJobTrigger.__module__, AirbyteJobTrigger.__name__)
    again = AirbyteJobTrigger(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == first.serialize()


def test_four_arguments_are_enough() -> None:
    made = AirbyteJobTrigger(job_id=1, connection_id="c", airbyte_conn_id="a", poll_interval=5)
    assert made.serialize()[1]["deadline"] is None


async def test_the_event_loop_keeps_turning_while_the_server_takes_its_time(airbyte: LocalAirbyte) -> None:
    """A server that takes 1 s for each reply, its token endpoint too, must not hold anybody else up."""
    airbyte.latency = 1.0
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    waiting = asyncio.create_task(events(trigger(job.job_id)))
    turns, started = 0, time.monotonic()
    while not waiting.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert time.monotonic() - started >= 2.0
    assert turns > 50, "each turn takes 10 ms and a little; a blocked loop would make two or three of them"
    assert (await waiting)[0]["status"] == "succeeded"


async def test_no_event_comes_before_airflow_has_seen_the_task_defer(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIN_DEFERRAL, "0.5")
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    started = time.monotonic()
    assert len(await events(trigger(job.job_id))) == 1
    assert time.monotonic() - started >= 0.5 * 0.8, "give or take the jitter"


async def test_an_invalid_minimum_deferral_is_an_error_event_that_names_the_option(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, fast_clock: None
) -> None:
    monkeypatch.setenv(MIN_DEFERRAL, "-1")
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    started = CLOCK.time()
    (event,) = await events(trigger(job.job_id))
    assert (event["status"], event["error"]["type"]) == ("error", "AirbyteConfigError")
    assert "min_deferral in section [airbyte_api] is '-1'" in event["error"]["message"]
    assert CLOCK.time() - started >= 10, "the default applies"


async def test_a_cancelled_trigger_leaves_at_once_and_cancels_no_job(
    airbyte: LocalAirbyte, mocker: MockerFixture
) -> None:
    waits = mocker.spy(PollingService, "wait_for_job")
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    waiting = asyncio.create_task(events(trigger(job.job_id, poll_interval=60)))
    await until(lambda: waits.call_count)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, timeout=5)
    assert job.status == "running"


async def test_many_triggers_load_the_airflow_connection_once(airbyte: LocalAirbyte, mocker: MockerFixture) -> None:
    looked_up = mocker.spy(_settings_cache, "get_async_connection")
    made = [airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded").job_id for _ in range(20)]
    assert len(await asyncio.gather(*(events(trigger(job_id)) for job_id in made))) == 20
    assert looked_up.call_count == 1


async def test_a_secrets_backend_outage_fails_no_trigger(
    airbyte: LocalAirbyte, mocker: MockerFixture, fast_clock: None
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    answers = [RuntimeError("the vault is sealed"), RuntimeError("still")]

    async def get(conn_id: str) -> Any:
        if answers:
            raise answers.pop(0)
        return await get_async_connection(conn_id)

    mocker.patch.object(_settings_cache, "get_async_connection", get)
    (event,) = await events(trigger(job.job_id))
    assert event["status"] == "succeeded"


async def test_a_long_secrets_backend_outage_is_an_error_event(
    airbyte: LocalAirbyte, mocker: MockerFixture, fast_clock: None
) -> None:
    mocker.patch.object(_settings_cache, "get_async_connection", side_effect=RuntimeError("the vault is sealed"))
    (event,) = await events(trigger(1, unreachable_timeout=60.0))
    assert (event["status"], event["error"]["type"]) == ("error", "AirbyteUnreachableError")
    message = event["error"]["message"]
    assert message.startswith("Could not load Airflow connection 'airbyte_api_default' for 60 s. Check Airflow's")
    assert message.endswith("RuntimeError: the vault is sealed")


async def test_an_airflow_connection_that_is_missing_in_the_triggerer_is_an_event_that_says_so(
    airbyte: LocalAirbyte,
) -> None:
    for _ in range(2):
        (event,) = await events(trigger(1, airbyte_conn_id="nobody"))
        assert (event["status"], event["job_id"], event["error"]["type"]) == ("error", 1, "AirbyteConfigError")
        assert "Airflow connection 'nobody' was not found in the triggerer" in event["error"]["message"]
        assert f"Job 1 of Airbyte connection {STRIPE_TO_BIGQUERY} continues in Airbyte" in event["error"]["message"]


async def test_a_secret_that_was_changed_in_airflow_too_is_taken_up(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    waiting = [asyncio.create_task(events(trigger(job.job_id))) for _ in range(20)]

    async def two_polls() -> None:
        before = len(airbyte.requests_to("GET", "/jobs/.*"))
        await until(lambda: len(airbyte.requests_to("GET", "/jobs/.*")) >= before + 2)

    await two_polls()
    looked_up = mocker.spy(_settings_cache, "get_async_connection")
    airbyte.client_secret = "changed"
    monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", airbyte.airflow_connection)
    airbyte.revoke_tokens()
    await until(lambda: looked_up.call_count)
    await two_polls()
    airbyte.finish_job(job.job_id)
    for each in waiting:
        assert (await each)[0]["status"] == "succeeded"
    assert looked_up.call_count == 1


async def test_progress_is_logged_at_intervals_without_requests(
    airbyte: LocalAirbyte, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_LOG_INTERVAL", 0.1)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    waits = trigger(job.job_id, poll_interval=0.4)
    log = mocker.patch.object(waits, "_log")
    waiting = asyncio.create_task(events(waits))
    await until(lambda: log.log.call_count >= 14)
    airbyte.finish_job(job.job_id)
    await waiting
    said = [call.args[1] % call.args[2:] for call in log.log.call_args_list]
    still = (
        f"Job {job.job_id} is still running, 0 min after its start: {ROWS // 2:,} rows, {SIZE // 2:,} bytes, unchanged"
    )
    assert said[0] == f"Job {job.job_id} is running."
    assert said[-1] == f"Job {job.job_id} is succeeded."
    assert {each.partition(" for ")[0] for each in said[1:-1]} == {still}
    assert len(said) >= 7
    assert len(airbyte.requests_to("GET", f"/jobs/{job.job_id}")) <= 7


async def test_no_progress_is_logged_during_an_outage(
    airbyte: LocalAirbyte, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_LOG_INTERVAL", 0.1)
    monkeypatch.setattr(backoff, "OUTAGE_WAIT_MAX", 0.1)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    waits = trigger(job.job_id, poll_interval=0.1)
    log = mocker.patch.object(waits, "_log")
    waiting = asyncio.create_task(events(waits))
    await until(lambda: len(airbyte.requests_to("GET", "/jobs/.*")) >= 2)
    airbyte.respond_with(503, path="/jobs/.*", times=99)
    failing = len(airbyte.requests_to("GET", "/jobs/.*"))
    await until(lambda: len(airbyte.requests_to("GET", "/jobs/.*")) >= failing + 4)
    before = log.log.call_count
    await until(lambda: len(airbyte.requests_to("GET", "/jobs/.*")) >= failing + 12)
    assert log.log.call_count == before
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_each_trigger_logs_for_itself(airbyte: LocalAirbyte, mocker: MockerFixture) -> None:
    """Whichever of them opened the session: a task's log is about its own job."""
    made = [trigger(airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded").job_id) for _ in range(3)]
    logs = {each.job_id: mocker.patch.object(each, "_log") for each in made}
    await asyncio.gather(*(events(each) for each in made))
    for job_id, log in logs.items():
        assert [call.args[2:] for call in log.log.call_args_list] == [(job_id, "succeeded")]


async def test_the_jobs_of_the_triggers_own_workspace_are_listed(airbyte: LocalAirbyte) -> None:
    """From a few jobs on, a list is polled instead of each of them."""
    made = [airbyte.add_job(STRIPE_TO_BIGQUERY, "running") for _ in range(LIST_THRESHOLD + 1)]
    waiting = [asyncio.create_task(events(trigger(job.job_id, workspace_id=WORKSPACE_ID))) for job in made]
    await until(lambda: airbyte.requests_to("GET", "/jobs"))
    for job in made:
        airbyte.finish_job(job.job_id, "succeeded")
    assert {each["status"] for (each,) in await asyncio.gather(*waiting)} == {"succeeded"}
    lists = airbyte.requests_to("GET", "/jobs")
    assert lists
    assert {each.value("workspaceIds") for each in lists} == {WORKSPACE_ID}
