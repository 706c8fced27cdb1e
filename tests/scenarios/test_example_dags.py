"""Every example DAG is run to its end, on real Airflow, against the local Airbyte."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api.testing import LocalAirbyte
from tests.conftest import REPOSITORY
from tests.helpers.dags import run
from tests.versions import since

EXAMPLES = [
    pytest.param(path, id=path.stem, marks=since("3.0", "it has no asset watchers") if "events" in path.stem else ())
    for path in sorted((REPOSITORY / "example_dags").glob("*.py"))
]


def dag_in(path: Path) -> DAG:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dag: DAG = module.dag
    return dag


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_runs_to_its_end(path: Path, database: None, airbyte: LocalAirbyte) -> None:
    dag = dag_in(path)
    assert dag.dag_id == path.stem, "an example is found by its file's name"
    done = run(dag)
    assert done.states == dict.fromkeys(dag.task_ids, "success")


def test_the_alert_of_a_failed_sync_says_what_people_need(
    database: None, airbyte: LocalAirbyte, caplog: pytest.LogCaptureFixture
) -> None:
    airbyte.script_jobs("running", "failed", reason="The password is wrong.")
    done = run(dag_in(REPOSITORY / "example_dags" / "example_airbyte_alerts.py"))
    assert done.states == {"sync": "failed"}
    (message,) = [each.getMessage() for each in caplog.records if each.name == "alerts"]
    assert message.splitlines() == [
        "Sync of 'Stripe → BigQuery' is failed (example_airbyte_alerts.sync).",
        "Reason: source, config_error, The password is wrong.",
        "Rows: 0",
        f"Job: {done.xcom('sync', 'job_url')}",
    ]


def test_the_alert_of_a_task_without_a_job_has_its_error(
    database: None, airbyte: LocalAirbyte, caplog: pytest.LogCaptureFixture
) -> None:
    airbyte.connections.clear()
    assert run(dag_in(REPOSITORY / "example_dags" / "example_airbyte_alerts.py")).states == {"sync": "failed"}
    (message,) = [each.getMessage() for each in caplog.records if each.name == "alerts"]
    assert message.startswith("example_airbyte_alerts.sync failed: ")
    assert "Stripe → BigQuery" in message


def test_the_main_example_syncs_two_connections_once_each(database: None, airbyte: LocalAirbyte) -> None:
    done = run(dag_in(REPOSITORY / "example_dags" / "example_airbyte.py"))
    assert [source["name"] for source in done.xcom("list_sources")] == ["Snowflake", "Stripe"]
    assert {done.xcom("sync")["job_id"], done.xcom("wait_for_second")["job_id"]} == {1, 2}
    assert len(airbyte.jobs) == 2
