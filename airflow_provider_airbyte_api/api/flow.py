"""Flows: operations on Airbyte as generators that do no I/O themselves.

A flow yields a step and receives its result; a client in ``clients`` handles the steps. So retries, the handling of a
401, paging, starting and waiting are written once, for threads and for coroutines. Tests drive a flow with ``next`` and
``send``.

===================  ====================================  ======================================================
step                 result                                meaning
===================  ====================================  ======================================================
``GetToken``         ``Token`` or None (no credentials)    get a valid token other than ``rejected``
``SendRequest``      ``Response`` or ``TransportFailure``  one HTTP exchange
``Sleep``            None                                  sleep for about this many seconds
``GetTime``          seconds since the epoch               read the clock
``Log``              None                                  write a line to the task's log
``YieldRows``        None                                  pass rows to the caller; more may follow
``Checkpoint``       None                                  store the record before the flow continues
===================  ====================================  ======================================================

An :class:`AirbyteError` raised by a step is thrown into the flow.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from airflow_provider_airbyte_api.api.backoff import NO_RETRY, Outage, RetryDecision, RetryPolicy
from airflow_provider_airbyte_api.api.endpoints import PAGE_SIZE
from airflow_provider_airbyte_api.api.http import (
    Request,
    Response,
    TransportFailure,
    parse_response,
    to_error,
    unexpected_response,
)
from airflow_provider_airbyte_api.api.job_record import JobRecord
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, Token, parse_token_response
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteError,
    AirbyteResponseError,
    AirbyteUnexpectedResponseError,
    AirbyteUnreachableError,
)

T = TypeVar("T")


# Most are named tuples: each task's process defines them all, and to define a dataclass takes several times as long.
class GetToken(NamedTuple):
    """Get a token, from the cache if it holds a valid one other than ``rejected``."""

    rejected: Token | None = None


class SendRequest(NamedTuple):
    """Send ``request`` with ``token``."""

    request: Request
    token: Token | None


class Sleep(NamedTuple):
    """Sleep for ``seconds``, or a random share less unless ``exact``, so that many waiters do not wake up together."""

    seconds: float
    exact: bool = False


@dataclass(frozen=True)
class GetTime:
    """Return the time, in seconds since the epoch."""


class Log(NamedTuple):
    """Log ``message % arguments``."""

    message: str
    arguments: tuple[object, ...] = ()
    level: int = logging.INFO


class YieldRows(NamedTuple):
    """Pass ``rows`` to the caller."""

    rows: list[Any]


class Checkpoint(NamedTuple):
    """Store ``record``, so that a later run of the flow can continue from it. None: delete the stored one.

    ``job`` is the job of the record, once it is known.
    """

    record: JobRecord | None
    job: Job | None = None


Step: TypeAlias = GetToken | SendRequest | Sleep | GetTime | Log | YieldRows | Checkpoint
Flow: TypeAlias = Generator[Step, Any, T]
"""A flow that returns a ``T``."""


def advance(flow: Flow[Any], outcome: Any) -> Step:
    """Send ``flow`` the result of its last step (None at the start), and return its next step.

    :raises StopIteration: with the flow's result, after its last step.
    """
    return flow.throw(outcome) if isinstance(outcome, AirbyteError) else flow.send(outcome)


def drive(flow: Flow[T], handle_step: Callable[[Step], Any]) -> Generator[YieldRows | Checkpoint, None, T]:
    """Run ``flow`` with ``handle_step`` for each step, but yield the steps that are for the caller."""
    outcome: Any = None
    try:
        while True:
            try:
                step = advance(flow, outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, YieldRows | Checkpoint):
                outcome = yield step
                continue
            try:
                outcome = handle_step(step)
            except AirbyteError as error:
                outcome = error
    finally:
        flow.close()


async def run_async(flow: Flow[T], handle_step: Callable[[Step], Awaitable[Any]]) -> T:
    """Run ``flow`` in a coroutine, with ``handle_step`` for each of its steps, and return its result."""
    outcome: Any = None
    try:
        while True:
            try:
                step = advance(flow, outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                outcome = await handle_step(step)
            except AirbyteError as error:
                outcome = error
    finally:
        flow.close()


def get_time() -> Flow[float]:
    """Return the time, in seconds since the epoch."""
    now: float = yield GetTime()
    return now


def outcome_of(flow: Flow[T]) -> Flow[T | AirbyteError]:
    """Return the result of ``flow``, or the error that it raises."""
    try:
        return (yield from flow)
    except AirbyteError as error:
        return error


def retry_logs(retry: RetryDecision) -> tuple[Log, ...]:
    """Return the log lines of a failure."""
    return () if retry.warning is None else (Log("%s", (retry.warning,), logging.WARNING),)


def recovery_logs(outage: Outage) -> tuple[Log, ...]:
    """Report a success to ``outage``, and return the log lines of its end."""
    message = outage.on_success()
    return () if message is None else (Log(message),)


def write_logs(logs: Iterable[Log]) -> Flow[None]:
    """Write each of ``logs``."""
    for line in logs:  # noqa: UP028 - an iterator is no generator: a result cannot be sent to it
        yield line


def sleep_before_retry(outage: Outage, error: AirbyteError) -> Flow[None]:
    """Report a failure to ``outage``, log it, and sleep for the delay that ``outage`` sets.

    :raises AirbyteError: if no attempt is left: see :meth:`~.backoff.Outage.retry`.
    """
    now = yield from get_time()
    retry = outage.on_retryable_error(error, now)
    yield from write_logs(retry_logs(retry))
    yield Sleep(retry.delay)


def send_with_retry(request: Request, retry: RetryPolicy = RetryPolicy()) -> Flow[Response]:  # noqa: B008 - it is frozen
    """Return the 2xx response to ``request``.

    The token is checked before each attempt. After a 401, the request is sent again with a new token; a second 401
    is an error. During an outage this applies to each attempt, because a token may lose its validity in the meantime.

    A retryable failure is retried within ``retry`` if repeating is safe. It is safe for the token, for idempotent
    requests, and for other requests that Airbyte certainly did not process.

    :raises AirbyteError: for the last response or transport failure.
    """
    outage = Outage(retry, since=(yield from get_time()))
    rejected: Token | None = None
    while True:
        try:
            token: Token | None = None if request.anonymous else (yield GetToken(rejected))
        except AirbyteError as trouble:
            error = trouble
        else:
            outcome: Response | TransportFailure = yield SendRequest(request, token)
            if isinstance(outcome, Response):
                if outcome.ok:
                    yield from write_logs(recovery_logs(outage))
                    return outcome
                is_refreshable = token is not None and token.expires_at < math.inf
                if outcome.status == 401 and is_refreshable and rejected is None:  # noqa: PLR2004
                    rejected = token
                    continue
            error = to_error(
                request,
                outcome,
                had_token=token is not None,
                unauthorized_hint=token.unauthorized_hint if token else "",
            )
        if not _is_retryable(request, error, retry):
            raise error
        yield from sleep_before_retry(outage, error)
        rejected = None if retry.until_timeout else rejected


def request_model(
    request: Request,
    parse: Callable[[Mapping[str, Any]], T],
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[T]:
    """Return the result of ``parse`` for the JSON object in the response to ``request``; see :func:`send_with_retry`.

    :raises AirbyteUnexpectedResponseError: if ``parse`` rejects it.
    """
    response = yield from send_with_retry(request, retry)
    return parse_model(request, response, parse_response(request, response), parse)


def request_json(request: Request, retry: RetryPolicy = RetryPolicy()) -> Flow[Any]:  # noqa: B008 - it is frozen
    """Return the JSON in the response to ``request``; None if the response is empty.

    :raises AirbyteUnexpectedResponseError: if the response is not JSON.
    """
    response = yield from send_with_retry(request, retry)
    return parse_response(request, response) if response.body.strip() else None


def fetch_token(
    credentials: ClientCredentials,
    retry: RetryPolicy = NO_RETRY,
) -> Flow[Token]:
    """Return a new token. By default it makes one attempt: the caller retries, see :func:`send_with_retry`.

    :raises AirbyteAuthenticationError: if the client id or the secret is wrong. Airbyte answers 400, 401 or 500,
        depending on how it authenticates.
    """
    request = credentials.token_request()
    try:
        response = yield from send_with_retry(request, retry)
        now = yield from get_time()
        return parse_token_response(request, response, now)
    except AirbyteError as error:
        explained = _explain_token_error(error) if isinstance(error, AirbyteResponseError) else error
        # The request that needs the token has not been sent at all.
        explained.outcome_unknown = False
        raise explained from None


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, and the server's clock in seconds since the epoch, if the response has it.

    ``unreadable`` has an error for each row that was skipped because it cannot be parsed.
    """

    rows: list[T]
    is_last: bool
    server_time: float | None
    unreadable: tuple[AirbyteError, ...] = ()


def fetch_page(
    request: Request,
    offset: int | None,
    parse: Callable[[Mapping[str, Any]], T],
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
    *,
    skip_unreadable: bool = False,
    limit: int = PAGE_SIZE,
) -> Flow[Page[T]]:
    """Return the rows of a list from ``offset`` on. None stands for a list without pages.

    Airbyte's own ``next`` link is never followed: it names hosts that only the server can reach and drops filters.

    :param skip_unreadable: skip rows that cannot be parsed, instead of raising.
    :param limit: maximum number of rows of the page.
    """
    page = request if offset is None else request.with_query(limit=limit, offset=offset)
    response = yield from send_with_retry(page, retry)
    body = parse_response(page, response)
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise unexpected_response(page, response, "JSON without a list named data.")
    found: list[T] = []
    unreadable: list[AirbyteError] = []
    for row in rows:
        try:
            found.append(parse_model(page, response, row, parse))
        except AirbyteUnexpectedResponseError as error:
            if not skip_unreadable:
                raise
            unreadable.append(error)
    return Page(found, len(rows) < limit, response.server_time, tuple(unreadable))


MAX_ROWS = 100_000
"""Maximum number of rows that are read of a list: a list may grow faster than it is read."""

SMALLER_PAGES = 10
"""Divisor of the page size after a page that is too large to be read."""

MAX_LIST_PASSES = 10
"""Maximum number of passes over a list without a stable order, until all of its rows have been seen."""


def iter_pages(
    request: Request,
    parse: Callable[[Mapping[str, Any]], T],
    key: Callable[[T], object],
    *,
    stable_order: bool = False,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[None]:
    """Yield all rows of a list, each once, a page at a time. ``key`` identifies a row.

    Airbyte's lists of sources, destinations and connections have no stable order: a row may be on two pages, and
    another one on none. If fewer distinct rows than listed rows were found, the list is read again. If a page is too
    large, as one of connections with very many streams may be, reading continues in smaller pages.

    :raises AirbyteError: if the list has more than :data:`MAX_ROWS`.
    """
    seen: set[object] = set()
    rows_listed, limit = 0, PAGE_SIZE
    for _ in range(1 if stable_order else MAX_LIST_PASSES):
        rows_listed, pass_keys = 0, set[object]()
        while True:
            try:
                page = yield from fetch_page(request, rows_listed, parse, retry, limit=limit)
            except AirbyteUnreachableError as error:
                if limit == 1 or not error.is_too_large:
                    raise
                limit = max(limit // SMALLER_PAGES, 1)
                continue
            rows_listed += len(page.rows)
            found = {key(row): row for row in page.rows}
            page_repeated = not page.is_last and found.keys() <= pass_keys
            pass_keys |= found.keys()
            yield YieldRows([row for name, row in found.items() if name not in seen])
            seen |= found.keys()
            if page.is_last or page_repeated:
                break
            if rows_listed >= MAX_ROWS:
                raise AirbyteError(
                    f"{request.method} {request.path} lists more than {MAX_ROWS} rows, which is the maximum. List "
                    "fewer: of one workspace or connection, of one status, or of a period."
                )
        if len(seen) >= rows_listed:
            return
    if not stable_order:
        yield Log(
            "%s reports %d rows, but returned only %d different ones: some may be missing.",
            (request.path, rows_listed, len(seen)),
            logging.WARNING,
        )


def map_pages(flow: Flow[None], transform: Callable[[list[Any]], YieldRows | None]) -> Flow[None]:
    """Run ``flow``, but pass the rows that it yields to ``transform``, and yield the result instead."""
    outcome: Any = None
    while True:
        try:
            step: Step | None = advance(flow, outcome)
        except StopIteration:
            return
        outcome = None
        if isinstance(step, YieldRows):
            step = transform(step.rows)
        if step is not None:
            try:
                outcome = yield step
            except AirbyteError as error:
                outcome = error


def collect(flow: Flow[None]) -> Flow[list[Any]]:
    """Return all rows that ``flow`` yields."""
    rows: list[Any] = []
    yield from map_pages(flow, rows.extend)
    return rows


def parse_model(request: Request, response: Response, value: Any, parse: Callable[[Any], T]) -> T:
    """Return the result of ``parse`` for ``value``, which is in the JSON of ``response``.

    :raises AirbyteUnexpectedResponseError: if ``parse`` rejects it.
    """
    try:
        return parse(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        detail = f"JSON of an unexpected shape ({reason})."
        raise unexpected_response(request, response, detail) from None


def _is_retryable(request: Request, error: AirbyteError, retry: RetryPolicy) -> bool:
    if isinstance(error, AirbyteUnreachableError) and error.is_too_large:
        return False  # the next response would be as large
    # A page with 409 may stand in for Airbyte's own 409, after which a job may still start.
    may_be_processed = error.outcome_unknown or getattr(error, "status", None) == 409  # noqa: PLR2004
    return retry.is_retryable(error) and (request.idempotent or not may_be_processed)


def _explain_token_error(error: AirbyteResponseError) -> AirbyteResponseError:
    """Return an error of the token endpoint with a hint for the user who configures the Airflow connection."""
    if error.status == 404:  # noqa: PLR2004
        return error.with_hint(
            "There is no token endpoint. If this Airbyte has authentication switched off, leave Client ID (Login) and "
            "Client secret (Password) empty; otherwise check Airbyte URL (Host) in the Airflow connection."
        )
    if not error.from_airbyte or error.custom_hint is not None:
        return error
    if error.status in (401, 403):
        return error.with_hint(
            "Check Client ID (Login) and Client secret (Password) in the Airflow connection, and the path in Airbyte "
            "URL (Host): Airbyte returns the same for an unknown path.",
            error_class=AirbyteAuthenticationError,
        )
    if error.status in (400, 422):
        return error.with_hint(error_class=AirbyteAuthenticationError)
    if error.status == 500:  # noqa: PLR2004
        return error.with_hint(
            "Some versions of Airbyte return this for a wrong client id or secret: if Airbyte is healthy, check Client "
            "ID (Login) and Client secret (Password) in the Airflow connection."
        )
    return error
