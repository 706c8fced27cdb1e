"""The outcome of a finished job: its result, its summary, and the error if it did not succeed.

This is the only place that decides on success and failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import cast

from airflow_provider_airbyte_api.api.failure_reason import NOT_RECORDED, reason_to_dict
from airflow_provider_airbyte_api.api.models import TERMINAL_STATUSES, Job
from airflow_provider_airbyte_api.api.safe import safe_json
from airflow_provider_airbyte_api.exceptions import (
    AirbyteJobCancelledError,
    AirbyteJobConfigError,
    AirbyteJobError,
    AirbyteJobFailedError,
)
from airflow_provider_airbyte_api.types import (
    AirbyteSyncInfo,
    AssetEventExtra,
    FailureReason,
    JobResult,
    JobRow,
    JobStatus,
)

UNSUCCESSFUL_STATUSES = frozenset({JobStatus.FAILED.value, JobStatus.CANCELLED.value})
"""The statuses of a job that has a reason."""

CONFIG_ERROR = "config_error"
"""The kind of a failure that lasts until a person changes the configuration of a source or a destination."""


@dataclass(frozen=True)
class JobContext:
    """What a waiter knows apart from the job: the connection's name, the job's page, and the number of polls."""

    name: str = ""
    job_url: str | None = None
    poll_count: int = 0


@dataclass(frozen=True)
class NoReason:
    """The reason of a failed job is unknown. ``why`` is why in a few words; it is empty if nothing asked for it."""

    why: str = ""

    @property
    def clause(self) -> str:
        """The beginning of a sentence."""
        return f"The reason is unknown ({self.why})" if self.why else "The API does not report the reason"


def build_result(job: Job, job_url: str | None) -> JobResult:
    """Return a job's result as a task pushes it: JSON only, with None for what Airbyte does not report."""
    result: JobResult = {
        "job_id": job.job_id,
        "status": job.status,
        "connection_id": job.connection_id,
        "job_type": job.job_type,
        "rows_synced": job.rows_synced,
        "bytes_synced": job.bytes_synced,
        "duration_seconds": None if job.duration is None else job.duration.total_seconds(),
        "start_time": None if job.start_time is None else job.start_time.isoformat(),
        "job_url": job_url,
    }
    safe: JobResult = safe_json(result)
    return safe


def build_sync_info(job: Job, context: JobContext, now: float, reason: FailureReason | None = None) -> AirbyteSyncInfo:
    """Return the XCom ``airbyte_sync`` for ``job`` as it is at ``now``, in seconds since the epoch."""
    info: AirbyteSyncInfo = {
        "job_id": job.job_id,
        "connection_id": job.connection_id,
        "connection_name": context.name or None,
        "status": job.status,
        "rows": job.rows_synced,
        "bytes": job.bytes_synced,
        "started_at": None if job.start_time is None else job.start_time.astimezone(timezone.utc).isoformat(),
        "updated_at": datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds"),
        "attempt": reason.attempts[-1].number if reason is not None and reason.attempts else None,
        "job_url": context.job_url,
        "reason": None if reason is None else reason_to_dict(reason),
    }
    safe: AirbyteSyncInfo = safe_json(info)
    return safe


def build_row(job: Job) -> JobRow:
    """Return a job as the API returns it, with its ``failureReason`` if it failed or was cancelled."""
    row = cast("JobRow", dict(job.raw))
    if job.status in UNSUCCESSFUL_STATUSES:
        row["failureReason"] = None if job.reason is None else reason_to_dict(job.reason)
    return row


def build_asset_event_extra(job: Job, job_url: str | None, name: str, workspace_id: str | None) -> AssetEventExtra:
    """Return the extra of an asset event for a finished job: JSON only, with None for what Airbyte does not report."""
    extra: AssetEventExtra = {
        **build_result(job, job_url),
        "end_time": None if job.last_updated_at is None else job.last_updated_at.isoformat(),
        "connection_name": name or None,
        "workspace_id": workspace_id or None,
    }
    safe: AssetEventExtra = safe_json(extra)
    return safe


def raise_unless_succeeded(
    job: Job, context: JobContext = JobContext(), reason: FailureReason | NoReason = NoReason()
) -> None:
    """Raise an error unless ``job`` succeeded.

    :param reason: why it failed or was cancelled, as far as it is known.
    :raises AirbyteJobConfigError: if it failed because of a configuration in Airbyte.
    :raises AirbyteJobFailedError: if it failed for another reason.
    :raises AirbyteJobCancelledError: if it was cancelled.
    :raises AirbyteJobError: if it has any other status: this fails closed.
    """
    if job.status == JobStatus.SUCCEEDED:
        return
    known = reason if isinstance(reason, FailureReason) else None
    summary = summarize(job, context, str(known or ""))
    unknown = "" if known and str(known) else reason.clause if isinstance(reason, NoReason) else NOT_RECORDED
    error_class: type[AirbyteJobError] = AirbyteJobError
    hint = ""
    if job.status == JobStatus.FAILED:
        error_class = AirbyteJobConfigError if known and known.kind == CONFIG_ERROR else AirbyteJobFailedError
        hint = f" {unknown}; see the job log." if unknown else ""
    elif job.status == JobStatus.CANCELLED:
        error_class = AirbyteJobCancelledError
        hint = (
            " A user or a clear of the connection cancelled it, or it waited too long for capacity; see its timeline."
            + (f" {reason.clause}." if isinstance(reason, NoReason) and reason.why else "")
        )
    raise error_class(f"{summary}.{hint}{_url(context)}", job_id=job.job_id, reason=known)


def has_no_statistics(job: Job) -> bool:
    """Return True if Airbyte reports neither the rows nor the bytes that the job moved."""
    return job.rows_synced is None and job.bytes_synced is None


def may_be_a_false_success(job: Job) -> bool:
    """Return True if a successful job moved nothing, as far as Airbyte reports.

    An empty sync looks like this, and so does one whose container never started.
    """
    return not job.rows_synced and not job.bytes_synced


def has_too_few_rows(job: Job, min_rows: int | None) -> bool:
    """Return True if a job moved fewer rows than ``min_rows``. None is no limit; an unknown number counts as 0."""
    return min_rows is not None and (job.rows_synced or 0) < min_rows


def require_rows(job: Job, min_rows: int | None, context: JobContext = JobContext()) -> None:
    """Raise an error unless ``job``, which succeeded, moved at least ``min_rows`` rows. None accepts any number.

    :raises AirbyteJobError: if it moved fewer, or if Airbyte does not report the number.
    """
    if not has_too_few_rows(job, min_rows):
        return
    moved = "an unknown number of" if job.rows_synced is None else f"{job.rows_synced:,}"
    raise AirbyteJobError(
        f"Too few rows: job {job.job_id} of {_connection(job, context)} moved {moved} rows, min_rows is {min_rows:,}. "
        "The sync itself succeeded in Airbyte. Check the source and the job log, or lower min_rows. A retry starts a "
        f"new sync.{_url(context)}",
        job_id=job.job_id,
    )


def summarize(job: Job, context: JobContext = JobContext(), reason: str = "") -> str:
    """Return how a job ended, for which ``reason``, and what it moved, verb first and without a period."""
    facts = [
        f"{job.rows_synced:,} rows" if job.rows_synced is not None else "",
        f"{job.bytes_synced:,} bytes" if job.bytes_synced is not None else "",
        f"{job.duration.total_seconds():,.0f} s" if job.duration is not None else "",
        f"polled {'once' if context.poll_count == 1 else f'{context.poll_count} times'}" if context.poll_count else "",
    ]
    moved = ", ".join(filter(None, facts))
    subject = f"{reason}{'' if reason.endswith(tuple('.!?…')) else '.'} Job" if reason else "job"
    return (
        f"{job.job_type.capitalize()} {_status_phrase(job)}: {subject} {job.job_id} of {_connection(job, context)}"
        + (f": {moved}" if moved else "")
    )


def locate(job: Job, context: JobContext) -> str:
    """Return the connection of a job, and the URL of the job's page in a line of its own."""
    return f"Airbyte connection: {_connection(job, context)}.{_url(context)}"


def _connection(job: Job, context: JobContext) -> str:
    return f"{context.name!r} ({job.connection_id})" if context.name else job.connection_id


def _status_phrase(job: Job) -> str:
    return job.status if job.status in TERMINAL_STATUSES else f"has not finished (status: {job.status})"


def _url(context: JobContext) -> str:
    return f"\n{context.job_url}" if context.job_url else ""
