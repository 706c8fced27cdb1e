from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api.api import errors
from airflow_provider_airbyte_api.hooks.errors import as_airflow
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.retries import HOPELESS, RATE_LIMITED_DELAY, airbyte_retry_policy
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from tests.airflow.conftest import run
from tests.api.test_errors import all_kinds
from tests.versions import since

TRANSIENT = [kind for kind in all_kinds() if kind.transient]


def decision(kind: type[errors.AirbyteError]) -> tuple[str, object]:
    """What the policy makes of an error, as Airflow raises it."""
    made = airbyte_retry_policy().evaluate(as_airflow(kind.__new__(kind, "trouble")), 1, 3)
    return made.action.value, made.retry_delay


@since("3.3", "it knows no retry policies")
@pytest.mark.parametrize("kind", HOPELESS)
def test_what_no_retry_heals_fails_at_once(kind: type[errors.AirbyteError]) -> None:
    assert decision(kind)[0] == "fail"


@since("3.3", "it knows no retry policies")
def test_a_rate_limit_is_waited_for() -> None:
    assert decision(errors.AirbyteRateLimitError) == ("retry", RATE_LIMITED_DELAY)


@since("3.3", "it knows no retry policies")
@pytest.mark.parametrize("kind", [*TRANSIENT, errors.AirbyteJobFailedError, errors.AirbyteAlreadyRunningError])
def test_all_else_is_retried(kind: type[errors.AirbyteError]) -> None:
    assert decision(kind)[0] in ("retry", "default")


@since("3.3", "it knows no retry policies")
@pytest.mark.parametrize(("status", "tries"), [(403, 1), (422, 1), (409, 2)])
def test_airflow_heeds_it(dag: DAG, airbyte: LocalAirbyte, status: int, tries: int) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    if status != 409:
        airbyte.next_reply(status, method="POST", path="/jobs", times=9)
    AirbyteSyncOperator(
        task_id="sync",
        connection_id=STRIPE_TO_BIGQUERY,
        on_running="fail",
        retries=1,
        retry_delay=0,
        retry_policy=airbyte_retry_policy(),
    )
    assert run(dag).states == {"sync": "failed"}
    assert len(airbyte.asked("POST", "/jobs")) == tries
