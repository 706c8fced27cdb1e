from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api.api import errors, jobs
from airflow_provider_airbyte_api.api.models import Connection, JobStatus
from airflow_provider_airbyte_api.api.wire import NoResponse, Response
from airflow_provider_airbyte_api.testing import replies
from tests.api.talk import CONNECTION, Talk, job, reply, silence


def answer(made: replies.Reply) -> Response:
    return reply(made.status, made.body)


def listed(*found: dict[str, Any]) -> Response:
    return reply(200, {"data": list(found)})


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


# -- starting --------------------------------------------------------------------------------------------------


def test_a_sync_is_started_once_and_its_job_returned() -> None:
    talk = Talk([listed(), reply(200, job(12, "pending"))])
    assert talk.perform(jobs.start_sync(CONNECTION)).job_id == 12
    assert talk.asked == ["GET /jobs", "POST /jobs"]
    assert talk.sent[1].json == {"connectionId": CONNECTION, "jobType": "sync"}
    assert talk.sent[1].read_timeout is not None
    assert talk.sent[1].read_timeout >= 120


@pytest.mark.parametrize("lost", [silence(), reply(500), reply(502, b"<html>"), reply(200, b"<html>")])
def test_after_a_lost_reply_the_new_job_is_taken_and_no_second_one_started(lost: Response | NoResponse) -> None:
    talk = Talk([listed(job(11, "succeeded")), lost, listed(job(12))])
    assert talk.perform(jobs.start_sync(CONNECTION)).job_id == 12
    assert talk.asked.count("POST /jobs") == 1


def test_after_a_lost_reply_the_job_may_be_long_in_coming() -> None:
    old, talk_back = listed(job(11, "succeeded")), [listed(job(11, "succeeded"))] * 5
    talk = Talk(
        [old, silence(), *talk_back, reply(503), reply(503), reply(503), reply(503), reply(503), listed(job(12))]
    )
    assert talk.perform(jobs.start_sync(CONNECTION)).job_id == 12


def test_after_a_lost_reply_without_a_job_the_error_is_the_lost_reply() -> None:
    never = [listed(job(11, "succeeded"))] * (2 + int(jobs.LOOK_UP_PATIENCE / jobs.LOOK_UP_PAUSE))
    talk = Talk([never[0], silence(), *never[1:]])
    with pytest.raises(errors.AirbyteUnreachableError):
        talk.perform(jobs.start_sync(CONNECTION))
    assert talk.asked.count("POST /jobs") == 1


def test_a_running_sync_is_told_as_such() -> None:
    talk = Talk([listed(job(11)), answer(replies.already_running(CONNECTION))])
    with pytest.raises(errors.AirbyteAlreadyRunningError):
        talk.perform(jobs.start_sync(CONNECTION))


def test_what_is_no_uuid_is_refused_before_anything_is_sent() -> None:
    talk = Talk([])
    with pytest.raises(errors.AirbyteConfigError, match="connection_id is 'stripe'"):
        talk.perform(jobs.start_sync("stripe"))
    assert not talk.sent


@pytest.mark.parametrize(
    ("status", "words"), [("inactive", "switch it on"), ("locked", "locked"), ("deprecated", "deleted")]
)
def test_a_connection_that_cannot_sync_says_why_and_what_to_do(status: str, words: str) -> None:
    connection = Connection.from_json({"connectionId": CONNECTION, "name": "Mine", "status": status})
    with pytest.raises(errors.AirbyteConnectionInactiveError, match=words) as caught:
        jobs.require_active(connection)
    assert "'Mine'" in str(caught.value)


@pytest.mark.parametrize("status", ["active", "something new"])
def test_a_connection_that_may_sync_is_let_through(status: str) -> None:
    jobs.require_active(Connection.from_json({"connectionId": CONNECTION, "status": status}))


# -- waiting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_waiting_goes_on_until_a_job_cannot_change_any_more(end: str) -> None:
    statuses = ["pending", "queued", "running", "incomplete", "a word nobody knows", "running", end]
    talk = Talk([reply(200, job(7, status)) for status in statuses])
    assert talk.perform(jobs.wait_for_job(7, poll_interval=30)).status == end
    assert talk.pauses == [30] * 6


@pytest.mark.parametrize("status", list(JobStatus))
def test_every_known_status_is_said_plainly(status: JobStatus) -> None:
    talk = Talk(
        [reply(200, job(7, status.value)), *([reply(200, job(7, "failed"))] if status.value not in jobs_ends else [])]
    )
    talk.perform(jobs.wait_for_job(7, poll_interval=30))
    assert talk.said[0] == f"Job 7 is {status.value}."


jobs_ends = {"succeeded", "failed", "cancelled"}


def test_each_change_of_status_is_said_once_and_an_unknown_one_explained() -> None:
    statuses = ["running", "running", "mystery", "mystery", "succeeded"]
    talk = Talk([reply(200, job(7, status)) for status in statuses])
    talk.perform(jobs.wait_for_job(7, poll_interval=30))
    assert len(talk.said) == 3
    assert "'mystery', a status that this version does not know" in talk.said[1]


def test_trouble_is_ridden_out_with_one_line_when_it_begins_and_one_when_it_is_over() -> None:
    running = reply(200, job(7))
    talk = Talk([running, silence(), reply(502), reply(429), silence(), running, reply(200, job(7, "succeeded"))])
    assert talk.perform(jobs.wait_for_job(7, poll_interval=30)).status == "succeeded"
    assert [line.split(";")[0] for line in talk.said] == [
        "Job 7 is running.",
        "Airbyte is away",
        "Airbyte is back.",
        "Job 7 is succeeded.",
    ]


def test_trouble_that_does_not_end_is_an_error_after_the_budget_of_time() -> None:
    talk = Talk([reply(200, job(7)), *[silence()] * 31])
    with pytest.raises(errors.AirbyteUnreachableError, match="away for 1800 s"):
        talk.perform(jobs.wait_for_job(7, poll_interval=60, unreachable_timeout=1800))


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_what_cannot_heal_ends_the_wait_at_once(status: int) -> None:
    with pytest.raises(errors.AirbyteResponseError):
        Talk([reply(200, job(7)), reply(status)]).perform(jobs.wait_for_job(7, poll_interval=60))


def test_a_deadline_ends_the_wait_and_the_last_pause_ends_at_it() -> None:
    talk = Talk([reply(200, job(7))] * 3)
    with pytest.raises(errors.AirbyteJobTimeoutError, match="its status is running") as caught:
        talk.perform(jobs.wait_for_job(7, poll_interval=60, deadline=1_000 + 90))
    assert caught.value.job_id == 7
    assert talk.pauses == [60, 30]


def test_the_first_look_may_come_later() -> None:
    talk = Talk([reply(200, job(7, "succeeded"))])
    talk.perform(jobs.wait_for_job(7, poll_interval=60, first_pause=8))
    assert talk.pauses == [8]


def test_the_status_is_looked_at_before_the_clock() -> None:
    talk = Talk([reply(200, job(7, "succeeded"))])
    assert talk.perform(jobs.wait_for_job(7, poll_interval=60, deadline=500.0)).status == "succeeded"


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
