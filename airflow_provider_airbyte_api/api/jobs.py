"""Flows that poll a job, wait until it is finished, and cancel it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.attempt_log import parse_log_tail
from airflow_provider_airbyte_api.api.backoff import NO_RETRY, Outage, RetryPolicy
from airflow_provider_airbyte_api.api.failure_reason import attempt_lines, internal_lines, parse_failure_reason
from airflow_provider_airbyte_api.api.flow import (
    Flow,
    Log,
    Sleep,
    get_time,
    outcome_of,
    parse_model,
    request_model,
    send_with_retry,
    sleep_before_retry,
    write_logs,
)
from airflow_provider_airbyte_api.api.http import parse_response
from airflow_provider_airbyte_api.api.masking import mask
from airflow_provider_airbyte_api.api.models import Job, expecting
from airflow_provider_airbyte_api.api.outcome import (
    UNSUCCESSFUL_STATUSES,
    JobContext,
    NoReason,
    raise_unless_succeeded,
)
from airflow_provider_airbyte_api.api.safe import safe_text
from airflow_provider_airbyte_api.api.wait import Done, JobWait, Poll, WaitOptions, no_longer_visible, sleep_until
from airflow_provider_airbyte_api.exceptions import (
    AirbyteConflictError,
    AirbyteError,
    AirbyteNotFoundError,
    AirbytePermissionError,
    AirbyteResponseError,
    is_recoverable_while_waiting,
)
from airflow_provider_airbyte_api.types import FailureReason, JobStatus

CANCEL_TIMEOUT = 120.0
"""Timeout in seconds for a cancelled job to stop, and for the attempts to cancel it."""

CANCEL = RetryPolicy(attempts=12, timeout=CANCEL_TIMEOUT, wait_initial=2.0, wait_max=15.0, airbyte_confirmed=True)
"""The policy for cancelling a job: see :func:`cancel_and_wait`."""


REASON_TIMEOUT = 10.0
"""Timeout in seconds for the request for a job's failures. A task that has failed must not wait for long."""

LOG_TIMEOUT = 30.0
"""Timeout in seconds for the request for the log of an attempt."""

CONFIG_API_HINT = (
    "This is Airbyte's internal API. If it is elsewhere, set the extra config_api to its root URL; off disables it."
)

MAX_WHY = 100
"""Maximum length of the response's own words in the error of a job whose reason is unknown, in characters."""


class WaitResult(NamedTuple):
    """A finished job, and how often it was polled."""

    job: Job
    poll_count: int


def get_job(
    job_id: int,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
    *,
    known_to_exist: bool = False,
) -> Flow[Job]:
    """Return the job.

    :param known_to_exist: True if Airbyte has shown the job before.
    :raises AirbyteNotFoundError: if the job does not exist or is not visible. Airbyte answers this with 403, 404 or
        409, depending on its edition.
    """
    try:
        return (yield from request_model(endpoints.get_job(job_id), expecting(Job.from_json, job_id=job_id), retry))
    except (AirbytePermissionError, AirbyteNotFoundError, AirbyteConflictError) as error:
        not_found = error.with_hint(
            f"Job {job_id} does not exist, or the user who created the application has no access to it. Check job_id, "
            "and that the job belongs to the Airbyte of the Airflow connection.",
            error_class=AirbyteNotFoundError,
        )
        raise (no_longer_visible(job_id, not_found) if known_to_exist else not_found) from None


def wait_for_job(job_id: int, options: WaitOptions, on_poll: Callable[[Job], object] | None = None) -> Flow[WaitResult]:
    """Return the job once it is finished, with any terminal status: see :class:`~.wait.JobWait`.

    :param on_poll: a function that is called with the job after each successful poll.
    :raises AirbyteError: as :meth:`~.wait.JobWait.on_poll`.
    """
    wait = JobWait(job_id, options, (yield from get_time()))
    step: Poll | Done = wait.first_poll()
    while isinstance(step, Poll):
        yield from sleep_until(step)
        result = yield from outcome_of(get_job(job_id, NO_RETRY))
        if on_poll is not None and isinstance(result, Job):
            on_poll(result)
        now = yield from get_time()
        step = wait.on_poll(result, now)
        yield from write_logs(step.logs)
    return WaitResult(step.job, wait.poll_count)


def require_success(
    job: Job,
    context: JobContext,
    config_url: str | None,
    *,
    show_internal_errors: bool = False,
    log_tail: int = 0,
) -> Flow[None]:
    """Raise an error unless ``job`` succeeded, with the reason as far as Airbyte reports it. Log all of its attempts.

    :param config_url: root URL of Airbyte's internal API; None does not ask for the reason.
    :param show_internal_errors: also log the internal messages and the stack traces.
    :param log_tail: also log up to this number of lines from the end of the last attempt's log.
    :raises AirbyteJobError: as :func:`~.outcome.raise_unless_succeeded`.
    """
    reason: FailureReason | NoReason = NoReason()
    if config_url is not None and job.status in UNSUCCESSFUL_STATUSES:
        reason = yield from get_failure_reason(job, config_url, show_internal_errors=show_internal_errors)
        if isinstance(reason, FailureReason):
            yield from write_logs(Log("%s", (line,), logging.WARNING) for line in attempt_lines(reason))
            if log_tail and reason.attempts:
                yield from log_attempt(job.job_id, reason.attempts[-1].number, config_url, log_tail)
    raise_unless_succeeded(job, context, reason)


def get_failure_reason(
    job: Job, config_url: str, *, timeout: float | None = None, show_internal_errors: bool = False
) -> Flow[FailureReason | NoReason]:
    """Return why a failed or cancelled job ended, with one request to Airbyte's internal API.

    It raises no error, but logs it: see :class:`~.outcome.NoReason`.

    :param config_url: root URL of Airbyte's internal API.
    :param timeout: seconds for the request; None: :data:`REASON_TIMEOUT`.
    :param show_internal_errors: also log the internal messages and the stack traces.
    """
    request = endpoints.get_job_without_logs(config_url, job.job_id, timeout or REASON_TIMEOUT)
    try:
        response = yield from send_with_retry(request, NO_RETRY)
        body = parse_response(request, response)

        def masked(text: str) -> str:
            return mask(text, response.secrets)

        def parse(value: object) -> FailureReason:
            return parse_failure_reason(value, cancelled=job.status == JobStatus.CANCELLED, mask=masked)

        reason = parse_model(request, response, body, parse)
    except AirbyteError as error:
        detailed: AirbyteError = error
        if isinstance(error, AirbyteResponseError) and error.url == request.path:  # not the token endpoint's
            detailed = error.with_hint(CONFIG_API_HINT)
        yield Log("Could not get the reason of job %d. %s", (job.job_id, detailed))
        return NoReason(_why(error))
    if show_internal_errors:
        yield from write_logs(Log("%s", (line,), logging.WARNING) for line in internal_lines(body, masked))
    return reason


def log_attempt(job_id: int, number: int, config_url: str, count: int) -> Flow[None]:
    """Log the end of an attempt's log, with one request to Airbyte's internal API. It raises no error, but logs it.

    :param number: number of the attempt, from 1.
    :param count: maximum number of lines.
    """
    request = endpoints.get_attempt(config_url, job_id, number - 1, LOG_TIMEOUT)
    try:
        response = yield from send_with_retry(request, NO_RETRY)

        def masked(text: str) -> str:
            return mask(text, response.secrets)

        body = parse_response(request, response)
        lines = parse_model(request, response, body, lambda value: parse_log_tail(value, count, masked))
    except AirbyteError as error:
        yield Log("Could not get the log of attempt %d of job %d. %s", (number, job_id, error))
        return
    yield Log("The end of the log of attempt %d of job %d, errors and warnings first:", (number, job_id))
    yield from write_logs(Log("| %s", (line,)) for line in lines)


def _why(error: AirbyteError) -> str:
    """Return in a few words why there is no reason."""
    if isinstance(error, AirbyteResponseError):
        return f"{error.status}: {safe_text(error.detail.removesuffix('.'), MAX_WHY)}"
    return f"no response: {getattr(error, 'kind', 'other')}"


def cancel_job(
    job_id: int,
    retry: RetryPolicy = CANCEL,
    read_timeout: float = endpoints.START_CANCEL_TIMEOUT,
    *,
    known_to_exist: bool = False,
) -> Flow[Job]:
    """Cancel the job unless it is finished, and return it in its state after that.

    Airbyte's cancel stops *whatever runs on the job's connection*. So each request is preceded by a poll, and a
    finished job is left alone, because a newer one may be running. If Airbyte finds nothing to cancel, that counts as
    success. A failed request is repeated while the job still runs.

    :param retry: the attempts, and the delays between them.
    :param known_to_exist: True if Airbyte has shown the job before.
    :raises AirbyteNotFoundError: if the job does not exist or is not visible.
    :raises AirbyteError: if the last attempt failed, or no attempt can succeed, and the job still runs.
    """
    outage = Outage(retry, since=(yield from get_time()))
    while True:
        try:
            job = yield from get_job(job_id, NO_RETRY, known_to_exist=known_to_exist)
            known_to_exist = True
            return job if job.is_terminal else (yield from _request_cancel(job_id, read_timeout))
        except AirbyteError as error:
            if not _is_worth_another_cancel(error, known_to_exist=known_to_exist):
                raise
            failure = error
        yield from sleep_before_retry(outage, failure)


def _request_cancel(job_id: int, read_timeout: float) -> Flow[Job]:
    """Send one cancel request for a running job, and return the job in its state after that."""
    try:
        job = yield from request_model(
            endpoints.cancel_job(job_id, read_timeout), expecting(Job.from_json, job_id=job_id), NO_RETRY
        )
    except AirbyteError as error:
        if not (error.outcome_unknown or isinstance(error, AirbyteConflictError)):
            raise
        # Airbyte may have cancelled the job, or there was nothing left to cancel: poll the job to find out.
        job = yield from get_job(job_id, NO_RETRY, known_to_exist=True)
        if not job.is_terminal:
            raise
    yield Log("Requested Airbyte to cancel job %d (status: %s).", (job_id, job.status))
    return job


def _is_worth_another_cancel(error: AirbyteError, *, known_to_exist: bool) -> bool:
    if not known_to_exist:
        return error.retryable
    return is_recoverable_while_waiting(error) or isinstance(error, AirbyteConflictError)


def cancel_and_wait(
    job_id: int,
    retry: RetryPolicy = CANCEL,
    read_timeout: float = endpoints.START_CANCEL_TIMEOUT,
    *,
    known_to_exist: bool = True,
) -> Flow[Job]:
    """Cancel the job unless it is finished, and return it once it is finished, or when the timeout of ``retry`` ends.

    If the job still runs a while after Airbyte accepted the request, it is cancelled again.

    :param retry: the attempts, and the timeout for all of them. Its first delay is also the one between two polls, its
        longest the one between two accepted requests.
    :param known_to_exist: True if Airbyte has shown the job before.
    :raises AirbyteError: as :func:`cancel_job`.
    """
    started_at = yield from get_time()
    while True:
        job = yield from cancel_job(job_id, retry, read_timeout, known_to_exist=known_to_exist)
        known_to_exist = True
        now = yield from get_time()
        until = min(now + retry.wait_max, started_at + retry.timeout)
        while not job.is_terminal and now < until:
            yield Sleep(retry.wait_initial)
            job = yield from get_job(job_id, retry, known_to_exist=True)
            now = yield from get_time()
        if job.is_terminal or now >= started_at + retry.timeout:
            return job
