"""Alert on a failed sync, with the connection, the reason, the rows and the link to the job."""

from __future__ import annotations

import logging
from typing import Any

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator


def describe_failure(context: Any) -> str:
    """Return a message about a failed sync, for people."""
    ti = context["ti"]
    sync = ti.xcom_pull(task_ids=ti.task_id, key="airbyte_sync", map_indexes=ti.map_index)
    if not sync:  # the task failed before it had a job
        return f"{ti.dag_id}.{ti.task_id} failed: {context.get('exception')}"
    reason = sync["reason"] or {}
    why = ", ".join(reason[key] for key in ("origin", "kind", "message") if reason.get(key))
    return "\n".join(
        [
            f"Sync of {sync['connection_name']!r} is {sync['status']} ({ti.dag_id}.{ti.task_id}).",
            f"Reason: {why or context.get('exception')}",
            f"Rows: {sync['rows'] or 0:,}",
            f"Job: {sync['job_url']}",
        ]
    )


def alert(context: Any) -> None:
    """Log the message. Replace this with what sends it to your team."""
    logging.getLogger("alerts").error(describe_failure(context))


with DAG(dag_id="example_airbyte_alerts", schedule=None, catchup=False, tags=["airbyte"]) as dag:
    sync = AirbyteSyncOperator(
        task_id="sync",
        connection_name="Stripe → BigQuery",
        deferrable=True,
        poll_interval=2,
        on_failure_callback=alert,
    )
