"""Which kills of a task's process cancel its job."""

from __future__ import annotations

import itertools
import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_airbyte_api import _airflow_compat, exceptions
from airflow_provider_airbyte_api._airflow_compat import AirflowTaskTimeout
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.operators._kill import is_execution_timeout, should_cancel
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from tests.helpers.clock import wait_until
from tests.helpers.tasks import FakeContext, FakeTaskStateStore, execute, sync

ENDED = [None, "success", "failed", "skipped", "upstream_failed", "removed", "restarting"]
WANTED = ["scheduled", "queued", "running", "deferred", "up_for_retry", "up_for_reschedule"]


# -- the decision ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timed_out", "follows"), [*itertools.product([False, True], repeat=2)])
@pytest.mark.parametrize(("policy", "cancels"), [("always", True), ("never", False)])
def test_with_always_and_never_the_reason_does_not_matter(
    policy: Any, cancels: bool, timed_out: bool, follows: bool
) -> None:
    assert should_cancel(policy, timed_out=timed_out, next_attempt_follows=follows, get_state=unasked) == cancels


@pytest.mark.parametrize("timed_out", [True, False])
def test_a_job_that_no_attempt_would_follow_is_cancelled_without_a_question(timed_out: bool) -> None:
    assert should_cancel("auto", timed_out=timed_out, next_attempt_follows=False, get_state=unasked)


@pytest.mark.parametrize(
    ("state", "cancels"), [*((state, True) for state in ENDED), *((state, state == "running") for state in WANTED)]
)
def test_a_timeout_cancels_the_job_unless_the_next_attempt_already_follows_it(state: str | None, cancels: bool) -> None:
    assert should_cancel("auto", timed_out=True, next_attempt_follows=True, get_state=lambda: state) == cancels


@pytest.mark.parametrize(
    ("state", "cancels"), [*((state, True) for state in ENDED), *((state, False) for state in WANTED)]
)
def test_a_job_that_the_next_attempt_follows_is_cancelled_if_the_task_has_ended(
    state: str | None, cancels: bool
) -> None:
    assert should_cancel("auto", timed_out=False, next_attempt_follows=True, get_state=lambda: state) == cancels


def time_out(*_: object) -> None:
    raise AirflowTaskTimeout


def unasked() -> str | None:
    raise AssertionError("the state does not matter")


def test_an_execution_timeout_is_recognized_where_airflow_calls_on_kill() -> None:
    assert not is_execution_timeout()
    try:
        time_out()
    except AirflowTaskTimeout:
        assert is_execution_timeout()
    else:
        raise AssertionError("not reached")


# -- a signal in the midst of the wait -------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _capture_logs(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own loggers do not hand on to pytest's."""
    monkeypatch.setattr(AirbyteSyncOperator, "log", logging.getLogger("task"))


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Set the state that Airflow has for the task, or the error with which it answers."""

    def set_state(value: Any) -> None:
        def answer(_: object) -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        monkeypatch.setattr(_airflow_compat, "current_state", answer)

    return set_state


def kill(airbyte: LocalAirbyte, task: AirbyteSyncOperator, context: FakeContext, caplog: Any) -> list[str]:
    """Let a signal handler call ``on_kill`` in the main thread while the task waits, as Airflow does.

    Return the log once what follows from it is known: the cancel of the job, or a line of the log.
    """
    before = signal.signal(signal.SIGUSR1, lambda *_: task.on_kill())
    main = threading.main_thread().ident
    assert main is not None

    def kill_once_it_waits() -> None:
        wait_until(lambda: bool(airbyte.requests_to("GET", r"/jobs/\d+")))
        signal.pthread_kill(main, signal.SIGUSR1)
        try:
            wait_until(lambda: bool(airbyte.cancelled) or "continues in Airbyte" in caplog.text)
        finally:
            airbyte.finish_job(airbyte.jobs[-1].job_id, "failed")  # so that the test ends where Airflow would kill

    killer = threading.Thread(target=kill_once_it_waits)
    killer.start()
    try:
        with caplog.at_level(logging.INFO), pytest.raises(exceptions.AirbyteJobError):
            execute(task, context)
    finally:
        killer.join()
        signal.signal(signal.SIGUSR1, before)
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("ended_as", ["failed", "success", None])
def test_the_job_of_a_task_that_was_marked_or_cleared_is_cancelled(
    airbyte: LocalAirbyte, state: Callable[[Any], None], caplog: Any, ended_as: str | None
) -> None:
    airbyte.script_jobs("running")
    state(ended_as)
    kill(airbyte, sync(), FakeContext(FakeTaskStateStore()), caplog)
    assert airbyte.cancelled == [1]


@pytest.mark.parametrize("now", ["running", "up_for_retry", RuntimeError("no answer")], ids=str)
def test_the_job_of_a_task_that_is_to_be_retried_continues(
    airbyte: LocalAirbyte, state: Callable[[Any], None], caplog: Any, now: Any
) -> None:
    airbyte.script_jobs("running")
    state(now)
    store = FakeTaskStateStore()
    warnings = kill(airbyte, sync(), FakeContext(store), caplog)
    assert airbyte.cancelled == []
    assert (
        "The task's process is ended. Job 1 continues in Airbyte, and the next attempt of the task follows it."
    ) in warnings
    assert any("RuntimeError: no answer" in line for line in warnings) == isinstance(now, Exception)


def test_the_next_attempt_follows_the_job_of_a_killed_one(
    airbyte: LocalAirbyte, state: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    airbyte.script_jobs("running")
    state("running")
    store = FakeTaskStateStore()
    task = sync()

    def die(_: float) -> None:
        task.on_kill()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CLOCK, "sleep", die)
        with pytest.raises(KeyboardInterrupt):
            execute(task, FakeContext(store))
    airbyte.finish_job(1)
    assert execute(sync(), FakeContext(store, try_number=2))["job_id"] == 1
    assert (len(airbyte.jobs), airbyte.cancelled) == (1, [])


@pytest.mark.parametrize(
    ("context", "more"),
    [
        (FakeContext(FakeTaskStateStore(), try_number=2), {}),
        (FakeContext(FakeTaskStateStore(), max_tries=0), {}),
        (FakeContext(None), {}),
        (FakeContext(FakeTaskStateStore()), {"durable": False}),
        (FakeContext(FakeTaskStateStore()), {"cancel_on_kill": "always"}),
    ],
    ids=["last attempt", "no retries", "no store", "not durable", "always"],
)
def test_the_job_that_nothing_would_follow_is_cancelled(
    airbyte: LocalAirbyte,
    state: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
    context: FakeContext,
    more: dict[str, Any],
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRBYTE_API__JOB_STATE_BACKEND", "none" if context["task_state_store"] is None else "")
    if context["task_state_store"] is not None:
        monkeypatch.delenv("AIRFLOW__AIRBYTE_API__JOB_STATE_BACKEND")
    airbyte.script_jobs("running")
    state("running")
    kill(airbyte, sync(**more), context, caplog)
    assert airbyte.cancelled == [1]


def test_with_never_the_job_continues(airbyte: LocalAirbyte, state: Callable[[Any], None], caplog: Any) -> None:
    airbyte.script_jobs("running")
    state("failed")
    warnings = kill(airbyte, sync(cancel_on_kill="never", retries=0), FakeContext(None, max_tries=0), caplog)
    assert airbyte.cancelled == []
    assert any("Job 1 continues in Airbyte, and nothing follows it." in line for line in warnings)


def test_a_killed_process_does_not_wait_for_the_answer_if_the_task_goes_on(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """The interrupted code may hold the lock of the channel by which Airflow answers."""
    if _airflow_compat.stops_after_on_kill():
        pytest.skip("on Airflow 2, the process ends as soon as on_kill has returned")
    channel = threading.Lock()
    answered = threading.Event()

    def answer(_: object) -> str:
        with channel:
            answered.set()
            return "failed"

    monkeypatch.setattr(_airflow_compat, "current_state", answer)
    airbyte.script_jobs("running")
    task = sync()
    seen: list[bool] = []

    def handler(*_: object) -> None:
        task.on_kill()
        seen.append(answered.is_set())

    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    assert main is not None

    class Context(FakeContext):
        """Has the channel's lock while it is being asked for something."""

    context = Context(FakeTaskStateStore())

    def push(key: str, value: Any) -> None:
        with channel:
            if key == "job_id":
                signal.pthread_kill(main, signal.SIGUSR1)
                time.sleep(0.05)

    context["ti"].xcom_push = push
    try:
        with pytest.raises(exceptions.AirbyteJobCancelledError):
            execute(task, context)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [False]
    assert airbyte.cancelled == [1]


@pytest.mark.parametrize(("policy", "cancelled"), [("auto", [1]), ("never", [])])
def test_execution_timeout_cancels_although_a_retry_is_left(
    airbyte: LocalAirbyte, state: Callable[[Any], None], policy: str, cancelled: list[int]
) -> None:
    airbyte.script_jobs("running")
    state("running")
    task = sync(cancel_on_kill=policy, execution_timeout=timedelta(seconds=30))
    before = signal.signal(signal.SIGALRM, time_out)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)  # again and again: Python ignores an error in a finalizer
    try:
        execute(task, FakeContext(FakeTaskStateStore()))
    except AirflowTaskTimeout:
        signal.setitimer(signal.ITIMER_REAL, 0)
        task.on_kill()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert airbyte.cancelled == cancelled


@pytest.mark.parametrize("value", [True, False, "yes", None])
def test_cancel_on_kill_names_its_choices(value: Any) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=r"cancel_on_kill.*auto.*always.*never"):
        AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, cancel_on_kill=value)
