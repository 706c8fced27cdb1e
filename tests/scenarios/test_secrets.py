"""After a full run at DEBUG, no secret is in any file of Airflow's: database, task logs, and its own log."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from airflow_provider_airbyte_api.testing import LocalAirbyte
from dev.stack import AirflowStack
from tests.helpers.clock import wait_until
from tests.versions import since

DAG_FILE = """
from airflow.sdk import DAG
from airflow_provider_airbyte_api.operators.airbyte import AirbyteListSourcesOperator, AirbyteSyncOperator
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteJobSensor

CONNECTION = "9924bcd0-99be-453d-ba47-c2c9766f7da5"

with DAG(dag_id="secrets", schedule=None):
    sources = AirbyteListSourcesOperator(task_id="sources", include_configuration=True)
    sync = AirbyteSyncOperator(task_id="sync", connection_id=CONNECTION, deferrable=True, poll_interval=1)
    wait = AirbyteJobSensor(task_id="wait", job_id="{{ ti.xcom_pull('sync', key='job_id') }}", deferrable=True)
    refused = AirbyteSyncOperator(task_id="refused", connection_id=CONNECTION, airbyte_conn_id="mistyped")
    unusable = AirbyteSyncOperator(task_id="unusable", connection_id=CONNECTION, airbyte_conn_id="unusable")
    sources >> sync >> wait >> [refused, unusable]
"""


@pytest.mark.running_airflow
@since("3.0", "its REST API is another one")
def test_no_secret_is_in_any_file_after_a_full_run(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "secrets.py").write_text(DAG_FILE)
    secrets = {
        "client_secret": "the-client-secret",
        "mistyped": "the-mistyped-secret",
        "header": "the-gateways-key",
        "proxy": "the-proxys-password",
        "api_token": "the-static-token",
    }
    with LocalAirbyte(client_secret=secrets["client_secret"], job_seconds=5.0) as airbyte:
        good = {
            **json.loads(airbyte.airflow_connection),
            "extra": {
                "secret_headers": {"X-Gateway": secrets["header"]},
                "proxy": airbyte.url.replace("http://", f"http://me:{secrets['proxy']}@"),
            },
        }
        unusable = {**good, "extra": {"api_token": secrets["api_token"], "proxy": f"ftp://me:{secrets['proxy']}@h"}}
        environment = {
            "AIRFLOW_CONN_AIRBYTE_API_DEFAULT": json.dumps(good),
            "AIRFLOW_CONN_MISTYPED": json.dumps({**good, "password": secrets["mistyped"]}),
            "AIRFLOW_CONN_UNUSABLE": json.dumps(unusable),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        }
        with AirflowStack(tmp_path / "home", dags, environment) as stack:
            run_id = stack.trigger("secrets")
            wait_until(lambda: stack.run_state("secrets", run_id) in ("success", "failed"), 150, pause=0.5)
            assert stack.states("secrets", run_id) == {
                "sources": "success",
                "sync": "success",
                "wait": "success",
                "refused": "failed",
                "unusable": "failed",
            }
            assert "Check Client ID (Login)" in stack.task_log("secrets", run_id, "refused")
            assert "api_token" in stack.task_log("secrets", run_id, "unusable")
        tokens = {asked.token for asked in airbyte.requests if asked.token}
    assert tokens
    hidden = {*secrets.values(), *tokens, base64.b64encode(f"me:{secrets['proxy']}".encode()).decode()}
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert any("DEBUG" in path.read_text(errors="replace").upper() for path in files if path.suffix == ".log")
    found = [(path.name, secret) for path in files for secret in hidden if secret.encode() in path.read_bytes()]
    assert not found
