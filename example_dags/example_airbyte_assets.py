"""Start a DAG on what a sync of another DAG has brought."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_airbyte_api.assets import connection_asset

# Where the Airbyte is, and which connection: as in Host of the Airflow connection, and in the address of its page.
HOST = os.environ.get("EXAMPLE_AIRBYTE_HOST", "http://localhost:8000")
STRIPE = connection_asset(HOST, "9924bcd0-99be-453d-ba47-c2c9766f7da5")

with DAG(
    dag_id="example_airbyte_assets",
    schedule=[STRIPE],
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # Airflow 2 wants one
    catchup=False,
    tags=["airbyte"],
) as dag:

    @task
    def what_arrived(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        """Return what the events tell of the syncs: nothing, where a person has started this DAG."""
        return [event.extra for event in triggering_asset_events[STRIPE]] if triggering_asset_events else []

    what_arrived()
