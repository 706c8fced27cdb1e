"""Killed, cleared, out of time: whose job is cancelled then, and whose is not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowSkipException, TaskDeferred

from airflow_provider_airbyte_api import _airflow_compat, exceptions
from airflow_provider_airbyte_api.api.tokens import Token
from airflow_provider_airbyte_api.clients.token_cache import TOKENS
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators._base import AirbyteJobOperator
from airflow_provider_airbyte_api.operators._execution import JobExecution
from airflow_provider_airbyte_api.operators._job_state import STATE_KEY
from airflow_provider_airbyte_api.operators.airbyte import (
    AirbyteCancelJobOperator,
    AirbyteClearOperator,
    AirbyteSyncOperator,
)
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger
from tests.helpers.cancelled_trigger import set_task_status, with_task
from tests.helpers.clock import wait_until
from tests.helpers.tasks import FakeContext, FakeTaskStateStore, defer, execute, sync
from tests.versions import before, since

ON_AIRFLOW_2 = before("3.0", "Airflow 3 resumes a task whatever time has passed")


# -- from try to try -------------------------------------------------------------------------------------------


def test_what_is_remembered_is_small_json_without_a_secret(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    execute(sync(), FakeContext(store))
    assert store[STATE_KEY].keys() == {"connection_id", "previous_job_id", "started_at", "max_tries", "job_id", "owned"}
    assert store[STATE_KEY]["job_id"] == 1


def test_the_next_attempt_finds_the_sync_of_a_worker_that_died_during_its_start(airbyte: LocalAirbyte) -> None:
    """The record is there before the request, so the job is found although nobody ever heard of it."""
    store = FakeTaskStateStore()
    airbyte.script_jobs("running", "succeeded")
    first = FakeContext(store)
    task = sync()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobExecution, "_follow", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            execute(task, first)
    store[STATE_KEY]["job_id"] = None  # it died before it could write that down
    airbyte.finish_job(1)
    assert execute(sync(), FakeContext(store, try_number=2))["job_id"] == 1
    assert len(airbyte.jobs) == 1


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
@pytest.mark.parametrize(("hours_ago", "job_id", "owned"), [(0, 1, True), (5, 2, False)], ids=["just died", "long ago"])
def test_a_later_job_of_another_user_is_not_the_job_of_a_dead_attempt(
    airbyte: LocalAirbyte, hours_ago: int, job_id: int, owned: bool, deferrable: bool
) -> None:
    """Both jobs are of now. For a try of five hours ago neither is its own, and the one that runs is attached to."""
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running").script = ["running", "succeeded"]
    began = time.time() - hours_ago * 3600
    store = FakeTaskStateStore(
        {STATE_KEY: {"connection_id": STRIPE_TO_BIGQUERY, "previous_job_id": 0, "started_at": began, "max_tries": 1}}
    )
    context = FakeContext(store, try_number=2)
    if deferrable and job_id == 2:  # else there is nothing to wait for
        assert defer(sync(deferrable=True), context).job_id == job_id
    else:
        assert execute(sync(deferrable=deferrable), context)["job_id"] == job_id
    assert (store[STATE_KEY]["job_id"], store[STATE_KEY]["owned"]) == (job_id, owned)
    assert len(airbyte.jobs) == 2


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_clear_starts_a_new_sync_and_first_cancels_the_old_one(airbyte: LocalAirbyte, deferrable: bool) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    defer(sync(deferrable=True), FakeContext(store))
    airbyte.script_jobs("succeeded")
    cleared = FakeContext(store, try_number=2, max_tries=2)
    if deferrable:
        assert defer(sync(deferrable=True), cleared).job_id == 2
    else:
        assert execute(sync(), cleared)["job_id"] == 2
    assert airbyte.cancelled == [1]


def test_a_cleared_task_repeats_the_cancel_of_its_old_sync_until_it_stops(
    airbyte: LocalAirbyte, fast_clock: None
) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    defer(sync(deferrable=True), FakeContext(store))
    airbyte.script_jobs("succeeded")
    airbyte.respond_with(502, method="DELETE", path=".*", times=2)
    assert execute(sync(), FakeContext(store, try_number=2, max_tries=2))["job_id"] == 2
    assert airbyte.cancelled == [1]


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_clear_whose_old_sync_does_not_stop_starts_nothing(
    airbyte: LocalAirbyte, fast_clock: None, deferrable: bool
) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    defer(sync(deferrable=True), FakeContext(store))
    airbyte.respond_with(method="DELETE", path=".*", times=999, **ACCEPTED)
    with pytest.raises(exceptions.AirbyteConnectionBusyError, match="still running after it was cancelled"):
        execute(sync(deferrable=deferrable), FakeContext(store, try_number=2, max_tries=2))
    assert len(airbyte.jobs) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_after_a_clear_the_timeout_counts_from_the_start_of_the_new_sync(
    airbyte: LocalAirbyte, deferrable: bool
) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    defer(sync(deferrable=True, timeout=3600), FakeContext(store))
    store[STATE_KEY]["started_at"] -= 7200
    cleared = FakeContext(store, try_number=2, max_tries=2)
    if deferrable:
        assert defer(sync(deferrable=True, timeout=3600), cleared).deadline == pytest.approx(time.time() + 3600, abs=60)
    else:
        airbyte.script_jobs("running", "succeeded")
        assert execute(sync(timeout=3600), cleared)["job_id"] == 2
    assert airbyte.cancelled == [1]


def test_after_a_clear_the_new_sync_is_cancelled_once_it_is_out_of_time(
    airbyte: LocalAirbyte, fast_clock: None
) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    defer(sync(deferrable=True), FakeContext(store))
    with pytest.raises(exceptions.AirbyteJobTimeoutError, match="The job was cancelled"):
        execute(sync(timeout=60), FakeContext(store, try_number=2, max_tries=2))
    assert airbyte.cancelled == [1, 2]


@pytest.mark.parametrize("path", ["/applications/token", "/connections/.*", "/jobs/1"])
def test_an_outage_at_a_retry_leaves_the_record_of_the_job_as_it_is(
    airbyte: LocalAirbyte, fast_clock: None, path: str
) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    defer(sync(deferrable=True), FakeContext(store))
    before = dict(store[STATE_KEY])
    TOKENS.clear()
    airbyte.respond_with(503, path=path, times=999)
    with pytest.raises(exceptions.AirbyteUnreachableError):
        execute(sync(), FakeContext(store, try_number=2))
    assert store[STATE_KEY] == before
    assert len(airbyte.jobs) == 1


def test_a_clear_of_a_task_that_succeeded_starts_a_new_sync(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    assert execute(sync(), FakeContext(store))["job_id"] == 1
    assert execute(sync(), FakeContext(store, try_number=2, max_tries=2))["job_id"] == 2
    assert airbyte.cancelled == []


def test_a_clear_leaves_a_sync_alone_that_the_task_only_attached_to(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    other = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    defer(sync(deferrable=True), FakeContext(store))
    assert defer(sync(deferrable=True), FakeContext(store, try_number=2, max_tries=2)).job_id == other.job_id
    assert airbyte.cancelled == []


def test_a_task_that_now_names_another_connection_starts_its_sync(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    execute(sync(), FakeContext(store))
    result = execute(sync(connection_id=SNOWFLAKE_TO_POSTGRES), FakeContext(store, try_number=2))
    assert result["connection_id"] == SNOWFLAKE_TO_POSTGRES


def test_a_remembered_job_that_is_gone_is_replaced(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    execute(sync(), FakeContext(store))
    store[STATE_KEY]["job_id"] = 999
    assert execute(sync(), FakeContext(store, try_number=2))["job_id"] == 2


def test_a_start_that_surely_failed_is_not_remembered(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    airbyte.respond_with(403, method="POST", path="/jobs")
    with pytest.raises(exceptions.AirbytePermissionError):
        execute(sync(), FakeContext(store))
    assert STATE_KEY not in store
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    assert execute(sync(), FakeContext(store, try_number=2))["job_id"] == 2


@pytest.mark.parametrize("arguments", [{"on_running": "skip"}, {"on_running": "wait", "deferrable": True}])
def test_an_attached_job_is_not_stored_as_owned(airbyte: LocalAirbyte, arguments: dict[str, Any]) -> None:
    store = FakeTaskStateStore()
    other = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    with pytest.raises((AirflowSkipException, TaskDeferred)):
        execute(sync(**arguments), FakeContext(store))
    assert STATE_KEY not in store
    assert other.status == "running"


def test_the_record_of_another_version_is_no_obstacle(airbyte: LocalAirbyte) -> None:
    assert execute(sync(), FakeContext(FakeTaskStateStore({STATE_KEY: {"job": 1}})))["job_id"] == 1


def test_the_deadline_counts_from_the_start_of_the_sync_and_not_of_the_attempt(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    first = defer(sync(deferrable=True, timeout=3600), FakeContext(store))
    time.sleep(0.05)
    second = defer(sync(deferrable=True, timeout=3600), FakeContext(store, try_number=2))
    assert (second.job_id, second.deadline) == (first.job_id, first.deadline)


class DagRun:
    def __init__(self, began: float) -> None:
        self.start_date = datetime.fromtimestamp(began, timezone.utc)


@pytest.mark.parametrize(
    ("status", "age", "max_tries", "followed"),
    [
        ("running", 5, 1, True),
        ("running", 5, 2, False),
        ("running", 3600, 1, False),
        ("succeeded", 5, 1, False),
    ],
    ids=["retry", "clear", "before the DAG run", "finished: perhaps another task's"],
)
def test_on_older_airflow_a_retry_finds_the_running_sync_of_the_dag_run(
    airbyte: LocalAirbyte, status: str, age: int, max_tries: int, followed: bool
) -> None:
    other = airbyte.add_job(STRIPE_TO_BIGQUERY, status, age=age)
    context = FakeContext(None, try_number=2, max_tries=max_tries)
    context["dag_run"] = DagRun(time.time() - 60)
    task = sync(deferrable=True, on_running="restart")  # which cancels whatever it does not follow
    trigger = defer(task, context)
    assert (trigger.job_id == other.job_id) == followed
    assert airbyte.cancelled == ([other.job_id] if status == "running" and not followed else [])
    assert trigger.cancel_on_kill != followed


# -- on_kill of the operator -----------------------------------------------------------------------------------


def test_a_kill_before_there_is_a_job_is_no_error(airbyte: LocalAirbyte) -> None:
    sync().on_kill()
    assert not airbyte.requests


def test_a_kill_during_the_start_cancels_the_job_once_it_is_known(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_airflow_compat, "current_state", lambda _: "failed")
    airbyte.script_jobs("running")
    airbyte.respond_with(method="POST", path="/jobs", apply_first=True, delay=1.0)
    task = sync()

    def kill() -> None:
        wait_until(lambda: bool(airbyte.jobs))
        task.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(exceptions.AirbyteJobCancelledError):
        execute(task, FakeContext(FakeTaskStateStore()))
    killer.join()
    assert airbyte.cancelled == [1]


def test_a_kill_before_the_start_starts_nothing(airbyte: LocalAirbyte) -> None:
    task = sync()
    task.on_kill()
    with pytest.raises(AirflowException, match="killed before it started a job"):
        execute(task, FakeContext(FakeTaskStateStore()))
    assert airbyte.jobs == []


def test_a_kill_while_a_token_is_being_fetched_cancels_the_job_all_the_same(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    hook = AirbyteHook()
    key = hook.get_conn().settings.token_key
    assert key is not None
    killed: list[bool] = []

    def fetch() -> Token:
        hook.cancel_job_on_kill(job.job_id)
        killed.append(True)
        raise exceptions.AirbyteUnreachableError("interrupted")

    with pytest.raises(exceptions.AirbyteUnreachableError):
        TOKENS.get(key, None, fetch)
    assert killed
    assert airbyte.cancelled == [job.job_id]


ACCEPTED: dict[str, Any] = {"status": 200, "body": '{"jobId": 1, "status": "running"}'}
"""What answers a cancel that is not obeyed."""


@pytest.mark.parametrize(
    "trouble", [{"status": 502}, {"drop_connection": True}, ACCEPTED], ids=["502", "lost", "accepted"]
)
def test_a_kill_repeats_an_ineffective_cancel(airbyte: LocalAirbyte, trouble: dict[str, Any]) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.respond_with(method="DELETE", path=".*", times=2, **trouble)
    AirbyteHook().cancel_job_on_kill(job.job_id)
    assert airbyte.cancelled == [job.job_id]


@pytest.mark.parametrize(
    "trouble", [{"status": 502}, {"drop_connection": True}, ACCEPTED], ids=["502", "lost", "accepted"]
)
@pytest.mark.parametrize("way", ["hook", "operator by job", "operator by connection", "restart"])
def test_ineffective_cancel_is_repeated(
    airbyte: LocalAirbyte, fast_clock: None, way: str, trouble: dict[str, Any]
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.respond_with(method="DELETE", path=".*", times=2, **trouble)
    match way:
        case "hook":
            assert AirbyteHook().cancel_job(job.job_id).status == "cancelled"
        case "operator by job":
            AirbyteCancelJobOperator(task_id="cancel", job_id=job.job_id).execute(cast("Any", FakeContext()))
        case "operator by connection":
            AirbyteCancelJobOperator(task_id="cancel", connection_id=STRIPE_TO_BIGQUERY).execute(
                cast("Any", FakeContext())
            )
        case "restart":
            assert execute(sync(on_running="restart"), FakeContext())["job_id"] == 2
    assert airbyte.cancelled == [job.job_id]


@pytest.mark.parametrize("trouble", [{"status": 502}, {"drop_connection": True}])
def test_a_kill_retries_the_poll_before_its_cancel(airbyte: LocalAirbyte, trouble: dict[str, Any]) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.respond_with(method="GET", path=".*", times=2, **trouble)
    AirbyteHook().cancel_job_on_kill(job.job_id)
    assert airbyte.cancelled == [job.job_id]


def test_a_repeated_cancel_of_a_kill_spares_the_job_that_came_after(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.respond_with(502, method="DELETE", path=".*", delay=0.5)

    def end() -> None:
        wait_until(lambda: bool(airbyte.requests_to("DELETE", ".*")))
        airbyte.finish_job(job.job_id, "failed")
        airbyte.add_job(STRIPE_TO_BIGQUERY, "running")

    other = threading.Thread(target=end)
    other.start()
    AirbyteHook().cancel_job_on_kill(job.job_id)
    other.join()
    assert airbyte.cancelled == []


@pytest.mark.parametrize("trouble", [{"delay": 30.0}, {"drop_connection": True}, {"status": 500}, ACCEPTED])
def test_a_kill_takes_no_longer_than_airflow_allows(airbyte: LocalAirbyte, trouble: dict[str, Any]) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    hook = AirbyteHook()
    hook.get_job(job.job_id)
    airbyte.respond_with(method="DELETE", path=".*", times=9, **trouble)
    began = time.monotonic()
    hook.cancel_job_on_kill(job.job_id)
    assert time.monotonic() - began < 4.5


# -- a deferral that Airflow ends ------------------------------------------------------------------------------


MEMORIES = pytest.mark.parametrize("store", [FakeTaskStateStore, lambda: None], ids=["remembered", "without a memory"])


def end_of_deferral(context: FakeContext, **more: Any) -> AirflowException:
    """Resume a task as Airflow 3 does once the timeout of its deferral has passed."""
    with pytest.raises(AirflowException) as caught:
        sync(deferrable=True, **more).resume_execution("__fail__", {"error": "Trigger timeout"}, cast("Any", context))
    return caught.value


@since("3.0", "Airflow 2 is tested below through its own scheduler")
@MEMORIES
def test_a_deferral_that_runs_out_of_time_cancels_the_job(
    airbyte: LocalAirbyte, store: Callable[[], FakeTaskStateStore | None]
) -> None:
    airbyte.script_jobs("running")
    context = FakeContext(store())
    defer(sync(deferrable=True), context)
    assert type(end_of_deferral(context)).__name__ == "TaskDeferralTimeout"
    assert airbyte.cancelled == [1]


@since("3.0", "as above")
@MEMORIES
def test_a_deferral_that_runs_out_of_time_leaves_a_job_alone_that_the_task_only_attached_to(
    airbyte: LocalAirbyte, store: Callable[[], FakeTaskStateStore | None]
) -> None:
    other = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    context = FakeContext(store())
    assert defer(sync(deferrable=True), context).job_id == other.job_id
    end_of_deferral(context)
    assert not airbyte.requests_to("DELETE", ".*")


def test_a_cancel_that_fails_leaves_airflows_own_error_as_it_is(airbyte: LocalAirbyte, fast_clock: None) -> None:
    airbyte.script_jobs("running")
    context = FakeContext(FakeTaskStateStore())
    defer(sync(deferrable=True), context)
    airbyte.respond_with(502, method="DELETE", path=".*", times=999)
    assert type(end_of_deferral(context)).__name__ in ("TaskDeferralTimeout", "TaskDeferralError")


class DeferredOnAirflow2:
    """A task of Airflow 2 that is deferred in its database, and that its own scheduler resumes once it is late."""

    def __init__(self, dag: DAG, task: AirbyteJobOperator) -> None:
        today = datetime(2026, 1, 1, tzinfo=timezone.utc)
        of_airflow_2: Any = dag
        run = of_airflow_2.create_dagrun(
            run_id="late", state="running", execution_date=today, data_interval=(today, today)
        )
        self.task = task
        self.ti = run.get_task_instance(task.task_id)
        self.ti.refresh_from_task(task)
        self.ti.run(ignore_all_deps=True)
        assert self.ti.state == "deferred"

    def resume_an_hour_later(self) -> BaseException:
        from airflow.exceptions import AirflowTaskTimeout
        from airflow.jobs.job import Job
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
        from airflow.utils.session import create_session

        with create_session() as session:
            row = session.merge(self.ti)
            row.start_date -= timedelta(hours=1)
            row.trigger_timeout -= timedelta(hours=1)
        scheduler: Any = SchedulerJobRunner
        scheduler(cast("Any", Job)()).check_trigger_timeouts()
        self.ti.refresh_from_db()
        self.ti.refresh_from_task(self.task)  # as a new process has it
        with pytest.raises((AirflowException, AirflowTaskTimeout)) as caught:
            self.ti.run(ignore_all_deps=True)
        error: BaseException = caught.value
        return error


LIMITS = pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"execution_timeout": timedelta(minutes=30)}, "AirflowTaskTimeout"),
        ({"timeout": 1800.0}, "TaskDeferralError"),
    ],
    ids=["execution_timeout", "timeout"],
)


@ON_AIRFLOW_2
@LIMITS
@pytest.mark.parametrize("operator", [AirbyteSyncOperator, AirbyteClearOperator])
def test_on_airflow_2_a_deferral_that_runs_out_of_time_cancels_the_job(
    airbyte: LocalAirbyte, dag: DAG, operator: type[AirbyteJobOperator], limits: dict[str, Any], error: str
) -> None:
    airbyte.script_jobs("running")
    task = operator(task_id="job", connection_id=STRIPE_TO_BIGQUERY, deferrable=True, **limits)
    assert type(DeferredOnAirflow2(dag, task).resume_an_hour_later()).__name__ == error
    assert airbyte.cancelled == [1]


@ON_AIRFLOW_2
@LIMITS
def test_on_airflow_2_a_deferral_that_runs_out_of_time_leaves_a_job_alone_that_the_task_only_attached_to(
    airbyte: LocalAirbyte, dag: DAG, limits: dict[str, Any], error: str
) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    deferred = DeferredOnAirflow2(dag, sync(deferrable=True, **limits))
    assert type(deferred.resume_an_hour_later()).__name__ == error
    assert not airbyte.requests_to("DELETE", ".*")


@ON_AIRFLOW_2
@pytest.mark.parametrize("way", ["told not to", "waits for another's job", "Airbyte is away"])
def test_on_airflow_2_execution_timeout_of_a_deferral_fails_the_task_whatever_becomes_of_the_job(
    airbyte: LocalAirbyte, dag: DAG, fast_clock: None, way: str
) -> None:
    airbyte.script_jobs("running")
    if way == "waits for another's job":
        airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    limits = {"execution_timeout": timedelta(minutes=30), "cancel_on_kill": "never" if way == "told not to" else "auto"}
    deferred = DeferredOnAirflow2(dag, sync(deferrable=True, on_running="wait", **limits))
    if way == "Airbyte is away":
        airbyte.respond_with(502, path=".*", times=999)
    assert type(deferred.resume_an_hour_later()).__name__ == "AirflowTaskTimeout"
    assert airbyte.cancelled == []


def test_a_timeout_without_an_owner_cancels_nothing(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    late = {"type": "AirbyteJobTimeoutError", "message": "late", "fields": {"job_id": job.job_id}}
    with pytest.raises(exceptions.AirbyteJobTimeoutError, match="This task did not start the job"):
        sync().execute_complete(cast("Any", FakeContext()), {"job_id": job.job_id, "status": "timeout", "error": late})
    assert not airbyte.requests_to("DELETE", ".*")


def resume_after_a_crash(context: FakeContext, **more: Any) -> Any:
    """Resume a task as Airflow does after its trigger has crashed."""
    return sync(deferrable=True, **more).resume_execution(
        "__fail__", {"error": "Trigger failure"}, cast("Any", context)
    )


def deferred_after_a_crash(context: FakeContext, **more: Any) -> AirbyteJobTrigger:
    with pytest.raises(TaskDeferred) as deferred:
        resume_after_a_crash(context, **more)
    trigger = deferred.value.trigger
    assert isinstance(trigger, AirbyteJobTrigger)
    return trigger


@MEMORIES
@pytest.mark.parametrize("owned", [True, False])
def test_after_a_crash_of_its_trigger_the_same_attempt_waits_for_the_same_job(
    airbyte: LocalAirbyte, store: Callable[[], FakeTaskStateStore | None], owned: bool
) -> None:
    airbyte.script_jobs("running")
    if not owned:
        airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    context = FakeContext(store())
    first = defer(sync(deferrable=True), context)
    again = deferred_after_a_crash(context)
    assert (again.job_id, again.deadline, again.cancel_on_kill) == (first.job_id, first.deadline, owned)
    assert len(airbyte.jobs) == 1
    assert airbyte.cancelled == []


@MEMORIES
@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_after_a_crash_of_its_trigger_a_finished_job_is_the_result_of_the_attempt(
    airbyte: LocalAirbyte, store: Callable[[], FakeTaskStateStore | None], end: str
) -> None:
    airbyte.script_jobs("running")
    context = FakeContext(store())
    defer(sync(deferrable=True), context)
    airbyte.finish_job(1, end)
    if end == "succeeded":
        assert resume_after_a_crash(context)["job_id"] == 1
    else:
        with pytest.raises(exceptions.AirbyteJobFailedError):
            resume_after_a_crash(context)
    assert len(airbyte.jobs) == 1


@MEMORIES
def test_an_attempt_fails_at_the_fourth_crash_of_its_trigger(
    airbyte: LocalAirbyte, store: Callable[[], FakeTaskStateStore | None]
) -> None:
    airbyte.script_jobs("running")
    context = FakeContext(store())
    defer(sync(deferrable=True), context)
    for _ in range(3):
        deferred_after_a_crash(context)
    with pytest.raises(AirflowException) as caught:
        resume_after_a_crash(context)
    assert type(caught.value).__name__ == "TaskDeferralError"
    assert airbyte.cancelled == []


def test_after_a_crash_of_the_trigger_that_waited_for_a_blocker_the_task_waits_for_it_again(
    airbyte: LocalAirbyte,
) -> None:
    other = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    context = FakeContext(FakeTaskStateStore())
    assert defer(sync(deferrable=True, on_running="wait"), context).job_id == other.job_id
    assert deferred_after_a_crash(context, on_running="wait").job_id == other.job_id
    airbyte.finish_job(other.job_id)
    airbyte.script_jobs("running")
    assert deferred_after_a_crash(context, on_running="wait").job_id == 2
    assert airbyte.cancelled == []


def next_attempt(context: FakeContext, store: FakeTaskStateStore) -> FakeContext:
    """Return the context of a retry on Airflow 3.0, which keeps the XComs of an attempt that was deferred."""
    retry = FakeContext(store, try_number=2)
    retry["ti"].pushed = context["ti"].pushed
    return retry


@since("3.0", "Airflow 2 passes it to no retry")
def test_a_retry_that_is_passed_the_timeout_of_the_previous_attempt_starts_a_new_job(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    context = FakeContext(store)
    defer(sync(deferrable=True), context)
    end_of_deferral(context)
    assert airbyte.cancelled == [1]
    airbyte.script_jobs("running")
    retry = next_attempt(context, store)
    with pytest.raises(TaskDeferred) as deferred:
        sync(deferrable=True).resume_execution("__fail__", {"error": "Trigger timeout"}, cast("Any", retry))
    assert cast("AirbyteJobTrigger", deferred.value.trigger).job_id == 2
    end_of_deferral(retry)  # now it is its own
    assert airbyte.cancelled == [1, 2]


def test_a_retry_that_is_passed_the_crash_of_the_previous_attempt_follows_its_job(airbyte: LocalAirbyte) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    context = FakeContext(store)
    defer(sync(deferrable=True), context)
    for _ in range(3):
        deferred_after_a_crash(context)
    retry = next_attempt(context, store)
    for _ in range(4):  # the first is passed on, the others are its own
        assert deferred_after_a_crash(retry).job_id == 1
    with pytest.raises(AirflowException):
        resume_after_a_crash(retry)
    assert len(airbyte.jobs) == 1


@pytest.mark.parametrize("xcom", [None, {}, "text", {"try_number": 1, "ended": 0, "record": {"job": 1}}])
def test_an_ended_deferral_of_which_nothing_is_known_fails_the_attempt(airbyte: LocalAirbyte, xcom: Any) -> None:
    airbyte.script_jobs("running")
    context = FakeContext(FakeTaskStateStore())
    defer(sync(deferrable=True), context)
    context["ti"].pushed["deferral"] = xcom
    with pytest.raises(AirflowException) as caught:
        resume_after_a_crash(context)
    assert type(caught.value).__name__ == "TaskDeferralError"
    assert airbyte.cancelled == []


def test_a_job_that_has_succeeded_by_the_time_the_worker_hears_of_the_time_out_is_a_success(
    airbyte: LocalAirbyte,
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    late = {"type": "AirbyteJobTimeoutError", "message": "late", "fields": {"job_id": job.job_id}}
    event = {"job_id": job.job_id, "status": "timeout", "error": late}
    assert sync().execute_complete(cast("Any", FakeContext()), event)["status"] == "succeeded"


def test_execution_timeout_is_a_deadline_of_the_deferral_too(airbyte: LocalAirbyte) -> None:
    trigger = defer(sync(deferrable=True, execution_timeout=timedelta(minutes=5)), FakeContext(FakeTaskStateStore()))
    assert trigger.deadline == pytest.approx(time.time() + 300, abs=5)


# -- a stale job id: the newer job of the same connection survives every way of cancelling ---------------------


@pytest.mark.parametrize("way", ["hook", "on_kill", "trigger", "out of time", "deferral", "clear"])
def test_a_newer_job_survives_every_way_of_cancelling(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    store = FakeTaskStateStore()
    context = FakeContext(store)
    airbyte.script_jobs("running")
    defer(sync(deferrable=True), context)
    airbyte.finish_job(1, "succeeded" if way == "clear" else "failed")
    newer = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    late = {"type": "AirbyteJobTimeoutError", "message": "late", "fields": {"job_id": 1}}
    match way:
        case "hook":
            AirbyteHook().cancel_job(1)
        case "on_kill":
            AirbyteHook().cancel_job_on_kill(1)
        case "trigger":
            set_task_status(monkeypatch, ("failed", 1))
            asyncio.run(with_task(AirbyteJobTrigger(1, STRIPE_TO_BIGQUERY, cancel_on_kill=True)).on_kill())
        case "out of time":
            with pytest.raises(exceptions.AirbyteJobTimeoutError):
                sync().execute_complete(cast("Any", context), {"job_id": 1, "status": "timeout", "error": late})
        case "deferral":
            with pytest.raises(AirflowException):
                sync().resume_execution("__fail__", {"error": "Trigger timeout"}, cast("Any", context))
        case "clear":
            defer(sync(deferrable=True), FakeContext(store, try_number=2, max_tries=2))
    assert newer.status == "running"
    assert not airbyte.requests_to("DELETE", ".*")
