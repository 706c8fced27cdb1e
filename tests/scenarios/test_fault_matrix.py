"""What may go wrong around a sync, in both ways of waiting. Each case says how many jobs are made and cancelled."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators.airbyte import AirbyteCancelJobOperator, AirbyteSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte, responses
from airflow_provider_airbyte_api.testing.responses import Gateway
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY, STRIPE_TO_POSTGRES
from airflow_provider_airbyte_api.types import CancelResult, JobResult
from tests.helpers.dags import run
from tests.helpers.tasks import FakeContext, FakeTaskInstance, execute, sync

POLL = r"/jobs/\d+"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@dataclass
class Case:
    """``made`` and ``cancelled`` count jobs, besides those that ``arrange`` puts there."""

    name: str
    arrange: Callable[[LocalAirbyte], object] = bool
    state: str = "success"
    made: int = 1
    cancelled: int = 0
    connection_id: str = STRIPE_TO_BIGQUERY
    arguments: dict[str, Any] = field(default_factory=dict)
    polls: int | None = None
    """The most requests for a job."""


def running(status: str = "running", *script: str, job_type: str = "sync") -> Callable[[LocalAirbyte], object]:
    """A job that somebody else started."""

    def arrange(airbyte: LocalAirbyte) -> None:
        airbyte.add_job(STRIPE_TO_BIGQUERY, status, job_type=job_type).script = list(script)

    return arrange


def two_running(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running", age=60)
    airbyte.add_job(STRIPE_TO_BIGQUERY, "pending").script = ["running", "running", "succeeded"]


def status_of(status: str) -> Callable[[LocalAirbyte], object]:
    return lambda airbyte: airbyte.connections[0].update(status=status)


def becomes(status: str) -> Callable[[LocalAirbyte], object]:
    """The connection is still shown as active when the task looks, and is not any more when it starts the sync."""

    def arrange(airbyte: LocalAirbyte) -> None:
        shown = responses.as_json(dict(airbyte.connections[0])).body.decode()
        airbyte.connections[0]["status"] = status
        airbyte.respond_with(200, method="GET", path="/connections/.*", body=shown)

    return arrange


def short_lived_tokens(airbyte: LocalAirbyte) -> None:
    airbyte.script_jobs(*["running"] * 25, "succeeded")
    for _ in range(5):
        airbyte.respond_with(path=POLL, times=4)
        airbyte.respond_with(401, path=POLL)


def reply(status: int | None = None, **more: Any) -> Callable[[LocalAirbyte], object]:
    return lambda airbyte: airbyte.respond_with(status, **more)


def start_reply(status: int | None = None, **more: Any) -> Callable[[LocalAirbyte], object]:
    return reply(status, method="POST", path="/jobs", **more)


def pending_reset(airbyte: LocalAirbyte) -> None:
    """A reset is in the queue when the sync is requested, and was not when the newest job was looked for."""
    reset = airbyte.add_job(STRIPE_TO_BIGQUERY, "pending", job_type="reset")
    reset.script = ["pending", "running", "running", "succeeded"]
    airbyte.respond_with(200, method="GET", path="/jobs", body='{"data": []}')
    answered = {"jobId": reset.job_id, "status": "pending", "jobType": "reset", "connectionId": STRIPE_TO_BIGQUERY}
    airbyte.respond_with(200, method="POST", path="/jobs", body=json.dumps(answered))


def lost_in_an_outage(airbyte: LocalAirbyte) -> None:
    airbyte.respond_with(200, method="GET", path="/jobs", body='{"data": []}')
    airbyte.respond_with(502, method="POST", path="/jobs", apply_first=True)
    airbyte.respond_with(503, method="GET", path="/jobs", times=14)


def not_cancelled_at_once(status: int | None = None, **more: Any) -> Callable[[LocalAirbyte], object]:
    def arrange(airbyte: LocalAirbyte) -> None:
        airbyte.script_jobs("running")
        airbyte.respond_with(status, method="DELETE", path=POLL, **more)

    return arrange


def restart_in_trouble(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.respond_with(method="DELETE", path=POLL, drop_connection=True, times=2)


RESTART = {"on_running": "restart"}
NOT_READY = json.dumps({"title": "actor-not-ready", "status": 409, "detail": "The connector has to be set up first."})
ALREADY_RUNNING = responses.already_running(STRIPE_TO_BIGQUERY).body.decode()
CONFLICT = responses.state_conflict().body.decode()

CASES = [
    Case("nothing goes wrong"),
    # The start
    Case("the reply is lost after the job was made", lambda airbyte: airbyte.drop_next_response()),
    Case("the reply is lost before the job was made", start_reply(drop_connection=True)),
    Case("500 after the job was made", start_reply(500, apply_first=True)),
    Case("500 before the job was made", start_reply(500)),
    Case("502 of a proxy after the job was made", start_reply(502, apply_first=True)),
    Case("502 of a proxy before the job was made", start_reply(502)),
    Case("409 for a job that is yet to come", start_reply(409, body=CONFLICT, apply_first=True)),
    Case("409 for a job that never comes", start_reply(409, body=CONFLICT)),
    Case("a web page after the job was made", start_reply(200, body="<html>", apply_first=True)),
    Case("three times 500 without a job", start_reply(500, times=3), "failed", made=0),
    Case("429 without Retry-After", start_reply(429, times=2)),
    Case("429 with Retry-After", start_reply(429, headers={"Retry-After": "7"}, times=2)),
    Case("a redirect", start_reply(302, headers={"Location": "http://127.0.0.1:9/v1/jobs"}, times=5)),
    Case("a redirect for good", start_reply(302, headers={"Location": "/sign-in"}, times=999), "failed", made=0),
    Case("409 that names its reason", start_reply(409, body=NOT_READY, times=9), "failed", made=0),
    Case("answered with a pending reset: attach", pending_reset),
    Case("answered with a pending reset: wait", pending_reset, arguments={"on_running": "wait"}),
    Case("answered with a pending reset: skip", pending_reset, "skipped", made=0, arguments={"on_running": "skip"}),
    Case("answered with a pending reset: fail", pending_reset, "failed", made=0, arguments={"on_running": "fail"}),
    Case("answered with a pending reset: restart", pending_reset, cancelled=1, arguments={"on_running": "restart"}),
    # Airbyte is away at the start
    Case("away for ten minutes before the first reply", reply(503, path="/connections/.*", times=14)),
    Case("away for ten minutes before the look at the newest job", reply(502, path="/jobs", method="GET", times=14)),
    Case("away for ten minutes after the look", start_reply(429, headers={"Retry-After": "60"}, times=10)),
    Case("away for ten minutes just after the request", lost_in_an_outage),
    Case("no token for ten minutes", reply(502, path="/applications/token", times=14)),
    Case("no token for good", reply(503, path="/applications/token", times=999), "failed", made=0),
    Case("away for good", reply(503, path="/connections/.*", times=999), "failed", made=0),
    Case(
        "away for longer than unreachable_timeout",
        reply(503, path="/connections/.*", times=14),
        "failed",
        made=0,
        arguments={"unreachable_timeout": 300},
    ),
    Case("a wrong secret", lambda airbyte: setattr(airbyte, "client_secret", "changed"), "failed", made=0),
    Case("401 once", start_reply(401)),
    Case("401 for good", reply(401, path="/jobs.*", times=99), "failed", made=0),
    Case("403", start_reply(403), "failed", made=0),
    Case("422", start_reply(422), "failed", made=0),
    # Something runs already
    Case("a sync runs: attach", running("running", "running", "running", "succeeded"), made=0),
    Case("a sync runs and fails: attach", running("running", "running", "running", "failed"), "failed", made=0),
    Case("a sync runs for too long: attach", running(), "failed", made=0, arguments={"timeout": 60}),
    Case("a reset runs: attach", running("running", "running", "running", "succeeded", job_type="reset")),
    Case("two are shown as running: attach", two_running, made=0),
    Case(
        "a sync runs: wait",
        running("running", "running", "running", "failed"),
        arguments={"on_running": "wait"},
    ),
    Case("a sync runs: skip", running(), "skipped", made=0, arguments={"on_running": "skip"}),
    Case("a sync runs: fail", running(), "failed", made=0, arguments={"on_running": "fail"}),
    Case("a sync runs: restart", running(), cancelled=1, arguments={"on_running": "restart"}),
    Case("a job that ended between the 409 and the list", start_reply(409, body=ALREADY_RUNNING)),
    Case("already running for good, and no job", start_reply(409, body=ALREADY_RUNNING, times=99), "failed", made=0),
    # The connection
    Case("inactive", status_of("inactive"), "failed", made=0),
    Case("inactive: skip", status_of("inactive"), "skipped", made=0, arguments={"on_inactive": "skip"}),
    Case("deleted", status_of("deprecated"), "failed", made=0),
    Case("locked", status_of("locked"), "failed", made=0),
    Case("becomes inactive", becomes("inactive"), "failed", made=0),
    Case("becomes inactive: skip", becomes("inactive"), "skipped", made=0, arguments={"on_inactive": "skip"}),
    Case("becomes locked", becomes("locked"), "failed", made=0),
    Case("unknown", state="failed", made=0, connection_id=UNKNOWN),
    # Waiting
    Case("reset while polling", lambda airbyte: airbyte.drop_next_response("GET", POLL)),
    Case("five times 502 while polling", reply(502, path=POLL, times=5)),
    Case("429 while polling", reply(429, path=POLL, times=3)),
    Case("500 of the token endpoint while polling", reply(401, path=POLL)),
    Case("a token that dies before its time", short_lived_tokens),
    Case("403 of a service mesh while polling", reply(403, path=POLL, times=2, body="RBAC: access denied")),
    Case("404 of a gateway while polling", reply(404, path=POLL, times=2, body='{"message": "no Route matched"}')),
    Case("401 of an identity proxy while polling", reply(401, path=POLL, times=4, body="<html>Sign in</html>")),
    Case("401 for good while polling", reply(401, path=POLL, times=99), "failed", polls=2),
    Case("403 once, just after the start", reply(403, path=POLL)),
    Case("404 once, just after the start", reply(404, path=POLL)),
    Case("403 while polling", reply(403, path=POLL, times=99), "failed", polls=2),
    Case("404 while polling", reply(404, path=POLL, times=99), "failed", polls=2),
    Case("away for more than half an hour", reply(503, path=POLL, times=9999), "failed", polls=60),
    Case(
        "away for more than unreachable_timeout",
        reply(503, path=POLL, times=9999),
        "failed",
        polls=12,
        arguments={"unreachable_timeout": 300},
    ),
    # The end
    Case("the job fails", lambda airbyte: airbyte.script_jobs("running", "failed"), "failed"),
    Case("the job is cancelled", lambda airbyte: airbyte.script_jobs("running", "cancelled"), "failed"),
    Case(
        "out of time",
        lambda airbyte: airbyte.script_jobs("running"),
        "failed",
        cancelled=1,
        arguments={"timeout": 600},
    ),
    Case(
        "out of time, and the cancel is lost",
        not_cancelled_at_once(drop_connection=True, times=2),
        "failed",
        cancelled=1,
        arguments={"timeout": 600},
    ),
    Case(
        "out of time, and the cancel is returned 502",
        not_cancelled_at_once(502, times=3),
        "failed",
        cancelled=1,
        arguments={"timeout": 600},
    ),
    Case(
        "out of time, and the cancel is accepted and not obeyed",
        not_cancelled_at_once(200, body='{"jobId": 1, "status": "running"}'),
        "failed",
        cancelled=1,
        arguments={"timeout": 600},
    ),
    Case("a sync runs: restart, and the cancel is lost", restart_in_trouble, cancelled=1, arguments=RESTART),
    Case(
        "out of time in the queue",
        lambda airbyte: airbyte.script_jobs("queued"),
        "failed",
        cancelled=1,
        arguments={"queue_timeout": 600},
        polls=30,
    ),
    Case(
        "long in the queue, but not too long",
        lambda airbyte: airbyte.script_jobs("queued", "running", "running", "pending", "running", "succeeded"),
        arguments={"queue_timeout": 80},
    ),
]


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_costs_no_sync_and_starts_no_second_one(
    dag: DAG, airbyte: LocalAirbyte, case: Case, deferrable: bool
) -> None:
    airbyte.script_jobs("running", "succeeded")
    case.arrange(airbyte)
    before = len(airbyte.jobs)
    arguments = {"poll_interval": 30, **case.arguments}
    AirbyteSyncOperator(task_id="sync", connection_id=case.connection_id, deferrable=deferrable, **arguments)
    done = run(dag)
    jobs = airbyte.jobs
    assert done.states == {"sync": case.state}
    assert (len(jobs) - before, len(airbyte.cancelled)) == (case.made, case.cancelled)
    if case.polls is not None:
        assert len(airbyte.requests_to("GET", POLL)) <= case.polls
    if case.state == "success":
        assert done.xcom("sync")["status"] == "succeeded"
        assert done.xcom("sync")["job_id"] == jobs[-1].job_id


# -- who said it -----------------------------------------------------------------------------------------------

STATUSES = (302, 400, 401, 403, 404, 409, 422, 429, 500, 501, 503)
SHAPES: dict[str, Gateway | None] = {"Airbyte": None, "JSON": "json", "HTML": "html", "text": "text", "empty": "empty"}
REFUSED_BY_AIRBYTE: dict[int, type[exceptions.AirbyteResponseError]] = {
    400: exceptions.AirbyteBadRequestError,
    401: exceptions.AirbyteAuthenticationError,
    403: exceptions.AirbytePermissionError,
    404: exceptions.AirbyteNotFoundError,
    422: exceptions.AirbyteBadRequestError,
    501: exceptions.AirbyteBadRequestError,
}
"""What Airbyte alone can say for good. A 409 that hides its reason, as here, leaves open what happened."""


def sync_task() -> JobResult:
    return execute(sync(), FakeContext())


def cancel_task(job_id: int) -> CancelResult:
    context: Any = {"ti": FakeTaskInstance()}
    return AirbyteCancelJobOperator(task_id="cancel", job_id=job_id).execute(context)


def answer_twice(airbyte: LocalAirbyte, method: str, path: str, status: int, shape: str) -> None:
    times = 4 if status == 401 else 2  # each 401 earns a replay
    headers = {"Location": "/sign-in"} if status == 302 else None
    airbyte.respond_with(status, method=method, path=path, gateway=SHAPES[shape], headers=headers, times=times)


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", STATUSES)
def test_only_airbyte_can_refuse_a_start(airbyte: LocalAirbyte, status: int, shape: str) -> None:
    answer_twice(airbyte, "POST", "/jobs", status, shape)
    refused = REFUSED_BY_AIRBYTE.get(status) if shape == "Airbyte" else None
    if refused is None:
        assert sync_task()["job_id"] == 1
    else:
        with pytest.raises(refused):
            sync_task()
    assert len(airbyte.jobs) == (refused is None)


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", STATUSES)
def test_only_airbyte_can_refuse_a_cancel(airbyte: LocalAirbyte, status: int, shape: str) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    answer_twice(airbyte, "DELETE", POLL, status, shape)
    refused = REFUSED_BY_AIRBYTE.get(status) if shape == "Airbyte" else None
    if refused is None:
        assert cancel_task(job.job_id)["cancelled"]
    else:
        with pytest.raises(refused):
            cancel_task(job.job_id)
    assert airbyte.cancelled == ([job.job_id] if refused is None else [])


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("path", ["/connections/.*", POLL])
def test_before_the_first_airbyte_response_only_an_outage_is_retried(
    airbyte: LocalAirbyte, path: str, status: int, shape: str
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running" if path == POLL else "succeeded")
    answer_twice(airbyte, "GET", path, status, shape)
    is_an_outage = status == 429 or (status >= 500 and (status, shape) != (501, "Airbyte"))
    with nullcontext() if is_an_outage else pytest.raises(exceptions.AirbyteResponseError):
        if path == POLL:
            cancel_task(job.job_id)
        else:
            sync_task()
    made, cancelled = (0, int(is_an_outage)) if path == POLL else (int(is_an_outage), 0)
    assert (len(airbyte.jobs) - 1, len(airbyte.cancelled)) == (made, cancelled)


# -- retries ---------------------------------------------------------------------------------------------------


@contextmanager
def once_started(airbyte: LocalAirbyte, action: Callable[[], object]) -> Iterator[None]:
    """Do ``action`` as soon as the first job is made, while the block runs."""

    def watch() -> None:
        while not airbyte.jobs:
            time.sleep(0.001)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    thread.join(10)


def tries(airbyte: LocalAirbyte) -> int:
    """Each try looks at the Airbyte connection once."""
    return len(airbyte.requests_to("GET", "/connections/.*"))


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
@pytest.mark.parametrize(
    ("statuses", "made"),
    [(["running", "running", "succeeded"], 1), (["succeeded"], 1), (["failed"], 2), (["cancelled"], 2)],
    ids=["still runs", "has succeeded", "has failed", "was cancelled"],
)
def test_a_retry_follows_the_sync_of_the_previous_attempt_unless_it_failed(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool, statuses: list[str], made: int
) -> None:
    airbyte.script_jobs(*statuses)
    airbyte.respond_with(403, method="GET", path=POLL, times=2)  # ends the first try, with its sync left running
    AirbyteSyncOperator(
        task_id="sync",
        connection_id=STRIPE_TO_BIGQUERY,
        deferrable=deferrable,
        poll_interval=0.02,
        retries=1,
        retry_delay=0,
    )
    with once_started(airbyte, lambda: airbyte.script_jobs("succeeded")):
        done = run(dag)
    assert done.states == {"sync": "success"}
    assert (len(airbyte.jobs), tries(airbyte)) == (made, 2)
    assert done.xcom("sync")["job_id"] == made
    assert done.xcom("sync", "job_id") == made, "FakeTaskInstance are pushed again by the try that follows"


def test_without_durable_a_retry_knows_nothing(dag: DAG, airbyte: LocalAirbyte) -> None:
    airbyte.script_jobs("succeeded")
    airbyte.respond_with(403, method="GET", path=POLL, times=2)
    AirbyteSyncOperator(
        task_id="sync",
        connection_id=STRIPE_TO_BIGQUERY,
        poll_interval=0.02,
        retries=1,
        retry_delay=0,
        durable=False,
    )
    with once_started(airbyte, lambda: airbyte.finish_job(1)):
        done = run(dag)
    assert done.states == {"sync": "success"}
    assert (len(airbyte.jobs), tries(airbyte)) == (2, 2)


def test_token_endpoint_outage_during_wait(dag: DAG, airbyte: LocalAirbyte, fast_clock: None) -> None:
    airbyte.script_jobs("running", "running", "succeeded")
    airbyte.respond_with(401, method="GET", path=POLL)
    AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, deferrable=True)
    away = {"method": "POST", "path": "/applications/token", "times": 5}
    with once_started(airbyte, lambda: airbyte.respond_with(503, **away)):  # type: ignore[arg-type]
        done = run(dag)
    assert done.states == {"sync": "success"}
    assert len(airbyte.jobs) == 1


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
def test_a_start_may_take_much_longer_than_any_other_reply(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    """As Airbyte answers a start after 70 s on a bad day, more than twice what is granted to other requests."""
    make: Any = ClientSettings.__init__
    monkeypatch.setattr(
        ClientSettings, "__init__", lambda self, *args, **more: make(self, *args, **{**more, "read_timeout": 0.5})
    )
    airbyte.respond_with(method="POST", path="/jobs", delay=1.5)
    AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, deferrable=deferrable, poll_interval=0.02)
    assert run(dag).states == {"sync": "success"}
    assert len(airbyte.jobs) == len(airbyte.requests_to("POST", "/jobs")) == 1


def test_a_server_that_is_not_there_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    late = LocalAirbyte(port=port)
    monkeypatch.setenv(
        "AIRFLOW_CONN_AIRBYTE_API_DEFAULT",
        f'{{"conn_type": "airbyte_api", "host": "http://127.0.0.1:{port}", '
        f'"login": "{late.client_id}", "password": "{late.client_secret}"}}',
    )
    timer = threading.Timer(1.5, late.start)
    timer.start()
    try:
        AirbyteHook().start_sync(SNOWFLAKE_TO_POSTGRES)
        assert len(late.jobs) == 1
    finally:
        timer.join()
        late.stop()


def test_an_inactive_connection_of_the_seed_is_an_inactive_error(airbyte: LocalAirbyte) -> None:
    assert AirbyteHook().get_airbyte_connection(STRIPE_TO_POSTGRES).status == "inactive"
