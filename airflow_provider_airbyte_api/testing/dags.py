"""Run a DAG to completion in the test's own process, on each supported version of Airflow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.providers.common.compat.sdk import DAG


def run_dag(dag: DAG, **how: Any) -> DagRun:
    """Run a DAG, including its triggers, and return its finished run.

    The run uses the database of Airflow's configuration. If it has no tables, they are created; existing tables are
    left unchanged. So run tests with a separate ``AIRFLOW_HOME``.

    :param dag: the DAG; it need not be in Airflow's DAG folder.
    :param how: arguments of ``DAG.test``, such as ``run_conf``.
    """
    ensure_db()
    _register(dag)
    run: DagRun = dag.test(**how)
    return run


def ensure_db() -> None:
    """Create the tables of Airflow's database, unless they exist."""
    from airflow import settings
    from airflow.utils.db import initdb
    from sqlalchemy import inspect

    if not inspect(settings.engine).has_table("dag_run"):
        initdb()


def _register(dag: DAG) -> None:
    """Register the DAG in the database: from 3.1 on, ``DAG.test`` finds DAGs only there and in the DAG folder."""
    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:
        try:
            from airflow.models.dagbag import DagBag, sync_bag_to_db  # type: ignore[no-redef]  # 3.1
        except ImportError:
            return
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
