"""The DAGs of the cases, as the test names them."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator


def add_dag(dag_id: str, airbyte_conn_id: str, tasks: list[dict[str, Any]], options: dict[str, Any]) -> None:
    options = {"retries": 1, "retry_delay": 2, "poll_interval": 1, **options}
    for name in options.keys() & {"execution_timeout", "retry_delay"}:
        options[name] = timedelta(seconds=options[name])
    with DAG(dag_id=dag_id, schedule=None):
        AirbyteSyncOperator.partial(task_id="sync", airbyte_conn_id=airbyte_conn_id, **options).expand_kwargs(tasks)


for _each in json.loads(os.environ["CLUSTER_DAGS"]):
    add_dag(**_each)
