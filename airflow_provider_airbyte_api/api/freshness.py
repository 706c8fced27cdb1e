"""Whether an Airbyte connection's data is fresh, as a conversation."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import ANSWERS_AGAIN, Conversation, Say, now, read_page
from airflow_provider_airbyte_api.api.errors import AirbyteError, AirbyteJobTimeoutError, may_heal, unreachable_for
from airflow_provider_airbyte_api.api.jobs import HEARTBEAT, Outage, Patience, Waited, get_job, pause_within
from airflow_provider_airbyte_api.api.models import Job, JobStatus, valid_uuid
from airflow_provider_airbyte_api.api.retry import ONCE
from airflow_provider_airbyte_api.api.verdict import Seen, require_success


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

    def describe(self) -> str:
        """Return what is to be said of data that is not fresh."""
        if self.newest is None:
            return "It is not fresh yet: no sync has succeeded among the newest ones"
        newest = f"job {self.newest.job_id}, which ended at {self.newest.last_updated_at}"
        return f"It is not fresh yet: the newest sync that succeeded is {newest}"


def look_for_fresh_data(
    connection_id: str,
    demand: Demand,
    seen: Seen = Seen(),  # noqa: B008 - it is frozen
    too_small: set[int] | None = None,
) -> Conversation[Look]:
    """Return whether there is a fresh sync, with one request.

    Some servers leave the number of rows out of their lists. There, ``demand.min_rows`` costs one more request for each
    job that could be fresh.

    :param too_small: ids of jobs that earlier polls have found to have too few rows; this one adds to them.
    :raises AirbyteJobFailedError: if ``demand.fails``, and the newest sync that could have been fresh failed.
    :raises AirbyteJobCancelledError: likewise, if it was cancelled.
    """
    too_small = set() if too_small is None else too_small
    moment = yield from now()
    since = demand.since(moment)
    request = calls.list_jobs(
        connection_id=connection_id,
        job_type="sync",
        # What succeeded is all that counts, unless a failure does.
        status=None if demand.fails else JobStatus.SUCCEEDED.value,
    )
    page = yield from read_page(request, 0, Job.from_json, ONCE)
    wanted = valid_uuid(connection_id, "connection_id")
    rows = [job for job in page.rows if job.connection_id.lower() in ("", wanted)]  # a server may ignore the filter
    finished = sorted((job for job in rows if job.is_finished), key=lambda job: job.job_id, reverse=True)
    succeeded = [job for job in finished if job.status == JobStatus.SUCCEEDED]
    for job in succeeded:
        if job.ended_at < since or job.job_id in too_small:
            continue
        if demand.min_rows is not None and job.rows_synced is None:
            whole = yield from get_job(job.job_id, ONCE, is_seen=True)
            if whole.is_finished:  # a replica that lags may show it as running
                job = whole  # noqa: PLW2901 - the same job
        if demand.min_rows is None or (job.rows_synced or 0) >= demand.min_rows:
            return Look(job, job)
        if job.rows_synced is not None:
            too_small.add(job.job_id)
    newest = max(rows, key=lambda job: job.job_id, default=None)
    # One that still runs may yet make it fresh.
    if demand.fails and newest is not None and _has_failed(newest) and newest.ended_at >= since:
        require_success(newest, seen)
    return Look(None, succeeded[0] if succeeded else None)


def wait_for_fresh_data(
    connection_id: str,
    demand: Demand,
    patience: Patience,
    seen: Seen = Seen(),  # noqa: B008 - it is frozen
) -> Conversation[Waited]:
    """Return the sync that makes the data fresh once there is one, looking as ``patience`` says.

    Trouble on the way to Airbyte is ridden out for ``patience.unreachable_timeout``.

    :raises AirbyteJobTimeoutError: if there is none at ``patience.deadline``.
    :raises AirbyteError: as :func:`look_for_fresh_data`.
    """
    lookout = _Lookout(connection_id, demand, patience, seen)
    pause, looks = patience.first_pause, 0
    while True:
        yield from pause_within(pause, patience.deadline)
        fresh = yield from lookout.look_once()
        looks += 1
        if fresh is not None:
            return Waited(fresh, looks)
        moment = yield from now()
        if patience.deadline is not None and moment >= patience.deadline:
            away = f" Airbyte cannot tell at present: {lookout.trouble}" if lookout.trouble else ""
            raise AirbyteJobTimeoutError(f"There was no fresh sync in the time given.{away}", job_id=0)
        pause = lookout.pause


@dataclass
class _Lookout:
    """Looks for fresh data again and again, and knows for how long Airbyte has been away."""

    connection_id: str
    demand: Demand
    patience: Patience
    seen: Seen
    outage: Outage = field(default_factory=Outage)
    pause: float = 0.0
    trouble: AirbyteError | None = None
    said: str = ""
    said_at: float = 0.0
    too_small: set[int] = field(default_factory=set)

    def look_once(self) -> Conversation[Job | None]:
        """Return the sync that makes the data fresh, if there is one."""
        self.pause = self.patience.poll_interval
        try:
            look = yield from look_for_fresh_data(self.connection_id, self.demand, self.seen, self.too_small)
        except AirbyteError as error:
            if not may_heal(error):
                raise
            yield from self._missed(error)
            return None
        if self.trouble is not None:
            yield Say(ANSWERS_AGAIN)
            self.trouble = None
            self.outage.is_over()
        moment = yield from now()
        if look.fresh is None and (self.said != look.describe() or moment - self.said_at >= HEARTBEAT):
            self.said, self.said_at = look.describe(), moment
            yield Say("%s.", (self.said,))
        return look.fresh

    def _missed(self, error: AirbyteError) -> Conversation[None]:
        moment = yield from now()
        self.pause = max(self.pause, self.outage.missed(error, moment))
        if self.trouble is None:
            yield Say(
                "Airbyte cannot tell whether the data is fresh; waiting all the same. %s", (error,), logging.WARNING
            )
        self.trouble = error
        away = moment - self.outage.since
        if away >= self.patience.unreachable_timeout:
            raise unreachable_for(away, error) from error


def _has_failed(job: Job) -> bool:
    return job.is_finished and job.status != JobStatus.SUCCEEDED
