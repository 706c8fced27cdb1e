"""A task run as a table: what is stored of it, what Airbyte shows, and what the run does then."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import resources
from airflow_provider_airbyte_api.api.backoff import RetryPolicy
from airflow_provider_airbyte_api.api.flow import Flow
from airflow_provider_airbyte_api.api.http import Response, TransportFailure
from airflow_provider_airbyte_api.api.job_record import JobRecord
from airflow_provider_airbyte_api.api.models import Connection
from airflow_provider_airbyte_api.api.run_job import (
    Completed,
    Defer,
    Outcome,
    RunHistory,
    RunOptions,
    resume_job,
    run_job,
)
from airflow_provider_airbyte_api.api.start_job import Skipped
from airflow_provider_airbyte_api.testing import responses
from tests.helpers.scripted_driver import CONNECTION, ScriptedDriver, job, no_response, reply

NOW = 1_000.0
FIRST = RunHistory()


def listed(*found: dict[str, Any]) -> Response:
    return reply(200, {"data": list(found)})


def shown(job_id: int = 12, status: str = "running", **more: Any) -> Response:
    return reply(200, job(job_id, status, **more))


def connection(**more: Any) -> Response:
    return reply(200, {"connectionId": CONNECTION, "name": "Mine", "status": "active", **more})


CONFLICT = reply(409, responses.already_running(CONNECTION).body)
ACTIVE = connection()
OLD = listed(job(11, "succeeded"))
START = (OLD, shown(12, "pending"))
"""What a start shows: the latest job before it, and then its own."""

INTENT = JobRecord(CONNECTION, 11, NOW)
OURS = replace(INTENT, job_id=12)
OTHERS = replace(INTENT, job_id=11, owned=False)
BEFORE = JobRecord(CONNECTION, 7, NOW - 60, 8)
"""The record of an earlier attempt."""

DIED = replace(BEFORE, job_id=None)
"""The record of an attempt that died while it started its job."""

STARTED = ["GET /jobs", "POST /jobs"]


@dataclass(frozen=True)
class Case:
    """What is known before, what Airbyte answers after it has shown the connection, and what has to come of it."""

    answers: tuple[Response | TransportFailure, ...]
    requests: list[str]
    records: list[JobRecord | None]
    outcome: Outcome | tuple[type, int, bool] | type[Exception]
    history: RunHistory = FIRST
    options: dict[str, Any] = field(default_factory=dict)
    connection: Response = ACTIVE


DEFERS, DEFERS_ATTACHED = (Defer, 12, True), (Defer, 11, False)
CASES = {
    "first attempt": Case(START, STARTED, [INTENT, OURS], DEFERS),
    "reply lost, job found": Case(
        (OLD, no_response(), listed(job(12))), [*STARTED, "GET /jobs"], [INTENT, OURS], DEFERS
    ),
    "reply lost, look-up refused": Case(
        (OLD, no_response(), reply(403)), [*STARTED, "GET /jobs"], [INTENT], exceptions.AirbytePermissionError
    ),
    "start refused": Case((OLD, reply(422)), STARTED, [INTENT, None], exceptions.AirbyteBadRequestError),
    "another sync runs: attach": Case(
        (OLD, CONFLICT, listed(job(11))), [*STARTED, "GET /jobs"], [INTENT, OTHERS], DEFERS_ATTACHED
    ),
    "another sync runs: wait": Case(
        (OLD, CONFLICT, listed(job(11))),
        [*STARTED, "GET /jobs"],
        [INTENT, None],
        DEFERS_ATTACHED,
        options={"on_running": "wait"},
    ),
    "another sync runs: skip": Case(
        (OLD, CONFLICT, listed(job(11))),
        [*STARTED, "GET /jobs"],
        [INTENT, None],
        Skipped("Skipping: job 11 (sync) is already running for Airbyte connection 'Mine'."),
        options={"on_running": "skip"},
    ),
    "another sync runs: fail": Case(
        (OLD, CONFLICT, listed(job(11))),
        [*STARTED, "GET /jobs"],
        [INTENT, None],
        exceptions.AirbyteAlreadyRunningError,
        options={"on_running": "fail"},
    ),
    "another sync runs: restart": Case(
        (OLD, CONFLICT, listed(job(11)), shown(11), shown(11, "cancelled"), shown()),
        [*STARTED, "GET /jobs", "GET /jobs/11", "DELETE /jobs/11", "POST /jobs"],
        [INTENT, OURS],
        DEFERS,
        options={"on_running": "restart"},
    ),
    "another sync has ended": Case(START, STARTED, [INTENT, OURS], DEFERS, RunHistory(waited_for_blocker=True)),
    "the worker waits for another sync": Case(
        (OLD, CONFLICT, listed(job(11)), shown(11, "failed"), *START, shown(12, "succeeded", rowsSynced=1)),
        [*STARTED, "GET /jobs", "GET /jobs/11", *STARTED, "GET /jobs/12"],
        [INTENT, None, replace(INTENT, started_at=NOW + 30), replace(OURS, started_at=NOW + 30)],
        (Completed, 12, True),
        options={"on_running": "wait", "deferrable": False},
    ),
    "nobody waits": Case(START, STARTED, [INTENT, OURS], (Completed, 12, True), options={"wait_for_completion": False}),
    "retry: the job runs": Case((shown(8),), ["GET /jobs/8"], [BEFORE], (Defer, 8, True), RunHistory(BEFORE)),
    "retry: the other's job runs": Case(
        (shown(8),),
        ["GET /jobs/8"],
        [replace(BEFORE, owned=False)],
        (Defer, 8, False),
        RunHistory(replace(BEFORE, owned=False)),
    ),
    "retry: the job has succeeded": Case(
        (shown(8, "succeeded", rowsSynced=1),), ["GET /jobs/8"], [BEFORE], (Completed, 8, True), RunHistory(BEFORE)
    ),
    "retry: the job has succeeded with too few rows": Case(
        (shown(8, "succeeded", rowsSynced=1), *START),
        ["GET /jobs/8", *STARTED],
        [INTENT, OURS],
        DEFERS,
        RunHistory(BEFORE),
        {"min_rows": 2},
    ),
    "retry: the job has failed": Case(
        (shown(8, "failed"), *START), ["GET /jobs/8", *STARTED], [INTENT, OURS], DEFERS, RunHistory(BEFORE)
    ),
    "retry: the job is gone": Case(
        (reply(404), reply(404), listed(), *START),
        ["GET /jobs/8", "GET /jobs/8", "GET /jobs", *STARTED],
        [replace(INTENT, started_at=NOW + 5), replace(OURS, started_at=NOW + 5)],
        DEFERS,
        RunHistory(BEFORE),
    ),
    "retry: a replica does not know the job yet": Case(
        (reply(404), shown(8)), ["GET /jobs/8"] * 2, [BEFORE], (Defer, 8, True), RunHistory(BEFORE)
    ),
    "retry: only a list has the job": Case(
        (reply(403), reply(404), listed(job(9), job(8))),
        ["GET /jobs/8", "GET /jobs/8", "GET /jobs"],
        [BEFORE],
        (Defer, 8, True),
        RunHistory(BEFORE),
        {"on_running": "restart"},
    ),
    "retry: Airbyte refuses": Case(
        (reply(401), reply(401)), ["GET /jobs/8"] * 2, [], exceptions.AirbyteAuthenticationError, RunHistory(BEFORE)
    ),
    "retry: the record is of another connection": Case(
        START, STARTED, [INTENT, OURS], DEFERS, RunHistory(replace(BEFORE, connection_id="another"))
    ),
    "retry: the worker died, the job runs": Case(
        (listed(job(8)),), ["GET /jobs"], [BEFORE], (Defer, 8, True), RunHistory(DIED)
    ),
    "retry: the worker died, there is no job": Case(
        (listed(), shown()),
        STARTED,
        [replace(INTENT, previous_job_id=7), replace(OURS, previous_job_id=7)],
        DEFERS,
        RunHistory(DIED),
    ),
    "retry: the worker died, the job appears only now": Case(
        (listed(), CONFLICT, listed(job(8))),
        [*STARTED, "GET /jobs"],
        [replace(INTENT, previous_job_id=7), replace(BEFORE, started_at=NOW)],
        (Defer, 8, True),
        RunHistory(DIED),
        {"on_running": "restart"},
    ),
    "retry: the worker died, and again the reply is lost": Case(
        (listed(), reply(422)),
        STARTED,
        [replace(INTENT, previous_job_id=7)],
        exceptions.AirbyteBadRequestError,
        RunHistory(DIED),
    ),
    "retry: the worker died a day ago": Case(
        (listed(), *START),
        ["GET /jobs", *STARTED],
        [INTENT, OURS],
        DEFERS,
        RunHistory(replace(DIED, started_at=NOW - 86400)),
    ),
    "clear: the job runs": Case(
        (shown(8), shown(8), shown(8, "cancelled"), *START),
        ["GET /jobs/8", "GET /jobs/8", "DELETE /jobs/8", *STARTED],
        [INTENT, OURS],
        DEFERS,
        RunHistory(BEFORE, is_cleared=True),
    ),
    "clear: the job has succeeded": Case(
        (shown(8, "succeeded"), *START),
        ["GET /jobs/8", *STARTED],
        [INTENT, OURS],
        DEFERS,
        RunHistory(BEFORE, is_cleared=True),
    ),
    "clear: the other's job runs": Case(
        (shown(8), *START),
        ["GET /jobs/8", *STARTED],
        [INTENT, OURS],
        DEFERS,
        RunHistory(replace(BEFORE, owned=False), is_cleared=True),
    ),
    "no record: a job runs since the DAG run": Case(
        (listed(job(12, startTime="1970-01-01T00:16:00Z")),),
        ["GET /jobs"],
        [replace(OURS, owned=False)],
        (Defer, 12, False),
        RunHistory(created_since=NOW - 60),
    ),
    "no record: a job of the DAG run has ended": Case(
        (listed(job(11, "succeeded", startTime="1970-01-01T00:16:00Z")), *START),
        ["GET /jobs", *STARTED],
        [INTENT, OURS],
        DEFERS,
        RunHistory(created_since=NOW - 60),
    ),
    "inactive": Case((), [], [], exceptions.AirbyteConnectionInactiveError, connection=connection(status="inactive")),
    "scheduled by Airbyte": Case(
        (),
        [],
        [],
        exceptions.AirbyteConfigError,
        options={"on_airbyte_schedule": "fail"},
        connection=connection(schedule={"scheduleType": "cron"}),
    ),
    "scheduled by Airbyte, after another sync": Case(
        START,
        STARTED,
        [INTENT, OURS],
        DEFERS,
        RunHistory(waited_for_blocker=True),
        {"on_airbyte_schedule": "fail"},
        connection(schedule={"scheduleType": "cron"}),
    ),
}


def find_connection(retry: RetryPolicy) -> Flow[Connection]:
    return resources.get_connection(CONNECTION, retry)


def run(driver: ScriptedDriver, history: RunHistory = FIRST, connection: Response = ACTIVE, **options: Any) -> Outcome:
    driver.answers.insert(0, connection)
    return driver.run(run_job(RunOptions(**{"deferrable": True, **options}), find_connection, history))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_task_run(case: Case) -> None:
    driver = ScriptedDriver(case.answers)
    if isinstance(case.outcome, type):
        with pytest.raises(case.outcome):
            run(driver, case.history, case.connection, **case.options)
    else:
        outcome = run(driver, case.history, case.connection, **case.options)
        seen = outcome if isinstance(outcome, Skipped) else (type(outcome), outcome.job.job_id, outcome.owned)
        assert seen == case.outcome
    assert driver.calls[1:] == case.requests
    assert driver.records == case.records


def test_on_inactive_skip() -> None:
    driver = ScriptedDriver([])
    outcome = run(driver, connection=connection(status="inactive"), on_inactive="skip")
    assert isinstance(outcome, Skipped)
    assert "is inactive, so no job was started" in outcome.reason
    assert driver.records == []


def test_a_schedule_in_airbyte_is_a_warning() -> None:
    driver = ScriptedDriver(START)
    run(driver, connection=connection(schedule={"scheduleType": "cron"}))
    assert "is also scheduled in Airbyte (cron)" in driver.logs[0]


@pytest.mark.parametrize(
    ("limits", "deadline", "queue_deadline"),
    [
        ({"timeout": None}, None, None),
        ({"timeout": 600.0, "queue_timeout": 60.0}, NOW + 540, NOW),
        ({"timeout": 600.0, "execution_timeout": timedelta(seconds=30)}, NOW + 30, None),
        ({"timeout": None, "execution_timeout": timedelta(seconds=30)}, NOW + 30, None),
    ],
)
def test_deadlines_count_from_the_start_of_the_job_but_execution_timeout_from_now(
    limits: dict[str, Any], deadline: float | None, queue_deadline: float | None
) -> None:
    outcome = run(ScriptedDriver([shown(8)]), RunHistory(BEFORE), **limits)
    assert isinstance(outcome, Defer)
    assert (outcome.options.deadline, outcome.options.queue_deadline) == (deadline, queue_deadline)


@pytest.mark.parametrize(
    ("owned", "then", "requests", "message"),
    [
        (True, [shown(8), shown(8, "cancelled")], ["GET /jobs/8", "DELETE /jobs/8"], "The job was cancelled"),
        (False, [shown(8)], ["GET /jobs/8"], "This task did not start the job, so it was left running"),
        (True, [reply(403)], ["GET /jobs/8"], "The job could not be cancelled"),
    ],
)
def test_out_of_time_only_an_owned_job_is_cancelled(
    owned: bool, then: list[Response], requests: list[str], message: str
) -> None:
    late = exceptions.AirbyteJobTimeoutError("late.", job_id=8)
    driver = ScriptedDriver(then)
    with pytest.raises(exceptions.AirbyteJobTimeoutError, match=message):
        driver.run(resume_job(RunOptions(), 8, None, late, owned=owned))
    assert driver.calls == requests
    in_worker = ScriptedDriver([shown(8), shown(8), *then])
    with pytest.raises(exceptions.AirbyteJobTimeoutError, match=message):
        run(in_worker, RunHistory(replace(BEFORE, owned=owned)), deferrable=False, timeout=1.0)
    assert in_worker.calls[3:] == requests


def test_a_job_that_has_succeeded_in_the_meantime_is_a_success() -> None:
    late = exceptions.AirbyteJobTimeoutError("late.", job_id=8)
    driver = ScriptedDriver([shown(8, "succeeded", rowsSynced=1)])
    assert driver.run(resume_job(RunOptions(), 8, None, late, owned=True)).status == "succeeded"


def test_out_of_time_before_a_start_nothing_was_started() -> None:
    driver = ScriptedDriver([OLD, CONFLICT, listed(job(11)), shown(11)])
    with pytest.raises(exceptions.AirbyteJobTimeoutError, match="so no job was started"):
        run(driver, on_running="wait", deferrable=False, timeout=10.0)
    assert driver.records == [INTENT, None]
