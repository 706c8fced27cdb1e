"""Conversations with Airbyte, as generators that do nothing themselves.

A conversation yields a step and is sent what came of it; a driver in ``clients`` performs the steps. So retries,
the answer to a 401, paging, starting and waiting exist once, for threads and for coroutines, and are tested with
``next`` and ``send``.

=============  ===================================  ==========================================================
step           is answered with                     meaning
=============  ===================================  ==========================================================
``GetToken``  ``Token`` or None (no credentials)   a token good for the next request, other than ``rejected``
``SendRequest``       ``Response`` or ``TransportFailure``       one HTTP exchange
``Sleep``      None                                 let about so many seconds pass
``Now``        seconds since the epoch              look at the clock
``Say``        None                                 a line for the task's log
``YieldRows``       None                                 rows for the caller, while there may be more
``WaitForUpdate``       ``Job``                              wait until a watch over many jobs knows more; only there
=============  ===================================  ==========================================================

An :class:`AirbyteError` that performing a step brought is thrown into the conversation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from airflow_provider_airbyte_api.api.backoff import MOST_MISTAKES, NO_RETRY, RetryPolicy
from airflow_provider_airbyte_api.api.endpoints import PAGE_SIZE
from airflow_provider_airbyte_api.api.http import (
    Request,
    Response,
    TransportFailure,
    parse_response,
    to_error,
    unexpected_response,
)
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, Token, parse_token_response
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteError,
    AirbyteResponseError,
    AirbyteUnexpectedResponseError,
    AirbyteUnreachableError,
    unreachable_for,
)

T = TypeVar("T")

ANSWERS_AGAIN = "Airbyte answers again."
"""What the log has when an outage is over."""


@dataclass(frozen=True)
class GetToken:
    """Get a token, from the cache if there is a good one that is not ``rejected``."""

    rejected: Token | None = None


@dataclass(frozen=True)
class SendRequest:
    """Send ``request`` with ``token``."""

    request: Request
    token: Token | None


@dataclass(frozen=True)
class Sleep:
    """Let ``seconds`` pass, give or take a share of ``jitter``, so that many who wait do not wake together."""

    seconds: float
    jitter: float = 0.2


@dataclass(frozen=True)
class GetTime:
    """Look at the clock."""


@dataclass(frozen=True)
class Log:
    """Log ``message % arguments``."""

    message: str
    arguments: tuple[object, ...] = ()
    level: int = logging.INFO


@dataclass(frozen=True)
class YieldRows:
    """Hand ``rows`` to the caller."""

    rows: list[Any]


@dataclass(frozen=True)
class WaitForUpdate:
    """Wait for news of the one job that this conversation is about.

    News is another status than ``known``, that Airbyte is away, that it answers again (``known`` is None: it was away),
    and whatever a look at ``until``, in seconds since the epoch, shows.
    """

    last_status: str | None
    deadline: float | None


Step: TypeAlias = GetToken | SendRequest | Sleep | GetTime | Log | YieldRows | WaitForUpdate
Flow: TypeAlias = Generator[Step, Any, T]
"""A conversation that returns a ``T``."""


def advance(flow: Flow[Any], outcome: Any) -> Step:
    """Tell ``conversation`` what came of its last step (None at its beginning), and return its next one.

    :raises StopIteration: with the result, if that was its last.
    """
    return flow.throw(outcome) if isinstance(outcome, AirbyteError) else flow.send(outcome)


async def run_async(flow: Flow[T], handle_step: Callable[[Step], Awaitable[Any]]) -> T:
    """Let ``perform`` do all steps of ``conversation``, for drivers with coroutines, and return what it returns."""
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


def sleep_before_retry(retry: RetryPolicy, attempt: int, since: float, error: AirbyteError) -> Flow[None]:
    """Let the pause pass that ``retry`` has after so many failures since that moment, in seconds since the epoch.

    :raises AirbyteError: ``error``, if it was the last try.
    :raises AirbyteUnreachableError: about ``error``, if it was the last try of those that ride out an outage.
    """
    now = yield from get_time()
    pause = retry.next_delay(attempt, now - since, error)
    if pause is None:
        if not retry.rides_out:
            raise error
        yield Log("Airbyte was unreachable for %.0f s; giving up.", (now - since,), logging.WARNING)
        raise unreachable_for(now - since, error) from error
    if not retry.rides_out:
        yield Log("%s Next try in %.0f s.", (error, pause), logging.WARNING)
    elif attempt == 1:
        minutes = max(retry.timeout / 60, 1)
        yield Log("Airbyte is unreachable; retrying for up to %.0f min. %s", (minutes, error), logging.WARNING)
    yield Sleep(pause)


def send_with_retry(request: Request, retry: RetryPolicy = RetryPolicy()) -> Flow[Response]:  # noqa: B008 - it is frozen
    """Return the 2xx reply to ``request``.

    The token is checked before each try. A 401 earns one new token and one replay, and a second 401 is an error. While
    an outage is ridden out, that holds for each try: a token that was good before it may not be good after it.
    What failed and may heal is repeated within ``retry`` if that does no harm: getting the token, any repeatable
    request, and any other that Airbyte surely did not process.

    :raises AirbyteError: what the last reply, or its absence, means.
    """
    started = yield from get_time()
    rejected: Token | None = None
    attempt = mistakes = 0
    while True:
        try:
            token: Token | None = None if request.anonymous else (yield GetToken(rejected))
        except AirbyteError as trouble:
            error = trouble
        else:
            outcome: Response | TransportFailure = yield SendRequest(request, token)
            if isinstance(outcome, Response):
                if outcome.ok:
                    if attempt and retry.rides_out:
                        yield Log(ANSWERS_AGAIN)
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
        attempt += 1
        mistakes = mistakes + 1 if retry.suspects_a_mistake(error) else 0
        if mistakes >= MOST_MISTAKES or not _is_retryable(request, error, retry):
            raise error
        yield from sleep_before_retry(retry, attempt, started, error)
        rejected = None if retry.rides_out else rejected


def request_model(
    request: Request,
    parse: Callable[[Mapping[str, Any]], T],
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[T]:
    """Return what ``parse`` makes of the JSON object in the reply to ``request``; see :func:`call`.

    :raises AirbyteUnexpectedResponseError: if it can make nothing of it.
    """
    reply = yield from send_with_retry(request, retry)
    return _parse_model(request, reply, parse_response(request, reply), parse)


def fetch_token(
    credentials: ClientCredentials,
    retry: RetryPolicy = NO_RETRY,
) -> Flow[Token]:
    """Return a new token. Whoever needs it repeats this: see :func:`call`.

    :raises AirbyteAuthenticationError: if the client id or the secret is wrong. Airbyte says so with 400, 401 or
        500, depending on how it authenticates.
    """
    request = credentials.token_request()
    try:
        reply = yield from send_with_retry(request, retry)
        now = yield from get_time()
        return parse_token_response(request, reply, now)
    except AirbyteError as error:
        explained = _explain_token_error(error) if isinstance(error, AirbyteResponseError) else error
        # What the token was for has not been sent at all.
        explained.outcome_unknown = False
        raise explained from None


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, and the server's clock (seconds since the epoch) if it tells.

    ``unreadable`` has an error for each row that was skipped, since it cannot be parsed.
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
    """Return the rows of a list from ``offset`` on; None for a list that comes without pages.

    Airbyte's own ``next`` is never followed: it names hosts that only the server can reach and drops filters.

    :param skip_unreadable: leave out rows that cannot be parsed, instead of raising.
    :param limit: the most rows of the page.
    """
    page = request if offset is None else request.with_query(limit=limit, offset=offset)
    reply = yield from send_with_retry(page, retry)
    body = parse_response(page, reply)
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise unexpected_response(page, reply, "JSON without a list named data.")
    found: list[T] = []
    unreadable: list[AirbyteError] = []
    for row in rows:
        try:
            found.append(_parse_model(page, reply, row, parse))
        except AirbyteUnexpectedResponseError as error:
            if not skip_unreadable:
                raise
            unreadable.append(error)
    return Page(found, len(rows) < limit, reply.server_time, tuple(unreadable))


MAX_ROWS = 100_000
"""Rows of a list that are read at the most: a list may grow faster than it is read."""

SMALLER_PAGES = 10
"""What the rows of a page are divided by if the page is too large to be read."""

MAX_LIST_PASSES = 10
"""How often a list without an order is read at the most, for all of its rows to have been shown."""


def iter_pages(
    request: Request,
    parse: Callable[[Mapping[str, Any]], T],
    key: Callable[[T], object],
    *,
    stable_order: bool = False,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[None]:
    """Emit all rows of a list, each once, a page at a time. ``key`` tells rows apart.

    Airbyte's lists of sources, destinations and connections have no order: a row may be on two pages, and then another
    one is on none. So where fewer rows were found than were shown, such a list is read again. Where a page is too
    large, as one of connections with very many streams may be, the list is read on in smaller pages.

    :raises AirbyteError: if it has more than :data:`MAX_ROWS`.
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
                    f"{request.method} {request.path} lists more than {MAX_ROWS} rows, and no more are read. List less "
                    "at once: one workspace or connection, one status, or a span of time."
                )
        if len(seen) >= rows_listed:
            return
    if not stable_order:
        yield Log(
            "%s shows %d rows, but never more than %d different ones: some may be missing.",
            (request.path, rows_listed, len(seen)),
            logging.WARNING,
        )


def map_pages(flow: Flow[None], transform: Callable[[list[Any]], YieldRows | None]) -> Flow[None]:
    """Do as ``conversation`` does, but let ``take`` have the rows that it emits, and emit what that returns."""
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
    """Return all rows that ``conversation`` emits."""
    rows: list[Any] = []
    yield from map_pages(flow, rows.extend)
    return rows


def _parse_model(request: Request, reply: Response, value: Any, parse: Callable[[Mapping[str, Any]], T]) -> T:
    try:
        return parse(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        detail = f"JSON of another shape ({reason})."
        raise unexpected_response(request, reply, detail) from None


def _is_retryable(request: Request, error: AirbyteError, retry: RetryPolicy) -> bool:
    if isinstance(error, AirbyteUnreachableError) and error.is_too_large:
        return False  # the next reply would be as large
    # A page with 409 may stand in for Airbyte's own 409, after which a job may still start.
    may_be_obeyed = error.outcome_unknown or getattr(error, "status", None) == 409  # noqa: PLR2004
    return retry.may_help(error) and (request.idempotent or not may_be_obeyed)


def _explain_token_error(error: AirbyteResponseError) -> AirbyteResponseError:
    """Return what an error of the token endpoint means for who set up the Airflow connection."""
    if error.status == 404:  # noqa: PLR2004
        return error.with_hint(
            "There is no token endpoint. If this Airbyte has authentication switched off, leave Client ID (Login) and "
            "Client secret (Password) empty; else check Airbyte URL (Host) in the Airflow connection."
        )
    if not error.from_airbyte or error.custom_hint is not None:
        return error
    if error.status in (401, 403):
        return error.with_hint(
            "Check Client ID (Login) and Client secret (Password) in the Airflow connection, and the path in Airbyte "
            "URL (Host): Airbyte answers this to a path that does not exist, too.",
            error_class=AirbyteAuthenticationError,
        )
    if error.status in (400, 422):
        return error.with_hint(error_class=AirbyteAuthenticationError)
    if error.status == 500:  # noqa: PLR2004
        return error.with_hint(
            "Some versions of Airbyte answer this to a wrong client id or secret: if Airbyte is well, check Client ID "
            "(Login) and Client secret (Password) in the Airflow connection."
        )
    return error
