"""The event payload of the triggers that tasks defer to. This module alone builds and parses it.

::

    {"status": "succeeded" | "failed" | "cancelled" | "timeout" | "error",
     "job_id": 12345,
     "job": {…the job, with the fields of the API that this package knows…} | None,
     "poll_count": 17,
     "error": {"type": "AirbyteUnreachableError", "message": "…", "fields": {…}} | None,
     "metadata": {…the metadata that the task passed to the trigger…}}

Airflow encodes an event as MessagePack and stores it as JSON. An event that cannot be encoded would end the triggerer,
so an event holds only values that :mod:`~airflow_provider_airbyte_api.api.safe` accepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api.api.jobs import WaitResult
from airflow_provider_airbyte_api.api.models import JOB_FIELDS, TERMINAL_STATUSES, Job
from airflow_provider_airbyte_api.api.outcome import has_too_few_rows
from airflow_provider_airbyte_api.api.safe import MAX_TEXT, dict_or_empty, safe_int, safe_json, safe_repr
from airflow_provider_airbyte_api.exceptions import (
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteTriggerEventError,
    error_from_dict,
    error_to_dict,
)
from airflow_provider_airbyte_api.types import JobEventPayload, JobStatus

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context

MAX_METADATA = 100_000
"""Maximum items, and characters of a string, in the metadata. The task itself wrote it, so it may be long."""


@dataclass(frozen=True)
class JobEvent:
    """A finished job, or the ``error`` that ended the wait. ``job`` is None if the event has no job."""

    job_id: int
    job: Job | None = None
    poll_count: int = 0
    error: AirbyteError | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def is_stale_failure(self, context: Context, min_rows: int | None = None) -> bool:
        """Return True for a failure of an earlier attempt: Airflow 3.0 passes its event to the retry again.

        :param min_rows: The operator's ``min_rows``: a success with fewer rows is a failure, too.
        """
        is_well = self.error is None and (
            self.job is None or (self.job.status == JobStatus.SUCCEEDED and not has_too_few_rows(self.job, min_rows))
        )
        return not is_well and self.metadata.get("try_number", try_number_of(context)) != try_number_of(context)


def job_payload(waited: WaitResult, metadata: Mapping[str, Any]) -> JobEventPayload:
    """Return the event for a finished job."""
    raw = waited.job.raw
    return {
        "status": waited.job.status,
        "job_id": waited.job.job_id,
        "job": safe_json({name: raw[name] for name in JOB_FIELDS if name in raw}, max_text=MAX_TEXT),
        "poll_count": waited.poll_count,
        "error": None,
        "metadata": safe_json(dict(metadata), max_items=MAX_METADATA, max_text=MAX_METADATA),
    }


def error_payload(job_id: int, error: AirbyteError, metadata: Mapping[str, Any]) -> JobEventPayload:
    """Return the event for a wait that ended before the job finished."""
    return {
        "status": "timeout" if isinstance(error, AirbyteJobTimeoutError) else "error",
        "job_id": safe_int(job_id, 0) or 0,
        "job": None,
        "poll_count": 0,
        "error": error_to_dict(error),
        "metadata": safe_json(dict(metadata), max_items=MAX_METADATA, max_text=MAX_METADATA),
    }


def parse(event: object) -> JobEvent:
    """Parse the event of a trigger.

    :param event: The event that Airflow passes to the task.
    :raises AirbyteTriggerEventError: if the event is invalid. An unknown event never counts as success.
    """
    if not isinstance(event, dict):
        raise _invalid(event, "is not a dict")
    status, job_id = event.get("status"), safe_int(event.get("job_id"), 0)
    metadata = dict_or_empty(event.get("metadata"))
    if job_id is None:
        raise _invalid(event, "has no job_id")
    if not isinstance(status, str):
        raise _invalid(event, "has no status")
    if status in ("timeout", "error"):
        error = error_from_dict(event.get("error") or {"message": f"The wait for job {job_id} ended: {status}."})
        return JobEvent(job_id, error=error, metadata=metadata)
    if status not in TERMINAL_STATUSES:
        raise _invalid(event, f"has status {safe_repr(status)}")
    job = None
    if event.get("job") is not None:
        try:
            job = Job.from_json(safe_json(event["job"]))
        except (KeyError, TypeError, ValueError):
            raise _invalid(event, "has an invalid job") from None
        if (job.job_id, job.status) != (job_id, status):
            raise _invalid(event, "has a job that contradicts it")
    return JobEvent(job_id, job, safe_int(event.get("poll_count"), 0) or 0, metadata=metadata)


def try_number_of(context: Context) -> int:
    """Return the number of the task's attempt, from 1."""
    ctx: Any = context
    return int(getattr(ctx.get("ti"), "try_number", 1) or 1)


def _invalid(event: object, what: str) -> AirbyteTriggerEventError:
    return AirbyteTriggerEventError(
        f"The trigger sent an invalid event, which {what}; the job's outcome is unknown: {safe_repr(event, 500)}. "
        "Expected a dict with status and job_id from AirbyteJobTrigger. Check the job in Airbyte: if it succeeded, "
        "mark the task as successful; otherwise clear the task, which starts a new one."
    )
