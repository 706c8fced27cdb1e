"""Clearing a connection: once, and never over a running sync unless told so."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import start_job
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators.airbyte import AirbyteClearOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from tests.helpers.dags import run
from tests.helpers.tasks import FakeContext, FakeTaskInstance, FakeTaskStateStore
from tests.versions import not_on, since


def execute(task: Any) -> dict[str, Any]:
    """Run a task that does not defer, without Airflow around it."""
    return cast("dict[str, Any]", task.execute({"ti": FakeTaskInstance()}))


BOTH_MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


def clear(**more: Any) -> AirbyteClearOperator:
    return AirbyteClearOperator(
        **{"task_id": "clear", "connection_id": STRIPE_TO_BIGQUERY, "poll_interval": 0.02, **more}
    )


def types(airbyte: LocalAirbyte) -> list[tuple[str, str]]:
    return [(job.job_type, job.status) for job in airbyte.jobs]


@BOTH_MODES
@pytest.mark.parametrize("job_type", ["clear", "reset"])
def test_a_connection_is_cleared_once(dag: DAG, airbyte: LocalAirbyte, deferrable: bool, job_type: str) -> None:
    clear(deferrable=deferrable, job_type=job_type)
    done = run(dag)
    assert done.succeeded
    assert types(airbyte) == [("reset", "succeeded")]
    assert airbyte.requests_to("POST", "/jobs")[0].json()["jobType"] == job_type
    result = done.xcom("clear")
    assert (result["job_type"], result["status"]) == ("reset", "succeeded")
    assert done.xcom("clear", "job_url") == result["job_url"]


@BOTH_MODES
def test_a_running_sync_is_left_alone_by_default(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    clear(deferrable=deferrable)
    assert not run(dag).succeeded
    assert types(airbyte) == [("sync", "running")]
    with pytest.raises(exceptions.AirbyteConnectionBusyError, match="would cancel it, so no job was started"):
        execute(clear(task_id="again"))


@BOTH_MODES
def test_on_running_restart_cancels_sync(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    sync = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    clear(deferrable=deferrable, on_running="restart")
    assert run(dag).succeeded
    assert types(airbyte) == [("sync", "cancelled"), ("reset", "succeeded")]
    assert airbyte.cancelled == [sync.job_id]


@BOTH_MODES
def test_on_running_wait_waits_for_sync(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    sync = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    threading.Timer(0.5, airbyte.finish_job, [sync.job_id]).start()
    clear(deferrable=deferrable, on_running="wait")
    assert run(dag).succeeded
    assert types(airbyte) == [("sync", "succeeded"), ("reset", "succeeded")]
    assert airbyte.cancelled == []


def test_on_running_skip(dag: DAG, airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    clear(on_running="skip")
    assert run(dag).states == {"clear": "skipped"}
    assert types(airbyte) == [("sync", "running")]


@BOTH_MODES
def test_a_retry_follows_the_clear_of_the_previous_attempt(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.script_jobs("pending", "running", "running", "succeeded")
    airbyte.respond_with(403, method="GET", path=r"/jobs/\d+")  # ends the first try, with its clear left running
    clear(deferrable=deferrable, retries=1, retry_delay=0)
    assert run(dag).succeeded
    assert types(airbyte) == [("reset", "succeeded")]


def test_a_lost_reply_does_not_clear_twice(dag: DAG, airbyte: LocalAirbyte) -> None:
    airbyte.drop_next_response()
    clear()
    assert run(dag).succeeded
    assert types(airbyte) == [("reset", "succeeded")]


@since("3.0", "it executes operators in the main thread only")
def test_a_killed_task_cancels_its_clear(airbyte: LocalAirbyte) -> None:
    airbyte.script_jobs("running")
    task = clear()
    ended: list[BaseException] = []

    def wait_for_it() -> None:
        try:
            execute(task)
        except exceptions.AirbyteJobCancelledError as error:
            ended.append(error)

    running = threading.Thread(target=wait_for_it, daemon=True)
    running.start()
    for _ in range(500):
        if airbyte.requests_to("GET", r"/jobs/\d+"):
            break
        time.sleep(0.01)
    task.on_kill()
    running.join(10)
    assert len(ended) == 1
    assert types(airbyte) == [("reset", "cancelled")]


def test_a_429_is_no_reason_to_clear_over_a_sync_that_started_meanwhile(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    def a_sync_starts(seconds: float) -> None:
        if not airbyte.jobs:
            airbyte.add_job(STRIPE_TO_BIGQUERY, "running")

    monkeypatch.setattr(CLOCK, "sleep", a_sync_starts)
    airbyte.respond_with(429, method="POST", path="/jobs")
    with pytest.raises(exceptions.AirbyteConnectionBusyError):
        execute(clear())
    assert types(airbyte) == [("sync", "running")]


def test_a_task_that_is_killed_while_it_waits_for_its_turn_clears_nothing(airbyte: LocalAirbyte) -> None:
    sync = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    task = clear(on_running="wait")

    def kill() -> None:
        for _ in range(500):
            if airbyte.requests_to("GET", f"/jobs/{sync.job_id}"):
                break
            time.sleep(0.01)
        task.on_kill()
        airbyte.finish_job(sync.job_id)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(AirflowException, match="killed before it started a job"):
        execute(task)
    assert types(airbyte) == [("sync", "succeeded")]


@not_on("3.0", "DAG.test calls no callback")
@BOTH_MODES
def test_the_error_of_a_timed_out_wait_for_a_blocker_says_nothing_was_cleared(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool
) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    said: list[BaseException] = []
    clear(
        on_running="wait",
        timeout=0.3,
        deferrable=deferrable,
        on_failure_callback=lambda context: said.append(context["exception"]),
    )
    assert not run(dag).succeeded
    assert types(airbyte) == [("sync", "running")]
    assert "It has to finish before this task starts a clear, so no job was started. Raise timeout" in str(said[0])


def test_unfinished_start_of_a_dead_attempt_is_recovered(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airbyte may hold a clear for minutes before there is a job; a second one would cancel the first."""
    store = FakeTaskStateStore()
    late = clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start_job, "start_or_attach", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            late.execute(cast("Any", FakeContext(store)))

    def it_shows_up_at_last(seconds: float) -> None:
        airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", job_type="reset")

    monkeypatch.setattr(CLOCK, "sleep", it_shows_up_at_last)
    assert clear(task_id="next").execute(cast("Any", FakeContext(store, try_number=2)))["job_id"] == 1
    assert airbyte.requests_to("POST", "/jobs") == []


@pytest.mark.parametrize("status", ["inactive", "deprecated"])
def test_on_inactive_holds_for_a_clear_too(dag: DAG, airbyte: LocalAirbyte, status: str) -> None:
    row = next(each for each in airbyte.connections if each["connectionId"] == STRIPE_TO_BIGQUERY)
    row["status"] = status
    clear(on_inactive="skip")
    assert run(dag).states == {"clear": "skipped"}
    with pytest.raises(exceptions.AirbyteConnectionInactiveError, match=f"is {status}, so no job was started"):
        execute(clear(task_id="fails"))


def test_a_missing_role_is_named(airbyte: LocalAirbyte) -> None:
    airbyte.respond_with(403, method="POST", path="/jobs")
    with pytest.raises(
        exceptions.AirbytePermissionError, match=r"a clear requires editor, a reset \(job_type\) runner"
    ):
        execute(clear())


def test_a_refresh_is_refused_with_the_reason() -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=r"public API does not offer.*A clear followed by a sync"):
        clear(job_type="refresh")


@pytest.mark.parametrize(
    ("given", "message"),
    [({"job_type": "sync"}, "expected one of clear, reset"), ({"on_running": "attach"}, "expected one of fail, wait")],
)
def test_what_makes_no_sense_is_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=message):
        clear(**given)


def test_the_hook_clears_too_and_not_over_a_running_sync(airbyte: LocalAirbyte) -> None:
    airbyte.script_jobs("running")
    job = AirbyteHook().start_clear(STRIPE_TO_BIGQUERY)
    assert job.job_type == "reset"
    with pytest.raises(exceptions.AirbyteConnectionBusyError, match=r"Job 1 \(reset\) is already running"):
        AirbyteHook().start_clear(STRIPE_TO_BIGQUERY)
    assert len(airbyte.jobs) == 1
