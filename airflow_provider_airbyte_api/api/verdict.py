"""What a finished job means for who waited for it. The one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.api.errors import (
    AirbyteJobCancelledError,
    AirbyteJobError,
    AirbyteJobFailedError,
)
from airflow_provider_airbyte_api.api.models import FINISHED, Job, JobStatus
from airflow_provider_airbyte_api.api.safe import safe_json


@dataclass(frozen=True)
class Seen:
    """What who waited knows besides the job: the connection's name, the job's page, and how often it was looked at."""

    name: str = ""
    job_url: str | None = None
    looks: int = 0


def result_of(job: Job, job_url: str | None) -> dict[str, Any]:
    """Return what a task hands on of a job: JSON only, None for what Airbyte does not say."""
    result: dict[str, Any] = safe_json(
        {
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
    )
    return result


def facts_of(job: Job, job_url: str | None, name: str, workspace_id: str | None) -> dict[str, Any]:
    """Return what an asset event tells of a finished job: JSON only, None for what Airbyte does not say."""
    more = safe_json(
        {
            "end_time": None if job.last_updated_at is None else job.last_updated_at.isoformat(),
            "connection_name": name or None,
            "workspace_id": workspace_id or None,
        }
    )
    return {**result_of(job, job_url), **more}


def require_success(job: Job, seen: Seen = Seen()) -> None:
    """Do nothing if ``job`` succeeded.

    :raises AirbyteJobFailedError: if Airbyte gave up on it.
    :raises AirbyteJobCancelledError: if it was cancelled.
    :raises AirbyteJobError: if it is not finished at all, whatever its status: this fails closed.
    """
    if job.status == JobStatus.SUCCEEDED:
        return
    if job.status == JobStatus.FAILED:
        raise AirbyteJobFailedError(
            f"{describe(job, seen)}. Airbyte's API does not report why; the job's log does.{_url(seen)}",
            job_id=job.job_id,
        )
    if job.status == JobStatus.CANCELLED:
        raise AirbyteJobCancelledError(
            f"{describe(job, seen)}. A user cancelled it, or a clear of the connection did, or it waited too long for "
            f"capacity: see its timeline.{_url(seen)}",
            job_id=job.job_id,
        )
    raise AirbyteJobError(f"{describe(job, seen)}. It has not ended.{_url(seen)}", job_id=job.job_id)


def has_no_statistics(job: Job) -> bool:
    """Return whether Airbyte says neither how many rows nor how many bytes the job moved."""
    return job.rows_synced is None and job.bytes_synced is None


def may_be_a_false_success(job: Job) -> bool:
    """Return whether a job that succeeded moved nothing, as far as Airbyte says.

    That is what an empty sync looks like, and also one whose container never started.
    """
    return not job.rows_synced and not job.bytes_synced


def has_too_few_rows(job: Job, min_rows: int | None) -> bool:
    """Return whether a job moved fewer rows than ``min_rows``, None being no limit; an unknown number counts as 0."""
    return min_rows is not None and (job.rows_synced or 0) < min_rows


def require_rows(job: Job, min_rows: int | None, seen: Seen = Seen()) -> None:
    """Do nothing if ``job``, which succeeded, moved at least ``min_rows`` rows; None: any number is enough.

    :raises AirbyteJobError: if it moved fewer, or if Airbyte does not say how many.
    """
    if not has_too_few_rows(job, min_rows):
        return
    moved = "an unknown number of" if job.rows_synced is None else f"{job.rows_synced:,}"
    raise AirbyteJobError(
        f"Too few rows: job {job.job_id} of {_connection(job, seen)} moved {moved} rows, min_rows is {min_rows:,}. The "
        "sync itself succeeded in Airbyte. A retry starts a new sync. Look at the source and at the job's log, or "
        f"lower min_rows.{_url(seen)}",
        job_id=job.job_id,
    )


def describe(job: Job, seen: Seen = Seen()) -> str:
    """Return how a job ended and what it moved, the verb first and without a full stop."""
    facts = [
        f"{job.rows_synced:,} rows" if job.rows_synced is not None else "",
        f"{job.bytes_synced:,} bytes" if job.bytes_synced is not None else "",
        f"{job.duration.total_seconds():,.0f} s" if job.duration is not None else "",
        f"polled {'once' if seen.looks == 1 else f'{seen.looks} times'}" if seen.looks else "",
    ]
    moved = ", ".join(filter(None, facts))
    return f"{job.job_type.capitalize()} {_ended(job)}: job {job.job_id} of {_connection(job, seen)}" + (
        f": {moved}" if moved else ""
    )


def _connection(job: Job, seen: Seen) -> str:
    return f"{seen.name!r} ({job.connection_id})" if seen.name else job.connection_id


def _ended(job: Job) -> str:
    return job.status if job.status in FINISHED else f"is {job.status}"


def _url(seen: Seen) -> str:
    return f"\n{seen.job_url}" if seen.job_url else ""
