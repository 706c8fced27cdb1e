"""A watcher of an Airbyte connection's syncs. Airflow 2 has no watchers."""

from __future__ import annotations

import os

if os.environ.get("CHAOS_WATCHED"):
    from airflow.sdk import DAG, Asset, AssetWatcher, task

    from airflow_provider_airbyte_api.triggers.airbyte import AirbyteSyncEventTrigger

    trigger = AirbyteSyncEventTrigger(
        connection_id=os.environ["CHAOS_WATCHED"], airbyte_conn_id="watched", poll_interval=1.0
    )
    asset = Asset("synced", watchers=[AssetWatcher(name="syncs", trigger=trigger)])

    with DAG(dag_id="watching", schedule=[asset], catchup=False, max_active_runs=16):

        @task
        def nothing() -> None:
            """It is there for its asset to be watched."""

        nothing()
