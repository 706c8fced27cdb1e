from __future__ import annotations

import json
import traceback
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowSensorTimeout
from pytest_mock import MockerFixture

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteFreshnessSensor, AirbyteJobSensor
from airflow_provider_airbyte_api.testing import LocalAirbyte, LocalJob
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from tests.helpers.dags import run
from tests.helpers.tasks import FakeTaskInstance
from tests.versions import not_on

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
}
ALL_MODES = pytest.mark.parametrize(
    "mode",
    [
        "poke",
        pytest.param("reschedule", marks=not_on("3.0", "DAG.test fails in the second poke of any sensor")),
        "deferred",
    ],
)


def wait_for(job: LocalJob, mode: str, **more: Any) -> AirbyteJobSensor:
    return AirbyteJobSensor(task_id="wait", job_id=job.job_id, **{"poll_interval": 0.02, **MODES[mode], **more})


@ALL_MODES
def test_only_the_end_of_a_job_ends_the_wait(dag: DAG, airbyte: LocalAirbyte, mode: str) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY)
    job.script = ["queued", "running", "incomplete", "a word nobody knows", "succeeded"]
    wait_for(job, mode)
    done = run(dag)
    assert done.states == {"wait": "success"}
    assert done.xcom("wait")["rows_synced"] == job.rows
    assert job.poll_count == 5


@ALL_MODES
@pytest.mark.parametrize(("soft_fail", "state"), [(False, "failed"), (True, "skipped")])
def test_a_job_that_fails_fails_the_sensor_or_skips_it(
    dag: DAG, airbyte: LocalAirbyte, mode: str, soft_fail: bool, state: str
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY)
    job.script = ["running", "failed"]
    wait_for(job, mode, soft_fail=soft_fail)
    assert run(dag).states == {"wait": state}


@not_on("3.0", "DAG.test gives no exception to callbacks")
@ALL_MODES
@pytest.mark.parametrize("kind", ["job", "fresh"])
def test_the_log_of_a_failed_sensor_has_no_frames_of_internals(
    dag: DAG, airbyte: LocalAirbyte, mode: str, kind: str
) -> None:
    """As that of an operator: the reason is Airbyte's, and the message has it."""
    raised: list[BaseException] = []
    more: Any = {"on_failure_callback": lambda context: raised.append(context["exception"])}
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "failed" if kind == "fresh" else "running")
    job.script = [] if kind == "fresh" else ["running", "failed"]
    if kind == "job":
        wait_for(job, mode, **more)
    else:
        more |= {"max_age": 60, "on_failed": "fail", "timeout": 20, **MODES[mode]}
        AirbyteFreshnessSensor(task_id="wait", connection_id=STRIPE_TO_BIGQUERY, **more)
    run(dag)
    (error,) = raised
    assert str(error).startswith("Sync failed: job ")
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "airflow_provider_airbyte" in each.filename]
    assert len(frames) == 1, frames
    assert (error.__cause__, error.__context__) == (None, None)


@ALL_MODES
@pytest.mark.parametrize(("soft_fail", "state"), [(False, "failed"), (True, "skipped")])
def test_a_sensor_out_of_time_fails_or_is_skipped_and_cancels_nothing(
    dag: DAG, airbyte: LocalAirbyte, mode: str, soft_fail: bool, state: str
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    wait_for(job, mode, timeout=0.3, soft_fail=soft_fail)
    assert run(dag).states == {"wait": state}
    assert job.status == "running"


def test_a_deferred_sensor_out_of_time_raises_what_a_poking_one_does(airbyte: LocalAirbyte) -> None:
    error = exceptions.AirbyteJobTimeoutError("too late", job_id=1)
    event = {"job_id": 1, "status": "timeout", "error": exceptions.error_to_dict(error)}
    with pytest.raises(AirflowSensorTimeout, match="too late"):
        AirbyteJobSensor(task_id="wait", job_id=1).execute_complete({}, event)


def test_a_job_that_is_finished_already_needs_no_triggerer(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    ti = FakeTaskInstance()
    result = wait_for(job, "deferred").execute({"ti": ti})  # type: ignore[typeddict-item]
    assert (result["job_id"], result["job_url"]) == (job.job_id, ti.pushed["job_url"])


@pytest.mark.parametrize("event", [None, {}, {"job_id": 1, "status": "done"}])
def test_an_event_that_is_no_verdict_is_never_success(airbyte: LocalAirbyte, event: Any) -> None:
    with pytest.raises(exceptions.AirbyteTriggerEventError):
        AirbyteJobSensor(task_id="wait", job_id=1).execute_complete({}, event)


@pytest.mark.parametrize("job_id", ["None", "", "abc", 0])
def test_what_is_no_job_id_is_refused_before_anything_is_sent(airbyte: LocalAirbyte, job_id: Any) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=f"job_id is {job_id!r}") as caught:
        AirbyteJobSensor(task_id="wait", job_id=job_id).poke({})
    assert isinstance(caught.value, AirflowException)
    assert not airbyte.requests


@ALL_MODES
def test_an_unknown_job_fails_at_once(dag: DAG, airbyte: LocalAirbyte, mode: str) -> None:
    AirbyteJobSensor(task_id="wait", job_id="999", **MODES[mode])
    assert run(dag).states == {"wait": "failed"}
    assert len(airbyte.requests_to("GET", "/jobs/999")) == 1


@pytest.mark.parametrize("path", ["/applications/token", r"/jobs/\d+"])
def test_an_outage_at_the_first_poll_of_a_deferred_sensor_is_retried(
    dag: DAG, airbyte: LocalAirbyte, fast_clock: None, path: str
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY)
    job.script = ["running", "succeeded"]
    airbyte.respond_with(502, path=path, times=14)
    wait_for(job, "deferred")
    assert run(dag).states == {"wait": "success"}


def test_an_outage_of_a_poking_sensor_logs_start_and_end(airbyte: LocalAirbyte, mocker: MockerFixture) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    task = wait_for(job, "poke")
    airbyte.respond_with(502, path=r"/jobs/\d+", times=3)
    log = mocker.patch.object(AirbyteJobSensor, "log")
    for _ in range(4):
        task.poke({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]
    lines = [call.args[1] % call.args[2:] for call in log.log.call_args_list]
    assert [line.split(";")[0] for line in lines] == [
        f"Could not get the status of job {job.job_id}",
        "Airbyte is reachable again.",
        f"Job {job.job_id} is running.",
    ]


def test_an_unknown_job_is_an_error_with_a_hint(airbyte: LocalAirbyte) -> None:
    with pytest.raises(exceptions.AirbyteNotFoundError, match="Job 999 does not exist"):
        AirbyteJobSensor(task_id="wait", job_id="999").poke({})


def test_poll_interval_is_poke_interval_by_another_name() -> None:
    assert AirbyteJobSensor(task_id="wait", job_id=1, poll_interval=7).poke_interval == 7
    assert AirbyteJobSensor(task_id="wait", job_id=1, poke_interval=8).poke_interval == 8
    with pytest.raises(exceptions.AirbyteConfigError, match="expected only one of the two"):
        AirbyteJobSensor(task_id="wait", job_id=1, poll_interval=7, poke_interval=8)


def test_what_the_trigger_is_built_of_is_json_without_a_secret(airbyte: LocalAirbyte) -> None:
    from airflow.providers.common.compat.sdk import TaskDeferred

    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    with pytest.raises(TaskDeferred) as deferred:
        wait_for(job, "deferred").execute({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]
    kwargs = deferred.value.trigger.serialize()[1]
    assert (kwargs["job_id"], kwargs["connection_id"]) == (job.job_id, STRIPE_TO_BIGQUERY)
    assert airbyte.client_secret not in json.dumps(kwargs)


def test_a_web_page_in_the_midst_of_the_wait_is_waited_out(airbyte: LocalAirbyte) -> None:
    """As a proxy shows while Airbyte is updated. In place of the first look it means a wrong address."""
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    page: dict[str, Any] = {
        "status": 200,
        "body": "<html><title>Maintenance</title></html>",
        "path": f"/jobs/{job.job_id}",
    }
    sensor, context = wait_for(job, "poke"), cast("Any", {"ti": FakeTaskInstance()})
    airbyte.respond_with(**page)
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError):
        sensor.poke(context)
    assert not sensor.poke(context).is_done
    airbyte.respond_with(**page)
    assert not sensor.poke(context).is_done


@ALL_MODES
@pytest.mark.parametrize("status", [403, 404])
def test_a_gateway_that_answers_at_a_later_poke_is_waited_out(
    dag: DAG, airbyte: LocalAirbyte, fast_clock: None, mode: str, status: int
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY)
    job.script = ["running", "succeeded"]
    airbyte.respond_with(path=f"/jobs/{job.job_id}")  # Airbyte's own
    airbyte.respond_with(status, path=f"/jobs/{job.job_id}", gateway="html")
    wait_for(job, mode)
    assert run(dag).states == {"wait": "success"}


@ALL_MODES
def test_a_gateway_that_answers_at_the_first_poke_fails_the_sensor(dag: DAG, airbyte: LocalAirbyte, mode: str) -> None:
    """Nobody has seen the job yet, and the address may be wrong."""
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.respond_with(404, path=f"/jobs/{job.job_id}", gateway="html")
    wait_for(job, mode)
    assert run(dag).states == {"wait": "failed"}


@ALL_MODES
def test_a_job_that_is_deleted_during_the_wait_fails_the_sensor(dag: DAG, airbyte: LocalAirbyte, mode: str) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.respond_with(path=f"/jobs/{job.job_id}")  # Airbyte's own
    airbyte.respond_with(404, path=f"/jobs/{job.job_id}", times=20)
    wait_for(job, mode)
    assert run(dag).states == {"wait": "failed"}


def test_a_retry_ignores_the_event_of_the_previous_attempt(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    away = exceptions.error_to_dict(exceptions.AirbyteUnreachableError("away"))
    event = {"job_id": job.job_id, "status": "error", "error": away, "metadata": {"try_number": 1}}
    sensor = wait_for(job, "deferred")
    with pytest.raises(exceptions.AirbyteUnreachableError):
        sensor.execute_complete(cast("Any", {"ti": FakeTaskInstance(1)}), dict(event))
    assert sensor.execute_complete(cast("Any", {"ti": FakeTaskInstance(2)}), dict(event))["job_id"] == job.job_id
