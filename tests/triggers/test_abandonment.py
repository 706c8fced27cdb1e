"""Whose job a cancelled trigger cancels: the way that Airflow's triggerer cancels it is in run_and_cancel."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.triggers._abandonment import (
    MAX_CHECK_DURATION,
    NEW_ATTEMPT_DURATION,
    Decision,
    decide,
    is_abandoned,
)
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger
from tests.helpers.cancelled_trigger import Status, run_and_cancel, set_task_status, with_task
from tests.helpers.clock import until

CANCEL, KEEP, CHECK_AGAIN = Decision.CANCEL, Decision.KEEP, Decision.CHECK_AGAIN
ENDED = [None, "success", "failed", "skipped", "upstream_failed", "removed", "restarting"]
REFERENCE = "s3://xcoms/job_id"


@pytest.mark.parametrize(
    ("state", "xcom", "decision"),
    [
        *[(state, xcom, CANCEL) for state in ENDED for xcom in (7, 8, None, REFERENCE)],
        *[(state, 8, CANCEL) for state in ("deferred", "scheduled", "queued", "running", "up_for_retry", "new word")],
        ("deferred", 7, KEEP),
        ("deferred", None, KEEP),
        ("deferred", REFERENCE, KEEP),
        ("up_for_retry", 7, KEEP),
        ("up_for_reschedule", 7, KEEP),
        ("new word", 7, KEEP),
        *[(state, xcom, CHECK_AGAIN) for state in ("scheduled", "queued") for xcom in (7, None, REFERENCE)],
        ("running", 7, CHECK_AGAIN),
        ("running", REFERENCE, CHECK_AGAIN),
        ("running", None, CANCEL),
    ],
)
def test_the_state_and_the_xcom_decide(state: str | None, xcom: Any, decision: Decision) -> None:
    assert decide(7, state, xcom, 10.0, 20.0) is decision
    too_late = KEEP if decision is CHECK_AGAIN else decision
    assert decide(7, state, xcom, 20.0, 20.0) is too_late


@pytest.mark.parametrize(
    ("statuses", "abandoned"),
    [
        ([("scheduled", 7), ("queued", 7), ("running", None)], True),
        ([("scheduled", 7), ("running", 7), ("success", 7)], True),
        ([("scheduled", 7), ("running", 7), ("deferred", 7)], False),
        ([("scheduled", 7), ("deferred", 8)], True),
    ],
    ids=["a new attempt", "the resumed task ended", "deferred again", "deferred for another job"],
)
async def test_a_task_that_is_about_to_run_is_checked_until_it_is_clear_what_runs(
    monkeypatch: pytest.MonkeyPatch, fast_clock: None, statuses: list[Status], abandoned: bool
) -> None:
    given = set_task_status(monkeypatch, *statuses)
    assert await is_abandoned(object(), 7) is abandoned
    assert list(dict.fromkeys(given)) == statuses


async def test_the_xcom_of_a_new_attempt_is_not_read_before_it_can_have_started_its_job(
    monkeypatch: pytest.MonkeyPatch, fast_clock: None
) -> None:
    """Airflow logs an error for an XCom that does not exist."""
    read_at: list[float] = []
    began = CLOCK.time()

    async def no_xcom(*_: object) -> None:
        read_at.append(CLOCK.time() - began)

    set_task_status(monkeypatch, ("running", None))
    monkeypatch.setattr(_airflow_compat, "task_xcom", no_xcom)
    assert await is_abandoned(object(), 7)
    assert len(read_at) == 1
    assert read_at[0] >= NEW_ATTEMPT_DURATION


@pytest.mark.parametrize("state", ENDED)
async def test_the_xcom_of_a_task_that_has_ended_is_not_read(
    monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    set_task_status(monkeypatch, (state, None))
    monkeypatch.setattr(_airflow_compat, "task_xcom", None)
    assert await is_abandoned(object(), 7)


async def test_a_task_that_stays_in_the_queue_is_checked_for_two_minutes(
    monkeypatch: pytest.MonkeyPatch, fast_clock: None
) -> None:
    given, began = set_task_status(monkeypatch, ("queued", 7)), CLOCK.time()
    assert not await is_abandoned(object(), 7)
    assert CLOCK.time() - began == pytest.approx(MAX_CHECK_DURATION, abs=5)
    assert len(given) <= 61


# -- the trigger -------------------------------------------------------------------------------------------------


@pytest.fixture
def is_polled(airbyte: LocalAirbyte) -> Callable[[], bool]:
    return lambda: len(airbyte.requests_to("GET", r"/jobs/\d+")) >= 2


def trigger(airbyte: LocalAirbyte, **more: Any) -> AirbyteJobTrigger:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    arguments: dict[str, Any] = {"poll_interval": 0.02, "cancel_on_kill": True, **more}
    return with_task(AirbyteJobTrigger(job.job_id, STRIPE_TO_BIGQUERY, **arguments))


LOG_OF = contextvars.ContextVar("LOG_OF", default="triggerer")


def log_lines(waiting: AirbyteJobTrigger, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return a list to which each line that the trigger logs is appended, with :data:`LOG_OF` at that time."""
    lines: list[tuple[str, str]] = []

    class Log(logging.Logger):
        def _log(self, level: int, msg: object, args: Any, **_: Any) -> None:  # type: ignore[override]
            lines.append((LOG_OF.get(), str(msg) % args))

    monkeypatch.setattr(waiting, "_log", Log("trigger"))
    return lines


@pytest.mark.parametrize(
    ("arguments", "status", "cancelled"),
    [
        ({}, ("failed", 1), [1]),
        ({}, ("success", 1), [1]),
        ({}, (None, 1), [1]),
        ({}, ("deferred", 2), [1]),
        ({}, ("deferred", 1), []),
        ({"cancel_on_kill": False}, ("failed", 1), []),
    ],
    ids=["marked failed", "marked success", "cleared", "cleared and deferred again", "redistributed", "told not to"],
)
@pytest.mark.parametrize("delay", [0.0, 1.0], ids=["at once", "slowly"])
async def test_a_cancelled_trigger_cancels_the_job_that_its_task_no_longer_waits_for(
    airbyte: LocalAirbyte,
    monkeypatch: pytest.MonkeyPatch,
    is_polled: Callable[[], bool],
    arguments: dict[str, Any],
    status: Status,
    cancelled: list[int],
    delay: float,
) -> None:
    given = set_task_status(monkeypatch, status, delay=delay)
    await run_and_cancel(trigger(airbyte, **arguments), is_polled)
    if "cancel_on_kill" not in arguments:
        await until(lambda: bool(given))
    if cancelled:
        await until(lambda: bool(airbyte.cancelled))
    await asyncio.sleep(0.2)
    assert airbyte.cancelled == cancelled
    assert len(airbyte.requests_to("DELETE", ".*")) == len(cancelled)


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 502, "times": 2},
        {"drop_connection": True, "times": 2},
        {"status": 200, "body": '{"jobId": 1, "status": "running"}'},
    ],
    ids=["502", "lost", "accepted and not obeyed"],
)
async def test_a_cancelled_trigger_repeats_an_ineffective_cancel(
    airbyte: LocalAirbyte,
    monkeypatch: pytest.MonkeyPatch,
    fast_clock: None,
    is_polled: Callable[[], bool],
    trouble: dict[str, Any],
) -> None:
    set_task_status(monkeypatch, ("failed", 1))
    airbyte.respond_with(method="DELETE", path=".*", **trouble)
    await run_and_cancel(trigger(airbyte), is_polled)
    await until(lambda: bool(airbyte.cancelled))
    assert airbyte.cancelled == [1]


async def test_a_job_whose_task_cannot_be_checked_is_left_running(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, is_polled: Callable[[], bool]
) -> None:
    set_task_status(monkeypatch, RuntimeError("no answer"))
    waiting = trigger(airbyte)
    lines = log_lines(waiting, monkeypatch)
    await run_and_cancel(waiting, is_polled)
    told = "Job 1 was left running: could not check whether the task still waits for it. RuntimeError: no answer"
    assert ("triggerer", told) in lines
    assert not airbyte.requests_to("DELETE", ".*")


@pytest.mark.parametrize("limit", ["deadline", "timeout of the deferral"])
async def test_a_trigger_that_is_out_of_time_leaves_the_job_to_the_task(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, is_polled: Callable[[], bool], limit: str
) -> None:
    given = set_task_status(monkeypatch, ("failed", 1))
    waiting: Any = trigger(airbyte)
    if limit == "deadline":
        waiting.deadline = time.time() - 1
        await waiting._cancel_if_abandoned()
    else:
        ended = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(seconds=1)  # Airflow may omit the zone
        waiting.timeout_after = waiting.task_instance.trigger_timeout = ended
        await run_and_cancel(waiting, is_polled)
    await asyncio.sleep(0.2)
    assert not given
    assert not airbyte.requests_to("DELETE", ".*")


async def test_a_trigger_that_has_fired_cancels_nothing(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    given = set_task_status(monkeypatch, ("failed", 1))
    waiting = trigger(airbyte)
    airbyte.finish_job(1)
    async for _ in waiting.run():
        await waiting.on_kill()
    assert not given
    assert not airbyte.requests_to("DELETE", ".*")


async def test_a_trigger_without_a_task_instance_cancels_nothing(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, is_polled: Callable[[], bool]
) -> None:
    given = set_task_status(monkeypatch, ("failed", 1))
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    waiting = AirbyteJobTrigger(1, STRIPE_TO_BIGQUERY, poll_interval=0.02, cancel_on_kill=True)
    await run_and_cancel(waiting, is_polled)
    assert not given
    assert not airbyte.requests_to("DELETE", ".*")


async def test_what_happens_to_the_job_is_logged_in_the_context_of_the_trigger(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, is_polled: Callable[[], bool]
) -> None:
    """Airflow passes the lines of a trigger to the log of its task by context variables."""
    set_task_status(monkeypatch, ("failed", 1))
    waiting = trigger(airbyte)
    lines = log_lines(waiting, monkeypatch)
    LOG_OF.set("task")
    await run_and_cancel(waiting, is_polled)
    await until(lambda: bool(airbyte.cancelled))
    about_cancel = [line for line in lines if "cancel" in line[1]]
    assert ("task", "The task no longer waits for job 1, so the job is cancelled.") in about_cancel
    assert {log for log, _ in about_cancel} == {"task"}
