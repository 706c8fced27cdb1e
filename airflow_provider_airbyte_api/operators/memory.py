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

KEY = "airbyte_job"


@dataclass(frozen=True)
class Record:
    """A start of a job: intended while ``job_id`` is None, made once it is known.

    ``newest`` is the connection's newest job before it, ``started_at`` is in seconds since the epoch by our clock,
    ``owned`` says whether the job was started for this task, and so may be cancelled with it.
    """

    connection_id: str
    newest: int
    started_at: float
    max_tries: int
    job_id: int | None = None
    owned: bool = True


class Memory:
    """The record of one task run; forgetful where ``durable`` is False, or Airflow older than 3.3."""

    def __init__(self, context: Context, *, durable: bool) -> None:
        everything: Any = context  # older versions of Airflow do not know the key
        self._store = everything.get("task_state_store") if durable else None
        self._max_tries = int(getattr(everything["ti"], "max_tries", 0) or 0)
        self.record: Record | None = None

    @property
    def is_kept(self) -> bool:
        """True if what is remembered outlives this process."""
        return self._store is not None

    def recall(self) -> Record | None:
        """Return the record of an earlier try, or of a run before a clear."""
        value: Any = None if self._store is None else self._store.get(KEY)
        try:
            self.record = None if value is None else Record(**value)
        except TypeError:  # of another version of this package
            self.record = None
        return self.record

    def is_of_this_run(self, record: Record) -> bool:
        """Tell whether ``record`` is of an earlier try, and not of a run before somebody cleared the task."""
        return record.max_tries == self._max_tries

    def intend(self, connection_id: str, newest: int) -> None:
        """Remember that a job is about to be started."""
        self._keep(Record(connection_id, newest, time.time(), self._max_tries))

    def made(self, job_id: int, *, owned: bool) -> None:
        """Remember the job that was intended."""
        if self.record is None:
            raise RuntimeError("intend comes first")
        self._keep(replace(self.record, job_id=job_id, owned=owned))

    def forget(self) -> None:
        """Take back the intention: surely no job was started."""
        self.record = None
        if self._store is not None:
            self._store.delete(KEY)

    def _keep(self, record: Record) -> None:
        self.record = record
        if self._store is not None:
            self._store.set(KEY, asdict(record))
