"""Airflow's own triggerer, as a process, with the database of the tests: no scheduler and no worker runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.dags import Run
from tests.versions import AIRFLOW

TIMEOUT = 150.0


class Triggerer:
    """A running ``airflow triggerer``."""

    def __init__(self, log: Path) -> None:
        from airflow.configuration import conf

        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "AIRFLOW__CORE__FERNET_KEY": conf.get("core", "fernet_key")},  # that of unit tests
            )

    def wait_until(self, condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it as a deployment does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT)


@contextmanager
def running_triggerer(log: Path) -> Iterator[Triggerer]:
    triggerer = Triggerer(log)
    try:
        yield triggerer
    finally:
        if triggerer.process.poll() is None:
            os.killpg(triggerer.process.pid, signal.SIGKILL)
            triggerer.process.wait()


def _session() -> Any:
    from airflow.utils.session import create_session

    return create_session()


def _row(session: Any, done: Run, task_id: str, map_index: int) -> Any:
    from airflow.models.taskinstance import TaskInstance

    which = {"dag_id": done.dag_run.dag_id, "run_id": done.dag_run.run_id, "task_id": task_id, "map_index": map_index}
    return session.query(TaskInstance).filter_by(**which).one()


def defer_again(done: Run, task_id: str, trigger: Any, map_index: int = -1) -> None:
    """Let a task that has run be deferred to ``trigger``."""
    from airflow.models.trigger import Trigger

    with _session() as session:
        row = Trigger.from_object(trigger)
        session.add(row)
        session.flush()
        ti = _row(session, done, task_id, map_index)
        ti.state, ti.trigger_id = "deferred", row.id


def set_state(done: Run, task_id: str, state: str | None, map_index: int = -1) -> None:
    """Give a task instance a state, as Airflow's API and its scheduler do when a user acts on the task."""
    with _session() as session:
        _row(session, done, task_id, map_index).state = state


def start_new_attempt(done: Run, task_id: str) -> None:
    """Let a task run again, as Airflow does: without the XComs of the attempt before."""
    from airflow.models import xcom

    model = xcom.XCom if AIRFLOW < (3, 0) else xcom.XComModel
    with _session() as session:
        which = {"dag_id": done.dag_run.dag_id, "run_id": done.dag_run.run_id, "task_id": task_id}
        session.query(model).filter_by(**which).delete()
    set_state(done, task_id, "running")
