"""Run the DAG of a file in this environment, and print the states and results of its tasks as JSON."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

from airflow_provider_airbyte_api._airflow_compat import ensure_db, register_dag


def main(path: str) -> None:
    spec = importlib.util.spec_from_file_location("dag_file", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    states: dict[str, str] = {}
    results: dict[str, Any] = {}
    # Not testing.run_dag, which needs aiohttp: the environment of the official provider has none.
    ensure_db()
    register_dag(module.dag)
    for ti in module.dag.test().get_task_instances():
        name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
        states[name] = str(ti.state)
        results[name] = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
    print(json.dumps({"states": states, "results": results}))


if __name__ == "__main__":
    main(sys.argv[1])
