"""What people pass to operators, sensors and the hook by mistake: each is refused by name, before anything is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_airbyte_api import _defaults, exceptions
from airflow_provider_airbyte_api._validation import BOOLEANS
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators import airbyte as operators
from airflow_provider_airbyte_api.operators.airbyte import (
    AirbyteListConnectionsOperator,
    AirbyteListJobsOperator,
    AirbyteListSourcesOperator,
    AirbyteSyncOperator,
)
from airflow_provider_airbyte_api.sensors import airbyte as sensors
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteJobSensor
from airflow_provider_airbyte_api.task_groups import sync_connections
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE, STRIPE_TO_BIGQUERY, WORKSPACE_ID
from tests.helpers.dags import run

ARGUMENTS: dict[str, dict[str, Any]] = {
    "AirbyteSyncOperator": {"connection_id": STRIPE_TO_BIGQUERY},
    "AirbyteClearOperator": {"connection_id": STRIPE_TO_BIGQUERY},
    "AirbyteJobSensor": {"job_id": 1},
    "AirbyteFreshnessSensor": {"connection_id": STRIPE_TO_BIGQUERY},
}
CLASSES = {
    **{name: getattr(operators, name) for name in operators.__all__},
    "AirbyteJobSensor": sensors.AirbyteJobSensor,
    "AirbyteFreshnessSensor": sensors.AirbyteFreshnessSensor,
}


def booleans_of(made: Any) -> set[str]:
    """Return the parameters of ours that are annotated as boolean."""
    ours = [each for each in made.__mro__ if each.__module__.startswith("airflow_provider_airbyte_api")]
    parameters = [each for one in ours for each in inspect.signature(one.__init__).parameters.values()]
    return {each.name for each in parameters if each.annotation == "bool"}


SWITCHES = [(name, switch) for name, made in CLASSES.items() for switch in sorted(booleans_of(made))]


def test_all_booleans_are_known() -> None:
    assert {switch for _, switch in SWITCHES} == BOOLEANS


@pytest.mark.parametrize("value", ["False", "{{ params.x }}", 0, None], ids=str)
@pytest.mark.parametrize(("name", "switch"), SWITCHES)
def test_a_boolean_that_is_none_is_refused_while_the_dag_is_parsed(name: str, switch: str, value: Any) -> None:
    with pytest.raises(exceptions.AirbyteConfigError) as raised:
        CLASSES[name](task_id="t", **{**ARGUMENTS.get(name, {}), switch: value})
    assert str(raised.value).startswith(f"{switch} is {value!r}, expected True or False.")
    assert f"Write {switch}=True or {switch}=False" in str(raised.value)


def test_the_output_of_another_task_is_no_boolean(dag: DAG) -> None:
    other = AirbyteListJobsOperator(task_id="other")
    with pytest.raises(exceptions.AirbyteConfigError, match=r"^deferrable is XComArg.*, expected True or False"):
        AirbyteSyncOperator(task_id="t", connection_id=STRIPE_TO_BIGQUERY, deferrable=other.output)  # type: ignore[arg-type]


def test_a_group_refuses_a_boolean_that_is_none_while_the_dag_is_parsed(dag: DAG) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=r"^deferrable is 'True', expected True or False"):
        sync_connections(tags="nightly", sync_kwargs={"deferrable": "True"})
    with pytest.raises(exceptions.AirbyteConfigError, match=r"^include_configuration is 'no', expected True or False"):
        sync_connections(include_configuration="no")


def test_a_boolean_may_be_mapped_over(dag: DAG, airbyte: LocalAirbyte) -> None:
    airbyte.script_jobs("succeeded")
    AirbyteSyncOperator.partial(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, poll_interval=1).expand(
        wait_for_completion=[False]
    )
    assert run(dag).succeeded


HUGE = 10**5_000


@pytest.mark.parametrize("name", ["timeout", "queue_timeout", "unreachable_timeout", "poll_interval"])
@pytest.mark.parametrize("value", [10**400, HUGE, 1e300, float("nan"), float("inf"), -1, True, "5"], ids=lambda _: "")
def test_a_time_that_no_clock_can_count_is_refused_by_name(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {"connection_id": STRIPE_TO_BIGQUERY, name: value}
    with pytest.raises(exceptions.AirbyteConfigError, match=f"^{name} is .*, expected a number of seconds or a timed"):
        AirbyteSyncOperator(task_id="t", **arguments)


@pytest.mark.parametrize(
    "name", ["timeout", "queue_timeout", "unreachable_timeout", "stalled_timeout", "poll_interval"]
)
def test_a_time_may_be_a_timedelta(name: str) -> None:
    arguments: dict[str, Any] = {"connection_id": STRIPE_TO_BIGQUERY, name: timedelta(minutes=5)}
    assert getattr(AirbyteSyncOperator(task_id="t", **arguments), name) == 300.0
    with pytest.raises(exceptions.AirbyteConfigError, match=f"^{name} is datetime.timedelta"):
        AirbyteSyncOperator(task_id="t", **{**arguments, name: timedelta(0)})


def test_the_times_of_a_sensor_and_of_the_hook_may_be_timedeltas(airbyte: LocalAirbyte) -> None:
    seconds = timedelta(seconds=90)
    sensor = AirbyteJobSensor(task_id="t", job_id=1, poll_interval=seconds, unreachable_timeout=seconds)
    assert (sensor.poke_interval, sensor.unreachable_timeout) == (90.0, 90.0)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    with pytest.raises(exceptions.AirbyteJobTimeoutError):
        AirbyteHook().wait_for_job(job.job_id, poll_interval=seconds, timeout=timedelta(milliseconds=1))


@pytest.mark.parametrize("given", [{"poll_interval": 1e-9}, {"poke_interval": 1e-9}])
def test_a_sensor_polls_once_a_second_at_most(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> None:
    monkeypatch.setattr(_defaults, "MIN_POLL_INTERVAL", 1.0)
    assert AirbyteJobSensor(task_id="t", job_id=1, **given).poke_interval == 1.0


EARLIEST = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))


def listing(make: type[BaseOperator], **filters: Any) -> Callable[[], Any]:
    return lambda: make(task_id="t", **filters).execute({})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (listing(AirbyteListSourcesOperator, workspace_ids=5), "workspace_ids is '5', expected a UUID"),
        (listing(AirbyteListSourcesOperator, workspace_ids=0), "workspace_ids is '0', expected a UUID"),
        (listing(AirbyteListSourcesOperator, workspace_ids=5.5), "workspace_ids is 5.5, expected a string or a list"),
        (
            listing(AirbyteListSourcesOperator, workspace_ids={"id": 1}),
            "workspace_ids is {'id': 1}, expected a string or",
        ),
        (listing(AirbyteListSourcesOperator, workspace_names=[None]), "workspace_names is None, expected a non-empty"),
        (listing(AirbyteListConnectionsOperator, tags=5.5), "tags is 5.5, expected a string or a list"),
        (listing(AirbyteListConnectionsOperator, source_id=[STRIPE]), r"source_id is \['.*, expected a UUID"),
        (listing(AirbyteListConnectionsOperator, destination_id="abc"), "destination_id is 'abc', expected a UUID"),
        (listing(AirbyteListConnectionsOperator, name=["a"]), r"name is \['a'\], expected a non-empty string"),
        (listing(AirbyteListConnectionsOperator, name_pattern=" "), "name_pattern is ' ', expected a non-empty string"),
        (
            listing(AirbyteListConnectionsOperator, status="Active"),
            "status is 'Active', expected one of active, inactive",
        ),
        (
            listing(AirbyteListConnectionsOperator, status="activ"),
            "status is 'activ', expected one of active, inactive",
        ),
        (listing(AirbyteListSourcesOperator, source_type=["x"]), r"source_type is \['x'\], expected a non-empty"),
        (listing(AirbyteListJobsOperator, status="succeded"), "status is 'succeded', expected one of pending, queued,"),
        (listing(AirbyteListJobsOperator, status={"a": 1}), "status is {'a': 1}, expected one of pending,"),
        (listing(AirbyteListJobsOperator, job_type="Sync"), "job_type is 'Sync', expected one of sync, reset, clear"),
        (listing(AirbyteListJobsOperator, job_type=5), "job_type is 5, expected one of sync"),
        (
            listing(AirbyteListJobsOperator, created_after=EARLIEST),
            "created_after is .*, expected a time in the years",
        ),
        (
            listing(AirbyteListJobsOperator, updated_before="9999-12-31T23:59:59-14:00"),
            "updated_before is '9999-12-31T",
        ),
        (listing(AirbyteListJobsOperator, connection_id=HUGE), "connection_id is a value of type int, expected a UUID"),
        (lambda: list(AirbyteHook().list_jobs(created_after=EARLIEST)), "created_after is .*, expected a time in"),
        (lambda: list(AirbyteHook().list_jobs(created_after="x")), "created_after is 'x', expected a datetime"),  # type: ignore[arg-type]
        (lambda: AirbyteHook().get_job(HUGE), "job_id is a value of type int, expected a whole number"),
        (lambda: AirbyteHook().get_job("9" * 5_000), "job_id is '99999.*…, expected a whole number"),  # type: ignore[arg-type]
        (lambda: AirbyteHook().wait_for_job(1, poll_interval=10**400), "poll_interval is 1000.*, expected a number of"),
        (lambda: AirbyteHook().wait_for_job(1, poll_interval=None), "poll_interval is None, expected a number of"),  # type: ignore[arg-type]
        (lambda: AirbyteJobSensor(task_id="t", job_id="x\n" * 999).poke({}), r"job_id is 'x\\nx.*, expected a whole"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_by_name_and_nothing_is_sent(
    airbyte: LocalAirbyte, call: Callable[[], Any], message: str
) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=f"^{message}") as raised:
        call()
    assert len(str(raised.value)) < 600
    assert airbyte.requests == []


@pytest.mark.parametrize("spelling", [STRIPE, STRIPE.upper(), f" {STRIPE} ", f"{{{STRIPE}}}"])
def test_an_id_to_filter_by_may_be_spelled_in_any_way(airbyte: LocalAirbyte, spelling: str) -> None:
    rows = AirbyteListConnectionsOperator(task_id="t", source_id=spelling).execute({})
    assert [row["name"] for row in rows] == ["Stripe → BigQuery"]


def test_a_type_to_filter_by_may_be_capitalised(airbyte: LocalAirbyte) -> None:
    rows = AirbyteListSourcesOperator(task_id="t", source_type="Stripe", workspace_ids=WORKSPACE_ID.upper()).execute({})
    assert [row["name"] for row in rows] == ["Stripe"]


# -- lists that are too long to map over ------------------------------------------------------------------------


def test_a_list_that_is_too_long_to_map_over_says_so_before_anything_is_started(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "1")
    with dag:
        sync_connections()
    done = run(dag)
    assert not done.succeeded
    assert done.states["sync_connections.list"] == "failed"
    assert airbyte.jobs == []
    group: Any = dag.get_task("sync_connections.list")
    with pytest.raises(exceptions.AirbyteConfigError) as raised:
        group.execute({})
    assert str(raised.value).startswith("Found 2 connections, but Airflow maps a task over at most 1 items.")
    assert "Set AIRFLOW__CORE__MAX_MAP_LENGTH=2 or higher" in str(raised.value)


def test_a_list_that_is_too_long_to_map_over_may_be_split_into_groups(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "1")
    with dag:
        for pattern in ("Stripe*", "Snowflake*"):
            sync_connections(pattern.rstrip("*"), name_pattern=pattern, sync_kwargs={"poll_interval": 0.02})
    assert run(dag).succeeded
    assert len({job.connection_id for job in airbyte.jobs}) == 2


def test_a_list_that_nobody_maps_over_may_be_of_any_length(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "1")
    AirbyteListConnectionsOperator(task_id="list")
    assert run(dag).succeeded
