"""The job record that a task run keeps across attempts, so that no attempt starts a second job.

Airflow 3.3 and newer store it (``task_state_store``). It survives both a retry and a clear of the task. A clear changes
the task's ``max_tries`` and a retry does not; this distinguishes the two.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.api.job_record import JobRecord

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context

STATE_KEY = "airbyte_job"


class JobStateStore:
    """Stores the record of one task run. It stores nothing if ``durable`` is False or Airflow is older than 3.3."""

    def __init__(self, context: Context, *, durable: bool) -> None:
        self._store = _airflow_compat.task_state_store(context) if durable else None
        self._max_tries = _airflow_compat.max_tries(context)

    @property
    def is_persistent(self) -> bool:
        """True if the record survives this process."""
        return self._store is not None

    def load(self) -> tuple[JobRecord | None, bool]:
        """Return the record of an earlier attempt, or None, and whether the task was cleared since then."""
        value: Any = None if self._store is None else self._store.get(STATE_KEY)
        try:
            fields = dict(value or {})
            is_cleared = fields.pop("max_tries") != self._max_tries
            return JobRecord(**fields), is_cleared
        except (KeyError, TypeError, ValueError):  # none, or one of another version of this package
            return None, False

    def save(self, record: JobRecord | None) -> None:
        """Store ``record``. None, for a start that created no job, deletes the stored one."""
        if self._store is None:
            return
        if record is None:
            self._store.delete(STATE_KEY)
        else:
            self._store.set(STATE_KEY, {**asdict(record), "max_tries": self._max_tries})
