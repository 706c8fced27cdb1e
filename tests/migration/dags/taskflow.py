"""Tasks in Python that use the hook."""

from __future__ import annotations

from typing import Any

from airflow.providers.airbyte.operators.airbyte import AirbyteTriggerSyncOperator
from airflow.providers.common.compat.sdk import DAG, task

with DAG("taskflow", schedule=None, catchup=False) as dag:

    @task
    def start(connection_id: str) -> int:
        from airflow.providers.airbyte.hooks.airbyte import AirbyteHook

        hook = AirbyteHook(airbyte_conn_id="airbyte_default", api_version="v1")
        return int(hook.submit_sync_connection(connection_id=connection_id).job_id)

    @task
    def finish(job_id: int) -> dict[str, Any]:
        from airflow.providers.airbyte.hooks.airbyte import AirbyteHook

        hook = AirbyteHook()
        hook.wait_for_job(job_id, wait_seconds=1, timeout=60)
        job = hook.get_job_details(job_id)
        return {
            "job_id": job.job_id,
            "status": str(hook.get_job_status(job_id).lower()),
            "connection_id": job.connection_id,
            "rows": job.rows_synced,
        }

    @task
    def compare(first: dict[str, Any], second: int) -> str:
        return f"{first['job_id']} then {second}"

    orders = AirbyteTriggerSyncOperator(
        task_id="orders", connection_id="2b1f6a9e-7c43-4d0f-b6a8-5e3d2c1b0a94", wait_seconds=1
    )
    payments = finish(start("9924bcd0-99be-453d-ba47-c2c9766f7da5"))  # type: ignore[arg-type]
    payments >> orders
    compare(payments, orders.output)  # type: ignore[arg-type]
