"""The state machines of a wait, without a driver: results and times go in, polls and log lines come out."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api.backoff import MAX_MISCONFIGURATION_ERRORS, Outage, RetryPolicy, while_unreachable
from airflow_provider_airbyte_api.api.freshness import FreshnessCheck, FreshnessWait
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.progress import PROGRESS_LOG_INTERVAL
from airflow_provider_airbyte_api.api.wait import (
    NOT_FOUND_DELAY,
    NOT_FOUND_GRACE,
    Done,
    JobWait,
    Poll,
    Wait,
    WaitOptions,
)

START = 1_000.0
DOWN = exceptions.AirbyteUnreachableError("no reply")


def job(status: str = "running") -> Job:
    return Job.from_json({"jobId": 7, "status": status, "jobType": "sync"})


def not_found() -> exceptions.AirbyteNotFoundError:
    return exceptions.AirbyteNotFoundError(method="GET", url="/jobs/7", status=404, detail="no job")


def rate_limited(retry_after: float) -> exceptions.AirbyteRateLimitError:
    return exceptions.AirbyteRateLimitError(
        method="GET", url="/jobs/7", status=429, detail="too many", retry_after=retry_after
    )


def job_wait(**options: Any) -> JobWait:
    return JobWait(7, WaitOptions(**{"poll_interval": 30.0, **options}), START)


def lines(step: Poll | Done) -> list[str]:
    return [line.message % line.arguments for line in step.logs]


@pytest.mark.parametrize(
    ("options", "results", "delays"),
    [
        pytest.param({}, [job(), job(), job()], [30, 30, 30], id="at the poll interval"),
        pytest.param({"deadline": START + 45}, [job()], [30], id="before the deadline"),
        pytest.param({"deadline": START + 20}, [job()], [20], id="at the deadline"),
        pytest.param({"queue_deadline": START + 20}, [job("queued")], [20], id="at the queue deadline"),
        pytest.param({"queue_deadline": START + 20}, [job("running")], [30], id="out of the queue"),
        pytest.param({"poll_interval": 1.0}, [DOWN] * 8, [2, 4, 8, 16, 32, 60, 60, 60], id="outage: backoff"),
        pytest.param({"poll_interval": 30.0}, [DOWN] * 6, [30, 30, 30, 30, 32, 60], id="outage: at least the interval"),
        pytest.param({"poll_interval": 1.0}, [DOWN, job(), DOWN], [2, 1, 2], id="a second outage starts again at 2 s"),
        pytest.param({"poll_interval": 1.0}, [rate_limited(90)], [90], id="Retry-After"),
        pytest.param({"poll_interval": 1.0}, [rate_limited(9_000)], [120], id="Retry-After is capped"),
        pytest.param({"unreachable_timeout": 10}, [DOWN], [10], id="outage: at the end of its timeout"),
        pytest.param({"known_to_exist": True}, [not_found()], [NOT_FOUND_DELAY], id="not visible yet"),
    ],
)
def test_when_the_next_poll_is(options: dict[str, Any], results: list[Any], delays: list[float]) -> None:
    wait, now = job_wait(**options), START
    for result, delay in zip(results, delays, strict=True):
        step = wait.on_poll(result, now)
        assert isinstance(step, Poll)
        assert step.at - now == delay
        now = step.at


@pytest.mark.parametrize(
    ("options", "results", "error", "message"),
    [
        pytest.param({}, [not_found()], exceptions.AirbyteNotFoundError, "no job", id="never seen"),
        pytest.param(
            {"known_to_exist": True}, [not_found()] * 2, exceptions.AirbyteNotFoundError, "no longer", id="twice"
        ),
        pytest.param(
            {}, [job(), job(), not_found()], exceptions.AirbyteNotFoundError, "no longer", id="after the grace"
        ),
        pytest.param(
            {"deadline": START + 20}, [job(), job()], exceptions.AirbyteJobTimeoutError, "to finish", id="deadline"
        ),
        pytest.param(
            {"queue_deadline": START + 20},
            [job("pending"), job("pending")],
            exceptions.AirbyteJobTimeoutError,
            r"to start \(status: pending\)",
            id="queue deadline",
        ),
        pytest.param(
            {"deadline": START + 20}, [DOWN, DOWN], exceptions.AirbyteJobTimeoutError, "unknown", id="during an outage"
        ),
        pytest.param(
            {"unreachable_timeout": 50},
            [DOWN] * 3,
            exceptions.AirbyteUnreachableError,
            "unreachable for 50 s. Job 7 may still be running. no reply",
            id="a long outage",
        ),
        pytest.param(
            {},
            [exceptions.AirbyteUnreachableError("self-signed", kind="certificate")] * MAX_MISCONFIGURATION_ERRORS,
            exceptions.AirbyteUnreachableError,
            "^self-signed",
            id="a certificate that is never trusted",
        ),
    ],
)
def test_when_a_wait_gives_up(
    options: dict[str, Any], results: list[Any], error: type[Exception], message: str
) -> None:
    wait, now = job_wait(**options), START
    for result in results[:-1]:
        step = wait.on_poll(result, now)
        assert isinstance(step, Poll)
        now = step.at
    with pytest.raises(error, match=message):
        wait.on_poll(results[-1], now)


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_a_job_that_finished_before_its_deadline_is_never_late(status: str) -> None:
    assert job_wait(deadline=START).on_poll(job(status), START + 60) == Done(job(status), logs=_any_logs(status))


def _any_logs(status: str) -> Any:
    return job_wait().on_poll(job(status), START).logs


def test_an_outage_has_one_line_at_its_start_and_one_at_its_end() -> None:
    wait = job_wait()
    results: list[Any] = [job(), DOWN, DOWN, job()]
    steps = [wait.on_poll(each, START + number) for number, each in enumerate(results)]
    assert [lines(step) for step in steps] == [
        ["Job 7 is running."],
        ["Could not get the status of job 7; retrying for up to 30 min. no reply"],
        [],
        ["Airbyte is reachable again."],
    ]


def test_an_unchanged_status_is_logged_at_intervals() -> None:
    wait = job_wait()
    times = [0.0, 1.0, PROGRESS_LOG_INTERVAL, PROGRESS_LOG_INTERVAL + 1.0]
    assert [lines(wait.on_poll(job(), START + each)) for each in times] == [
        ["Job 7 is running."],
        [],
        ["Job 7 is still running."],
        [],
    ]


def test_the_last_status_is_unknown_before_the_first_poll_and_during_an_outage() -> None:
    wait = job_wait()
    assert wait.first_poll().last_status == ""
    results: list[Any] = [job(), DOWN, job()]
    steps = [wait.on_poll(each, START) for each in results]
    assert [step.last_status for step in steps if isinstance(step, Poll)] == ["running", None, "running"]


def test_the_grace_for_a_job_that_is_not_shown_yet_ends() -> None:
    wait = job_wait(known_to_exist=True)
    with pytest.raises(exceptions.AirbyteNotFoundError, match="no longer"):
        wait.on_poll(not_found(), START + NOT_FOUND_GRACE + 1)


@pytest.mark.parametrize("kind", [JobWait, FreshnessWait])
def test_every_wait_has_the_same_polls_in_an_outage(kind: type[Wait]) -> None:
    options = WaitOptions(1.0, deadline=START + 1_000)
    wait: Any = JobWait(7, options, START) if kind is JobWait else FreshnessWait(options, START)
    take = wait.on_poll if kind is JobWait else wait.on_check
    now, delays = START, []
    for _ in range(7):
        step = take(DOWN, now)
        delays.append(step.at - now)
        now = step.at
    assert delays == [2, 4, 8, 16, 32, 60, 60]


def test_a_freshness_wait_names_the_last_error_at_its_deadline() -> None:
    wait = FreshnessWait(WaitOptions(30, deadline=START + 20), START)
    wait.on_check(DOWN, START)
    with pytest.raises(exceptions.AirbyteJobTimeoutError, match=r"fresh sync\. The last check failed: no reply"):
        wait.on_check(DOWN, START + 20)


def test_a_freshness_wait_ends_with_the_sync_that_matches() -> None:
    wait = FreshnessWait(WaitOptions(30), START)
    assert isinstance(wait.on_check(FreshnessCheck(None, None), START), Poll)
    step = wait.on_check(FreshnessCheck(job("succeeded"), job("succeeded")), START)
    assert isinstance(step, Done)
    assert step.job.status == "succeeded"


# -- outages without a wait ------------------------------------------------------------------------------------


def test_a_limited_policy_logs_each_retry_and_raises_the_error_itself() -> None:
    outage = Outage(RetryPolicy(attempts=3, wait_initial=1.0))
    error = exceptions.AirbyteUnreachableError("no reply")
    assert [outage.on_retryable_error(error, START + each).warning for each in range(2)] == [
        "no reply Retrying in 1 s.",
        "no reply Retrying in 2 s.",
    ]
    with pytest.raises(exceptions.AirbyteUnreachableError) as caught:
        outage.on_retryable_error(error, START + 2)
    assert caught.value is error
    assert outage.on_success() is None


def test_an_outage_without_a_limit_never_ends_by_itself() -> None:
    outage = Outage()
    assert outage.ends_at is None
    assert outage.on_retryable_error(DOWN, START).warning == "Airbyte is unreachable; retrying. no reply"
    assert outage.on_retryable_error(DOWN, START + 1e9).delay == 4
    assert outage.ends_at is None


def test_an_answer_makes_later_pages_of_a_gateway_an_outage() -> None:
    page = exceptions.AirbyteUnexpectedResponseError(method="GET", url="/jobs/7", status=404, detail="default backend")
    outage = Outage(while_unreachable(60))
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError):
        outage.on_error(page, START)
    outage.on_success()
    assert outage.on_error(page, START).delay == 2
