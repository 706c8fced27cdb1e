"""Whether an Airbyte connection's data is fresh, as a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import Conversation, call_for, now
from airflow_provider_airbyte_api.api.models import Job, JobStatus
from airflow_provider_airbyte_api.api.retry import ONCE
from airflow_provider_airbyte_api.api.verdict import Seen, require_success

RECENT = 100
"""How many of the newest syncs are looked at."""


@dataclass(frozen=True)
class Demand:
    """What is fresh: a successful sync that is young, late and large enough. None asks for nothing.

    It ended no longer ago than ``max_age`` seconds, not before ``completed_after`` (in seconds since the epoch), and
    moved ``min_rows``. ``fails`` says that a newer sync which did not succeed ends the wait.
    """

    max_age: float | None = None
    completed_after: float | None = None
    min_rows: int | None = None
    fails: bool = False

    def since(self, moment: float) -> float:
        """Return when a sync has to have ended at the earliest to be fresh at ``moment``."""
        by_age = 0.0 if self.max_age is None else moment - self.max_age
        return max(by_age, self.completed_after or 0.0)


@dataclass(frozen=True)
class Look:
    """What was seen: the sync that makes the data fresh, if there is one, and else the newest that succeeded."""

    fresh: Job | None
    newest: Job | None


def look_for_fresh_data(connection_id: str, demand: Demand, seen: Seen = Seen()) -> Conversation[Look]:  # noqa: B008
    """Return whether there is a fresh sync, with one request.

    :raises AirbyteJobFailedError: if ``demand.fails``, and the newest sync that could have been fresh failed.
    :raises AirbyteJobCancelledError: likewise, if it was cancelled.
    """
    moment = yield from now()
    since = demand.since(moment)
    request = calls.list_jobs(
        connection_id=connection_id,
        job_type="sync",
        # What succeeded is all that counts, unless a failure does.
        status=None if demand.fails else JobStatus.SUCCEEDED.value,
    ).with_query(limit=RECENT)
    jobs = yield from call_for(request, _jobs_in, ONCE)
    finished = sorted((job for job in jobs if job.is_finished), key=lambda job: job.job_id, reverse=True)
    succeeded = [job for job in finished if job.status == JobStatus.SUCCEEDED]
    for job in succeeded:
        if _ended_at(job) >= since and (demand.min_rows is None or (job.rows_synced or 0) >= demand.min_rows):
            return Look(job, job)
    newest = max(jobs, key=lambda job: job.job_id, default=None)
    # One that still runs may yet make it fresh.
    if demand.fails and newest is not None and newest.is_finished and _ended_at(newest) >= since:
        _require_no_failure(newest, seen)
    return Look(None, succeeded[0] if succeeded else None)


def _require_no_failure(job: Job, seen: Seen) -> None:
    if job.status != JobStatus.SUCCEEDED:
        require_success(job, seen)


def _ended_at(job: Job) -> float:
    ended = job.last_updated_at or job.start_time
    return 0.0 if ended is None else ended.timestamp()


def _jobs_in(body: Mapping[str, Any]) -> list[Job]:
    return [Job.from_json(row) for row in body["data"]]
