"""Run a DAG to completion in the test's own process, on each supported version of Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

    from airflow_provider_airbyte_api._airflow_compat import DAG


def run_dag(dag: DAG, **options: Any) -> DagRun:
    """Run a DAG, including its triggers, and return its finished run.

    The run uses the database of Airflow's configuration. If it has no tables, they are created; existing tables are
    left unchanged. So run tests with a separate ``AIRFLOW_HOME``.

    :param dag: the DAG; it need not be in Airflow's DAG folder.
    :param options: arguments of ``DAG.test``, such as ``run_conf``.
    """
    from airflow_provider_airbyte_api import _airflow_compat

    _airflow_compat.ensure_db()
    _airflow_compat.register_dag(dag)
    run: DagRun = dag.test(**options)
    return run
