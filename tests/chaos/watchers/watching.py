"""Fifty assets with a watcher each, and a DAG that is started by the first one."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_airbyte_api.triggers.airbyte import AirbyteSyncEventTrigger

assets = [
    Asset(
        f"synced_{number:02}",
        watchers=[
            AssetWatcher(
                name=f"syncs_{number:02}",
                trigger=AirbyteSyncEventTrigger(connection_id=connection_id, poll_interval=3.0),
            )
        ],
    )
    for number, connection_id in enumerate(os.environ["WATCHED_CONNECTIONS"].split(","))
]

with DAG(dag_id="watching", schedule=[assets[0]], catchup=False, max_active_runs=16):

    @task
    def what_arrived(triggering_asset_events: Any = None) -> list[int]:
        """Return the ids of the jobs that the events tell of."""
        return [event.extra["payload"]["job_id"] for event in triggering_asset_events[assets[0]]]

    what_arrived()

with DAG(dag_id="watching_the_others", schedule=assets[1:], catchup=False):

    @task
    def nothing() -> None:
        """It is there for its assets to be watched."""

    nothing()
