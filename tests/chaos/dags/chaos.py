"""A sync that may be retried once, waited for in the worker and deferred."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator

for name, deferrable in (("in_worker", False), ("deferred", True)):
    with DAG(dag_id=name, schedule=None, params={"connection_id": "9924bcd0-99be-453d-ba47-c2c9766f7da5"}):
        AirbyteSyncOperator(
            task_id="sync",
            connection_id="{{ params.connection_id }}",
            deferrable=deferrable,
            poll_interval=1,
            retries=1,
            retry_delay=timedelta(seconds=1),
        )
