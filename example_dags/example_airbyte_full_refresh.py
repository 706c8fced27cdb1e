"""Move all data of a connection anew, and let Airflow alone say when it is synced."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api.operators.airbyte import (
    AirbyteClearOperator,
    AirbyteSyncOperator,
    AirbyteUpdateConnectionOperator,
)

with DAG(dag_id="example_airbyte_full_refresh", schedule=None, catchup=False, tags=["airbyte"]) as dag:
    which = {"connection_name": "Stripe → BigQuery"}
    own = AirbyteUpdateConnectionOperator(task_id="own_the_schedule", schedule="manual", **which)
    # A clear would cancel a sync that runs: here it waits for its end.
    clear = AirbyteClearOperator(task_id="clear", on_running="wait", deferrable=True, poll_interval=2, **which)
    sync = AirbyteSyncOperator(task_id="sync", on_own_schedule="fail", deferrable=True, poll_interval=2, **which)
    own >> clear >> sync
