"""Starts the syncs of a list of connections, and waits for each of them with a sensor of its own."""

from __future__ import annotations

import airflow.providers.airbyte.sensors.airbyte as sensors
from airflow.providers.airbyte.operators import airbyte
from airflow.providers.common.compat.sdk import DAG, TaskGroup

CONNECTIONS = [
    "9924bcd0-99be-453d-ba47-c2c9766f7da5",  # payments
    "2b1f6a9e-7c43-4d0f-b6a8-5e3d2c1b0a94",  # orders
]

with DAG("fan_out", schedule=None, catchup=False, default_args={"retries": 0}) as dag:
    with TaskGroup("mapped"):
        syncs = airbyte.AirbyteTriggerSyncOperator.partial(task_id="sync", asynchronous=True).expand(
            connection_id=CONNECTIONS
        )
        waits = sensors.AirbyteJobSensor.partial(task_id="wait", poke_interval=1, mode="poke").expand(
            airbyte_job_id=syncs.output
        )

    with TaskGroup("again"):
        sync = airbyte.AirbyteTriggerSyncOperator(task_id="sync", connection_id=CONNECTIONS[0], asynchronous=True)
        wait = sensors.AirbyteJobSensor(
            task_id="wait",
            airbyte_job_id="{{ ti.xcom_pull(task_ids='again.sync') }}",
            poke_interval=1,
        )
        sync >> wait

    waits >> sync
