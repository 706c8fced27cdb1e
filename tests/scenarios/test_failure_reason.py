"""Why a job failed: in the error, the log and the XCom, and nowhere else if Airbyte's internal API does not tell."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import jobs
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators.airbyte import (
    AirbyteClearOperator,
    AirbyteListJobsOperator,
    AirbyteSyncOperator,
)
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteJobSensor
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from airflow_provider_airbyte_api.types import Failure
from tests.helpers.raw_socket_server import RawSocketServer, drip
from tests.helpers.scripted_http_server import Answer, ScriptedHttpServer
from tests.helpers.tasks import FakeContext, FakeTaskInstance

PATH = "/api/v1/jobs/get_without_logs"
CONN = "AIRFLOW_CONN_AIRBYTE_API_DEFAULT"
WRONG_PASSWORD = "The password is wrong."
RESET = Failure("destination", "transient_error", "Connection reset by peer")
Run = Callable[[LocalAirbyte, FakeContext], Any]


def sync(**more: Any) -> AirbyteSyncOperator:
    return AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, **{"poll_interval": 0.02, **more})


def fail(airbyte: LocalAirbyte, status: str = "failed", reason: Failure | str | None = WRONG_PASSWORD) -> int:
    """Add a job with two attempts that has ended."""
    job = airbyte.add_job(STRIPE_TO_BIGQUERY)
    airbyte.fail_attempt(job.job_id, RESET)
    if status == "failed":
        airbyte.fail_job(job.job_id, reason)
    else:
        airbyte.finish_job(job.job_id, status)
    return job.job_id


def event(airbyte: LocalAirbyte, job_id: int) -> dict[str, Any]:
    """Return the event of a trigger for a job that has ended."""
    job = next(each for each in airbyte.jobs if each.job_id == job_id)
    metadata = {"name": "Stripe → BigQuery", "workspace_id": WORKSPACE_ID}
    return {"status": job.status, "job_id": job_id, "job": job.as_json(with_stats=True), "metadata": metadata}


def in_the_worker(airbyte: LocalAirbyte, context: FakeContext) -> Any:
    airbyte.script_jobs("running", "failed", reason=WRONG_PASSWORD)
    return sync().execute(cast("Any", context))


def resumed(airbyte: LocalAirbyte, context: FakeContext) -> Any:
    return sync().execute_complete(cast("Any", context), event(airbyte, fail(airbyte)))


def a_clear(airbyte: LocalAirbyte, context: FakeContext) -> Any:
    airbyte.script_jobs("running", "failed", reason=WRONG_PASSWORD)
    task = AirbyteClearOperator(task_id="clear", connection_id=STRIPE_TO_BIGQUERY, poll_interval=0.02)
    return task.execute(cast("Any", context))


def a_sensor(airbyte: LocalAirbyte, context: FakeContext) -> Any:
    sensor = AirbyteJobSensor(task_id="wait", job_id=fail(airbyte), poke_interval=0.02)
    return sensor.execute(cast("Any", context))


def a_resumed_sensor(airbyte: LocalAirbyte, context: FakeContext) -> Any:
    job_id = fail(airbyte)
    return AirbyteJobSensor(task_id="wait", job_id=job_id).execute_complete(
        cast("Any", context), event(airbyte, job_id)
    )


def the_hook(airbyte: LocalAirbyte, _: FakeContext) -> Any:
    return AirbyteHook().wait_for_job(fail(airbyte), check=True)


def the_hook_in_a_loop(airbyte: LocalAirbyte, _: FakeContext) -> Any:
    return asyncio.run(AirbyteHook().await_job(fail(airbyte), check=True))


WAYS: dict[str, Run] = {
    "in the worker": in_the_worker,
    "resumed": resumed,
    "a clear": a_clear,
    "a sensor": a_sensor,
    "a resumed sensor": a_resumed_sensor,
    "the hook": the_hook,
    "the hook in a loop": the_hook_in_a_loop,
}
TASKS = ("in the worker", "resumed", "a clear", "a sensor", "a resumed sensor")


@pytest.fixture(autouse=True)
def _capture_logs(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own loggers do not hand on to pytest's."""
    for each in (AirbyteSyncOperator, AirbyteClearOperator, AirbyteJobSensor, AirbyteHook):
        monkeypatch.setattr(each, "log", logging.getLogger("task"))
    caplog.set_level(logging.INFO)


def configure(monkeypatch: pytest.MonkeyPatch, airbyte: LocalAirbyte, **extra: Any) -> None:
    monkeypatch.setenv(CONN, json.dumps({**json.loads(airbyte.airflow_connection), "extra": extra}))


def pushed(context: FakeContext) -> dict[str, Any]:
    ti: FakeTaskInstance = context["ti"]
    return ti.pushed


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_job_says_why_wherever_one_waits(
    airbyte: LocalAirbyte, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = FakeContext()
    with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
        WAYS[way](airbyte, context)
    kind = "Reset" if way == "a clear" else "Sync"
    assert str(caught.value).startswith(f"{kind} failed: source, config_error: The password is wrong. Job 1 of ")
    reason = caught.value.reason
    assert reason is not None
    assert (reason.origin, reason.kind, reason.message) == ("source", "config_error", WRONG_PASSWORD)
    lines = [each.getMessage() for each in caplog.records if each.getMessage().startswith("Attempt ")]
    assert len(lines) == len(reason.attempts)
    assert lines[-1].endswith("source, config_error: The password is wrong.")
    if way in TASKS:
        assert pushed(context)["airbyte_sync"]["reason"]["kind"] == "config_error"
    (request,) = airbyte.requests_to("POST", PATH)
    assert request.json() == {"id": 1}
    assert len({each.token for each in airbyte.requests if each.token}) == 1, "the same token"
    assert request.token is not None


def test_the_xcom_is_the_whole_reason_as_json(airbyte: LocalAirbyte) -> None:
    context = FakeContext()
    with pytest.raises(exceptions.AirbyteJobFailedError):
        resumed(airbyte, context)
    info = json.loads(json.dumps(pushed(context)["airbyte_sync"]))
    assert (info["status"], info["attempt"]) == ("failed", 2)
    found = info["reason"]
    (reset,), (password,) = (each.pop("failures") for each in found["attempts"])
    assert all(each.pop("ended_at") for each in found["attempts"])
    assert found == {
        **password,
        "attempts": [{"number": 1, "status": "failed"}, {"number": 2, "status": "failed"}],
    }
    assert reset == {"origin": "destination", "kind": "transient_error", "message": RESET.message}


def test_an_xcom_that_cannot_be_pushed_hides_no_reason(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTaskInstance, "xcom_push", lambda *_, **__: json.loads("no JSON"))
    with pytest.raises(exceptions.AirbyteJobConfigError) as caught:
        resumed(airbyte, FakeContext())
    assert caught.value.__context__ is None


def test_an_error_keeps_its_reason_when_it_is_pickled(airbyte: LocalAirbyte) -> None:
    with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
        resumed(airbyte, FakeContext())
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.reason, str(copy)) == (type(caught.value), caught.value.reason, str(caught.value))


def test_a_config_error_has_a_class(airbyte: LocalAirbyte) -> None:
    hook = AirbyteHook()
    with pytest.raises(exceptions.AirbyteJobConfigError):
        hook.wait_for_job(fail(airbyte), check=True)
    with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
        hook.wait_for_job(fail(airbyte, reason=RESET), check=True)
    assert type(caught.value) is exceptions.AirbyteJobFailedError


@pytest.mark.parametrize("way", ["in the worker", "resumed"])
@pytest.mark.parametrize(
    ("kinds", "is_retried"),
    [((), True), ("config_error", False), (["system_error", "config_error"], False), (("transient_error",), True)],
)
def test_a_task_fails_at_once_for_the_kinds_that_it_names(
    airbyte: LocalAirbyte, way: str, kinds: Any, is_retried: bool
) -> None:
    task, context = sync(fail_fast_on=kinds), cast("Any", FakeContext())
    airbyte.script_jobs("running", "failed", reason=WRONG_PASSWORD)
    found = event(airbyte, fail(airbyte)) if way == "resumed" else None
    with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
        _ = task.execute(context) if found is None else task.execute_complete(context, found)
    assert isinstance(caught.value, AirflowFailException) is not is_retried
    assert caught.value.reason is not None
    assert str(caught.value).startswith("Sync failed: source, config_error: ")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None), "a short traceback"


def test_a_task_whose_reason_is_unknown_is_retried(airbyte: LocalAirbyte) -> None:
    airbyte.respond_with(403, path=PATH)
    task = sync(fail_fast_on=("config_error",))
    with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
        task.execute_complete(cast("Any", FakeContext()), event(airbyte, fail(airbyte)))
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("kinds", ["configerror", ["manual_cancellation"], [7], 7, [""]])
def test_a_kind_that_is_none_is_refused(kinds: Any) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match="fail_fast_on"):
        sync(fail_fast_on=kinds)


def test_airflow_does_not_retry_such_a_task(airbyte: LocalAirbyte, airbyte_run_dag: Any) -> None:
    airbyte.script_jobs("running", "failed", reason=WRONG_PASSWORD)
    with DAG("fails_fast", schedule=None) as dag:
        sync(retries=3, retry_delay=timedelta(0), fail_fast_on=("config_error",))
    assert airbyte_run_dag(dag).state == "failed"
    assert len(airbyte.jobs) == 1


def test_a_cancelled_job_says_that_and_its_attempts(airbyte: LocalAirbyte, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(exceptions.AirbyteJobCancelledError) as caught:
        AirbyteHook().wait_for_job(fail(airbyte, "cancelled"), check=True)
    assert str(caught.value).startswith("Sync cancelled: manual_cancellation: This attempt was cancelled. Job 1 of ")
    assert "A user or a clear of the connection cancelled it" in str(caught.value)
    lines = [each.getMessage() for each in caplog.records if each.getMessage().startswith("Attempt ")]
    assert "destination, transient_error: Connection reset by peer" in lines[0]


def test_a_successful_job_is_not_asked_about(airbyte: LocalAirbyte) -> None:
    AirbyteHook().wait_for_job(airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded").job_id, check=True)
    assert airbyte.requests_to("POST", PATH) == []


def test_internal_messages_are_only_in_the_log_of_a_task_that_shows_them(
    airbyte: LocalAirbyte, caplog: pytest.LogCaptureFixture
) -> None:
    for shown in (False, True):
        caplog.clear()
        context = FakeContext()
        with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
            sync(show_internal_errors=shown).execute_complete(cast("Any", context), event(airbyte, fail(airbyte)))
        assert "RuntimeException" not in f"{caught.value} {caught.value.reason!r} {pushed(context)}"
        assert ("RuntimeException" in caplog.text) is shown


# -- the end of the log ------------------------------------------------------------------------------------------

LOG_PATH = "/api/v1/attempt/get_for_job"
FAILED = r"^Sync failed: source, config_error"


@pytest.mark.parametrize("version", ["1.0", "2.1"], ids=["lines", "events"])
def test_a_task_shows_the_end_of_the_log_if_it_is_to(
    version: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with LocalAirbyte(version=version) as airbyte:
        configure(monkeypatch, airbyte)
        for count in (0, 3):
            caplog.clear()
            with pytest.raises(exceptions.AirbyteJobFailedError, match=FAILED):
                sync(log_tail=count).execute_complete(cast("Any", FakeContext()), event(airbyte, fail(airbyte)))
            shown = [each.getMessage() for each in caplog.records if each.getMessage().startswith("| ")]
            assert len(shown) == count
        assert [line.split()[-1] for line in shown] == ["slowly", "sync", "connection"]
        (request,) = airbyte.requests_to("POST", LOG_PATH)
        assert request.json() == {"jobId": 2, "attemptNumber": 1}, "the last of two attempts"


@pytest.mark.parametrize(
    "answer",
    [(404, None), (403, None), (500, None), (200, "<html>"), (200, "{}")],
    ids=["404", "403", "500", "a web page", "no log"],
)
def test_a_log_that_cannot_be_read_changes_nothing(
    airbyte: LocalAirbyte, caplog: pytest.LogCaptureFixture, answer: tuple[int, str | None]
) -> None:
    airbyte.respond_with(answer[0], body=answer[1], method="POST", path=LOG_PATH)
    with pytest.raises(exceptions.AirbyteJobFailedError, match=FAILED):
        sync(log_tail=5).execute_complete(cast("Any", FakeContext()), event(airbyte, fail(airbyte)))
    assert "Could not get the log of attempt 2 of job 1. " in caplog.text


def test_a_huge_log_is_not_read(airbyte: LocalAirbyte, caplog: pytest.LogCaptureFixture) -> None:
    job_id = fail(airbyte)
    airbyte.jobs[0].log_lines = [("info", "x" * 2**20)] * 11
    with pytest.raises(exceptions.AirbyteJobFailedError, match=FAILED):
        sync(log_tail=5).execute_complete(cast("Any", FakeContext()), event(airbyte, job_id))
    assert "larger than 10240 KiB" in caplog.text


# -- lists of jobs -----------------------------------------------------------------------------------------------


def test_jobs_are_listed_with_the_reasons_of_failed_ones(airbyte: LocalAirbyte) -> None:
    for status in ("failed", "cancelled", "succeeded", "failed"):
        fail(airbyte, status)
    listed = list(AirbyteHook().list_jobs(with_reason=True))
    assert [each.reason and each.reason.kind for each in listed] == [
        "config_error",
        None,
        "manual_cancellation",
        "config_error",
    ]
    assert len(airbyte.requests_to("POST", PATH)) == 3
    assert all(each.reason is None for each in AirbyteHook().list_jobs())


def test_reasons_of_a_list_are_given_up_after_a_few_failures_in_a_row(airbyte: LocalAirbyte) -> None:
    for _ in range(10):
        fail(airbyte)
    airbyte.respond_with(403, path=PATH, times=2)
    assert sum(each.reason is None for each in AirbyteHook().list_jobs(with_reason=True)) == 2
    with airbyte.outage(403, path=PATH):
        before = len(airbyte.requests_to("POST", PATH))
        assert all(each.reason is None for each in AirbyteHook().list_jobs(with_reason=True))
        assert len(airbyte.requests_to("POST", PATH)) - before == 3


@pytest.mark.parametrize("output", ["rows", "ids"])
def test_an_operator_lists_jobs_with_their_reasons(airbyte: LocalAirbyte, output: Any) -> None:
    fail(airbyte)
    fail(airbyte)
    fail(airbyte, "succeeded")
    task = AirbyteListJobsOperator(task_id="jobs", with_reason=True, limit=2, output=output)
    rows = task.execute(cast("Any", FakeContext()))
    if output == "ids":
        assert (rows, airbyte.requests_to("POST", PATH)) == ([3, 2], [])
        return
    assert "failureReason" not in rows[0]
    assert json.loads(json.dumps(rows))[1]["failureReason"]["message"] == WRONG_PASSWORD
    assert len(airbyte.requests_to("POST", PATH)) == 1, "none for what is not listed"


# -- no reason ---------------------------------------------------------------------------------------------------


NO_REASONS: dict[str, tuple[dict[str, Any], str]] = {
    "401": ({"status": 401, "times": 2}, "The reason is unknown (401: "),
    "403": ({"status": 403}, "The reason is unknown (403: "),
    "404": ({"status": 404, "gateway": "text"}, "The reason is unknown (404: "),
    "404 of Airbyte": ({"status": 404}, "The reason is unknown (404: "),
    "429": ({"status": 429}, "The reason is unknown (429: "),
    "500": ({"status": 500}, "The reason is unknown (500: "),
    "502": ({"status": 502}, "The reason is unknown (502: a web page titled '502 Bad Gateway')"),
    "a redirect": ({"status": 302, "body": ""}, "The reason is unknown (302: "),
    "a web page": (
        {"status": 200, "body": "<html><title>Airbyte</title></html>"},
        "(200: a web page titled 'Airbyte')",
    ),
    "no body": ({"status": 200, "body": ""}, "The reason is unknown (200: an empty body)"),
    "a list": ({"status": 200, "body": "[]"}, "(200: JSON of an unexpected shape (no list named attempts))"),
    "no attempts": ({"status": 200, "body": '{"job": {}}'}, "(200: JSON of an unexpected shape"),
    "deep JSON": ({"status": 200, "body": "[" * 100_000}, "The reason is unknown (200: "),
    "no reply": ({"drop_connection": True}, "The reason is unknown (no response: "),
    "no failure recorded": (
        {"status": 200, "body": '{"attempts": [{"attempt": {"id": 0, "status": "failed"}}]}'},
        "Airbyte recorded no reason; see the job log.",
    ),
}


@pytest.mark.parametrize("case", NO_REASONS)
def test_without_a_reason_the_task_fails_as_it_did_and_says_so(
    airbyte: LocalAirbyte, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    response, sentence = NO_REASONS[case]
    airbyte.respond_with(path=PATH, **response)
    with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
        resumed(airbyte, FakeContext())
    assert type(caught.value) is exceptions.AirbyteJobFailedError
    first, url = str(caught.value).splitlines()
    assert first.startswith("Sync failed: job 1 of 'Stripe → BigQuery' (")
    assert sentence in first
    assert first.endswith("see the job log.")
    assert url.startswith("http")
    assert str(caught.value.reason or "") == ""
    assert len(airbyte.requests_to("POST", PATH)) == response.get("times", 1), "no retry"
    if "unknown" in sentence:
        assert "Could not get the reason of job 1. POST " in caplog.text


def test_a_cancelled_job_without_a_reason_says_so(airbyte: LocalAirbyte) -> None:
    airbyte.respond_with(403, path=PATH)
    with pytest.raises(exceptions.AirbyteJobCancelledError, match=r"see its timeline\. The reason is unknown \(403: "):
        AirbyteHook().wait_for_job(fail(airbyte, "cancelled"), check=True)


def test_a_message_of_a_megabyte_is_a_sentence(airbyte: LocalAirbyte) -> None:
    with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
        AirbyteHook().wait_for_job(fail(airbyte, reason="x" * 2**20), check=True)
    assert 1000 < len(str(caught.value)) < 1500
    assert "… Job 1 of " in str(caught.value)


@pytest.fixture
def dripping() -> Iterator[str]:
    def answer(sock: Any, _: bytes) -> None:
        drip(sock, iter([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b" "] * 100]))

    with RawSocketServer(answer) as server:
        yield server.url


@pytest.mark.parametrize("way", ["the hook", "the hook in a loop"])
def test_a_dripping_endpoint_is_given_up_in_time(
    airbyte: LocalAirbyte, dripping: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, airbyte, config_api=f"{dripping}/api/v1")
    monkeypatch.setattr(jobs, "REASON_TIMEOUT", 0.5)
    started_at = time.monotonic()
    with pytest.raises(exceptions.AirbyteJobFailedError, match=r"The reason is unknown \(no response: timeout\)"):
        WAYS[way](airbyte, FakeContext())
    assert time.monotonic() - started_at < 5


def test_a_deadline_that_cancels_the_job_asks_for_no_reason(airbyte: LocalAirbyte) -> None:
    airbyte.script_jobs(*["running"] * 1000)
    with pytest.raises(exceptions.AirbyteJobTimeoutError):
        sync(timeout=0.1).execute(cast("Any", FakeContext()))
    assert airbyte.requests_to("POST", PATH) == []


# -- the extra config_api ----------------------------------------------------------------------------------------


def test_off_sends_no_request(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, airbyte, config_api="off")
    with pytest.raises(exceptions.AirbyteJobFailedError) as caught:
        AirbyteHook().wait_for_job(fail(airbyte), check=True)
    assert "The API does not report the reason; see the job log." in str(caught.value)
    assert airbyte.requests_to("POST", PATH) == []


def test_a_url_is_the_root_of_the_internal_api(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def answer(method: str, path: str) -> Answer:
        seen.append(f"{method} {path}")
        return Answer(b"Not found", 404)

    with ScriptedHttpServer(answer) as server:
        configure(monkeypatch, airbyte, config_api=f"{server.url}/internal/")
        with pytest.raises(exceptions.AirbyteJobFailedError):
            AirbyteHook().wait_for_job(fail(airbyte), check=True)
    assert seen == ["POST /internal/jobs/get_without_logs"]
    assert airbyte.requests_to("POST", PATH) == []
