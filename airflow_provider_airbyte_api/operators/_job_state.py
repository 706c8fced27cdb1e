"""The job record that a task run keeps across attempts, so that no attempt starts a second job.

Airflow 3.3 and newer have a store for it (``task_state_store``). On older versions it is an Airflow Variable, one for
each task run. Both survive a retry and a clear of the task. A clear changes the task's ``max_tries`` and a retry does
not; this distinguishes the two.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_airbyte_api import _airflow_compat, _job_state_backends
from airflow_provider_airbyte_api._job_state_backends import Backend
from airflow_provider_airbyte_api._options import get_job_state_backend
from airflow_provider_airbyte_api.api.job_record import JobRecord
from airflow_provider_airbyte_api.api.safe import dict_or_empty, safe_int

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context

STATE_KEY = "airbyte_job"
"""Key of the record in Airflow's store of a task."""

MAX_ID_IN_KEY = 80
"""Maximum characters of the DAG's and of the task's ID in the key of a record. A Variable's key has at most 250."""


NOTHING_STARTED = "nothing_started"
"""Key of what is stored instead of a record after a start that created no job."""


class StoredState(NamedTuple):
    """What an earlier attempt has stored: the record of its job, or that it has certainly started none.

    ``is_cleared`` is True if the task was cleared since then.
    """

    record: JobRecord | None = None
    is_cleared: bool = False
    started_nothing: bool = False


class JobStateStore:
    """Stores the record of one task run. It stores nothing if ``durable`` is False or there is no backend.

    :raises AirbyteConfigError: if the option ``job_state_backend`` is invalid.
    """

    def __init__(self, context: Context, *, durable: bool) -> None:
        self._backend: Backend | None = None
        self._key = STATE_KEY
        self.is_shared = False
        """True if the record is among those of all tasks, where the task has to delete it at its end."""
        self._max_tries = _airflow_compat.max_tries(context)
        if not durable:
            return
        of_task = _airflow_compat.task_state_store(context)
        if get_job_state_backend() == "auto" and of_task is not None:
            self._backend = of_task
        elif _airflow_compat.is_run_by_airflow():
            self._backend = _job_state_backends.get_shared_backend()
            self._key = _build_key(context["ti"])
            self.is_shared = self._backend is not None

    @property
    def keeps_records(self) -> bool:
        """True if the next attempt of the task can load the record."""
        return self._backend is not None

    @property
    def is_reliable(self) -> bool:
        """True if a record that cannot be stored is always an error, as in Airflow's own store of a task."""
        return self._backend is not None and not self.is_shared

    def load(self) -> StoredState:
        """Return what an earlier attempt has stored. A value that is not of this version of the package is ignored."""
        fields = dict(dict_or_empty(None if self._backend is None else self._backend.get(self._key)))
        if fields.get(NOTHING_STARTED) is True:
            return StoredState(started_nothing=True)
        max_tries = safe_int(fields.pop("max_tries", None), 0)
        record = None if max_tries is None else JobRecord.parse(fields)
        return StoredState(record, is_cleared=record is not None and max_tries != self._max_tries)

    def save(self, record: JobRecord | None) -> None:
        """Store ``record``, or None for a start that created no job.

        Where a record may get lost, a retry without one follows a job that others may have started. So None is stored,
        too; in Airflow's own store of a task, the record is deleted.
        """
        if self._backend is None:
            return
        if record is not None:
            self._backend.set(self._key, {**asdict(record), "max_tries": self._max_tries})
        elif self.is_shared:
            self._backend.set(self._key, {NOTHING_STARTED: True, "started_at": time.time()})
        else:
            self.delete()

    def delete(self) -> None:
        """Delete what is stored."""
        if self._backend is not None:
            self._backend.delete(self._key)


def _build_key(ti: Any) -> str:
    """Return the key of a task run, which no other task run has. The IDs in it are for the person who reads it."""
    identity = "\0".join((ti.dag_id, ti.task_id, ti.run_id, str(ti.map_index)))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:32]
    return f"{_job_state_backends.KEY_PREFIX}{ti.dag_id[:MAX_ID_IN_KEY]}.{ti.task_id[:MAX_ID_IN_KEY]}.{digest}"
