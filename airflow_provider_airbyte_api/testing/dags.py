"""Running a DAG to its end in the test's own process, on each Airflow that is supported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.providers.common.compat.sdk import DAG


def run_dag(dag: DAG, **how: Any) -> DagRun:
    """Run a DAG, its triggers included, and return its finished run.

    Airflow's database is what its configuration says. If it has no tables they are made, if it has some they are left
    as they are; so give tests an ``AIRFLOW_HOME`` of their own.

    :param dag: it need not lie in Airflow's DAG folder.
    :param how: what ``DAG.test`` takes, such as ``run_conf``.
    """
    ensure_db()
    _register(dag)
    run: DagRun = dag.test(**how)
    return run


def ensure_db() -> None:
    """Make the tables of Airflow's database, unless it has some."""
    from airflow import settings
    from airflow.utils.db import initdb
    from sqlalchemy import inspect

    if not inspect(settings.engine).has_table("dag_run"):
        initdb()


def _register(dag: DAG) -> None:
    """Make the DAG known to the database: from 3.1 on, ``DAG.test`` looks there, and else in the DAG folder only."""
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
