"""A nightly load: the syncs wait in the triggerer, and a report follows."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.providers.airbyte.operators.airbyte import (
    AirbyteTriggerSyncOperator,  # waits in the triggerer
)
from airflow.providers.airbyte.sensors.airbyte import AirbyteJobSensor
from airflow.providers.common.compat.sdk import DAG, task

DEFAULTS = {"retries": 1, "retry_delay": timedelta(seconds=1), "execution_timeout": timedelta(hours=2)}

with DAG(
    "nightly",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    default_args=DEFAULTS,
) as dag:
    payments = AirbyteTriggerSyncOperator(
        task_id="payments",
        connection_id="9924bcd0-99be-453d-ba47-c2c9766f7da5",
        deferrable=True,
        wait_seconds=3,
    )
    orders = AirbyteTriggerSyncOperator(
        task_id="orders", connection_id="2b1f6a9e-7c43-4d0f-b6a8-5e3d2c1b0a94", asynchronous=True, deferrable=True
    )
    orders_done = AirbyteJobSensor(task_id="orders_done", airbyte_job_id=orders.output, deferrable=True)

    @task
    def report() -> str:
        """Return what the next DAG reads."""
        return "done"

    [payments, orders_done] >> report()
