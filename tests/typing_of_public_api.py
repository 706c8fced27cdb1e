"""Right and wrong uses of the public classes, for mypy: an ignored error that does not occur is an error, too."""

from __future__ import annotations

from datetime import timedelta

from airflow_provider_airbyte_api.operators.airbyte import (
    AirbyteClearOperator,
    AirbyteListConnectionsOperator,
    AirbyteSyncOperator,
)
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteFreshnessSensor, AirbyteJobSensor
from airflow_provider_airbyte_api.types import OnRunning

policy: OnRunning = "wait"
AirbyteSyncOperator(task_id="t", connection_id="id", on_running=policy, deferrable=True, timeout=None, retries=3)
AirbyteSyncOperator(task_id="t", connection_id="id", on_running="adopt")  # type: ignore[arg-type]
AirbyteSyncOperator(task_id="t", connection_id=7)  # type: ignore[arg-type]
AirbyteSyncOperator(task_id="t", connection_id="id", asset_events="all")  # type: ignore[arg-type]
AirbyteClearOperator(task_id="t", connection_id="id", job_type="reset", on_running="restart")
AirbyteClearOperator(task_id="t", connection_id="id", on_running="attach")  # type: ignore[arg-type]
AirbyteListConnectionsOperator(task_id="t", tags=["nightly"], workspace_ids="id")
AirbyteListConnectionsOperator(task_id="t", output="ids")
AirbyteListConnectionsOperator(task_id="t", output="names")  # type: ignore[arg-type]
AirbyteListConnectionsOperator(task_id="t", tags=1)  # type: ignore[arg-type]
AirbyteJobSensor(task_id="t", job_id="{{ ti.xcom_pull('sync', key='job_id') }}", poll_interval=60)
AirbyteJobSensor(task_id="t")  # type: ignore[call-arg]
AirbyteFreshnessSensor(task_id="t", connection_id="id", max_age=timedelta(hours=6), on_failed="fail")
AirbyteFreshnessSensor(task_id="t", connection_id="id", on_failed="skip")  # type: ignore[arg-type]
