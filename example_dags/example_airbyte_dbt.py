"""Build dbt models from the tables of a sync, after it has succeeded."""

from __future__ import annotations

import os
from datetime import datetime, timezone

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task  # type: ignore[attr-defined, no-redef]

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator

DBT = os.environ.get("EXAMPLE_DBT", "echo dbt")  # yours: dbt

with DAG(
    dag_id="example_airbyte_dbt",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # required by Airflow 2
    catchup=False,
    tags=["airbyte"],
) as dag:
    # min_rows: dbt does not build from old data if the sync moved nothing.
    sync = AirbyteSyncOperator(
        task_id="sync",
        connection_id="9924bcd0-99be-453d-ba47-c2c9766f7da5",
        deferrable=True,
        poll_interval=2,
        min_rows=1,
    )

    @task.bash
    def build(job_id: int) -> str:
        """Return the command. The models may store the job that their data came from."""
        return f"{DBT} build --select source:stripe+ --vars '{{airbyte_job_id: {job_id}}}'"

    build(sync.output["job_id"])  # type: ignore[index]
