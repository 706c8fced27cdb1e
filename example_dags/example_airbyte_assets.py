"""Start a DAG on the asset event of a sync in another DAG."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task  # type: ignore[attr-defined, no-redef]

from airflow_provider_airbyte_api.assets import connection_asset

# HOST is the Host of the Airflow connection. The UUID is part of the URL of the connection's page in Airbyte.
HOST = os.environ.get("EXAMPLE_AIRBYTE_HOST", "http://localhost:8000")
STRIPE = connection_asset(HOST, "9924bcd0-99be-453d-ba47-c2c9766f7da5")

with DAG(
    dag_id="example_airbyte_assets",
    schedule=[STRIPE],
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # required by Airflow 2
    catchup=False,
    tags=["airbyte"],
) as dag:

    @task
    def what_arrived(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        """Return the extra of each event, or an empty list if the DAG was triggered manually."""
        return [event.extra for event in triggering_asset_events[STRIPE]] if triggering_asset_events else []

    what_arrived()
