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

with DAG(dag_id="mapped", schedule=None):
    AirbyteSyncOperator.partial(task_id="sync", deferrable=True, poll_interval=1).expand(
        connection_id=["9924bcd0-99be-453d-ba47-c2c9766f7da5", "2b1f6a9e-7c43-4d0f-b6a8-5e3d2c1b0a94"]
    )
