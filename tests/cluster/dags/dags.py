"""The DAGs of the cases, as the test names them."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator


def add_dag(dag_id: str, airbyte_conn_id: str, tasks: list[dict[str, Any]], options: dict[str, Any]) -> None:
    options = {"retries": 1, "poll_interval": 1, **options}
    if "execution_timeout" in options:
        options["execution_timeout"] = timedelta(seconds=options["execution_timeout"])
    with DAG(dag_id=dag_id, schedule=None):
        AirbyteSyncOperator.partial(
            task_id="sync", airbyte_conn_id=airbyte_conn_id, retry_delay=timedelta(seconds=2), **options
        ).expand_kwargs(tasks)


for _each in json.loads(os.environ["CLUSTER_DAGS"]):
    add_dag(**_each)
