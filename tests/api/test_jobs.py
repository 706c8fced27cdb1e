from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api.api import errors, jobs
from airflow_provider_airbyte_api.api.conversation import Conversation
from airflow_provider_airbyte_api.api.models import JobStatus
from airflow_provider_airbyte_api.api.wire import Response
from airflow_provider_airbyte_api.testing import replies
from tests.api.talk import Talk, job, reply, silence


def answer(made: replies.Reply) -> Response:
    return reply(made.status, made.body)


def waiting(poll_interval: float, **more: Any) -> Conversation[jobs.Waited]:
    return jobs.wait_for_job(7, jobs.Patience(poll_interval, **more))


# -- looking ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        replies.forbidden("WORKSPACE_READER"),
        replies.not_found("JOB", "7"),
        replies.state_conflict("Job is not currently running"),
    ],
)
def test_an_unknown_job_is_not_found_however_airbyte_says_it(refusal: replies.Reply) -> None:
    with pytest.raises(errors.AirbyteNotFoundError, match="There is no job 7") as caught:
        Talk([answer(refusal)]).perform(jobs.get_job(7))
    assert caught.value.status == refusal.status


# -- waiting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_waiting_goes_on_until_a_job_cannot_change_any_more(end: str) -> None:
    statuses = ["pending", "queued", "running", "incomplete", "a word nobody knows", "running", end]
    talk = Talk([reply(200, job(7, status)) for status in statuses])
    assert talk.perform(waiting(30)).job.status == end
    assert talk.pauses == [30] * 6


@pytest.mark.parametrize("status", list(JobStatus))
def test_every_known_status_is_said_plainly(status: JobStatus) -> None:
    talk = Talk(
        [reply(200, job(7, status.value)), *([reply(200, job(7, "failed"))] if status.value not in jobs_ends else [])]
    )
    talk.perform(waiting(30))
    assert talk.said[0] == f"Job 7 is {status.value}."


def test_a_long_wait_says_every_ten_minutes_that_nothing_has_changed() -> None:
    began = {"startTime": "1970-01-01T00:16:40Z"}
    talk = Talk([*(reply(200, job(7, **began)) for _ in range(50)), reply(200, job(7, "succeeded", **began))])
    talk.perform(waiting(30))
    assert talk.said == [
        "Job 7 is running.",
        "Job 7 is still running, 10 min after its start.",
        "Job 7 is still running, 20 min after its start.",
        "Job 7 is succeeded.",
    ]


jobs_ends = {"succeeded", "failed", "cancelled"}


def test_each_change_of_status_is_said_once_and_an_unknown_one_explained() -> None:
    statuses = ["running", "running", "mystery", "mystery", "succeeded"]
    talk = Talk([reply(200, job(7, status)) for status in statuses])
    talk.perform(waiting(30))
    assert len(talk.said) == 3
    assert "'mystery', a status that this version does not know" in talk.said[1]


def test_trouble_is_ridden_out_with_one_line_when_it_begins_and_one_when_it_is_over() -> None:
    running = reply(200, job(7))
    talk = Talk([running, silence(), reply(502), reply(429), silence(), running, reply(200, job(7, "succeeded"))])
    assert talk.perform(waiting(30)).job.status == "succeeded"
    assert [line.split(";")[0] for line in talk.said] == [
        "Job 7 is running.",
        "Airbyte cannot tell how job 7 is doing",
        "Airbyte answers again.",
        "Job 7 is succeeded.",
    ]


def test_trouble_that_does_not_end_is_an_error_after_the_budget_of_time() -> None:
    talk = Talk([reply(200, job(7)), *[silence()] * 31])
    with pytest.raises(errors.AirbyteUnreachableError, match="has not told for 1800 s"):
        talk.perform(waiting(60, unreachable_timeout=1800))


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_what_cannot_heal_ends_the_wait_at_once(status: int) -> None:
    with pytest.raises(errors.AirbyteResponseError):
        Talk([reply(200, job(7)), reply(status)]).perform(waiting(60))


def test_a_deadline_ends_the_wait_and_the_last_pause_ends_at_it() -> None:
    talk = Talk([reply(200, job(7))] * 3)
    with pytest.raises(errors.AirbyteJobTimeoutError, match="its status is running") as caught:
        talk.perform(waiting(60, deadline=1_000 + 90))
    assert caught.value.job_id == 7
    assert talk.pauses == [60, 30]


def test_the_first_look_may_come_later() -> None:
    talk = Talk([reply(200, job(7, "succeeded"))])
    talk.perform(waiting(60, first_pause=8))
    assert talk.pauses == [8]


def test_the_status_is_looked_at_before_the_clock() -> None:
    talk = Talk([reply(200, job(7, "succeeded"))])
    assert talk.perform(waiting(60, deadline=500.0)).job.status == "succeeded"


def test_a_rate_limit_while_polling_is_heeded() -> None:
    talk = Talk([reply(200, job(7)), reply(429, retry_after="90"), reply(200, job(7)), reply(200, job(7, "succeeded"))])
    talk.perform(waiting(5))
    assert talk.pauses == [5, 90, 5]


def test_the_page_of_a_proxy_is_ridden_out_once_the_job_was_seen() -> None:
    page = reply(404, b"default backend - 404")
    talk = Talk([reply(200, job(7)), page, reply(200, job(7, "succeeded"))])
    assert talk.perform(waiting(5)).job.status == "succeeded"
    with pytest.raises(errors.AirbyteUnexpectedReplyError):
        Talk([page]).perform(waiting(5))
    talk = Talk([page, reply(200, job(7, "succeeded"))])
    assert talk.perform(waiting(5, first_pause=10)).looks == 2


def test_pauses_grow_while_airbyte_is_away() -> None:
    talk = Talk([*[silence()] * 7, reply(200, job(7, "succeeded"))])
    talk.perform(waiting(5))
    assert talk.pauses == [5, 5, 8, 16, 32, 60, 60]


def test_the_number_of_looks_is_told() -> None:
    talk = Talk([reply(200, job(7)), silence(), reply(200, job(7, "succeeded"))])
    assert talk.perform(waiting(30)).looks == 3


@pytest.mark.parametrize("status", ["pending", "queued"])
def test_a_job_that_does_not_begin_in_time_ends_the_wait(status: str) -> None:
    talk = Talk([reply(200, job(7, status))] * 3)
    with pytest.raises(errors.AirbyteJobTimeoutError, match=f"has not begun .* its status is {status}"):
        talk.perform(waiting(60, queue_deadline=1_000 + 90))
    assert talk.pauses == [60, 30]


def test_a_job_that_has_begun_has_left_the_queue_for_good() -> None:
    statuses = ["queued", "running", "incomplete", "pending", "running", "succeeded"]
    talk = Talk([reply(200, job(7, status)) for status in statuses])
    assert talk.perform(waiting(60, queue_deadline=1_000 + 90)).job.status == "succeeded"


def test_the_time_in_the_queue_counts_also_while_airbyte_is_away() -> None:
    talk = Talk([silence()] * 2)
    with pytest.raises(errors.AirbyteJobTimeoutError):
        talk.perform(waiting(60, deadline=1_000 + 30))


# -- a job that Airbyte does not show --------------------------------------------------------------------------

UNKNOWN = [
    answer(replies.forbidden("WORKSPACE_READER")),
    answer(replies.not_found("JOB", "7")),
    answer(replies.state_conflict("Job is not currently running")),
]


@pytest.mark.parametrize("unknown", UNKNOWN, ids=["403", "404", "409"])
def test_a_job_that_airbyte_does_not_show_yet_is_asked_for_once_more(unknown: Response) -> None:
    talk = Talk([unknown, reply(200, job(7)), reply(200, job(7, "succeeded"))])
    assert talk.perform(waiting(30, is_seen=True)).job.status == "succeeded"
    assert talk.pauses == [jobs.GRACE_PAUSE, 30]
    assert "no job" not in talk.said[0]


@pytest.mark.parametrize("unknown", UNKNOWN, ids=["403", "404", "409"])
@pytest.mark.parametrize("before", [[], [reply(200, job(7))] * 4], ids=["twice at the start", "later"])
def test_a_job_that_is_gone_is_no_longer_visible(unknown: Response, before: list[Response]) -> None:
    answers = [*before, unknown] if before else [unknown, unknown]
    with pytest.raises(errors.AirbyteNotFoundError, match="Job 7 is no longer visible") as caught:
        Talk(answers).perform(waiting(30, is_seen=True))
    assert "no job" not in str(caught.value)


@pytest.mark.parametrize("unknown", UNKNOWN, ids=["403", "404", "409"])
def test_a_job_that_nobody_has_seen_is_not_found_at_once(unknown: Response) -> None:
    with pytest.raises(errors.AirbyteNotFoundError, match="There is no job 7"):
        Talk([unknown]).perform(waiting(30))


# -- cancelling ------------------------------------------------------------------------------------------------


def test_a_running_job_is_cancelled() -> None:
    talk = Talk([reply(200, job(7)), reply(200, job(7, "cancelled"))])
    assert talk.perform(jobs.cancel_job(7)).status == "cancelled"
    assert talk.asked == ["GET /jobs/7", "DELETE /jobs/7"]


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_a_finished_job_is_left_alone_since_a_newer_one_might_be_hit(status: str) -> None:
    talk = Talk([reply(200, job(7, status))])
    assert talk.perform(jobs.cancel_job(7)).status == status
    assert talk.asked == ["GET /jobs/7"]


def test_a_job_that_ended_just_before_counts_as_cancelled() -> None:
    over = answer(replies.state_conflict("Job is not currently running"))
    talk = Talk([reply(200, job(7)), over, reply(200, job(7, "succeeded"))])
    assert talk.perform(jobs.cancel_job(7)).status == "succeeded"


@pytest.mark.parametrize("refusal", [reply(429), silence(sent=False)], ids=["429", "refused"])
def test_before_a_cancel_is_tried_again_the_job_is_looked_at_again(refusal: Any) -> None:
    """It may have ended meanwhile, and a newer job of its connection would be hit."""
    talk = Talk([reply(200, job(7)), refusal, reply(200, job(7, "succeeded"))])
    assert talk.perform(jobs.cancel_job(7)).status == "succeeded"
    assert talk.asked == ["GET /jobs/7", "DELETE /jobs/7", "GET /jobs/7"]
    assert len(talk.pauses) == 1


def test_a_cancel_that_is_refused_for_long_is_an_error() -> None:
    talk = Talk([each for _ in range(99) for each in (reply(200, job(7)), reply(429))])
    with pytest.raises(errors.AirbyteRateLimitError):
        talk.perform(jobs.cancel_job(7))
    assert sum(talk.pauses) >= jobs.CANCEL_PATIENCE


def test_a_cancel_whose_reply_is_lost_is_no_error_if_the_job_is_over() -> None:
    talk = Talk([reply(200, job(7)), silence(), reply(200, job(7, "cancelled"))])
    assert talk.perform(jobs.cancel_job(7)).status == "cancelled"
    assert talk.asked.count("DELETE /jobs/7") == 1


NOT_OBEYED = [
    (silence(), True),
    (silence(sent=False), False),
    (reply(500), True),
    (reply(502), True),
    (reply(504), True),
    (reply(200, b"<html>"), True),
    (reply(404, b"<html>"), False),
    (answer(replies.state_conflict("Job is not currently running")), True),
]


@pytest.mark.parametrize(("trouble", "looks_at_once"), NOT_OBEYED)
def test_a_cancel_that_was_not_obeyed_is_repeated_after_another_look(trouble: Any, looks_at_once: bool) -> None:
    still = reply(200, job(7))
    looks = 2 if looks_at_once else 1
    talk = Talk([still, trouble, *[still] * looks, reply(200, job(7, "cancelled"))])
    assert talk.perform(jobs.cancel_job(7)).status == "cancelled"
    assert talk.asked.count("DELETE /jobs/7") == 2
    deletes = [number for number, asked in enumerate(talk.asked) if asked.startswith("DELETE")]
    assert all(talk.asked[number - 1] == "GET /jobs/7" for number in deletes)


def test_a_cancel_that_was_not_obeyed_spares_the_job_that_came_after() -> None:
    talk = Talk([reply(200, job(7)), reply(502), reply(200, job(7)), reply(200, job(7, "failed"))])
    assert talk.perform(jobs.cancel_job(7)).status == "failed"
    assert talk.asked.count("DELETE /jobs/7") == 1


def test_the_looks_of_a_cancel_ride_out_what_the_request_does() -> None:
    talk = Talk(
        [reply(503), reply(200, job(7)), reply(502), reply(503), reply(200, job(7)), reply(200, job(7, "cancelled"))]
    )
    assert talk.perform(jobs.cancel_job(7)).status == "cancelled"
    assert talk.asked.count("DELETE /jobs/7") == 2


@pytest.mark.parametrize("refusal", [reply(403, {"title": "forbidden", "status": 403}), reply(401)])
def test_a_cancel_that_airbyte_refuses_is_an_error_at_once(refusal: Response) -> None:
    talk = Talk([reply(200, job(7)), refusal, refusal])
    with pytest.raises(errors.AirbyteResponseError):
        talk.perform(jobs.cancel_job(7))
    talk.answers.clear()
    assert talk.pauses == []


def test_a_page_at_the_first_look_is_ridden_out_for_a_job_that_was_seen() -> None:
    page = reply(404, b"<html>")
    talk = Talk([page, reply(200, job(7)), reply(200, job(7, "cancelled"))])
    assert talk.perform(jobs.cancel_and_wait(7)).status == "cancelled"
    with pytest.raises(errors.AirbyteUnexpectedReplyError):
        Talk([page]).perform(jobs.cancel_job(7))


def test_a_job_that_was_seen_and_is_gone_is_no_longer_visible_to_a_cancel() -> None:
    with pytest.raises(errors.AirbyteNotFoundError, match="Job 7 is no longer visible"):
        Talk([UNKNOWN[1]]).perform(jobs.cancel_and_wait(7))


def test_a_cancel_of_a_job_that_is_not_there_deletes_nothing() -> None:
    talk = Talk([answer(replies.not_found("JOB", "7"))])
    with pytest.raises(errors.AirbyteNotFoundError, match="There is no job 7"):
        talk.perform(jobs.cancel_job(7))
    assert talk.asked == ["GET /jobs/7"]


def test_a_job_that_runs_on_though_its_cancel_was_accepted_is_cancelled_again() -> None:
    runs = reply(200, job(7))
    polls = int(jobs.CANCEL.longest_pause / jobs.CANCEL.first_pause) + 1
    talk = Talk([runs, runs, *[runs] * polls, runs, reply(200, job(7, "cancelled"))])
    assert talk.perform(jobs.cancel_and_wait(7)).status == "cancelled"
    assert talk.asked.count("DELETE /jobs/7") == 2


def test_a_job_that_no_cancel_stops_is_given_back_as_it_is_after_a_while() -> None:
    talk = Talk([reply(200, job(7))] * 999)
    made = jobs.cancel_and_wait(7)
    with pytest.raises(AssertionError, match="never asked for"):
        talk.perform(made)
    assert jobs.CANCEL_PATIENCE <= sum(talk.pauses) < jobs.CANCEL_PATIENCE + jobs.CANCEL.first_pause
    assert talk.asked.count("DELETE /jobs/7") == 8


# -- replies about something else ------------------------------------------------------------------------------


def test_a_reply_that_shows_another_job_is_unexpected() -> None:
    with pytest.raises(errors.AirbyteUnexpectedReplyError, match="its job_id is 999, expected 7"):
        Talk([reply(200, job(999, "succeeded"))]).perform(jobs.get_job(7))


def test_another_jobs_success_does_not_end_a_wait() -> None:
    talk = Talk([reply(200, job(7)), reply(200, job(999, "succeeded")), reply(200, job(7, "failed"))])
    assert talk.perform(waiting(30)).job.status == "failed"


def test_a_cancel_that_is_answered_with_another_job_is_looked_at_again() -> None:
    talk = Talk([reply(200, job(7)), reply(200, job(999, "cancelled")), reply(200, job(7, "cancelled"))])
    assert talk.perform(jobs.cancel_job(7)).job_id == 7
