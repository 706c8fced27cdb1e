"""What a task run remembers of its job from try to try, so that no try starts a second one.

Airflow 3.3 and newer keep it (``task_state_store``). It outlives a clear as well as a retry; a clear changes the task's
``max_tries`` and a retry does not, which is how the two are told apart.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

STATE_KEY = "airbyte_job"


@dataclass(frozen=True)
class JobRecord:
    """A start of a job: intended while ``job_id`` is None, made once it is known.

    ``newest`` is the connection's newest job before it, ``started_at`` is in seconds since the epoch by our clock,
    ``owned`` says whether the job was started for this task, and so may be cancelled with it.
    """

    connection_id: str
    previous_job_id: int
    started_at: float
    max_tries: int
    job_id: int | None = None
    owned: bool = True


class JobStateStore:
    """The record of one task run; forgetful where ``durable`` is False, or Airflow older than 3.3."""

    def __init__(self, context: Context, *, durable: bool) -> None:
        ctx: Any = context  # older versions of Airflow do not know the key
        self._store = ctx.get("task_state_store") if durable else None
        self._max_tries = int(getattr(ctx["ti"], "max_tries", 0) or 0)
        self.record: JobRecord | None = None

    @property
    def is_persistent(self) -> bool:
        """True if what is remembered outlives this process."""
        return self._store is not None

    def load(self) -> JobRecord | None:
        """Return the record of an earlier try, or of a run before a clear."""
        value: Any = None if self._store is None else self._store.get(STATE_KEY)
        try:
            self.record = None if value is None else JobRecord(**value)
        except TypeError:  # of another version of this package
            self.record = None
        return self.record

    def belongs_to_run(self, record: JobRecord) -> bool:
        """Tell whether ``record`` is of an earlier try, and not of a run before somebody cleared the task."""
        return record.max_tries == self._max_tries

    def record_intent(self, connection_id: str, previous_job_id: int) -> None:
        """Remember that a job is about to be started."""
        self._save(JobRecord(connection_id, previous_job_id, time.time(), self._max_tries))

    def record_job(self, job_id: int, *, owned: bool) -> None:
        """Remember the job that was intended."""
        if self.record is None:
            raise RuntimeError("intend comes first")
        self._save(replace(self.record, job_id=job_id, owned=owned))

    def clear(self) -> None:
        """Take back the intention: surely no job was started."""
        self.record = None
        if self._store is not None:
            self._store.delete(STATE_KEY)

    def _save(self, record: JobRecord) -> None:
        self.record = record
        if self._store is not None:
            self._store.set(STATE_KEY, asdict(record))
