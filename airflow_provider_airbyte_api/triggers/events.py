"""What a trigger tells the task that it wakes: the one place that writes such an event, and the one that reads it.

::

    {"status": "succeeded" | "failed" | "cancelled" | "timeout" | "error",
     "job_id": 12345,
     "job": {…the job, with those fields of the API that are known here…} | None,
     "looks": 17,
     "error": {"type": "AirbyteUnreachableError", "message": "…", "fields": {…}} | None,
     "handed_on": {…what the task gave the trigger for itself…}}

Airflow encodes an event as MessagePack and stores it as JSON; one that cannot be encoded would end the triggerer. So
an event holds nothing but what :mod:`~.api.safe` lets pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api.api.errors import AirbyteError, AirbyteEventError, AirbyteJobTimeoutError, dump, load
from airflow_provider_airbyte_api.api.jobs import Waited
from airflow_provider_airbyte_api.api.models import FINISHED, JOB_FIELDS, Job, JobStatus
from airflow_provider_airbyte_api.api.safe import MAX_TEXT, dict_or_empty, safe_int, safe_json, safe_repr

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

MAX_HANDED_ON = 100_000
"""Items, and characters of a text, in what a task hands on to itself. It is the task's own, and may be long."""


@dataclass(frozen=True)
class JobEvent:
    """A job that is finished, or the ``error`` that ended the wait. ``job`` is None if the event has none."""

    job_id: int
    job: Job | None = None
    looks: int = 0
    error: AirbyteError | None = None
    handed_on: Mapping[str, Any] = field(default_factory=dict)

    def is_stale_failure(self, context: Context) -> bool:
        """Tell whether it ended an earlier try, and not well: Airflow 3.0 hands a retry the same event once more."""
        is_well = self.error is None and (self.job is None or self.job.status == JobStatus.SUCCEEDED)
        return not is_well and self.handed_on.get("try_number", try_number_of(context)) != try_number_of(context)


def finished(waited: Waited, handed_on: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event for a finished job."""
    raw = waited.job.raw
    return {
        "status": waited.job.status,
        "job_id": waited.job.job_id,
        "job": safe_json({name: raw[name] for name in JOB_FIELDS if name in raw}, max_text=MAX_TEXT),
        "looks": waited.looks,
        "error": None,
        "handed_on": safe_json(dict(handed_on), max_items=MAX_HANDED_ON, max_text=MAX_HANDED_ON),
    }


def failed(job_id: int, error: AirbyteError, handed_on: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event for a wait that ended without the job's end."""
    return {
        "status": "timeout" if isinstance(error, AirbyteJobTimeoutError) else "error",
        "job_id": safe_int(job_id, 0) or 0,
        "job": None,
        "looks": 0,
        "error": dump(error),
        "handed_on": safe_json(dict(handed_on), max_items=MAX_HANDED_ON, max_text=MAX_HANDED_ON),
    }


def read(event: object) -> JobEvent:
    """Return what ``event`` says.

    :raises AirbyteEventError: if it is no event of ours. It fails closed: nothing unknown is ever success.
    """
    if not isinstance(event, dict):
        raise _unknown(event, "no dict")
    status, job_id = event.get("status"), safe_int(event.get("job_id"), 0)
    handed_on = dict_or_empty(event.get("handed_on"))
    if job_id is None:
        raise _unknown(event, "no job_id")
    if not isinstance(status, str):
        raise _unknown(event, "no status")
    if status in ("timeout", "error"):
        error = load(event.get("error") or {"message": f"Waiting for job {job_id} ended with {status}."})
        return JobEvent(job_id, error=error, handed_on=handed_on)
    if status not in FINISHED:
        raise _unknown(event, f"status {safe_repr(status)}")
    job = None
    if event.get("job") is not None:
        try:
            job = Job.from_json(safe_json(event["job"]))
        except (KeyError, TypeError, ValueError):
            raise _unknown(event, "a job that cannot be read") from None
        if (job.job_id, job.status) != (job_id, status):
            raise _unknown(event, "a job that contradicts it")
    return JobEvent(job_id, job, safe_int(event.get("looks"), 0) or 0, handed_on=handed_on)


def try_number_of(context: Context) -> int:
    """Return which try of the task this is."""
    everything: Any = context
    return int(getattr(everything.get("ti"), "try_number", 1) or 1)


def _unknown(event: object, what: str) -> AirbyteEventError:
    return AirbyteEventError(
        f"The task was woken by an event with {what}, and so nobody knows how its job ended: {safe_repr(event, 500)}. "
        "Expected a dict with status and job_id from AirbyteJobTrigger. Look at the job in Airbyte; if it is well, "
        "clear the task."
    )
