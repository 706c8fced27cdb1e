"""The DAGs of the cases, as the test names them."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from tests.chaos.cases.failing_once import FailingOnce


def add_dag(dag_id: str, airbyte_conn_id: str, connection_ids: list[str], options: dict[str, Any]) -> None:
    options = {"retries": 1, **options}
    if "execution_timeout" in options:
        options["execution_timeout"] = timedelta(seconds=options["execution_timeout"])
    with DAG(dag_id=dag_id, schedule=None):
        shared = {"task_id": "sync", "airbyte_conn_id": airbyte_conn_id, "poll_interval": 1, **options}
        shared["retry_delay"] = timedelta(seconds=1)
        if len(connection_ids) == 1:
            FailingOnce(connection_id=connection_ids[0], **shared)
        else:
            FailingOnce.partial(**shared).expand(connection_id=connection_ids)


for _each in json.loads(os.environ["CHAOS_DAGS"]):
    add_dag(**_each)
