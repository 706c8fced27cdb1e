"""Tasks that wait for a hostile Airbyte, one that waits for a good one, and rows that this version did not write."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, BaseOperator

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteJobSensor
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger, AirbyteSyncEventTrigger

GOOD, HOSTILE = "airbyte_api_default", "hostile"


class Row(AirbyteJobTrigger):
    """A trigger whose row is as another version would have written it."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(job_id=1, airbyte_conn_id=HOSTILE)
        self.row = row

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path, arguments = AirbyteJobTrigger(job_id=1, airbyte_conn_id=HOSTILE).serialize()
        return path, {**arguments, **self.row}


class DeferWithRow(BaseOperator):
    """Defers with such a row, and returns the event."""

    def __init__(self, row: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.row = row

    def execute(self, context: Any) -> None:
        self.defer(trigger=Row(self.row), method_name="resume")

    def resume(self, context: Any, event: Any) -> Any:
        return event


with DAG(dag_id="hostile", schedule=None):
    for job_id in range(1, int(os.environ["HOSTILE_JOBS"]) + 1):
        AirbyteJobSensor(
            task_id=f"job_{job_id}",
            job_id=job_id,
            airbyte_conn_id=HOSTILE,
            deferrable=True,
            poll_interval=1,
            unreachable_timeout=5,
        )

with DAG(dag_id="rows", schedule=None):
    DeferWithRow(task_id="newer", row={"job_id": 1, "colour": "blue", "poll_interval": 1.0})
    DeferWithRow(task_id="odd", row={"poll_interval": "often"})
    DeferWithRow(task_id="missing", row={"airbyte_conn_id": "in_the_workers_alone"})

with DAG(dag_id="good", schedule=None):
    AirbyteSyncOperator(
        task_id="sync", connection_id="9924bcd0-99be-453d-ba47-c2c9766f7da5", deferrable=True, poll_interval=1
    )

watched = Asset(
    "hostile",
    watchers=[AssetWatcher(name="hostile", trigger=AirbyteSyncEventTrigger(airbyte_conn_id=HOSTILE, poll_interval=1))],
)
with DAG(dag_id="watching", schedule=[watched], catchup=False):
    BaseOperator(task_id="nothing")
