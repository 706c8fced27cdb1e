"""Syncs that end together, and a DAG that waits for some of their assets."""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_airbyte_api.assets import connection_asset
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator

AIRBYTE = os.environ["CHAOS_AIRBYTE"]
ROUNDS = int(os.environ["CHAOS_ROUNDS"])


def connection_id(purpose: str, number: int, index: int = 0) -> str:
    """Return the id of the connection number ``index`` that round ``number`` uses for ``purpose``."""
    return f"{purpose}0000000-0000-4000-8000-{number:06d}{index:06d}"


ARGUMENTS: dict[str, Any] = {"deferrable": True, "poll_interval": 1, "retries": 1, "retry_delay": 1}

for number in range(ROUNDS):
    with DAG(dag_id=f"attached_{number}", schedule=None):
        for index in range(12):
            AirbyteSyncOperator(
                task_id=f"sync_{index}",
                connection_id=connection_id("a", number),
                asset_events="streams",
                **ARGUMENTS,
            )
    with DAG(dag_id=f"owned_{number}", schedule=None):
        for index in range(12):
            AirbyteSyncOperator(
                task_id=f"sync_{index}",
                connection_id=connection_id("d", number),
                asset_events="streams" if index % 2 else "connection",
                **ARGUMENTS,
            )
    with DAG(dag_id=f"poking_{number}", schedule=None):
        for index in range(4):  # all that run at once on SQLite
            AirbyteSyncOperator(
                task_id=f"sync_{index}", connection_id=connection_id("e", number), **{**ARGUMENTS, "deferrable": False}
            )
    with DAG(dag_id=f"mapped_{number}", schedule=None):
        AirbyteSyncOperator.partial(task_id="sync", asset_events="streams", **ARGUMENTS).expand(
            connection_id=[connection_id("b", number, index) for index in range(12)]
        )
    with DAG(dag_id=f"single_{number}", schedule=None):
        AirbyteSyncOperator(task_id="sync", connection_id=connection_id("c", number), **ARGUMENTS)

waited_for: Any = Asset("airbyte_syncs")
for number in range(ROUNDS):
    waited_for |= connection_asset(AIRBYTE, connection_id("a", number))
    waited_for |= connection_asset(AIRBYTE, connection_id("a", number), "invoices")
    waited_for |= connection_asset(AIRBYTE, connection_id("b", number, 0))
    waited_for |= connection_asset(AIRBYTE, connection_id("c", number))
    waited_for |= connection_asset(AIRBYTE, connection_id("d", number))
    waited_for |= connection_asset(AIRBYTE, connection_id("d", number), "invoices")
    waited_for |= connection_asset(AIRBYTE, connection_id("e", number))

with DAG(dag_id="waiting", schedule=waited_for):

    @task
    def arrived() -> None:
        """Do nothing."""

    arrived()
