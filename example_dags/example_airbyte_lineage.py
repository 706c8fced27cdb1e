"""Send the datasets that a sync read and wrote to OpenLineage, with their columns.

This requires the OpenLineage provider and a transport in Airflow's configuration. Without them, the task runs the sync
and sends no lineage.
"""

from __future__ import annotations

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator

with DAG(dag_id="example_airbyte_lineage", schedule=None, catchup=False, tags=["airbyte"]) as dag:
    AirbyteSyncOperator(
        task_id="sync", connection_name="Snowflake → Postgres", emit_schema_facet=True, deferrable=True, poll_interval=2
    )
