"""The official provider's names, parameters, defaults and results, on this package."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, TaskDeferred

from airflow_provider_airbyte_api import drop_in, exceptions
from airflow_provider_airbyte_api.drop_in import AirbyteHook, AirbyteJobSensor, AirbyteTriggerSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY
from tests.helpers.dags import run
from tests.helpers.tasks import FakeContext, FakeTaskStateStore
from tests.test_provider import loaded
from tests.versions import since

BOTH_MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


@pytest.fixture(autouse=True)
def _official_connection(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Airflow connection as the official provider documents it."""
    connection = {
        "conn_type": "airbyte",
        "host": f"{airbyte.url}/api/public/v1/",
        "login": airbyte.client_id,
        "password": airbyte.client_secret,
        "schema": "v1/applications/token",
    }
    monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_DEFAULT", json.dumps(connection))


def sync(**more: Any) -> AirbyteTriggerSyncOperator:
    return AirbyteTriggerSyncOperator(
        **{"task_id": "sync", "connection_id": STRIPE_TO_BIGQUERY, "wait_seconds": 0.02, **more}
    )


def defaults(function: Any) -> dict[str, Any]:
    found = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in found if each.kind is not each.VAR_KEYWORD and each.name != "self"}


REQUIRED = inspect.Parameter.empty


def test_parameters_and_defaults_are_those_of_the_official_provider() -> None:
    assert defaults(AirbyteTriggerSyncOperator.__init__) == {
        "connection_id": REQUIRED,
        "airbyte_conn_id": "airbyte_default",
        "asynchronous": False,
        "deferrable": False,
        "api_version": "v1",
        "wait_seconds": 3,
        "timeout": 3600,
    }
    assert defaults(AirbyteJobSensor.__init__) == {
        "airbyte_job_id": REQUIRED,
        "deferrable": False,
        "airbyte_conn_id": "airbyte_default",
        "api_version": "v1",
    }
    assert defaults(AirbyteHook) == {"airbyte_conn_id": "airbyte_default", "api_version": "v1", "timeout": None}
    assert defaults(AirbyteHook.wait_for_job) == {"job_id": REQUIRED, "wait_seconds": 3, "timeout": 3600}


def test_a_name_that_is_missing_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module '.*\.drop_in' has no attribute 'AirbyteSyncTrigger'"):
        _ = drop_in.AirbyteSyncTrigger


@since("3.0", "importing Airflow imports them")
def test_a_dag_file_loads_the_hook_only_if_it_imports_it() -> None:
    hook = "airflow_provider_airbyte_api.hooks.airbyte"
    assert loaded("import airflow_provider_airbyte_api.drop_in", (hook, "requests", "aiohttp")) == []
    assert loaded("from airflow_provider_airbyte_api.drop_in import AirbyteHook", (hook,)) == [hook]


# -- operator --------------------------------------------------------------------------------------------------


@BOTH_MODES
def test_the_result_is_the_job_id(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    sync(deferrable=deferrable, api_version="v2")
    done = run(dag)
    assert done.states == {"sync": "success"}
    (job,) = airbyte.jobs
    assert (done.xcom("sync"), job.status) == (job.job_id, "succeeded")


def test_an_asynchronous_task_succeeds_once_the_job_is_started(airbyte: LocalAirbyte) -> None:
    airbyte.script_jobs("running", "running", "succeeded")
    assert sync(asynchronous=True).execute(FakeContext()) == 1  # type: ignore[arg-type]
    (job,) = airbyte.jobs
    assert job.status != "succeeded"


def test_asynchronous_is_a_boolean() -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=r"^asynchronous is 'False', expected True or False"):
        sync(asynchronous="False")


@BOTH_MODES
def test_a_failed_sync_fails_the_task(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    airbyte.script_jobs("failed")
    sync(deferrable=deferrable)
    assert run(dag).states == {"sync": "failed"}


@pytest.mark.parametrize("timeout", [None, 0])
def test_a_timeout_of_none_or_zero_is_no_limit(timeout: float | None) -> None:
    assert sync(timeout=timeout).timeout is None


@pytest.mark.parametrize(
    ("wait_seconds", "deferrable", "expected"), [(3, False, 3), (90, False, 90), (3, True, 30), (90, True, 90)]
)
def test_a_deferred_task_polls_no_more_often_than_by_default(
    wait_seconds: float, deferrable: bool, expected: float
) -> None:
    assert sync(wait_seconds=wait_seconds, deferrable=deferrable).poll_interval == expected


def test_parameters_of_the_operator_beneath_are_accepted(dag: DAG, airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY)
    sync(on_running="skip")
    assert run(dag).states == {"sync": "skipped"}


def test_a_retry_follows_the_sync_of_the_previous_attempt(airbyte: LocalAirbyte) -> None:
    airbyte.script_jobs("running", "running", "succeeded")
    store = FakeTaskStateStore()
    with pytest.raises(TaskDeferred):
        sync(deferrable=True, retries=1).execute(FakeContext(store))  # type: ignore[arg-type]
    assert sync(retries=1).execute(FakeContext(store, try_number=2)) == 1  # type: ignore[arg-type]
    airbyte.assert_one_job(STRIPE_TO_BIGQUERY)


# -- sensor ----------------------------------------------------------------------------------------------------


@BOTH_MODES
def test_a_sensor_waits_for_an_asynchronous_sync(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    started = sync(asynchronous=True)
    AirbyteJobSensor(
        task_id="wait",
        airbyte_job_id=started.output,  # type: ignore[arg-type]
        deferrable=deferrable,
        poke_interval=0.02,
    )
    done = run(dag)
    assert done.states == {"sync": "success", "wait": "success"}
    assert [job.status for job in airbyte.jobs] == ["succeeded"]


def test_mapped_sensors_wait_for_mapped_syncs(dag: DAG, airbyte: LocalAirbyte) -> None:
    connections = [STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES]
    syncs = AirbyteTriggerSyncOperator.partial(task_id="sync", asynchronous=True).expand(connection_id=connections)
    AirbyteJobSensor.partial(task_id="wait", poke_interval=0.02).expand(airbyte_job_id=syncs.output)
    assert run(dag).states == {"sync": "success", "wait": "success"}
    assert {job.connection_id: job.status for job in airbyte.jobs} == dict.fromkeys(connections, "succeeded")


@BOTH_MODES
def test_a_sensor_fails_if_the_job_fails(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "failed")
    AirbyteJobSensor(task_id="wait", airbyte_job_id=job.job_id, deferrable=deferrable, poke_interval=0.02)
    assert run(dag).states == {"wait": "failed"}


# -- hook ------------------------------------------------------------------------------------------------------


def test_the_hook_starts_and_gets_and_waits_for_a_sync(airbyte: LocalAirbyte) -> None:
    hook = AirbyteHook()
    job = hook.submit_sync_connection(connection_id=STRIPE_TO_BIGQUERY)
    assert hook.get_job_details(job_id=job.job_id).connection_id == STRIPE_TO_BIGQUERY
    hook.wait_for_job(str(job.job_id), wait_seconds=0.02)
    assert hook.get_job_status(job.job_id) == "succeeded"


def test_the_hook_starts_a_reset(airbyte: LocalAirbyte) -> None:
    assert AirbyteHook().submit_reset_connection(STRIPE_TO_BIGQUERY).job_type == "reset"


def test_the_hook_does_not_start_a_second_sync_of_a_connection(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY)
    with pytest.raises(AirflowException, match="already running"):
        AirbyteHook().submit_sync_connection(STRIPE_TO_BIGQUERY)


def test_waiting_for_a_failed_job_raises(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "failed")
    with pytest.raises(exceptions.AirbyteJobError, match="failed"):
        AirbyteHook().wait_for_job(job.job_id, 0.02)


def test_a_job_that_takes_too_long_is_cancelled(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY)
    with pytest.raises(exceptions.AirbyteJobTimeoutError):
        AirbyteHook().wait_for_job(job.job_id, wait_seconds=0.02, timeout=0.1)
    assert airbyte.jobs[0].status == "cancelled"


def test_the_timeout_of_the_hook_is_that_of_a_request(airbyte: LocalAirbyte) -> None:
    airbyte.latency = 0.5
    with pytest.raises(exceptions.AirbyteUnreachableError):
        AirbyteHook(timeout=0.1).get_job_details(1)


def test_the_health_of_an_airbyte_is_tested_with_the_connections_credentials(airbyte: LocalAirbyte) -> None:
    assert AirbyteHook("airbyte_default").test_connection()[0]
