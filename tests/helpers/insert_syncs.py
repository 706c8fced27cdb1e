"""Write task instances, given as JSON on stdin, into Airflow's database. Run it in the environment of that Airflow."""

from __future__ import annotations

import json
import sys
import uuid
from datetime import datetime, timezone
from typing import Any

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

BUNDLE = "dags-folder"


def main() -> None:
    rows = json.load(sys.stdin)
    with create_session() as session:
        dag_ids = {row["dag_id"] for row in rows}
        _insert_dags(session, dag_ids - set(session.scalars(select(DagModel.dag_id))))
        runs = _insert_runs(session, rows)
        for row in rows:
            key = {name: row[name] for name in ("dag_id", "run_id", "task_id", "map_index")}
            for model in (XComModel, RenderedTaskInstanceFields, TaskInstance):
                columns = model.__table__.columns
                session.execute(delete(model).where(*(columns[name] == value for name, value in key.items())))
        _insert_all(session, TaskInstance, [_task_instance(row) for row in rows])
        _insert_all(
            session,
            RenderedTaskInstanceFields,
            [{**_key(row), "rendered_fields": row["rendered"]} for row in rows if row["rendered"] is not None],
        )
        _insert_all(
            session,
            XComModel,
            [
                {**_key(row), "dag_run_id": runs[row["dag_id"], row["run_id"]], "key": key, "value": value}
                for row in rows
                for key, value in row["xcoms"].items()
            ],
        )


def _insert_all(session: Session, model: Any, values: list[dict[str, Any]]) -> None:
    if values:
        session.execute(insert(model.__table__), values)


def _key(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("dag_id", "run_id", "task_id", "map_index")}


def _insert_dags(session: Session, dag_ids: set[str]) -> None:
    if session.get(DagBundleModel, BUNDLE) is None:
        session.add(DagBundleModel(name=BUNDLE))
        session.flush()
    values = {
        "bundle_name": BUNDLE,
        "last_parsed_time": datetime.now(timezone.utc),
        "is_paused": False,
        "is_stale": False,
        "max_active_tasks": 16,
        "max_consecutive_failed_dag_runs": 0,
        "has_task_concurrency_limits": False,
    }
    rows = [
        {**values, "dag_id": dag_id, "fileloc": f"/{dag_id}.py", "relative_fileloc": f"{dag_id}.py"}
        for dag_id in dag_ids
    ]
    _insert_all(session, DagModel, rows)


def _insert_runs(session: Session, rows: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    def known() -> dict[tuple[str, str], int]:
        return {
            (run.dag_id, run.run_id): run.id for run in session.execute(select(DagRun.dag_id, DagRun.run_id, DagRun.id))
        }

    existing = known()
    new = {}
    for row in rows:
        if (row["dag_id"], row["run_id"]) not in existing:
            start = _moment(row, "start")
            new[row["dag_id"], row["run_id"]] = {
                "dag_id": row["dag_id"],
                "run_id": row["run_id"],
                "run_type": "manual",
                "run_after": start,
                "logical_date": None,
                "start_date": start,
                "state": "running",
                "conf": {},
            }
    _insert_all(session, DagRun, list(new.values()))
    return known()


def _moment(row: dict[str, Any], name: str) -> datetime | None:
    seconds = row[name]
    return None if seconds is None else datetime.fromtimestamp(row["now"] - seconds, timezone.utc)


def _task_instance(row: dict[str, Any]) -> dict[str, Any]:
    start, end = _moment(row, "start"), _moment(row, "end")
    identity = uuid.uuid5(uuid.NAMESPACE_URL, repr(_key(row)))
    return {
        **_key(row),
        # Before Airflow 3.3 the column is text.
        "id": identity if TaskInstance.__table__.columns["id"].type.python_type is uuid.UUID else str(identity),
        "state": row["state"],
        "start_date": start,
        "end_date": end,
        "duration": None if start is None or end is None else (end - start).total_seconds(),
        "try_number": row["try_number"],
        "max_tries": 3,
        "operator": row["operator"],
        "task_display_name": row["task_id"],
        "pool": "default_pool",
        "pool_slots": 1,
        "queue": "default",
        "priority_weight": 1,
        "hostname": "",
        "executor_config": {},
    }


if __name__ == "__main__":
    main()
