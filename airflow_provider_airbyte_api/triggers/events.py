"""What a trigger tells the task that it wakes: the one place that writes such an event, and the one that reads it.

::

    {"status": "succeeded" | "failed" | "cancelled" | "timeout" | "error",
     "job_id": 12345,
     "workspace_id": "…" | None,
     "job": {…the job, as the API shows it…} | None,
     "error": {"type": "AirbyteUnreachableError", "message": "…", "fields": {…}} | None}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.api.errors import (
    AirbyteError,
    AirbyteEventError,
    AirbyteJobTimeoutError,
    dump,
    load,
)
from airflow_provider_airbyte_api.api.models import FINISHED, Job


@dataclass(frozen=True)
class JobEvent:
    """A job that is finished; ``job`` is None if the event has its status alone."""

    job_id: int
    job: Job | None
    workspace_id: str | None


def finished(job: Job, workspace_id: str | None) -> dict[str, Any]:
    """Return the event for a finished job."""
    return {
        "status": job.status,
        "job_id": job.job_id,
        "workspace_id": workspace_id,
        "job": dict(job.raw),
        "error": None,
    }


def failed(job_id: int, error: AirbyteError, workspace_id: str | None) -> dict[str, Any]:
    """Return the event for a wait that ended without the job's end."""
    return {
        "status": "timeout" if isinstance(error, AirbyteJobTimeoutError) else "error",
        "job_id": job_id,
        "workspace_id": workspace_id,
        "job": None,
        "error": dump(error),
    }


def read(event: object) -> JobEvent:
    """Return what ``event`` says of a finished job.

    :raises AirbyteError: the one that the event brings, if the wait ended otherwise.
    :raises AirbyteEventError: if it is no event of ours. It fails closed: nothing unknown is ever success.
    """
    if not isinstance(event, dict):
        raise _unknown(event, "no dict")
    status, job_id = event.get("status"), event.get("job_id")
    if not isinstance(job_id, int) or isinstance(job_id, bool):
        raise _unknown(event, "no job_id")
    if status in ("timeout", "error"):
        raise load(event.get("error") or {"message": f"Waiting for job {job_id} ended with {status}."})
    if status not in FINISHED:
        raise _unknown(event, f"status {status!r}")
    job = None
    if event.get("job") is not None:
        try:
            job = Job.from_json(event["job"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _unknown(event, "a job that cannot be read") from None
        if (job.job_id, job.status) != (job_id, status):
            raise _unknown(event, "a job that contradicts it")
    return JobEvent(job_id, job, event.get("workspace_id"))


def _unknown(event: object, what: str) -> AirbyteEventError:
    return AirbyteEventError(
        f"The task was woken by an event with {what}, and so nobody knows how its job ended: {event!r}. Expected a "
        "dict with status and job_id from AirbyteJobTrigger. Look at the job in Airbyte; if it is well, clear the task."
    )
