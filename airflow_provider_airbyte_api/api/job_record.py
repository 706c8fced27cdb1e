"""What a task run keeps about the job that it starts, so that no later attempt starts a second one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JobRecord:
    """The start of a job by a task: intended while ``job_id`` is None, completed once it is known.

    ``previous_job_id`` is the connection's newest job before the start. ``started_at`` is in seconds since the epoch,
    by the worker's clock. ``owned`` is True if this task started the job and so may cancel it.
    """

    connection_id: str
    previous_job_id: int
    started_at: float
    job_id: int | None = None
    owned: bool = True
