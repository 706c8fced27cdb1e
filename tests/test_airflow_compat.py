"""What this package touches of Airflow's inside does what it relies on, in a running task of each Airflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.operators._execution import JobExecution
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY
from tests.helpers.assets import name_in_a_dag, name_in_no_dag
from tests.helpers.dags import run
from tests.helpers.tasks import InATask
from tests.versions import AIRFLOW, since


def in_a_task(dag: DAG, ask: Callable[[], Any]) -> Any:
    """Return what ``ask`` returns in a running task."""
    answers: list[Any] = []
    InATask(ask=lambda _: answers.append(ask()), task_id="ask")
    assert run(dag).succeeded
    return answers[0]


def test_only_an_asset_that_a_dag_names_is_active(dag: DAG) -> None:
    name_in_a_dag("s3://compat/named")
    name_in_no_dag("s3://compat/forgotten")

    def ask() -> list[Asset | None]:
        found = [_airflow_compat.active_asset(uri=f"s3://compat/{each}") for each in ("named", "forgotten", "unknown")]
        return [*found, _airflow_compat.active_asset(name="s3://compat/named")]

    named, forgotten, unknown, by_name = in_a_task(dag, ask)
    assert named.uri == by_name.uri == "s3://compat/named"
    assert (forgotten, unknown) == (None, None)


def test_a_task_that_was_not_deferred_has_no_ended_deferral(dag: DAG) -> None:
    assert _airflow_compat.context_of_an_ended_deferral() is None
    assert in_a_task(dag, _airflow_compat.context_of_an_ended_deferral) is None


def test_an_asset_that_nothing_has_happened_to_has_no_events(dag: DAG) -> None:
    since_then = datetime.now(tz=timezone.utc) - timedelta(hours=1)
    assert in_a_task(dag, lambda: _airflow_compat.event_extras(Asset(uri="s3://compat/unknown"), since_then)) == []


def test_a_task_that_runs_for_the_first_time_was_not_rescheduled(dag: DAG) -> None:
    answers: list[bool] = []
    InATask(ask=lambda context: answers.append(_airflow_compat.was_rescheduled(context)), task_id="ask")
    assert run(dag).succeeded
    assert answers == [False]


def test_events_can_be_limited_from_airflow_3_2_on_and_in_the_database_of_2() -> None:
    assert _airflow_compat.can_limit_events() is (AIRFLOW < (3, 0) or AIRFLOW >= (3, 2))


@since("3.3", "it keeps nothing for an asset")
def test_what_is_kept_for_an_asset_can_be_read_again_and_the_last_writer_wins(dag: DAG) -> None:
    name_in_a_dag("s3://compat/kept")

    def ask() -> list[Any]:
        store = _airflow_compat.asset_state(Asset(uri="s3://compat/kept"))
        before = store.get("nothing")
        for value in ({"task": "first"}, {"task": "second"}):
            store.set("claim", value)
        return [before, store.get("claim")]

    assert in_a_task(dag, ask) == [None, {"task": "second"}]


@pytest.mark.skipif(AIRFLOW >= (3, 3), reason="Airflow 3.3 keeps something for an asset")
def test_before_3_3_nothing_is_kept_for_an_asset() -> None:
    assert _airflow_compat.asset_state(Asset(uri="s3://compat/kept")) is None


@since("3.2", "a label is written when the task is done")
def test_a_mapped_task_bears_its_connections_name_before_its_sync_starts(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[int, str | None] = {}
    start = JobExecution._start

    def look_first(job_run: Any, *arguments: Any) -> Any:
        ti = job_run._context["ti"]
        shown[ti.map_index] = label_of(ti)
        return start(job_run, *arguments)

    monkeypatch.setattr(JobExecution, "_start", look_first)
    AirbyteSyncOperator.partial(
        task_id="sync", poll_interval=1, map_index_template="{{ airbyte_connection_name }}"
    ).expand(connection_id=[STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES])
    assert run(dag).succeeded
    assert shown == {0: "Stripe → BigQuery", 1: "Snowflake → Postgres"}


def label_of(ti: Any) -> str | None:
    """Return what Airflow's UI calls a mapped task."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.query(TaskInstance).filter_by(
            dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index
        )
        return row.one()._rendered_map_index


def test_a_label_that_cannot_be_rendered_fails_no_task(dag: DAG, airbyte: LocalAirbyte) -> None:
    from airflow_provider_airbyte_api._validation import set_map_index_name

    context: dict[str, Any] = {"map_index_template": "{{ 1 / 0 }}", "ti": object()}
    set_map_index_name(context, "Stripe")
    assert context["airbyte_connection_name"] == "Stripe"
