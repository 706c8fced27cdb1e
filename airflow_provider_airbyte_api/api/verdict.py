"""What a finished job means for who waited for it. The one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.api.errors import (
    AirbyteJobCancelledError,
    AirbyteJobError,
    AirbyteJobFailedError,
)
from airflow_provider_airbyte_api.api.models import Job, JobStatus
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
            f"{describe(job, seen)}. Airbyte's API does not tell why; its log does{_at(seen)}.", job_id=job.job_id
        )
    if job.status == JobStatus.CANCELLED:
        raise AirbyteJobCancelledError(
            f"{describe(job, seen)}: by a user, by a clear of the connection, or because it waited too long for "
            f"capacity. See its timeline{_at(seen)}.",
            job_id=job.job_id,
        )
    raise AirbyteJobError(f"{describe(job, seen)}, which is not the end of it{_at(seen)}.", job_id=job.job_id)


def describe(job: Job, seen: Seen = Seen()) -> str:
    """Return a job in half a sentence, with what it moved."""
    facts = [
        f"{job.rows_synced:,} rows" if job.rows_synced is not None else "",
        f"{job.bytes_synced:,} bytes" if job.bytes_synced is not None else "",
        f"{job.duration.total_seconds():,.0f} s" if job.duration is not None else "",
        f"looked at {'once' if seen.looks == 1 else f'{seen.looks} times'}" if seen.looks else "",
    ]
    connection = f"{seen.name!r} ({job.connection_id})" if seen.name else job.connection_id
    moved = ", ".join(filter(None, facts))
    return f"Job {job.job_id} ({job.job_type}) of Airbyte connection {connection} {_ended(job)}" + (
        f" ({moved})" if moved else ""
    )


def _ended(job: Job) -> str:
    words = {"succeeded": "succeeded", "failed": "failed", "cancelled": "was cancelled"}
    return words.get(job.status, f"is {job.status}")


def _at(seen: Seen) -> str:
    return f": {seen.job_url}" if seen.job_url else ""
