"""Starting a sync or a clear: exactly one, whatever becomes of the request.

Airbyte has no key that would make a start safe to repeat, answers it only once the sync runs, and says "already
running" without saying which job does. So before a start the newest job of the connection is remembered, and whenever
the answer leaves open what happened, the connection's jobs tell: the oldest one of that kind that is newer than the
remembered one is ours.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import (
    ANSWERS_AGAIN,
    Conversation,
    Pause,
    Say,
    call_for,
    now,
    pause_before_next_try,
    read_page,
)
from airflow_provider_airbyte_api.api.errors import (
    AirbyteAccessError,
    AirbyteAlreadyRunningError,
    AirbyteBusyError,
    AirbyteConnectionInactiveError,
    AirbyteError,
    AirbyteResponseError,
)
from airflow_provider_airbyte_api.api.jobs import cancel_and_wait
from airflow_provider_airbyte_api.api.models import Connection, Job, JobStatus, expecting, valid_uuid
from airflow_provider_airbyte_api.api.resources import get_connection
from airflow_provider_airbyte_api.api.retry import ONCE, Retry, while_unreachable
from airflow_provider_airbyte_api.api.safe import dict_or_empty, safe_id
from airflow_provider_airbyte_api.api.times import plausible

LOOK_UP_PATIENCE = 180.0
"""Seconds during which a job may yet appear whose start brought no reply: Airbyte goes on creating it."""

LOOK_UP_PAUSE = 10.0

MOST_STARTS = 3
"""Starts at the most whose outcome was unclear, each after a look-up that found no job."""

LONGEST_START = MOST_STARTS * (calls.SLOW_START + LOOK_UP_PATIENCE)
"""Seconds from the first request until the last job that a start may bring is created, unless Airbyte is unreachable
in between."""

CLOCK_SKEW = 300.0
"""Seconds by which the clocks of Airbyte and of this machine may differ, beyond what Airbyte's ``Date`` tells."""

NO_ID = 0
"""The id of a listed job whose own id cannot be read."""

UNREADABLE = "unreadable"
"""The status of a listed job whose own status cannot be read. It is not a finished one."""

NOTHING_RUNS_PATIENCE = 300.0
"""Seconds to go on trying where Airbyte says that a job runs and shows none: it does so just after a clear."""

RECENT = 10
"""Jobs of a connection to look through for the one that runs."""


WHAT_TO_DO = {
    "inactive": "Somebody switched it off, or Airbyte did after repeated failures: switch it on in Airbyte.",
    "locked": "Airbyte locked it, for example because of a payment: see its page in Airbyte.",
    "deprecated": "It was deleted in Airbyte: take this task away, or give it another connection_id.",
}
"""What to do about an Airbyte connection of this status."""

NEEDS_A_ROLE = (
    "Airbyte says this of things that do not exist, too. Check connection_id, and the role in the workspace of the "
    "user who created the application: a clear needs an editor's, a reset (job_type) a runner's."
)

HIDES_ITS_REASON = ("could not fulfill request", "state conflict")
"""Airbyte's words for a conflict whose reason it does not tell: the default message, or the title alone."""

MAY_ONLY_READ = (
    "The connection can be read, so its id is right, but this application may not start its jobs. Give the user who "
    "created it the role of a runner or more in the workspace. On a self-managed Airbyte with a single application, "
    "update Airbyte: in some versions (2.1.0) its token may only read."
)

CLEARS = ("clear", "reset")
"""Airbyte's two words for one thing, which it answers with a job of the type ``reset``."""


@dataclass(frozen=True)
class Wish:
    """What job to start, as the API calls it, and what to do if a job of the connection runs already.

    ``on_running`` is one of :data:`~.defaults.ON_RUNNING` for a sync, of :data:`~.defaults.ON_RUNNING_CLEAR` else.
    """

    job_type: str = "sync"
    on_running: str = "attach"

    @property
    def is_a_clear(self) -> bool:
        """True if data is to be removed: Airbyte would cancel whatever runs for it, without a word."""
        return self.job_type in CLEARS

    def is_met_by(self, job: Job) -> bool:
        """Tell whether ``job`` is of the kind that is wished for."""
        return job.job_type in (CLEARS if self.is_a_clear else ("sync",))


@dataclass(frozen=True)
class Started:
    """The job runs. ``owned``: for this request, so that who asked for it may also cancel it."""

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


def require_startable(connection: Connection, wish: Wish) -> None:
    """Do nothing unless it is known that Airbyte would not start such a job of ``connection``.

    Whether it clears one that is inactive depends on its version, so that is left to it.

    :raises AirbyteConnectionInactiveError: saying what to do.
    """
    if not wish.is_a_clear or connection.status == "deprecated":
        require_active(connection)


def require_active(connection: Connection) -> None:
    """Do nothing if Airbyte lets ``connection`` run jobs. Airbyte itself would refuse without a reason.

    :raises AirbyteConnectionInactiveError: saying what to do.
    """
    if connection.status in WHAT_TO_DO:
        raise AirbyteConnectionInactiveError(
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) is {connection.status}, so "
            f"nothing was started. {WHAT_TO_DO[connection.status]}"
        )


def require_not_gone(connection: Connection) -> None:
    """Do nothing if Airbyte lets ``connection`` be changed.

    :raises AirbyteConnectionInactiveError: saying what to do.
    """
    if connection.status in ("locked", "deprecated"):
        raise AirbyteConnectionInactiveError(
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) is {connection.status}, so it cannot "
            f"be changed. {WHAT_TO_DO[connection.status]}"
        )


def newest_job_id(connection_id: str, retry: Retry = Retry()) -> Conversation[int]:  # noqa: B008 - it is frozen
    """Return the id of a connection's newest job, 0 if it never had one."""
    # Over all rows, also of a server that ignores the filter: ids are global, and too low a bound adopts an old job.
    jobs, _ = yield from _listed(connection_id, retry)
    newest = _newest(jobs)
    if newest is None:
        return 0
    if newest.job_id == NO_ID:
        raise _unreadable(connection_id, "the newest one")
    return newest.job_id


def job_after(
    connection_id: str,
    job_id: int,
    wish: Wish,
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
    latest: float = math.inf,
) -> Conversation[Job | None]:
    """Return the oldest job of a connection that is as wished for and newer than ``job_id``, whatever its status.

    Newer ones are of somebody else. With ``on_running`` of ``restart``, one that was cancelled may be the one that had
    to make room, so one that was not comes first. A job without a readable id (:data:`NO_ID`) may be the one as well,
    and is returned if there is no other.

    :param latest: when it was created at the latest, in seconds since the epoch by our clock.
    """
    jobs, ahead = yield from _recent(connection_id, retry)
    latest += ahead + CLOCK_SKEW
    return min(
        (
            job
            for job in jobs
            if (job.job_id > job_id or job.job_id == NO_ID)
            and wish.is_met_by(job)
            and (job.start_time is None or job.start_time.timestamp() <= latest)
        ),
        key=lambda job: (
            job.job_id == NO_ID,
            wish.on_running == "restart" and job.status == JobStatus.CANCELLED,
            job.job_id,
        ),
        default=None,
    )


def appeared(
    connection_id: str,
    newest: int,
    wish: Wish,
    until: float,
    unreachable_timeout: float = LOOK_UP_PATIENCE,
    latest: float = math.inf,
) -> Conversation[Job | None]:
    """Return the job of a start whose outcome nobody knows; None if Airbyte does not show it at ``until``, or later.

    :param newest: the connection's newest job before that start.
    :param until: seconds since the epoch.
    :param unreachable_timeout: seconds that Airbyte may be unreachable meanwhile.
    :param latest: when the job was created at the latest, in seconds since the epoch.
    :raises AirbyteBusyError: if Airbyte shows then only a job without a readable id, which may be the one.
    """
    retry = while_unreachable(unreachable_timeout, is_known=True)
    while True:
        job = yield from job_after(connection_id, newest, wish, retry, latest)
        if job is not None and job.job_id != NO_ID:
            return job
        moment = yield from now()
        if moment >= until:
            break
        yield Pause(LOOK_UP_PAUSE)
    if job is not None:
        raise _unreadable(connection_id, "the one that this task started")
    return None


def job_since(
    connection_id: str,
    moment: float,
    wish: Wish,
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
) -> Conversation[Job | None]:
    """Return the newest such job that was created at ``moment`` (seconds since the epoch) or later."""
    jobs, _ = yield from _recent(connection_id, retry)
    return _newest(
        job
        for job in jobs
        if job.job_id != NO_ID and wish.is_met_by(job) and job.start_time and job.start_time.timestamp() >= moment
    )


def running_job(connection_id: str, retry: Retry = Retry()) -> Conversation[Job | None]:  # noqa: B008 - it is frozen
    """Return the newest job of a connection that is not finished.

    More than one may be listed after a crash of Airbyte; only the newest is real. Up to 2.0 Airbyte lists refreshes and
    clears only if asked for them by name.

    :raises AirbyteBusyError: if only a job without a readable id may be running.
    """
    is_open = False
    for job_type in (None, "refresh", "clear"):
        jobs, _ = yield from _recent(connection_id, retry, job_type=job_type)
        running = _newest(job for job in jobs if not job.is_finished)
        if running is not None and running.job_id != NO_ID:
            return running
        is_open = is_open or running is not None
    if is_open:
        raise _unreadable(connection_id, "one that is running")
    return None


def start(connection_id: str, job_type: str = "sync") -> Conversation[Job]:
    """Start one sync, clear or reset of a connection and return its job.

    :raises AirbyteAlreadyRunningError: if a job of this connection runs already, and a sync was asked for.
    :raises AirbyteBusyError: likewise, if a clear was.
    :raises AirbyteError: as :func:`start_or_adopt`.
    """
    wish = Wish(job_type, "fail")
    connection = yield from get_connection(connection_id)
    require_startable(connection, wish)
    newest = yield from newest_job_id(connection_id)
    outcome = yield from start_or_adopt(connection, newest, wish)
    if not isinstance(outcome, Started):
        raise TypeError(outcome)
    return outcome.job


def start_or_adopt(
    connection: Connection,
    newest: int,
    wish: Wish = Wish(),
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
) -> Conversation[Started | Busy | NotStarted]:
    """Start one job of ``connection``, whose newest job was ``newest``, or take up the one that runs.

    ``wait``, and ``attach`` where what runs is no sync, return :class:`Busy`: waiting is for the caller, who then
    begins anew.

    :param retry: for what surely started nothing.
    :raises AirbyteAlreadyRunningError: with ``fail``, or if Airbyte says so for long and shows no such job.
    :raises AirbyteBusyError: with ``fail``, before a clear.
    :raises AirbyteConnectionInactiveError: if the connection turned out to be inactive, locked or deleted.
    :raises AirbyteError: if it could not be started, or nothing tells whether it was.
    """
    attempts = _Start(connection, newest, wish, retry)
    outcome: Started | Busy | NotStarted | None = None
    try:
        while outcome is None:
            outcome = yield from attempts.attempt()
    except AirbyteError as error:
        # Whatever became of the last request, an earlier one may yet have been obeyed.
        error.maybe_processed = attempts.unclear > 0
        raise
    return outcome


def cancel_running_job(connection_id: str) -> Conversation[Job | None]:
    """Cancel what runs on a connection, whatever it is, and return it once it is finished; None if nothing runs."""
    running = yield from running_job(connection_id)
    if running is None:
        return None
    return (yield from cancel_and_wait(running.job_id))


@dataclass
class _Start:
    """Attempts to start a job.

    ``failures`` counts those that surely were not obeyed, ``unclear`` those that may have been.
    """

    connection: Connection
    newest: int
    wish: Wish
    retry: Retry
    unclear: int = 0
    failures: int = 0
    failing_since: float | None = None
    nothing_runs_since: float | None = None

    def attempt(self) -> Conversation[Started | Busy | NotStarted | None]:
        """Ask once for the job, and return what came of it; None to ask again."""
        if self.wish.is_a_clear:
            running = yield from running_job(self.connection.connection_id, self.retry)
            if running is not None:
                return (yield from self._runs_already(running, None))
        # Whatever time passes before a second try, what runs has to be looked at again before a clear.
        retry = ONCE if self.wish.is_a_clear else self.retry
        try:
            request = calls.start_job(self.connection.connection_id, self.wish.job_type)
            parse = expecting(Job.from_json, connection_id=self.connection.connection_id)
            job = yield from call_for(request, parse, retry)
        except AirbyteAlreadyRunningError as error:
            return (yield from self._already_running(error))
        except AirbyteError as error:
            if self.wish.is_a_clear and self.retry.may_help(error) and not error.maybe_processed:
                yield from self._try_later(error)
                return None
            if isinstance(error, AirbyteAccessError):
                raise error.rephrased(NEEDS_A_ROLE if self.wish.is_a_clear else MAY_ONLY_READ) from None
            yield from self._require_unclear(error)
            return (yield from self._look_up(error))
        if self.failures and self.retry.rides_out:
            yield Say(ANSWERS_AGAIN)
        if self.wish.is_met_by(job) and job.job_id > self.newest:
            return Started(job, owned=True)
        # Airbyte (since 2026) answers with the job that waits in its queue, as if that had been started.
        if not job.is_finished:
            return (yield from self._runs_already(job, None))
        yield from self._already_finished(job)
        return None

    def _try_later(self, error: AirbyteError) -> Conversation[None]:
        if self.failing_since is None:
            self.failing_since = yield from now()
        self.failures += 1
        yield from pause_before_next_try(self.retry, self.failures, self.failing_since, error)

    def _already_running(self, error: AirbyteAlreadyRunningError) -> Conversation[Started | Busy | NotStarted | None]:
        running = yield from running_job(self.connection.connection_id, self.retry)
        if running is None:
            if (yield from self._nothing_runs_for_long()):
                raise error
            yield Say("%s None is to be found, so it should be over soon.", (error,))
            yield Pause(LOOK_UP_PAUSE)
            return None
        return (yield from self._runs_already(running, error))

    def _already_finished(self, job: Job) -> Conversation[None]:
        """Wait a little before another attempt: ``job``, which Airbyte answered with, is not the requested one."""
        said = (
            f"Airbyte answered the request for a {self.wish.job_type} of connection {self.connection.name!r} with job "
            f"{job.job_id}, a {job.job_type} that had already {job.status}."
        )
        if (yield from self._nothing_runs_for_long()):
            raise AirbyteBusyError(f"{said} No {self.wish.job_type} was started: check the connection in Airbyte.")
        yield Say("%s Requesting it again.", (said,), logging.WARNING)
        yield Pause(LOOK_UP_PAUSE)

    def _nothing_runs_for_long(self) -> Conversation[bool]:
        """Tell whether Airbyte has named jobs that do not run for :data:`NOTHING_RUNS_PATIENCE`."""
        moment = yield from now()
        if self.nothing_runs_since is None:
            self.nothing_runs_since = moment
        return moment - self.nothing_runs_since >= NOTHING_RUNS_PATIENCE

    def _runs_already(
        self, running: Job, error: AirbyteAlreadyRunningError | None
    ) -> Conversation[Started | Busy | NotStarted | None]:
        """Do what ``on_running`` says about ``running``; ``error`` is how Airbyte said so, if it did."""
        if self.unclear and running.job_id > self.newest and self.wish.is_met_by(running):
            yield Say("Job %d is the one that this task started.", (running.job_id,))
            return Started(running, owned=True)
        on_running = self.wish.on_running
        what = f"a {running.job_type} of Airbyte connection {self.connection.name!r} runs already: job {running.job_id}"
        if on_running == "skip":
            return NotStarted(f"Skipping, for {what}.")
        if on_running == "fail":
            raise self._refusal(running, error)
        if on_running == "restart":
            yield Say("Cancelling it, for %s.", (what,))
            stopped = yield from cancel_and_wait(running.job_id)
            # A look-up must not take it for the job that is started next.
            self.newest = max(self.newest, stopped.job_id)
            if not stopped.is_finished:
                raise AirbyteBusyError(
                    f"Job {running.job_id} was cancelled, since on_running is restart, and it runs on: look at it "
                    "in Airbyte. Nothing was started."
                )
            return None
        if on_running == "attach" and self.wish.is_met_by(running):
            yield Say("Waiting for the one that runs instead of starting another, for %s.", (what,))
            return Started(running, owned=False)
        yield Say("Waiting for its end, for %s.", (what,))
        return Busy(running)

    def _refusal(self, running: Job, error: AirbyteAlreadyRunningError | None) -> AirbyteError:
        if not self.wish.is_a_clear:
            error = error or AirbyteAlreadyRunningError(
                method="POST",
                url="/jobs",
                status=200,
                detail=f"a {running.job_type} of this connection is pending already, and it has to end first.",
            )
            return error.rephrased(
                f"It is job {running.job_id}, a {running.job_type}. Wait for it or cancel it in Airbyte; an operator "
                "does either if its on_running says so."
            )
        return AirbyteBusyError(
            f"A {running.job_type} of Airbyte connection {self.connection.name!r} ({self.connection.connection_id}) "
            f"runs, job {running.job_id}, and a {self.wish.job_type} would cancel it, so nothing was started. Wait for "
            "it or cancel it first; an operator does either if its on_running says so (wait, restart, skip)."
        )

    def _look_up(self, error: AirbyteError) -> Conversation[Started | None]:
        yield Say("%s Looking whether the job was started all the same.", (error,), logging.WARNING)
        self.unclear += 1
        self.failures, self.failing_since = 0, None
        moment = yield from now()
        until = moment + LOOK_UP_PATIENCE
        timeout = max(self.retry.patience, LOOK_UP_PATIENCE)
        found = yield from appeared(self.connection.connection_id, self.newest, self.wish, until, timeout)
        if found is not None:
            yield Say("It was: job %d.", (found.job_id,))
            return Started(found, owned=True)
        if self.unclear >= MOST_STARTS:
            raise error
        yield Say("It was not. Starting it again.", level=logging.WARNING)
        return None

    def _require_unclear(self, error: AirbyteError) -> Conversation[None]:
        """Raise ``error``, or what is behind it, unless it leaves open whether the job was started.

        A 409 that hides its reason means that the connection is inactive, locked or deleted, or else that Airbyte
        waited 60 s for a job that it goes on creating. The connection itself tells which. One that names its reason is
        a refusal.
        """
        if isinstance(error, AirbyteResponseError) and error.status == 409:  # noqa: PLR2004
            is_open = not error.from_airbyte or error.detail.lower().startswith(HIDES_ITS_REASON)
            try:
                latest = yield from get_connection(self.connection.connection_id, self.retry)
            except AirbyteError:
                self.unclear += is_open
                raise
            require_active(latest)
            if not is_open:
                raise error
        elif not error.maybe_processed:
            raise error


def _listed(connection_id: str, retry: Retry, *, job_type: str | None = None) -> Conversation[tuple[list[Job], float]]:
    """Return the last jobs that Airbyte lists, and how many seconds its clock is ahead of ours."""
    request = calls.list_jobs(connection_id=connection_id, job_type=job_type).with_query(limit=RECENT)
    page = yield from read_page(request, None, _job_in, retry)
    moment = yield from now()
    return page.rows, (plausible(page.server_time, moment) or moment) - moment


def _recent(connection_id: str, retry: Retry, *, job_type: str | None = None) -> Conversation[tuple[list[Job], float]]:
    """Return the connection's last jobs: a server that ignores the filter must not make another one's job ours."""
    wanted = valid_uuid(connection_id, "connection_id")
    jobs, ahead = yield from _listed(connection_id, retry, job_type=job_type)
    return [job for job in jobs if job.connection_id.lower() in ("", wanted)], ahead


def _newest(jobs: Iterable[Job]) -> Job | None:
    return max(jobs, key=lambda job: job.job_id, default=None)


def _job_in(row: object) -> Job:
    """Return a listed job, with :data:`NO_ID` and :data:`UNREADABLE` for what cannot be read: it may matter still."""
    fields = dict_or_empty(row)
    job_id, status = safe_id(fields.get("jobId")), fields.get("status")
    job = Job.from_json({**fields, "jobId": job_id or 1, "status": status if isinstance(status, str) else UNREADABLE})
    return replace(job, job_id=job_id or NO_ID)


def _unreadable(connection_id: str, what: str) -> AirbyteBusyError:
    return AirbyteBusyError(
        f"Airbyte lists a job of connection {connection_id} without a readable jobId. It may be {what}, so no job is "
        "started. Check the connection's jobs in Airbyte."
    )
