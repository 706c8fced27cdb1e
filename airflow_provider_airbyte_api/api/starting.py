"""Starting a sync: exactly one, whatever becomes of the request.

Airbyte has no key that would make a start safe to repeat, answers it only once the sync runs, and says "already
running" without saying which job does. So before a start the newest job of the connection is remembered, and whenever
the answer leaves open what happened, the connection's jobs tell: a sync that is newer than the remembered one is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import Conversation, Pause, Say, call_for, now
from airflow_provider_airbyte_api.api.errors import (
    AirbyteAlreadyRunningError,
    AirbyteConflictError,
    AirbyteConnectionInactiveError,
    AirbyteError,
)
from airflow_provider_airbyte_api.api.jobs import cancel_job, get_job
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.api.resources import get_connection

LOOK_UP_PATIENCE = 180.0
"""Seconds during which a job may yet appear whose start brought no reply: Airbyte goes on creating it."""

LOOK_UP_PAUSE = 10.0

MOST_STARTS = 3
"""Starts at the most whose outcome was unclear, each after a look-up that found no job."""

NOTHING_RUNS_PATIENCE = 300.0
"""Seconds to go on trying where Airbyte says that a job runs and shows none: it does so just after a clear."""

CANCEL_PATIENCE = 120.0
"""Seconds for a job that was cancelled to stop before another one is started."""

RECENT = 10
"""Jobs of a connection to look through for the one that runs."""


@dataclass(frozen=True)
class Started:
    """A sync runs. ``owned``: for this request, so that who asked for it may also cancel it."""

    job: Job
    owned: bool


@dataclass(frozen=True)
class Busy:
    """``job`` runs on the connection and has to end first."""

    job: Job


@dataclass(frozen=True)
class NotStarted:
    """Nothing was started, as the policy says."""

    reason: str


def require_active(connection: Connection) -> None:
    """Do nothing if Airbyte lets ``connection`` sync. Airbyte itself would refuse without a reason.

    :raises AirbyteConnectionInactiveError: saying what to do.
    """
    what_to_do = {
        "inactive": "Somebody switched it off, or Airbyte did after repeated failures: switch it on in Airbyte.",
        "locked": "Airbyte locked it, for example because of a payment: see its page in Airbyte.",
        "deprecated": "It was deleted in Airbyte: take this task away, or give it another connection_id.",
    }
    if connection.status in what_to_do:
        raise AirbyteConnectionInactiveError(
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) is {connection.status}, so it cannot "
            f"sync, and nothing was started. {what_to_do[connection.status]}"
        )


def newest_job_id(connection_id: str) -> Conversation[int]:
    """Return the id of a connection's newest job, 0 if it never had one."""
    jobs = yield from _recent(connection_id, limit=1)
    newest = _newest(jobs)
    return 0 if newest is None else newest.job_id


def sync_after(connection_id: str, job_id: int) -> Conversation[Job | None]:
    """Return the newest sync of a connection that is newer than ``job_id``, whatever its status."""
    jobs = yield from _recent(connection_id)
    return _newest(job for job in jobs if job.job_id > job_id and job.job_type == "sync")


def sync_since(connection_id: str, moment: float) -> Conversation[Job | None]:
    """Return the newest sync of a connection that was created at ``moment`` (seconds since the epoch) or later."""
    jobs = yield from _recent(connection_id)
    return _newest(
        job for job in jobs if job.job_type == "sync" and job.start_time and job.start_time.timestamp() >= moment
    )


def running_job(connection_id: str) -> Conversation[Job | None]:
    """Return the newest job of a connection that is not finished.

    More than one may be listed after a crash of Airbyte; only the newest is real. Up to 2.0 Airbyte lists refreshes and
    clears only if asked for them by name.
    """
    for job_type in (None, "refresh", "clear"):
        jobs = yield from _recent(connection_id, job_type=job_type)
        running = _newest(job for job in jobs if not job.is_finished)
        if running is not None:
            return running
    return None


def start_sync(connection_id: str) -> Conversation[Job]:
    """Start one sync of a connection and return its job.

    :raises AirbyteAlreadyRunningError: if a job of this connection runs already. Nothing was started.
    :raises AirbyteError: as :func:`start_or_adopt`.
    """
    connection = yield from get_connection(connection_id)
    require_active(connection)
    newest = yield from newest_job_id(connection_id)
    outcome = yield from start_or_adopt(connection, newest, "fail")
    if not isinstance(outcome, Started):
        raise TypeError(outcome)
    return outcome.job


def start_or_adopt(
    connection: Connection, newest: int, on_running: str = "attach"
) -> Conversation[Started | Busy | NotStarted]:
    """Start one sync of ``connection``, whose newest job was ``newest``, or take up the one that runs.

    ``on_running`` is one of :data:`~.defaults.ON_RUNNING`. ``wait``, and ``attach`` where what runs is no sync, return
    :class:`Busy`: waiting is for the caller, who then begins anew.

    :raises AirbyteAlreadyRunningError: with ``fail``, or if Airbyte says so for long and shows no such job.
    :raises AirbyteConnectionInactiveError: if the connection turned out to be inactive, locked or deleted.
    :raises AirbyteError: if it could not be started, or nothing tells whether it was.
    """
    began = yield from now()
    start = _Start(connection, newest, on_running, began)
    outcome: Started | Busy | NotStarted | None = None
    while outcome is None:
        outcome = yield from start.attempt()
    return outcome


def cancel_running_job(connection_id: str) -> Conversation[Job | None]:
    """Cancel what runs on a connection, whatever it is, and return it once it is finished; None if nothing runs."""
    running = yield from running_job(connection_id)
    if running is None:
        return None
    return (yield from cancel_and_wait(running.job_id))


def cancel_and_wait(job_id: int) -> Conversation[Job]:
    """Cancel the job unless it is finished, and return it once it is, or after :data:`CANCEL_PATIENCE`."""
    began = yield from now()
    job = yield from cancel_job(job_id)
    while not job.is_finished:
        moment = yield from now()
        if moment - began >= CANCEL_PATIENCE:
            break
        yield Pause(2.0)
        job = yield from get_job(job_id)
    return job


@dataclass
class _Start:
    """Attempts to start a sync. ``unclear`` counts those that may have been obeyed, though no job was found."""

    connection: Connection
    newest: int
    on_running: str
    began: float
    unclear: int = 0

    def attempt(self) -> Conversation[Started | Busy | NotStarted | None]:
        """Ask once for a sync, and return what came of it; None to ask again."""
        try:
            job = yield from call_for(calls.start_sync(self.connection.connection_id), Job.from_json)
        except AirbyteAlreadyRunningError as error:
            return (yield from self._already_running(error))
        except AirbyteError as error:
            yield from _require_unclear(self.connection, error)
            return (yield from self._look_up(error))
        if job.job_type != "sync":
            yield Say(
                "Airbyte runs a %s first, which was pending for this connection: job %d.",
                (job.job_type, job.job_id),
                logging.WARNING,
            )
        return Started(job, owned=True)

    def _already_running(self, error: AirbyteAlreadyRunningError) -> Conversation[Started | Busy | NotStarted | None]:
        running = yield from running_job(self.connection.connection_id)
        if running is None:
            moment = yield from now()
            if moment - self.began >= NOTHING_RUNS_PATIENCE:
                raise error
            yield Say("%s None is to be found, so it should be over soon.", (error,))
            yield Pause(LOOK_UP_PAUSE)
            return None
        if self.unclear and running.job_id > self.newest and running.job_type == "sync":
            yield Say("Job %d is the sync that this task started.", (running.job_id,))
            return Started(running, owned=True)
        return (yield from self._obey_policy(running, error))

    def _obey_policy(
        self, running: Job, error: AirbyteAlreadyRunningError
    ) -> Conversation[Started | Busy | NotStarted | None]:
        what = f"a {running.job_type} of Airbyte connection {self.connection.name!r} runs already: job {running.job_id}"
        if self.on_running == "skip":
            return NotStarted(f"Skipping, for {what}.")
        if self.on_running == "fail":
            raise error.rephrased(
                f"It is job {running.job_id}, a {running.job_type}. Wait for it or cancel it in Airbyte, or let "
                "on_running be attach, wait, skip or restart."
            )
        if self.on_running == "restart":
            yield Say("Cancelling it, for %s.", (what,))
            stopped = yield from cancel_and_wait(running.job_id)
            if not stopped.is_finished:
                raise error.rephrased(f"Job {running.job_id} was cancelled, since on_running is restart, and runs on.")
            return None
        if self.on_running == "attach" and running.job_type == "sync":
            yield Say("Waiting for the one that runs instead of starting another, for %s.", (what,))
            return Started(running, owned=False)
        yield Say("Waiting for its end, for %s.", (what,))
        return Busy(running)

    def _look_up(self, error: AirbyteError) -> Conversation[Started | None]:
        yield Say("%s Looking whether the sync was started all the same.", (error,), logging.WARNING)
        found = yield from _appeared(self.connection.connection_id, self.newest)
        if found is not None:
            yield Say("It was: job %d.", (found.job_id,))
            return Started(found, owned=True)
        self.unclear += 1
        if self.unclear >= MOST_STARTS:
            raise error
        yield Say("It was not. Starting it again.", level=logging.WARNING)
        return None


def _require_unclear(connection: Connection, error: AirbyteError) -> Conversation[None]:
    """Raise ``error``, or what is behind it, unless it leaves open whether the sync was started.

    A 409 that hides its reason means that the connection is inactive, locked or deleted, or else that Airbyte waited
    60 s for a job that it goes on creating. The connection itself tells which.
    """
    if isinstance(error, AirbyteConflictError) and "is deleted" not in error.detail:
        latest = yield from get_connection(connection.connection_id)
        require_active(latest)
    elif not error.maybe_processed:
        raise error


def _appeared(connection_id: str, newest: int) -> Conversation[Job | None]:
    """Return the sync of a connection that is newer than ``newest``, waiting for it a while."""
    began = yield from now()
    while True:
        try:
            job = yield from sync_after(connection_id, newest)
        except AirbyteError as error:
            if not error.transient:
                raise
            job = None
        if job is not None:
            return job
        moment = yield from now()
        if moment - began >= LOOK_UP_PATIENCE:
            return None
        yield Pause(LOOK_UP_PAUSE)


def _recent(connection_id: str, *, job_type: str | None = None, limit: int = RECENT) -> Conversation[list[Job]]:
    request = calls.list_jobs(connection_id=connection_id, job_type=job_type).with_query(limit=limit)
    return (yield from call_for(request, _jobs_in))


def _newest(jobs: Iterable[Job]) -> Job | None:
    return max(jobs, key=lambda job: job.job_id, default=None)


def _jobs_in(body: Mapping[str, Any]) -> list[Job]:
    return [Job.from_json(row) for row in body["data"]]
