"""The two uses that the official provider's documentation shows: one task that waits, and a start with a sensor."""

from __future__ import annotations

from airflow.providers.airbyte.operators.airbyte import AirbyteTriggerSyncOperator
from airflow.providers.airbyte.sensors.airbyte import AirbyteJobSensor
from airflow.providers.common.compat.sdk import DAG

with DAG("start_and_wait", schedule=None, catchup=False) as dag:
    load = AirbyteTriggerSyncOperator(
        task_id="load",
        airbyte_conn_id="airbyte_default",
        connection_id="9924bcd0-99be-453d-ba47-c2c9766f7da5",
        asynchronous=False,
        timeout=600,
        wait_seconds=1,
    )
    start = AirbyteTriggerSyncOperator(
        task_id="start",
        connection_id="2b1f6a9e-7c43-4d0f-b6a8-5e3d2c1b0a94",
        asynchronous=True,
        api_version="v1",
    )
    wait = AirbyteJobSensor(task_id="wait", airbyte_job_id=start.output, poke_interval=1)

    load >> start
