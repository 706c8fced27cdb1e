"""Start a DAG whenever a sync has finished: one that Airflow ran, or one that anybody did. Airflow 3.0 and newer."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_airbyte_api.triggers.airbyte import AirbyteSyncEventTrigger

# Whoever starts it: Airbyte's own schedule, a person, or Airflow.
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
        """Return what the events tell of the syncs: nothing, where a person has started this DAG."""
        events = triggering_asset_events[stripe_synced] if triggering_asset_events else []
        return [event.extra["payload"] for event in events]

    what_arrived()
