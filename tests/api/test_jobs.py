from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import jobs
from airflow_provider_airbyte_api.api.flow import Flow
from airflow_provider_airbyte_api.api.http import Response
from airflow_provider_airbyte_api.api.wait import NOT_FOUND_DELAY, WaitOptions
from airflow_provider_airbyte_api.testing import responses
from airflow_provider_airbyte_api.types import JobStatus
from tests.helpers.scripted_driver import ScriptedDriver, answer, job, no_response, reply


def waiting(poll_interval: float, **more: Any) -> Flow[jobs.WaitResult]:
    return jobs.wait_for_job(7, WaitOptions(poll_interval, **more))


# -- looking ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        responses.forbidden("WORKSPACE_READER"),
        responses.not_found("JOB", "7"),
        responses.state_conflict("Job is not currently running"),
    ],
)
def test_an_unknown_job_is_not_found_however_airbyte_says_it(refusal: responses.FakeResponse) -> None:
    with pytest.raises(exceptions.AirbyteNotFoundError, match="Job 7 does not exist") as caught:
        ScriptedDriver([answer(refusal)]).run(jobs.get_job(7))
    assert caught.value.status == refusal.status


# -- waiting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_waiting_goes_on_until_a_job_cannot_change_any_more(end: str) -> None:
    statuses = ["pending", "queued", "running", "incomplete", "a word nobody knows", "running", end]
    driver = ScriptedDriver([reply(200, job(7, status)) for status in statuses])
    assert driver.run(waiting(30)).job.status == end
    assert driver.pauses == [30] * 6


@pytest.mark.parametrize("status", list(JobStatus))
def test_every_known_status_is_logged_without_a_warning(status: JobStatus) -> None:
    driver = ScriptedDriver(
        [
            reply(200, job(7, status.value)),
            *([reply(200, job(7, "failed"))] if status.value not in TERMINAL_STATUSES else []),
        ]
    )
    driver.run(waiting(30))
    assert driver.logs[0] == f"Job 7 is {status.value}."


def test_a_long_wait_logs_progress_every_ten_minutes() -> None:
    began = {"startTime": "1970-01-01T00:16:40Z"}
    driver = ScriptedDriver(
        [*(reply(200, job(7, **began)) for _ in range(50)), reply(200, job(7, "succeeded", **began))]
    )
    driver.run(waiting(30))
    assert driver.logs == [
        "Job 7 is running.",
        "Job 7 is still running, 10 min after its start.",
        "Job 7 is still running, 20 min after its start.",
        "Job 7 is succeeded.",
    ]


TERMINAL_STATUSES = {"succeeded", "failed", "cancelled"}


def test_each_status_change_is_logged_once_and_an_unknown_one_explained() -> None:
    statuses = ["running", "running", "mystery", "mystery", "succeeded"]
    driver = ScriptedDriver([reply(200, job(7, status)) for status in statuses])
    driver.run(waiting(30))
    assert len(driver.logs) == 3
    assert "unknown status 'mystery'" in driver.logs[1]


def test_outage_logs_start_and_end() -> None:
    running = reply(200, job(7))
    driver = ScriptedDriver(
        [running, no_response(), reply(502), reply(429), no_response(), running, reply(200, job(7, "succeeded"))]
    )
    assert driver.run(waiting(30)).job.status == "succeeded"
    assert [line.split(";")[0] for line in driver.logs] == [
        "Job 7 is running.",
        "Could not get the status of job 7",
        "Airbyte is reachable again.",
        "Job 7 is succeeded.",
    ]


def test_outage_longer_than_unreachable_timeout_raises() -> None:
    driver = ScriptedDriver([reply(200, job(7)), *[no_response()] * 31])
    with pytest.raises(exceptions.AirbyteUnreachableError, match="unreachable for 1800 s"):
        driver.run(waiting(60, unreachable_timeout=1800))


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_non_retryable_error_ends_wait(status: int) -> None:
    with pytest.raises(exceptions.AirbyteResponseError):
        ScriptedDriver([reply(200, job(7)), reply(status)]).run(waiting(60))


def test_a_deadline_ends_the_wait_and_limits_the_last_delay() -> None:
    driver = ScriptedDriver([reply(200, job(7))] * 3)
    with pytest.raises(exceptions.AirbyteJobTimeoutError, match="status: running") as caught:
        driver.run(waiting(60, deadline=1_000 + 90))
    assert caught.value.job_id == 7
    assert driver.pauses == [60, 30]


def test_initial_delay_precedes_first_poll() -> None:
    driver = ScriptedDriver([reply(200, job(7, "succeeded"))])
    driver.run(waiting(60, initial_delay=8))
    assert driver.pauses == [8]


def test_the_status_takes_precedence_over_the_deadline() -> None:
    driver = ScriptedDriver([reply(200, job(7, "succeeded"))])
    assert driver.run(waiting(60, deadline=500.0)).job.status == "succeeded"


def test_a_rate_limit_delays_the_next_poll() -> None:
    driver = ScriptedDriver(
        [reply(200, job(7)), reply(429, retry_after="90"), reply(200, job(7)), reply(200, job(7, "succeeded"))]
    )
    driver.run(waiting(5))
    assert driver.pauses == [5, 90, 5]


def test_a_gateway_page_is_retried_for_a_known_job() -> None:
    page = reply(404, b"default backend - 404")
    driver = ScriptedDriver([reply(200, job(7)), page, reply(200, job(7, "succeeded"))])
    assert driver.run(waiting(5)).job.status == "succeeded"
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError):
        ScriptedDriver([page]).run(waiting(5))
    driver = ScriptedDriver([page, reply(200, job(7, "succeeded"))])
    assert driver.run(waiting(5, known_to_exist=True)).poll_count == 2


def test_backoff_grows_during_an_outage() -> None:
    driver = ScriptedDriver([*[no_response()] * 7, reply(200, job(7, "succeeded"))])
    driver.run(waiting(5))
    assert driver.pauses == [5, 5, 8, 16, 32, 60, 60]


def test_result_has_poll_count() -> None:
    driver = ScriptedDriver([reply(200, job(7)), no_response(), reply(200, job(7, "succeeded"))])
    assert driver.run(waiting(30)).poll_count == 3


@pytest.mark.parametrize("status", ["pending", "queued"])
def test_a_job_that_does_not_begin_in_time_ends_the_wait(status: str) -> None:
    driver = ScriptedDriver([reply(200, job(7, status))] * 3)
    with pytest.raises(exceptions.AirbyteJobTimeoutError, match=rf"to start \(status: {status}\)"):
        driver.run(waiting(60, queue_deadline=1_000 + 90))
    assert driver.pauses == [60, 30]


def test_a_job_that_has_begun_has_left_the_queue_for_good() -> None:
    statuses = ["queued", "running", "incomplete", "pending", "running", "succeeded"]
    driver = ScriptedDriver([reply(200, job(7, status)) for status in statuses])
    assert driver.run(waiting(60, queue_deadline=1_000 + 90)).job.status == "succeeded"


def test_queue_timeout_counts_during_an_outage() -> None:
    driver = ScriptedDriver([no_response()] * 2)
    with pytest.raises(exceptions.AirbyteJobTimeoutError):
        driver.run(waiting(60, deadline=1_000 + 30))


# -- a job that Airbyte does not show --------------------------------------------------------------------------

UNKNOWN = [
    answer(responses.forbidden("WORKSPACE_READER")),
    answer(responses.not_found("JOB", "7")),
    answer(responses.state_conflict("Job is not currently running")),
]


@pytest.mark.parametrize("unknown", UNKNOWN, ids=["403", "404", "409"])
def test_a_job_that_airbyte_does_not_show_yet_is_asked_for_once_more(unknown: Response) -> None:
    driver = ScriptedDriver([unknown, reply(200, job(7)), reply(200, job(7, "succeeded"))])
    assert driver.run(waiting(30, known_to_exist=True)).job.status == "succeeded"
    assert driver.pauses == [NOT_FOUND_DELAY, 30]
    assert "no job" not in driver.logs[0]


@pytest.mark.parametrize("unknown", UNKNOWN, ids=["403", "404", "409"])
@pytest.mark.parametrize("before", [[], [reply(200, job(7))] * 4], ids=["twice at the start", "later"])
def test_a_job_that_is_gone_is_no_longer_visible(unknown: Response, before: list[Response]) -> None:
    answers = [*before, unknown] if before else [unknown, unknown]
    with pytest.raises(exceptions.AirbyteNotFoundError, match="Job 7 is no longer visible") as caught:
        ScriptedDriver(answers).run(waiting(30, known_to_exist=True))
    assert "no job" not in str(caught.value)


@pytest.mark.parametrize("unknown", UNKNOWN, ids=["403", "404", "409"])
def test_an_unknown_job_raises_not_found_without_a_retry(unknown: Response) -> None:
    with pytest.raises(exceptions.AirbyteNotFoundError, match="Job 7 does not exist"):
        ScriptedDriver([unknown]).run(waiting(30))


# -- cancelling ------------------------------------------------------------------------------------------------


def test_a_running_job_is_cancelled() -> None:
    driver = ScriptedDriver([reply(200, job(7)), reply(200, job(7, "cancelled"))])
    assert driver.run(jobs.cancel_job(7)).status == "cancelled"
    assert driver.calls == ["GET /jobs/7", "DELETE /jobs/7"]


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_a_finished_job_is_left_alone_since_a_newer_one_might_be_hit(status: str) -> None:
    driver = ScriptedDriver([reply(200, job(7, status))])
    assert driver.run(jobs.cancel_job(7)).status == status
    assert driver.calls == ["GET /jobs/7"]


def test_a_job_that_ended_just_before_counts_as_cancelled() -> None:
    over = answer(responses.state_conflict("Job is not currently running"))
    driver = ScriptedDriver([reply(200, job(7)), over, reply(200, job(7, "succeeded"))])
    assert driver.run(jobs.cancel_job(7)).status == "succeeded"


@pytest.mark.parametrize("refusal", [reply(429), no_response(sent=False)], ids=["429", "refused"])
def test_cancel_retry_polls_job_first(refusal: Any) -> None:
    """It may have ended meanwhile, and a newer job of its connection would be hit."""
    driver = ScriptedDriver([reply(200, job(7)), refusal, reply(200, job(7, "succeeded"))])
    assert driver.run(jobs.cancel_job(7)).status == "succeeded"
    assert driver.calls == ["GET /jobs/7", "DELETE /jobs/7", "GET /jobs/7"]
    assert len(driver.pauses) == 1


def test_a_cancel_that_is_refused_for_long_is_an_error() -> None:
    driver = ScriptedDriver([each for _ in range(99) for each in (reply(200, job(7)), reply(429))])
    with pytest.raises(exceptions.AirbyteRateLimitError):
        driver.run(jobs.cancel_job(7))
    assert sum(driver.pauses) >= jobs.CANCEL_TIMEOUT


def test_a_cancel_whose_reply_is_lost_is_no_error_if_the_job_is_over() -> None:
    driver = ScriptedDriver([reply(200, job(7)), no_response(), reply(200, job(7, "cancelled"))])
    assert driver.run(jobs.cancel_job(7)).status == "cancelled"
    assert driver.calls.count("DELETE /jobs/7") == 1


NOT_OBEYED = [
    (no_response(), True),
    (no_response(sent=False), False),
    (reply(500), True),
    (reply(502), True),
    (reply(504), True),
    (reply(200, b"<html>"), True),
    (reply(404, b"<html>"), False),
    (answer(responses.state_conflict("Job is not currently running")), True),
]


@pytest.mark.parametrize(("trouble", "looks_at_once"), NOT_OBEYED)
def test_ineffective_cancel_is_repeated_after_poll(trouble: Any, looks_at_once: bool) -> None:
    still = reply(200, job(7))
    looks = 2 if looks_at_once else 1
    driver = ScriptedDriver([still, trouble, *[still] * looks, reply(200, job(7, "cancelled"))])
    assert driver.run(jobs.cancel_job(7)).status == "cancelled"
    assert driver.calls.count("DELETE /jobs/7") == 2
    deletes = [number for number, asked in enumerate(driver.calls) if asked.startswith("DELETE")]
    assert all(driver.calls[number - 1] == "GET /jobs/7" for number in deletes)


def test_repeated_cancel_spares_a_newer_job() -> None:
    driver = ScriptedDriver([reply(200, job(7)), reply(502), reply(200, job(7)), reply(200, job(7, "failed"))])
    assert driver.run(jobs.cancel_job(7)).status == "failed"
    assert driver.calls.count("DELETE /jobs/7") == 1


def test_polls_of_a_cancel_use_the_same_retry_policy() -> None:
    driver = ScriptedDriver(
        [reply(503), reply(200, job(7)), reply(502), reply(503), reply(200, job(7)), reply(200, job(7, "cancelled"))]
    )
    assert driver.run(jobs.cancel_job(7)).status == "cancelled"
    assert driver.calls.count("DELETE /jobs/7") == 2


@pytest.mark.parametrize("refusal", [reply(403, {"title": "forbidden", "status": 403}), reply(401)])
def test_a_cancel_that_airbyte_refuses_is_an_error_at_once(refusal: Response) -> None:
    driver = ScriptedDriver([reply(200, job(7)), refusal, refusal])
    with pytest.raises(exceptions.AirbyteResponseError):
        driver.run(jobs.cancel_job(7))
    driver.answers.clear()
    assert driver.pauses == []


def test_a_gateway_page_at_the_first_poll_is_retried_for_a_known_job() -> None:
    page = reply(404, b"<html>")
    driver = ScriptedDriver([page, reply(200, job(7)), reply(200, job(7, "cancelled"))])
    assert driver.run(jobs.cancel_and_wait(7)).status == "cancelled"
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError):
        ScriptedDriver([page]).run(jobs.cancel_job(7))


def test_a_job_that_was_seen_and_is_gone_is_no_longer_visible_to_a_cancel() -> None:
    with pytest.raises(exceptions.AirbyteNotFoundError, match="Job 7 is no longer visible"):
        ScriptedDriver([UNKNOWN[1]]).run(jobs.cancel_and_wait(7))


def test_a_cancel_of_a_job_that_is_not_there_deletes_nothing() -> None:
    driver = ScriptedDriver([answer(responses.not_found("JOB", "7"))])
    with pytest.raises(exceptions.AirbyteNotFoundError, match="Job 7 does not exist"):
        driver.run(jobs.cancel_job(7))
    assert driver.calls == ["GET /jobs/7"]


def test_a_job_that_runs_on_though_its_cancel_was_accepted_is_cancelled_again() -> None:
    runs = reply(200, job(7))
    polls = int(jobs.CANCEL.wait_max / jobs.CANCEL.wait_initial) + 1
    driver = ScriptedDriver([runs, runs, *[runs] * polls, runs, reply(200, job(7, "cancelled"))])
    assert driver.run(jobs.cancel_and_wait(7)).status == "cancelled"
    assert driver.calls.count("DELETE /jobs/7") == 2


def test_a_job_that_no_cancel_stops_is_given_back_as_it_is_after_a_while() -> None:
    driver = ScriptedDriver([reply(200, job(7))] * 999)
    made = jobs.cancel_and_wait(7)
    with pytest.raises(AssertionError, match="never asked for"):
        driver.run(made)
    assert jobs.CANCEL_TIMEOUT <= sum(driver.pauses) < jobs.CANCEL_TIMEOUT + jobs.CANCEL.wait_initial
    assert driver.calls.count("DELETE /jobs/7") == 8


# -- replies about something else ------------------------------------------------------------------------------


def test_a_reply_that_shows_another_job_is_unexpected() -> None:
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError, match="its job_id is 999, expected 7"):
        ScriptedDriver([reply(200, job(999, "succeeded"))]).run(jobs.get_job(7))


def test_another_jobs_success_does_not_end_a_wait() -> None:
    driver = ScriptedDriver([reply(200, job(7)), reply(200, job(999, "succeeded")), reply(200, job(7, "failed"))])
    assert driver.run(waiting(30)).job.status == "failed"


def test_a_cancel_whose_response_shows_another_job_is_polled_again() -> None:
    driver = ScriptedDriver([reply(200, job(7)), reply(200, job(999, "cancelled")), reply(200, job(7, "cancelled"))])
    assert driver.run(jobs.cancel_job(7)).job_id == 7
