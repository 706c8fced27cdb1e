"""Letting Airflow own the schedule."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowSkipException
from pytest_mock import MockerFixture

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator, AirbyteUpdateConnectionOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, STRIPE_TO_POSTGRES
from tests.helpers.dags import run
from tests.helpers.tasks import FakeTaskInstance


def execute(task: Any) -> dict[str, Any]:
    """Run a task that does not defer, without Airflow around it."""
    return cast("dict[str, Any]", task.execute({"ti": FakeTaskInstance()}))


CRON = {"scheduleType": "cron", "cronExpression": "0 0 5 * * ? UTC"}
MANUAL = {"scheduleType": "manual"}


def connection(airbyte: LocalAirbyte, connection_id: str = STRIPE_TO_BIGQUERY) -> dict[str, Any]:
    return next(each for each in airbyte.connections if each["connectionId"] == connection_id)


def test_the_schedule_is_taken_off_airbyte_once(dag: DAG, airbyte: LocalAirbyte) -> None:
    connection(airbyte)["schedule"] = CRON
    AirbyteUpdateConnectionOperator(
        task_id="own", connection_name="{{ 'Stripe → BigQuery' }}", airbyte_schedule="manual"
    )
    done = run(dag)
    assert done.xcom("own") == {
        "connection_id": STRIPE_TO_BIGQUERY,
        "name": "Stripe → BigQuery",
        "status": "active",
        "schedule": MANUAL,
        "changed": ["schedule"],
    }
    assert connection(airbyte)["schedule"] == MANUAL
    assert STRIPE_TO_BIGQUERY in done.xcom("own", "connection_url")


def test_a_second_time_nothing_is_changed_and_a_queued_job_lives_on(airbyte: LocalAirbyte) -> None:
    queued = airbyte.add_job(STRIPE_TO_BIGQUERY, "queued")
    task = AirbyteUpdateConnectionOperator(
        task_id="on", connection_id=STRIPE_TO_BIGQUERY, status="active", airbyte_schedule="manual"
    )
    assert execute(task)["changed"] == []
    assert airbyte.requests_to("PATCH", ".*") == []
    assert queued.status == "queued"


def test_a_connection_is_switched_on_and_given_a_schedule(airbyte: LocalAirbyte) -> None:
    connection(airbyte, STRIPE_TO_POSTGRES)["status"] = "inactive"
    changed = AirbyteHook().update_connection(STRIPE_TO_POSTGRES, status="active", airbyte_schedule="0 30 5 * * ?")
    assert (changed.status, changed.schedule_type) == ("active", "cron")
    assert AirbyteHook().update_connection(STRIPE_TO_POSTGRES, airbyte_schedule="0 30 5 * * ? UTC") == changed
    assert len(airbyte.requests_to("PATCH", ".*")) == 1


def test_a_locked_connection_is_an_error_that_says_so(airbyte: LocalAirbyte) -> None:
    connection(airbyte)["status"] = "locked"
    with pytest.raises(exceptions.AirbyteConnectionInactiveError, match="is locked, so it cannot be changed"):
        AirbyteHook().update_connection(STRIPE_TO_BIGQUERY, status="active")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "at least one of them"),
        ({"status": "paused"}, "status is 'paused'"),
        ({"airbyte_schedule": "0 5 * * *"}, "Quartz cron expression"),
    ],
)
def test_what_cannot_be_changed_is_named(airbyte: LocalAirbyte, given: dict[str, str], message: str) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=message) as caught:
        execute(AirbyteUpdateConnectionOperator(task_id="t", connection_id=STRIPE_TO_BIGQUERY, **given))
    assert isinstance(caught.value, AirflowException)
    assert airbyte.requests == []


# -- a schedule of Airbyte's own beside Airflow's ----------------------------------------------------------------


def warnings_in(log: Any) -> list[str]:
    calls = [call.args for call in log.log.call_args_list]
    return [message % tuple(rest) for level, message, *rest in calls if level >= logging.WARNING]


@pytest.mark.parametrize(("policy", "warnings"), [({}, 1), ({"on_airbyte_schedule": "ignore"}, 0)])
def test_a_sync_that_airbyte_schedules_too_is_warned_of(
    airbyte: LocalAirbyte, mocker: MockerFixture, policy: dict[str, str], warnings: int
) -> None:
    connection(airbyte)["schedule"] = CRON
    task = AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, poll_interval=0.02, **policy)  # type: ignore[arg-type]
    log = mocker.patch.object(AirbyteHook, "log")
    execute(task)
    lines = warnings_in(log)
    assert len(lines) == warnings
    assert all("is also scheduled in Airbyte (cron)" in line for line in lines)
    assert [job.status for job in airbyte.jobs] == ["succeeded"]


def test_an_inactive_connection_is_skipped_whatever_its_schedule(airbyte: LocalAirbyte, mocker: MockerFixture) -> None:
    connection(airbyte).update(status="inactive", schedule=CRON)
    for policy in ("fail", "warn"):
        task = AirbyteSyncOperator(
            task_id=policy, connection_id=STRIPE_TO_BIGQUERY, on_inactive="skip", on_airbyte_schedule=policy
        )
        log = mocker.patch.object(AirbyteHook, "log")
        with pytest.raises(AirflowSkipException):
            execute(task)
        assert warnings_in(log) == []


def test_a_missing_role_is_named(airbyte: LocalAirbyte) -> None:
    airbyte.respond_with(403, method="PATCH")
    with pytest.raises(exceptions.AirbytePermissionError, match="needs the editor role"):
        AirbyteHook().update_connection(STRIPE_TO_BIGQUERY, status="inactive")


def test_mapped_updates_are_named_by_their_connections(dag: DAG, airbyte: LocalAirbyte) -> None:
    AirbyteUpdateConnectionOperator.partial(
        task_id="own", status="inactive", map_index_template="{{ airbyte_connection_name }}"
    ).expand(connection_id=[STRIPE_TO_BIGQUERY, STRIPE_TO_POSTGRES])
    done = run(dag)
    assert done.succeeded
    labels = {each.rendered_map_index for each in done.dag_run.get_task_instances()}
    assert labels == {"Stripe → BigQuery", "Stripe → Postgres"}


def test_on_airbyte_schedule_fail(airbyte: LocalAirbyte) -> None:
    task = AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, on_airbyte_schedule="fail")
    connection(airbyte)["schedule"] = {"scheduleType": "basic", "basicTiming": "Every 24 HOURS"}
    with pytest.raises(
        exceptions.AirbyteConfigError, match=r"scheduled in Airbyte \(basic\).*AirbyteUpdateConnectionOperator"
    ):
        execute(task)
    assert airbyte.jobs == []
    connection(airbyte)["schedule"] = MANUAL
    assert execute(task)["status"] == "succeeded"
