from __future__ import annotations

import time
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.retry_policy import NON_RETRYABLE, RATE_LIMIT_DELAY, airbyte_retry_policy
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteFreshnessSensor, AirbyteJobSensor
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteFreshnessTrigger, AirbyteJobTrigger
from tests.helpers.dags import run
from tests.helpers.tasks import FakeContext, FakeTaskInstance, FakeTaskStateStore, defer, execute, sync
from tests.test_exceptions import all_kinds
from tests.versions import since

OTHERS = [kind for kind in all_kinds() if not issubclass(kind, (*NON_RETRYABLE, exceptions.AirbyteRateLimitError))]


def decision(kind: type[exceptions.AirbyteError]) -> tuple[str, object]:
    """What the policy makes of an error, as Airflow raises it."""
    made = airbyte_retry_policy().evaluate(kind.__new__(kind, "trouble"), 1, 3)
    return made.action.value, made.retry_delay


@since("3.3", "it knows no retry policies")
@pytest.mark.parametrize("kind", NON_RETRYABLE)
def test_non_retryable_errors_fail_without_a_retry(kind: type[exceptions.AirbyteError]) -> None:
    assert decision(kind)[0] == "fail"


@since("3.3", "it knows no retry policies")
def test_a_rate_limit_is_waited_for() -> None:
    assert decision(exceptions.AirbyteRateLimitError) == ("retry", RATE_LIMIT_DELAY)


@since("3.3", "it knows no retry policies")
@pytest.mark.parametrize("kind", OTHERS)
def test_all_else_follows_the_retries_of_the_task(kind: type[exceptions.AirbyteError]) -> None:
    assert decision(kind) == ("default", None)


CHALLENGE: dict[str, Any] = {"gateway": "html", "headers": {"WWW-Authenticate": 'Basic realm="nginx"'}, "times": 9999}
"""With status 401: what a gateway that wants HTTP authentication of its own answers, for good."""


def assert_retried(error: exceptions.AirbyteUnreachableError) -> None:
    """Airflow retries after this error, which shows what ended the ride-out."""
    assert isinstance(error, AirflowException)
    assert not isinstance(error, NON_RETRYABLE)
    assert 'Basic realm="nginx"' in str(error)


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
@pytest.mark.parametrize("path", ["/connections/.*", "/jobs/1"])
def test_a_gateway_that_refuses_for_too_long_is_no_reason_to_give_up_the_retries_of_a_sync(
    airbyte: LocalAirbyte, path: str, deferrable: bool
) -> None:
    store = FakeTaskStateStore()
    airbyte.script_jobs("running")
    defer(sync(deferrable=True), FakeContext(store))
    airbyte.respond_with(401, path=path, **CHALLENGE)
    with pytest.raises(exceptions.AirbyteUnreachableError) as gave_up:
        execute(sync(deferrable=deferrable), FakeContext(store, try_number=2))
    assert_retried(gave_up.value)


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
def test_nor_of_a_start_whose_connection_airbyte_has_shown(airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.respond_with(401, method="POST", path="/jobs", **CHALLENGE)
    task = sync(deferrable=deferrable)
    with pytest.raises(exceptions.AirbyteUnreachableError) as gave_up:
        execute(task, FakeContext(FakeTaskStateStore()))
    assert_retried(gave_up.value)


@pytest.mark.parametrize("freshness", [False, True], ids=["job", "freshness"])
def test_nor_of_a_sensor_that_pokes(airbyte: LocalAirbyte, freshness: bool) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    more: Any = {"task_id": "wait", "unreachable_timeout": 0.01}
    context: Any = {"ti": FakeTaskInstance()}
    sensor: Any = (
        AirbyteFreshnessSensor(connection_id=STRIPE_TO_BIGQUERY, max_age=60, **more)
        if freshness
        else AirbyteJobSensor(job_id=job.job_id, **more)
    )
    assert not sensor.poke(context)
    airbyte.respond_with(401, path="/jobs.*", **CHALLENGE)
    assert not sensor.poke(context)
    time.sleep(0.02)
    with pytest.raises(exceptions.AirbyteUnreachableError) as gave_up:
        sensor.poke(context)
    assert_retried(gave_up.value)
    assert isinstance(gave_up.value.__cause__, exceptions.AirbyteAuthenticationError)


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("freshness", [False, True], ids=["job", "freshness"])
async def test_nor_of_a_trigger(airbyte: LocalAirbyte, freshness: bool) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.respond_with(401, path="/jobs.*", **CHALLENGE)
    trigger = AirbyteFreshnessTrigger(STRIPE_TO_BIGQUERY) if freshness else AirbyteJobTrigger(job.job_id)
    (event,) = [event async for event in trigger.run()]
    assert event.payload["error"]["type"] == "AirbyteUnreachableError"
    assert 'Basic realm="nginx"' in event.payload["error"]["message"]


@since("3.3", "it knows no retry policies")
@pytest.mark.parametrize(("status", "tries"), [(403, 1), (422, 1), (409, 2)])
def test_airflow_heeds_it(dag: DAG, airbyte: LocalAirbyte, status: int, tries: int) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    if status != 409:
        airbyte.respond_with(status, method="POST", path="/jobs", times=9)
    AirbyteSyncOperator(
        task_id="sync",
        connection_id=STRIPE_TO_BIGQUERY,
        on_running="fail",
        retries=1,
        retry_delay=0,
        retry_policy=airbyte_retry_policy(),
    )
    assert run(dag).states == {"sync": "failed"}
    assert len(airbyte.requests_to("POST", "/jobs")) == tries
