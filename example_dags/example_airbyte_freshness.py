"""Wait until the data is fresh, regardless of who syncs it."""

from __future__ import annotations

from datetime import timedelta

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteFreshnessSensor

with DAG(dag_id="example_airbyte_freshness", schedule=None, catchup=False, tags=["airbyte"]) as dag:
    # In this example, the DAG starts the sync. Airbyte's own schedule or a person can start it instead.
    sync = AirbyteSyncOperator(task_id="sync", connection_name="Stripe → BigQuery", wait_for_completion=False)
    fresh = AirbyteFreshnessSensor(
        task_id="fresh",
        connection_name="Stripe → BigQuery",
        max_age=timedelta(hours=6),
        min_rows=1,
        on_failed="fail",
        deferrable=True,
        poll_interval=2,
        timeout=3600,
    )
    sync >> fresh
