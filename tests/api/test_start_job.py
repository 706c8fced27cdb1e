"""One start is one sync, whatever becomes of the request."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import start_job
from airflow_provider_airbyte_api.api.backoff import while_unreachable
from airflow_provider_airbyte_api.api.flow import Flow
from airflow_provider_airbyte_api.api.http import Response, TransportFailure
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.api.start_job import Blocked, JobRequest, Skipped, Started
from airflow_provider_airbyte_api.testing import responses
from tests.helpers.scripted_driver import CONNECTION, ScriptedDriver, answer, job, no_response, reply

ACTIVE = {"connectionId": CONNECTION, "name": "Mine", "status": "active"}
NEWEST = 11


def listed(*found: dict[str, Any]) -> Response:
    return reply(200, {"data": list(found)})


RUNNING = answer(responses.already_running(CONNECTION))
CONFLICT = answer(responses.state_conflict())
NOTHING = listed()
OLD = listed(job(NEWEST, "succeeded"))


def start(on_running: str = "attach") -> Flow[Started | Blocked | Skipped]:
    return start_job.start_or_attach(Connection.from_json(ACTIVE), NEWEST, JobRequest(on_running=on_running))


def posts(driver: ScriptedDriver) -> int:
    return driver.calls.count("POST /jobs")


def started(driver: ScriptedDriver, on_running: str = "attach") -> Started:
    outcome = driver.run(start(on_running))
    assert isinstance(outcome, Started)
    return outcome


# -- the request -----------------------------------------------------------------------------------------------


def test_start_sends_one_request_with_a_long_timeout() -> None:
    driver = ScriptedDriver([reply(200, job(12, "pending"))])
    outcome = started(driver)
    assert (outcome.job.job_id, outcome.owned) == (12, True)
    assert driver.sent[0].json == {"connectionId": CONNECTION, "jobType": "sync"}
    assert driver.sent[0].read_timeout is not None
    assert driver.sent[0].read_timeout >= 120


@pytest.mark.parametrize(
    ("on_running", "outcome"),
    [("attach", Started), ("wait", Blocked), ("skip", Skipped), ("fail", exceptions.AirbyteAlreadyRunningError)],
)
def test_200_with_an_older_job_is_the_queued_job(on_running: str, outcome: type) -> None:
    """As Airbyte answers since 2026 while a job of the connection waits in its queue, whoever started that."""
    driver = ScriptedDriver([reply(200, job(NEWEST, "pending"))])
    if issubclass(outcome, Exception):
        with pytest.raises(outcome, match=rf"Wait for job {NEWEST} \(sync\)"):
            driver.run(start(on_running))
    else:
        made = driver.run(start(on_running))
        assert isinstance(made, outcome)
        assert not isinstance(made, Started) or not made.owned
    assert posts(driver) == 1


def test_on_running_restart_cancels_a_queued_job() -> None:
    old = job(NEWEST, "pending")
    driver = ScriptedDriver(
        [reply(200, old), reply(200, old), reply(200, {}), reply(200, job(NEWEST, "cancelled")), reply(200, job(12))]
    )
    outcome = started(driver, "restart")
    assert (outcome.job.job_id, outcome.owned, posts(driver)) == (12, True, 2)


OTHER_KIND = {"sync": {**job(12, "pending"), "jobType": "reset"}, "clear": job(12, "pending")}
"""A job of the other kind, which was not there yet before the request, as Airbyte may answer with."""


@pytest.mark.parametrize(("job_type", "before"), [("sync", 0), ("clear", 3)])
@pytest.mark.parametrize(
    ("on_running", "outcome"),
    [("attach", Blocked), ("wait", Blocked), ("skip", Skipped), ("fail", exceptions.AirbyteError)],
)
def test_a_200_with_a_job_of_another_kind_is_no_start(
    job_type: str, before: int, on_running: str, outcome: type
) -> None:
    answered = OTHER_KIND[job_type]
    driver = ScriptedDriver([*[NOTHING] * before, reply(200, answered)])
    request = start_job.start_or_attach(Connection.from_json(ACTIVE), NEWEST, JobRequest(job_type, on_running))
    if issubclass(outcome, Exception):
        with pytest.raises(
            (exceptions.AirbyteAlreadyRunningError, exceptions.AirbyteConnectionBusyError), match=r"[Jj]ob 12"
        ):
            driver.run(request)
    else:
        made = driver.run(request)
        assert isinstance(made, outcome)
        assert not isinstance(made, Blocked) or made.job == Job.from_json(answered)
    assert posts(driver) == 1
    assert not any("DELETE" in each for each in driver.calls)


def test_on_running_restart_cancels_a_pending_reset() -> None:
    pending = {**job(12, "pending"), "jobType": "reset"}
    stopping = [reply(200, pending), reply(200, {**pending, "status": "cancelled"})]
    driver = ScriptedDriver([reply(200, pending), *stopping, reply(200, job(13))])
    assert (started(driver, "restart").job.job_id, posts(driver)) == (13, 2)


def test_the_hook_says_which_job_of_another_kind_comes_first() -> None:
    driver = ScriptedDriver([reply(200, ACTIVE), OLD, reply(200, OTHER_KIND["sync"])])
    with pytest.raises(exceptions.AirbyteAlreadyRunningError, match=r"Wait for job 12 \(reset\)"):
        driver.run(start_job.start_job(CONNECTION))


@pytest.mark.parametrize(
    "finished", [job(NEWEST, "succeeded"), job(12, "succeeded", jobType="reset")], ids=["of before", "a reset"]
)
def test_a_200_with_a_finished_job_that_was_not_asked_for_is_no_sync(finished: dict[str, Any]) -> None:
    driver = ScriptedDriver([reply(200, finished), reply(200, job(13))])
    assert (started(driver).job.job_id, posts(driver)) == (13, 2)
    assert "with job" in driver.logs[0]
    again = 1 + int(start_job.PHANTOM_CONFLICT_TIMEOUT / start_job.LOST_START_POLL_INTERVAL)
    with pytest.raises(exceptions.AirbyteConnectionBusyError, match="No sync was started"):
        ScriptedDriver([reply(200, finished)] * again).run(start())


def test_a_200_with_a_job_of_another_connection_leaves_open_what_was_started() -> None:
    other = job(12, connectionId="00000000-0000-4000-8000-000000000000")
    driver = ScriptedDriver([reply(200, other), listed(job(13))])
    assert (started(driver).job.job_id, posts(driver)) == (13, 1)


@pytest.mark.parametrize("harmless", [no_response(sent=False), reply(429)])
def test_what_airbyte_surely_did_not_process_is_sent_again(harmless: Response | TransportFailure) -> None:
    driver = ScriptedDriver([harmless, reply(200, job(12))])
    assert started(driver).job.job_id == 12


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_non_retryable_error_is_raised(status: int) -> None:
    driver = ScriptedDriver([reply(status)])
    with pytest.raises(exceptions.AirbyteResponseError):
        driver.run(start())


def test_what_is_no_uuid_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match="connection_id is 'stripe'"):
        ScriptedDriver([]).run(start_job.start_job("stripe"))


# -- an unclear outcome ----------------------------------------------------------------------------------------

UNCLEAR = [no_response(), reply(500), reply(502, b"<html>"), reply(504), reply(200, b"<html>")]


@pytest.mark.parametrize("lost", UNCLEAR)
@pytest.mark.parametrize("status", ["pending", "running", "succeeded", "failed", "cancelled"])
def test_after_a_lost_reply_the_new_job_is_taken_and_no_second_one_started(
    lost: Response | TransportFailure, status: str
) -> None:
    driver = ScriptedDriver([lost, listed(job(12, status), job(NEWEST, "succeeded"))])
    outcome = started(driver)
    assert (outcome.job.job_id, outcome.owned, posts(driver)) == (12, True, 1)


def test_after_a_lost_reply_the_job_may_be_long_in_coming() -> None:
    driver = ScriptedDriver([no_response(), *[OLD] * 5, *[reply(503)] * 5, listed(job(12))])
    assert started(driver).job.job_id == 12
    assert posts(driver) == 1


def test_after_a_lost_response_a_reset_of_another_user_is_not_our_sync() -> None:
    reset = {**job(12), "jobType": "reset"}
    driver = ScriptedDriver([no_response(), listed(reset), listed(job(13), reset)])
    assert started(driver).job.job_id == 13


LOOK_UPS = 1 + int(start_job.LOST_START_TIMEOUT / start_job.LOST_START_POLL_INTERVAL)


def test_after_a_lost_reply_without_a_job_it_is_started_again_within_bounds() -> None:
    driver = ScriptedDriver([no_response(), *[OLD] * LOOK_UPS, reply(200, job(12))])
    assert started(driver).job.job_id == 12
    assert posts(driver) == 2
    driver = ScriptedDriver([no_response(), *[OLD] * LOOK_UPS] * start_job.MAX_START_ATTEMPTS)
    with pytest.raises(exceptions.AirbyteUnreachableError):
        driver.run(start())
    assert posts(driver) == start_job.MAX_START_ATTEMPTS


def test_the_job_of_a_lost_request_may_show_only_when_it_is_asked_for_again() -> None:
    """It is ours, so no policy on what others run applies."""
    driver = ScriptedDriver([no_response(), *[OLD] * LOOK_UPS, RUNNING, listed(job(12))])
    outcome = started(driver, "fail")
    assert (outcome.job.job_id, outcome.owned) == (12, True)


# -- 409: already running --------------------------------------------------------------------------------------


def test_attach_waits_for_the_sync_that_runs_and_does_not_own_it() -> None:
    driver = ScriptedDriver([RUNNING, listed(job(NEWEST))])
    outcome = started(driver)
    assert (outcome.job.job_id, outcome.owned, posts(driver)) == (NEWEST, False, 1)
    assert "Attaching to job" in driver.logs[0]


def test_the_newest_of_two_that_are_listed_as_running_counts() -> None:
    driver = ScriptedDriver([RUNNING, listed(job(11, "pending"), job(9, "running"), job(10, "failed"))])
    assert started(driver).job.job_id == 11


@pytest.mark.parametrize("policy", ["attach", "wait"])
def test_attach_waits_for_a_job_of_another_type(policy: str) -> None:
    driver = ScriptedDriver([RUNNING, listed({**job(11), "jobType": "reset"})])
    assert driver.run(start(policy)) == Blocked(Job.from_json({**job(11), "jobType": "reset"}))


def test_a_refresh_is_found_by_its_name_where_the_list_leaves_it_out() -> None:
    driver = ScriptedDriver([RUNNING, OLD, listed({**job(11), "jobType": "refresh"})])
    assert isinstance(driver.run(start()), Blocked)
    assert dict(driver.sent[-1].query)["jobType"] == "refresh"


def test_wait_has_a_sync_end_first_too() -> None:
    assert isinstance(ScriptedDriver([RUNNING, listed(job(11))]).run(start("wait")), Blocked)


def test_skip_says_what_runs() -> None:
    outcome = ScriptedDriver([RUNNING, listed(job(11))]).run(start("skip"))
    assert isinstance(outcome, Skipped)
    assert "job 11 (sync) is already running for Airbyte connection 'Mine'" in outcome.reason


def test_fail_names_the_job_that_runs() -> None:
    with pytest.raises(exceptions.AirbyteAlreadyRunningError, match=r"Wait for job 11 \(sync\)"):
        ScriptedDriver([RUNNING, listed(job(11))]).run(start("fail"))


def test_restart_cancels_what_runs_waits_for_its_end_and_starts() -> None:
    stopping = [reply(200, job(11)), reply(200, job(11)), reply(200, job(11)), reply(200, job(11, "cancelled"))]
    driver = ScriptedDriver([RUNNING, listed(job(11)), *stopping, reply(200, job(12))])
    assert started(driver, "restart").job.job_id == 12
    assert driver.calls.count("DELETE /jobs/11") == 1


def test_a_job_that_was_cancelled_for_a_restart_is_never_taken_for_the_one_started_after_it() -> None:
    foreign = [reply(200, job(12)), reply(200, job(12)), reply(200, job(12, "cancelled"))]
    driver = ScriptedDriver(
        [RUNNING, listed(job(12)), *foreign, no_response(), listed(job(12, "cancelled")), listed(job(13))]
    )
    assert started(driver, "restart").job.job_id == 13


def test_a_job_that_ended_between_the_409_and_the_list_is_no_obstacle() -> None:
    driver = ScriptedDriver([RUNNING, OLD, NOTHING, NOTHING, reply(200, job(12))])
    assert started(driver).job.job_id == 12


def test_a_409_without_any_job_is_an_error_after_a_while() -> None:
    tries = 1 + int(start_job.PHANTOM_CONFLICT_TIMEOUT / start_job.LOST_START_POLL_INTERVAL)
    driver = ScriptedDriver([RUNNING, OLD, NOTHING, NOTHING] * tries)
    with pytest.raises(exceptions.AirbyteAlreadyRunningError):
        driver.run(start())


# -- 409: state conflict ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"), [("inactive", "Enable it"), ("locked", "locked"), ("deprecated", "deleted")]
)
def test_a_conflict_of_an_inactive_connection_is_an_inactive_error(status: str, words: str) -> None:
    driver = ScriptedDriver([CONFLICT, reply(200, {**ACTIVE, "status": status})])
    with pytest.raises(exceptions.AirbyteConnectionInactiveError, match=words) as caught:
        driver.run(start())
    assert "'Mine'" in str(caught.value)
    assert posts(driver) == 1


@pytest.mark.parametrize("status", ["active", "something new"])
def test_a_connection_that_may_sync_is_let_through(status: str) -> None:
    start_job.ensure_active(Connection.from_json({**ACTIVE, "status": status}))


def test_a_conflict_of_an_active_connection_may_be_a_job_that_is_yet_to_come() -> None:
    driver = ScriptedDriver([CONFLICT, reply(200, ACTIVE), OLD, listed(job(12))])
    assert started(driver).job.job_id == 12
    assert posts(driver) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"title": "actor-not-ready", "detail": "Complete the setup of the connector first."},
        {"title": "Connection is locked", "type": "error:connection/locked", "detail": "The connection is locked."},
        {"title": "state-conflict", "data": {"message": "Whatever else is in the way"}},
    ],
    ids=["actor-not-ready", "locked", "any other"],
)
@pytest.mark.parametrize(("job_type", "before"), [("sync", 0), ("clear", 3)])
def test_a_conflict_that_names_its_reason_is_reported_at_once(body: dict[str, Any], job_type: str, before: int) -> None:
    driver = ScriptedDriver([*[NOTHING] * before, reply(409, {"status": 409, **body}), reply(200, ACTIVE)])
    with pytest.raises(exceptions.AirbyteConflictError) as caught:
        driver.run(start_job.start_or_attach(Connection.from_json(ACTIVE), NEWEST, JobRequest(job_type, "fail")))
    assert (posts(driver), driver.pauses, caught.value.outcome_unknown) == (1, [], False)


NO_REASON = [CONFLICT, reply(409, {"title": "state-conflict", "detail": "State conflict"}), reply(409, b"<html>")]


@pytest.mark.parametrize("conflict", NO_REASON, ids=["hidden", "without a message", "a page"])
def test_a_conflict_that_hides_its_reason_or_is_not_airbytes_leaves_the_outcome_open(conflict: Response) -> None:
    driver = ScriptedDriver([conflict, reply(200, ACTIVE), listed(job(12))])
    outcome = driver.run(patient())
    assert isinstance(outcome, Started)
    assert (outcome.job.job_id, outcome.owned, posts(driver)) == (12, True, 1)


@pytest.mark.parametrize("trouble", [no_response(sent=False), reply(503)])
def test_outcome_of_a_reasonless_conflict_stays_unknown_if_the_next_request_fails(
    trouble: Response | TransportFailure,
) -> None:
    with pytest.raises(exceptions.AirbyteError) as caught:
        ScriptedDriver([CONFLICT, *[trouble] * 5]).run(start())
    assert caught.value.outcome_unknown


def test_a_deleted_workflow_is_no_job_that_runs_and_is_not_retried() -> None:
    message = (
        "The connection manager workflow for connection c is deleted, so no further operations cannot be performed"
    )
    deleted = reply(409, {"title": "try-again-later", "status": 409, "data": {"message": message}})
    driver = ScriptedDriver([deleted, reply(200, ACTIVE)])
    with pytest.raises(exceptions.AirbyteConflictError, match="is deleted"):
        driver.run(start())


# -- an outage -------------------------------------------------------------------------------------------------


def patient(job_type: str = "sync") -> Flow[Started | Blocked | Skipped]:
    """As an operator starts."""
    retry = while_unreachable(1800, airbyte_confirmed=True)
    return start_job.start_or_attach(Connection.from_json(ACTIVE), NEWEST, JobRequest(job_type, "fail"), retry)


@pytest.mark.parametrize(
    "away",
    [no_response(sent=False), reply(429), reply(302, location="https://sign-in.example"), reply(404, b"<html>")],
    ids=["refused", "429", "redirect", "a page"],
)
@pytest.mark.parametrize(("job_type", "before"), [("sync", 0), ("clear", 3)])
def test_rejected_start_is_retried_for_unreachable_timeout(
    away: Response | TransportFailure, job_type: str, before: int
) -> None:
    quiet = [NOTHING] * before
    made = job(12) if job_type == "sync" else {**job(12), "jobType": "reset"}
    driver = ScriptedDriver([*[*quiet, away] * 12, *quiet, reply(200, made)])
    outcome = driver.run(patient(job_type))
    assert isinstance(outcome, Started)
    assert (outcome.job.job_id, posts(driver)) == (12, 13)
    assert 300 < sum(driver.pauses) < 1800
    assert [line.split(";")[0] for line in driver.logs] == ["Airbyte is unreachable", "Airbyte is reachable again."]


@pytest.mark.parametrize(("job_type", "before"), [("sync", 0), ("clear", 3)])
def test_an_outage_of_a_start_ends_when_the_time_is_over_and_is_not_remembered(job_type: str, before: int) -> None:
    driver = ScriptedDriver([*[NOTHING] * before, no_response(sent=False)] * 99)
    with pytest.raises(exceptions.AirbyteUnreachableError) as caught:
        driver.run(patient(job_type))
    assert sum(driver.pauses) == 1800
    assert not caught.value.outcome_unknown


def test_an_outage_after_a_lost_reply_starts_no_second_job() -> None:
    """Nothing tells that the job is not there until Airbyte answers."""
    driver = ScriptedDriver([reply(502), *[no_response(sent=False)] * 15, listed(job(12, "succeeded"))])
    outcome = driver.run(patient())
    assert isinstance(outcome, Started)
    assert sum(driver.pauses) > start_job.LOST_START_TIMEOUT
    assert (outcome.job.job_id, posts(driver)) == (12, 1)


def test_an_outage_after_a_lost_reply_that_does_not_end_is_remembered() -> None:
    driver = ScriptedDriver([reply(502), *[no_response(sent=False)] * 99])
    with pytest.raises(exceptions.AirbyteUnreachableError) as caught:
        driver.run(patient())
    assert caught.value.outcome_unknown
    assert posts(driver) == 1


# -- looking ---------------------------------------------------------------------------------------------------


def test_the_newest_job_is_asked_for_by_name_of_the_order() -> None:
    driver = ScriptedDriver([listed(job(12))])
    assert driver.run(start_job.get_latest_job_id(CONNECTION)) == 12
    assert dict(driver.sent[0].query)["orderBy"] == "createdAt|DESC"
    assert ScriptedDriver([NOTHING]).run(start_job.get_latest_job_id(CONNECTION)) == 0


def test_a_sync_since_a_moment_is_found_by_the_servers_clock() -> None:
    early = job(11, startTime="2026-11-23T10:00:00Z")
    late = job(12, startTime="2026-11-23T10:05Z")
    reset = {**job(13, startTime="2026-11-23T10:06Z"), "jobType": "reset"}
    moment = 1_795_428_060.0  # 10:01
    found = ScriptedDriver([listed(reset, late, early)]).run(
        start_job.find_job_created_since(CONNECTION, moment, JobRequest())
    )
    assert found is not None
    assert found.job_id == 12
    assert (
        ScriptedDriver([listed(early)]).run(start_job.find_job_created_since(CONNECTION, moment, JobRequest())) is None
    )


STARTED_AT = 1_795_428_000.0  # 2026-11-23 10:00, by our clock


def after(driver: ScriptedDriver, latest: float = STARTED_AT, on_running: str = "attach") -> Job | None:
    driver.clock = STARTED_AT + 7200
    return driver.run(
        start_job.find_job_newer_than(CONNECTION, NEWEST, JobRequest(on_running=on_running), latest=latest)
    )


def test_of_several_new_jobs_the_oldest_is_ours() -> None:
    found = after(
        ScriptedDriver([listed(job(14, startTime="2026-11-23T10:00:03Z"), job(13), {**job(12), "jobType": "reset"})])
    )
    assert found is not None
    assert found.job_id == 13


def test_a_job_that_was_cancelled_to_make_room_is_not_ours() -> None:
    rows = listed(job(13), job(12, "cancelled"))
    found = {on_running: after(ScriptedDriver([rows]), on_running=on_running) for on_running in ("restart", "attach")}
    assert {on_running: job and job.job_id for on_running, job in found.items()} == {"restart": 13, "attach": 12}


@pytest.mark.parametrize(("start_time", "is_ours"), [("10:04:59", True), ("10:05:01", False)])
def test_a_job_that_was_created_long_after_the_start_is_not_ours(start_time: str, is_ours: bool) -> None:
    found = after(ScriptedDriver([listed(job(12, startTime=f"2026-11-23T{start_time}Z"))]))
    assert (found is not None) == is_ours


def test_job_creation_times_use_the_servers_clock() -> None:
    a_day_ahead = reply(200, {"data": [job(12, startTime="2026-11-24T10:00Z")]}, date="Tue, 24 Nov 2026 12:00:00 GMT")
    assert after(ScriptedDriver([a_day_ahead])) is not None


NO_ID: list[dict[str, Any]] = [
    {**job(), "jobId": None},
    {"status": "running", "startTime": "2026-11-23T10:00Z"},
    {"jobId": "x", "status": 5},
]


@pytest.mark.parametrize("row", [*NO_ID, None, []], ids=str)
def test_an_unreadable_row_does_not_hide_the_others(row: Any) -> None:
    assert ScriptedDriver([listed(row, job(12))]).run(start_job.get_latest_job_id(CONNECTION)) == 12
    assert started(ScriptedDriver([no_response(), listed(row, job(12))])).job.job_id == 12
    assert started(ScriptedDriver([RUNNING, listed(row, job(12))])).job.job_id == 12


def test_a_job_whose_status_cannot_be_read_is_not_finished() -> None:
    row = {**job(12), "status": None}
    assert started(ScriptedDriver([no_response(), listed(row)])).job.job_id == 12
    assert started(ScriptedDriver([RUNNING, listed(row)])).job.job_id == 12
    with pytest.raises(exceptions.AirbyteConnectionBusyError, match=r"[Jj]ob 12"):
        ScriptedDriver([listed(row)]).run(clear())


@pytest.mark.parametrize("row", NO_ID, ids=str)
def test_an_unreadable_row_that_may_be_ours_starts_no_second_sync(row: dict[str, Any]) -> None:
    driver = ScriptedDriver([no_response(), *[listed(row)] * LOOK_UPS])
    with pytest.raises(exceptions.AirbyteConnectionBusyError, match="may be the one that this task started") as caught:
        driver.run(start())
    assert (posts(driver), caught.value.outcome_unknown) == (1, True)


@pytest.mark.parametrize(
    "row",
    [{**NO_ID[0], "jobType": "reset"}, {**NO_ID[0], "connectionId": "00000000-0000-4000-8000-000000000000"}],
    ids=["another kind", "another connection"],
)
def test_an_unreadable_row_that_cannot_be_ours_is_left_out(row: dict[str, Any]) -> None:
    driver = ScriptedDriver([no_response(), *[listed(row)] * LOOK_UPS, reply(200, job(12))])
    assert (started(driver).job.job_id, posts(driver)) == (12, 2)


def test_an_unreadable_row_that_may_be_running_is_not_cleared_over() -> None:
    driver = ScriptedDriver([listed(NO_ID[0]), NOTHING, NOTHING])
    with pytest.raises(exceptions.AirbyteConnectionBusyError, match="may be a running one"):
        driver.run(clear())
    finished = listed({**NO_ID[0], "status": "succeeded"})
    assert isinstance(ScriptedDriver([finished, NOTHING, NOTHING, reply(200, reset(12))]).run(clear()), Started)


def test_a_list_of_unreadable_rows_alone_gives_no_latest_id() -> None:
    with pytest.raises(exceptions.AirbyteConnectionBusyError, match="may be the latest one"):
        ScriptedDriver([listed(NO_ID[0])]).run(start_job.get_latest_job_id(CONNECTION))


# -- clearing --------------------------------------------------------------------------------------------------


def clear(on_running: str = "fail", job_type: str = "clear") -> Flow[Started | Blocked | Skipped]:
    return start_job.start_or_attach(Connection.from_json(ACTIVE), NEWEST, JobRequest(job_type, on_running))


def reset(job_id: int, status: str = "running") -> dict[str, Any]:
    return {**job(job_id, status), "jobType": "reset"}


QUIET = [OLD, NOTHING, NOTHING]
"""What shows that nothing runs: the newest jobs, refreshes and clears."""


@pytest.mark.parametrize("job_type", ["clear", "reset"])
def test_a_clear_lists_running_jobs_before_it_starts(job_type: str) -> None:
    driver = ScriptedDriver([*QUIET, reply(200, reset(12, "pending"))])
    outcome = driver.run(clear(job_type=job_type))
    assert isinstance(outcome, Started)
    assert (outcome.job.job_id, outcome.owned) == (12, True)
    assert driver.sent[-1].json == {"connectionId": CONNECTION, "jobType": job_type}
    assert driver.logs == []


def test_a_clear_is_refused_while_a_sync_runs_and_nothing_is_sent() -> None:
    driver = ScriptedDriver([listed(job(12))])
    with pytest.raises(
        exceptions.AirbyteConnectionBusyError, match=r"Job 12 \(sync\) is already running .* A clear would cancel it"
    ):
        driver.run(clear())
    assert posts(driver) == 0


def test_a_clear_may_wait_or_be_left_out() -> None:
    waits = ScriptedDriver([listed(job(12))]).run(clear("wait"))
    assert isinstance(waits, Blocked)
    assert waits.job.job_id == 12
    assert isinstance(ScriptedDriver([listed(job(12))]).run(clear("skip")), Skipped)


def test_a_clear_that_may_cancel_does_so_by_the_jobs_id_and_then_starts() -> None:
    stopped = reply(200, job(12, "cancelled"))
    driver = ScriptedDriver([listed(job(12)), reply(200, job(12)), stopped, *QUIET, reply(200, reset(13))])
    outcome = driver.run(clear("restart"))
    assert isinstance(outcome, Started)
    assert outcome.job.job_id == 13
    assert [each for each in driver.calls if not each.startswith("GET")] == ["DELETE /jobs/12", "POST /jobs"]


def test_a_clear_whose_reply_got_lost_is_found_by_its_type() -> None:
    driver = ScriptedDriver([*QUIET, no_response(), listed(job(12), reset(13, "pending"))])
    outcome = driver.run(clear())
    assert isinstance(outcome, Started)
    assert outcome.job.job_id == 13
    assert posts(driver) == 1


def test_a_clear_of_ours_that_shows_up_late_is_not_started_twice() -> None:
    nothing_for_long = [OLD] * 19
    driver = ScriptedDriver([*QUIET, no_response(), *nothing_for_long, listed(reset(13))])
    outcome = driver.run(clear())
    assert isinstance(outcome, Started)
    assert (outcome.job.job_id, outcome.owned) == (13, True)
    assert posts(driver) == 1


@pytest.mark.parametrize("harmless", [no_response(sent=False), reply(429)])
def test_running_jobs_are_listed_again_before_a_second_attempt_to_clear(harmless: Response | TransportFailure) -> None:
    driver = ScriptedDriver([*QUIET, harmless, listed(job(12))])
    with pytest.raises(exceptions.AirbyteConnectionBusyError):
        driver.run(clear())
    assert posts(driver) == 1
    driver = ScriptedDriver([*QUIET, harmless, *QUIET, reply(200, reset(12))])
    assert isinstance(driver.run(clear()), Started)
    assert sum(driver.pauses) > 0


def test_a_clear_gives_up_after_a_while() -> None:
    driver = ScriptedDriver([each for _ in range(12) for each in (*QUIET, reply(429))])
    with pytest.raises(exceptions.AirbyteRateLimitError):
        driver.run(clear())
    driver.answers.clear()


def test_what_may_have_been_started_is_not_forgotten_for_a_refusal_that_follows() -> None:
    """The task remembers then what to look for at its next try."""
    nothing_for_long = [OLD] * 19
    driver = ScriptedDriver([*QUIET, no_response(), *nothing_for_long, *QUIET, reply(403)])
    with pytest.raises(exceptions.AirbytePermissionError) as caught:
        driver.run(clear())
    assert caught.value.outcome_unknown


def test_an_error_after_a_long_search_is_retried() -> None:
    nothing_for_long = [OLD] * 19
    driver = ScriptedDriver(
        [*QUIET, no_response(), *nothing_for_long, *QUIET, reply(429), *QUIET, reply(200, reset(13))]
    )
    assert isinstance(driver.run(clear()), Started)


def test_a_conflict_of_a_deleted_connection_is_an_inactive_error() -> None:
    deleted = answer(
        responses.as_json({"title": "try-again-later", "data": {"message": "The connection manager is deleted."}}, 409)
    )
    for now, kind in (
        ("deprecated", exceptions.AirbyteConnectionInactiveError),
        ("active", exceptions.AirbyteConflictError),
    ):
        driver = ScriptedDriver([*QUIET, deleted, reply(200, {**ACTIVE, "status": now})])
        with pytest.raises(kind):
            driver.run(clear())
        assert posts(driver) == 1


def test_a_clear_of_an_inactive_connection_fails_only_if_airbyte_rejects_it() -> None:
    inactive = reply(200, {**ACTIVE, "status": "inactive"})
    with pytest.raises(exceptions.AirbyteConnectionInactiveError, match="Enable it in Airbyte"):
        ScriptedDriver([inactive, OLD, *QUIET, CONFLICT, inactive]).run(start_job.start_job(CONNECTION, "clear"))


def test_a_start_that_is_answered_with_a_job_of_another_connection_is_unclear_and_looked_up() -> None:
    foreign = reply(200, job(12, "pending", connectionId="00000000-0000-4000-8000-000000000000"))
    driver = ScriptedDriver([foreign, listed(job(13, "running"))])
    started = driver.run(start())
    assert isinstance(started, Started)
    assert (started.job.job_id, posts(driver)) == (13, 1)


def test_the_error_of_a_forbidden_start_does_not_claim_that_the_connection_is_missing() -> None:
    driver = ScriptedDriver([answer(responses.forbidden("WORKSPACE_RUNNER"))])
    with pytest.raises(exceptions.AirbytePermissionError) as raised:
        driver.run(start())
    assert str(raised.value).endswith(start_job.START_FORBIDDEN_HINT)
    assert "do not exist" not in str(raised.value)
    assert posts(driver) == 1


def test_a_job_of_another_connection_is_never_taken_up_though_the_server_lists_it() -> None:
    foreign = {**job(12), "connectionId": "00000000-0000-4000-8000-00000000000f"}
    found = ScriptedDriver([listed(foreign)]).run(start_job.find_job_newer_than(CONNECTION, NEWEST, JobRequest()))
    assert found is None


def test_the_latest_job_id_counts_jobs_of_other_connections_so_that_no_old_job_is_taken_up() -> None:
    foreign = {**job(99), "connectionId": "00000000-0000-4000-8000-00000000000f"}
    assert ScriptedDriver([listed(foreign)]).run(start_job.get_latest_job_id(CONNECTION)) == 99
