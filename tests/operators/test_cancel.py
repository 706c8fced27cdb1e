"""Cancelling a job, and never another one."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.operators.airbyte import AirbyteCancelJobOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.types import CancelResult
from tests.helpers.dags import run


def cancel(**which: Any) -> CancelResult:
    return AirbyteCancelJobOperator(task_id="cancel", **which).execute({})


@pytest.mark.parametrize(
    "which",
    [{"job_id": "{{ 1 + 1 }}"}, {"connection_id": STRIPE_TO_BIGQUERY}, {"connection_name": "Stripe → BigQuery"}],
    ids=["job_id", "connection_id", "connection_name"],
)
def test_what_runs_is_cancelled(dag: DAG, airbyte: LocalAirbyte, which: dict[str, Any]) -> None:
    airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "running")
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    AirbyteCancelJobOperator(task_id="cancel", **which)
    done = run(dag)
    assert done.xcom("cancel") == {"job_id": job.job_id, "status": "cancelled", "cancelled": True}
    assert airbyte.cancelled == [job.job_id]


def test_a_finished_job_is_left_alone_and_so_is_a_newer_one(airbyte: LocalAirbyte) -> None:
    old = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    assert cancel(job_id=old.job_id) == {"job_id": old.job_id, "status": "succeeded", "cancelled": False}
    assert airbyte.cancelled == []


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 502, "times": 3},
        {"drop_connection": True},
        {"status": 200, "body": '{"jobId": 1, "status": "running"}'},
    ],
    ids=["502", "lost", "accepted and not obeyed"],
)
@pytest.mark.parametrize("which", [{"job_id": 1}, {"connection_id": STRIPE_TO_BIGQUERY}], ids=["job", "connection"])
def test_ineffective_cancel_is_repeated(
    airbyte: LocalAirbyte, fast_clock: None, trouble: dict[str, Any], which: dict[str, Any]
) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.respond_with(method="DELETE", path=".*", **trouble)
    assert cancel(**which)["cancelled"]
    assert airbyte.cancelled == [1]


def test_that_nothing_runs_is_no_failure(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    assert cancel(connection_id=STRIPE_TO_BIGQUERY) == {"job_id": None, "status": None, "cancelled": False}
    assert airbyte.cancelled == []


def test_a_job_that_does_not_exist_is_an_error(airbyte: LocalAirbyte) -> None:
    with pytest.raises(exceptions.AirbyteNotFoundError, match="Job 99 does not exist"):
        cancel(job_id=99)


@pytest.mark.parametrize("which", [{}, {"job_id": 1, "connection_id": STRIPE_TO_BIGQUERY}], ids=["none", "two"])
def test_one_of_the_three_has_to_be_given(which: dict[str, Any]) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match="expected exactly one of the three"):
        AirbyteCancelJobOperator(task_id="cancel", **which)


def test_a_template_that_rendered_to_nothing_cancels_nothing(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    for empty in ({"job_id": ""}, {"job_id": "None"}, {"connection_id": ""}):
        with pytest.raises((exceptions.AirbyteConfigError, exceptions.AirbyteResourceLookupError)):
            cancel(**empty)
    assert airbyte.cancelled == []
