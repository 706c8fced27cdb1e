"""List sources, run a sync without occupying a worker, and wait for a job that another task has started."""

from __future__ import annotations

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteListSourcesOperator, AirbyteSyncOperator
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteJobSensor

with DAG(
    dag_id="example_airbyte",
    schedule=None,
    catchup=False,
    tags=["example", "airbyte"],
    doc_md=__doc__,
    # The defaults are two connections of the package's local Airbyte. Pass your own when you trigger the DAG.
    params={
        "connection_id": "9924bcd0-99be-453d-ba47-c2c9766f7da5",
        "second_connection_id": "2b1f6a9e-7c43-4d0f-b6a8-5e3d2c1b0a94",
    },
) as dag:
    list_sources = AirbyteListSourcesOperator(task_id="list_sources")

    # Deferrable: the task releases its worker once the sync has started.
    sync = AirbyteSyncOperator(
        task_id="sync",
        connection_id="{{ params.connection_id }}",
        deferrable=True,
        poll_interval=2,
    )

    # Starts a sync and does not wait for it. The sensor below waits.
    start_second = AirbyteSyncOperator(
        task_id="start_second",
        connection_id="{{ params.second_connection_id }}",
        wait_for_completion=False,
    )
    wait_for_second = AirbyteJobSensor(
        task_id="wait_for_second",
        job_id="{{ ti.xcom_pull(task_ids='start_second', key='job_id') }}",
        deferrable=True,
        poll_interval=2,
    )

    list_sources >> [sync, start_second]
    start_second >> wait_for_second
