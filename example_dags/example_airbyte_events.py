"""Start a DAG whenever a sync has succeeded, regardless of who started it. Requires Airflow 3.0 or newer."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_airbyte_api.triggers.airbyte import AirbyteSyncEventTrigger

# The watcher emits an event for each sync that Airbyte's own schedule, a person or Airflow has started.
stripe_synced = Asset(
    "stripe_synced",
    watchers=[
        AssetWatcher(
            name="stripe_syncs",
            trigger=AirbyteSyncEventTrigger(connection_name="Stripe → BigQuery", poll_interval=5.0),
        )
    ],
)

with DAG(dag_id="example_airbyte_events", schedule=[stripe_synced], catchup=False, tags=["airbyte"]) as dag:

    @task
    def what_arrived(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        """Return the payload of each event, or an empty list if the DAG was triggered manually."""
        events = triggering_asset_events[stripe_synced] if triggering_asset_events else []
        return [event.extra["payload"] for event in events]

    what_arrived()
