"""The job state that a task run keeps across attempts, so that no attempt starts a second job.

Airflow 3.3 and newer store it (``task_state_store``). It survives both a retry and a clear of the task. A clear changes
the task's ``max_tries`` and a retry does not; this distinguishes the two.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api import _airflow_compat

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

STATE_KEY = "airbyte_job"


@dataclass(frozen=True)
class JobRecord:
    """The start of a job: intended while ``job_id`` is None, completed once it is known.

    ``previous_job_id`` is the connection's newest job before the start. ``started_at`` is in seconds since the epoch,
    by the worker's clock. ``owned`` is True if this task started the job and so may cancel it.
    """

    connection_id: str
    previous_job_id: int
    started_at: float
    max_tries: int
    job_id: int | None = None
    owned: bool = True


class JobStateStore:
    """Stores the record of one task run: in memory only if ``durable`` is False or Airflow is older than 3.3."""

    def __init__(self, context: Context, *, durable: bool) -> None:
        self._store = _airflow_compat.task_state_store(context) if durable else None
        self._max_tries = _airflow_compat.max_tries(context)
        self.record: JobRecord | None = None

    @property
    def is_persistent(self) -> bool:
        """True if the record survives this process."""
        return self._store is not None

    def load(self) -> JobRecord | None:
        """Return the record of an earlier attempt, or from before the task was cleared; None if there is none."""
        value: Any = None if self._store is None else self._store.get(STATE_KEY)
        try:
            self.record = None if value is None else JobRecord(**value)
        except TypeError:  # of another version of this package
            self.record = None
        return self.record

    def belongs_to_run(self, record: JobRecord) -> bool:
        """Return True if ``record`` is from an earlier attempt, and not from before the task was cleared."""
        return record.max_tries == self._max_tries

    def record_intent(self, connection_id: str, previous_job_id: int) -> None:
        """Store that the task is about to start a job."""
        self._save(JobRecord(connection_id, previous_job_id, time.time(), self._max_tries))

    def record_job(self, job_id: int, *, owned: bool) -> None:
        """Store the job that was started after :meth:`record_intent`."""
        if self.record is None:
            raise RuntimeError("intend comes first")
        self._save(replace(self.record, job_id=job_id, owned=owned))

    def clear(self) -> None:
        """Delete the record. Call this only if no job was started."""
        self.record = None
        if self._store is not None:
            self._store.delete(STATE_KEY)

    def _save(self, record: JobRecord) -> None:
        self.record = record
        if self._store is not None:
            self._store.set(STATE_KEY, asdict(record))
