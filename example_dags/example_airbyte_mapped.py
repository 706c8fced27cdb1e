"""Sync all connections that have a tag, each in a separate mapped task that shows the connection's name."""

from __future__ import annotations

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteListConnectionsOperator, AirbyteSyncOperator
from airflow_provider_airbyte_api.task_groups import sync_connections

with DAG(dag_id="example_airbyte_mapped", schedule=None, catchup=False, tags=["airbyte"]) as dag:
    # List the connections when the DAG runs, then sync each of them.
    nightly = sync_connections("nightly", tags="nightly", sync_kwargs={"deferrable": True, "poll_interval": 5})

    # The same from operators, for connections with a matching name. To limit the load on Airbyte, use a pool that
    # counts deferred tasks.
    found = AirbyteListConnectionsOperator(task_id="find", name_pattern="Snowflake*", output="ids")
    by_name = AirbyteSyncOperator.partial(
        task_id="sync",
        deferrable=True,
        poll_interval=5,
        map_index_template="{{ airbyte_connection_name }}",
    ).expand(connection_id=found.output)

    nightly >> found
