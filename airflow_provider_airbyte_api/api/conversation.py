"""Conversations with Airbyte, as generators that do nothing themselves.

A conversation yields a step and is sent what came of it; a driver in ``clients`` performs the steps. So retries,
the answer to a 401, paging, starting and waiting exist once, for threads and for coroutines, and are tested with
``next`` and ``send``.

=============  ===================================  ==========================================================
step           is answered with                     meaning
=============  ===================================  ==========================================================
``Authorize``  ``Token`` or None (no credentials)   a token good for the next request, other than ``rejected``
``Send``       ``Response`` or ``NoResponse``       one HTTP exchange
``Pause``      None                                 let about so many seconds pass
``Now``        seconds since the epoch              look at the clock
``Say``        None                                 a line for the task's log
``Emit``       None                                 rows for the caller, while there may be more
``News``       ``Job``                              wait until a watch over many jobs knows more; only there
=============  ===================================  ==========================================================

An :class:`AirbyteError` that performing a step brought is thrown into the conversation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from airflow_provider_airbyte_api.api.calls import PAGE
from airflow_provider_airbyte_api.api.errors import (
    AirbyteAuthenticationError,
    AirbyteError,
    AirbyteResponseError,
    AirbyteUnexpectedReplyError,
    AirbyteUnreachableError,
    unreachable_for,
)
from airflow_provider_airbyte_api.api.retry import MOST_MISTAKES, ONCE, Retry
from airflow_provider_airbyte_api.api.tokens import Credentials, Token, read_token
from airflow_provider_airbyte_api.api.wire import (
    NoResponse,
    Request,
    Response,
    error_for,
    json_of,
    unexpected,
)

T = TypeVar("T")

ANSWERS_AGAIN = "Airbyte answers again."
"""What the log has when an outage is over."""


@dataclass(frozen=True)
class Authorize:
    """Get a token, from the cache if there is a good one that is not ``rejected``."""

    rejected: Token | None = None


@dataclass(frozen=True)
class Send:
    """Send ``request`` with ``token``."""

    request: Request
    token: Token | None


@dataclass(frozen=True)
class Pause:
    """Let ``seconds`` pass, give or take a share of ``jitter``, so that many who wait do not wake together."""

    seconds: float
    jitter: float = 0.2


@dataclass(frozen=True)
class Now:
    """Look at the clock."""


@dataclass(frozen=True)
class Say:
    """Log ``message % arguments``."""

    message: str
    arguments: tuple[object, ...] = ()
    level: int = logging.INFO


@dataclass(frozen=True)
class Emit:
    """Hand ``rows`` to the caller."""

    rows: list[Any]


@dataclass(frozen=True)
class News:
    """Wait for news of the one job that this conversation is about.

    News is another status than ``known``, that Airbyte is away, that it answers again (``known`` is None: it was away),
    and whatever a look at ``until``, in seconds since the epoch, shows.
    """

    known: str | None
    until: float | None


Step: TypeAlias = Authorize | Send | Pause | Now | Say | Emit | News
Conversation: TypeAlias = Generator[Step, Any, T]
"""A conversation that returns a ``T``."""


def resume(conversation: Conversation[Any], outcome: Any) -> Step:
    """Tell ``conversation`` what came of its last step (None at its beginning), and return its next one.

    :raises StopIteration: with the result, if that was its last.
    """
    return conversation.throw(outcome) if isinstance(outcome, AirbyteError) else conversation.send(outcome)


async def drive(conversation: Conversation[T], perform: Callable[[Step], Awaitable[Any]]) -> T:
    """Let ``perform`` do all steps of ``conversation``, for drivers with coroutines, and return what it returns."""
    outcome: Any = None
    try:
        while True:
            try:
                step = resume(conversation, outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                outcome = await perform(step)
            except AirbyteError as error:
                outcome = error
    finally:
        conversation.close()


def now() -> Conversation[float]:
    """Return the time, in seconds since the epoch."""
    moment: float = yield Now()
    return moment


def pause_before_next_try(retry: Retry, failures: int, since: float, error: AirbyteError) -> Conversation[None]:
    """Let the pause pass that ``retry`` has after so many failures since that moment, in seconds since the epoch.

    :raises AirbyteError: ``error``, if it was the last try.
    :raises AirbyteUnreachableError: about ``error``, if it was the last try of those that ride out an outage.
    """
    moment = yield from now()
    pause = retry.pause_after(failures, moment - since, error)
    if pause is None:
        if not retry.rides_out:
            raise error
        yield Say("Airbyte was unreachable for %.0f s; giving up.", (moment - since,), logging.WARNING)
        raise unreachable_for(moment - since, error) from error
    if not retry.rides_out:
        yield Say("%s Next try in %.0f s.", (error, pause), logging.WARNING)
    elif failures == 1:
        minutes = max(retry.patience / 60, 1)
        yield Say("Airbyte is unreachable; retrying for up to %.0f min. %s", (minutes, error), logging.WARNING)
    yield Pause(pause)


def call(request: Request, retry: Retry = Retry()) -> Conversation[Response]:  # noqa: B008 - it is frozen
    """Return the 2xx reply to ``request``.

    The token is checked before each try. A 401 earns one new token and one replay, and a second 401 is an error. While
    an outage is ridden out, that holds for each try: a token that was good before it may not be good after it.
    What failed and may heal is repeated within ``retry`` if that does no harm: getting the token, any repeatable
    request, and any other that Airbyte surely did not process.

    :raises AirbyteError: what the last reply, or its absence, means.
    """
    started = yield from now()
    rejected: Token | None = None
    failures = mistakes = 0
    while True:
        try:
            token: Token | None = None if request.anonymous else (yield Authorize(rejected))
        except AirbyteError as trouble:
            error = trouble
        else:
            outcome: Response | NoResponse = yield Send(request, token)
            if isinstance(outcome, Response):
                if outcome.ok:
                    if failures and retry.rides_out:
                        yield Say(ANSWERS_AGAIN)
                    return outcome
                renewable = token is not None and token.expires_at < math.inf
                if outcome.status == 401 and renewable and rejected is None:  # noqa: PLR2004
                    rejected = token
                    continue
            error = error_for(
                request, outcome, with_token=token is not None, if_refused=token.if_refused if token else ""
            )
        failures += 1
        mistakes = mistakes + 1 if retry.suspects_a_mistake(error) else 0
        if mistakes >= MOST_MISTAKES or not _may_repeat(request, error, retry):
            raise error
        yield from pause_before_next_try(retry, failures, started, error)
        rejected = None if retry.rides_out else rejected


def call_for(
    request: Request,
    parse: Callable[[Mapping[str, Any]], T],
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
) -> Conversation[T]:
    """Return what ``parse`` makes of the JSON object in the reply to ``request``; see :func:`call`.

    :raises AirbyteUnexpectedReplyError: if it can make nothing of it.
    """
    reply = yield from call(request, retry)
    return _read(request, reply, json_of(request, reply), parse)


def fetch_token(
    credentials: Credentials,
    retry: Retry = ONCE,
) -> Conversation[Token]:
    """Return a new token. Whoever needs it repeats this: see :func:`call`.

    :raises AirbyteAuthenticationError: if the client id or the secret is wrong. Airbyte says so with 400, 401 or
        500, depending on how it authenticates.
    """
    request = credentials.token_request()
    try:
        reply = yield from call(request, retry)
        moment = yield from now()
        return read_token(request, reply, moment)
    except AirbyteError as error:
        about = _about_credentials(error) if isinstance(error, AirbyteResponseError) else error
        # What the token was for has not been sent at all.
        about.maybe_processed = False
        raise about from None


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, and the server's clock (seconds since the epoch) if it tells.

    ``unreadable`` has an error for each row that was skipped, since it cannot be parsed.
    """

    rows: list[T]
    is_last: bool
    server_time: float | None
    unreadable: tuple[AirbyteError, ...] = ()


def read_page(
    request: Request,
    offset: int | None,
    parse: Callable[[Mapping[str, Any]], T],
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
    *,
    skip_unreadable: bool = False,
    limit: int = PAGE,
) -> Conversation[Page[T]]:
    """Return the rows of a list from ``offset`` on; None for a list that comes without pages.

    Airbyte's own ``next`` is never followed: it names hosts that only the server can reach and drops filters.

    :param skip_unreadable: leave out rows that cannot be parsed, instead of raising.
    :param limit: the most rows of the page.
    """
    page = request if offset is None else request.with_query(limit=limit, offset=offset)
    reply = yield from call(page, retry)
    body = json_of(page, reply)
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise unexpected(page, reply, "JSON without a list named data.")
    found: list[T] = []
    unreadable: list[AirbyteError] = []
    for row in rows:
        try:
            found.append(_read(page, reply, row, parse))
        except AirbyteUnexpectedReplyError as error:
            if not skip_unreadable:
                raise
            unreadable.append(error)
    return Page(found, len(rows) < limit, reply.server_time, tuple(unreadable))


MAX_ROWS = 100_000
"""Rows of a list that are read at the most: a list may grow faster than it is read."""

SMALLER_PAGES = 10
"""What the rows of a page are divided by if the page is too large to be read."""

MOST_READINGS = 10
"""How often a list without an order is read at the most, for all of its rows to have been shown."""


def pages(
    request: Request,
    parse: Callable[[Mapping[str, Any]], T],
    key: Callable[[T], object],
    *,
    is_ordered: bool = False,
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
) -> Conversation[None]:
    """Emit all rows of a list, each once, a page at a time. ``key`` tells rows apart.

    Airbyte's lists of sources, destinations and connections have no order: a row may be on two pages, and then another
    one is on none. So where fewer rows were found than were shown, such a list is read again. Where a page is too
    large, as one of connections with very many streams may be, the list is read on in smaller pages.

    :raises AirbyteError: if it has more than :data:`MAX_ROWS`.
    """
    seen: set[object] = set()
    shown, limit = 0, PAGE
    for _ in range(1 if is_ordered else MOST_READINGS):
        shown, this_time = 0, set[object]()
        while True:
            try:
                page = yield from read_page(request, shown, parse, retry, limit=limit)
            except AirbyteUnreachableError as error:
                if limit == 1 or not error.is_too_large:
                    raise
                limit = max(limit // SMALLER_PAGES, 1)
                continue
            shown += len(page.rows)
            found = {key(row): row for row in page.rows}
            repeats_itself = not page.is_last and found.keys() <= this_time
            this_time |= found.keys()
            yield Emit([row for name, row in found.items() if name not in seen])
            seen |= found.keys()
            if page.is_last or repeats_itself:
                break
            if shown >= MAX_ROWS:
                raise AirbyteError(
                    f"{request.method} {request.path} lists more than {MAX_ROWS} rows, and no more are read. List less "
                    "at once: one workspace or connection, one status, or a span of time."
                )
        if len(seen) >= shown:
            return
    if not is_ordered:
        yield Say(
            "%s shows %d rows, but never more than %d different ones: some may be missing.",
            (request.path, shown, len(seen)),
            logging.WARNING,
        )


def with_rows(conversation: Conversation[None], take: Callable[[list[Any]], Emit | None]) -> Conversation[None]:
    """Do as ``conversation`` does, but let ``take`` have the rows that it emits, and emit what that returns."""
    outcome: Any = None
    while True:
        try:
            step: Step | None = resume(conversation, outcome)
        except StopIteration:
            return
        outcome = None
        if isinstance(step, Emit):
            step = take(step.rows)
        if step is not None:
            try:
                outcome = yield step
            except AirbyteError as error:
                outcome = error


def gathered(conversation: Conversation[None]) -> Conversation[list[Any]]:
    """Return all rows that ``conversation`` emits."""
    rows: list[Any] = []
    yield from with_rows(conversation, rows.extend)
    return rows


def _read(request: Request, reply: Response, value: Any, parse: Callable[[Mapping[str, Any]], T]) -> T:
    try:
        return parse(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        detail = f"JSON of another shape ({reason})."
        raise unexpected(request, reply, detail) from None


def _may_repeat(request: Request, error: AirbyteError, retry: Retry) -> bool:
    if isinstance(error, AirbyteUnreachableError) and error.is_too_large:
        return False  # the next reply would be as large
    # A page with 409 may stand in for Airbyte's own 409, after which a job may still start.
    may_be_obeyed = error.maybe_processed or getattr(error, "status", None) == 409  # noqa: PLR2004
    return retry.may_help(error) and (request.repeatable or not may_be_obeyed)


def _about_credentials(error: AirbyteResponseError) -> AirbyteResponseError:
    """Return what an error of the token endpoint means for who set up the Airflow connection."""
    if error.status == 404:  # noqa: PLR2004
        return error.rephrased(
            "There is no token endpoint. If this Airbyte has authentication switched off, leave Client ID (Login) and "
            "Client secret (Password) empty; else check Airbyte URL (Host) in the Airflow connection."
        )
    if not error.from_airbyte or error.own_advice is not None:
        return error
    if error.status in (401, 403):
        return error.rephrased(
            "Check Client ID (Login) and Client secret (Password) in the Airflow connection, and the path in Airbyte "
            "URL (Host): Airbyte answers this to a path that does not exist, too.",
            kind=AirbyteAuthenticationError,
        )
    if error.status in (400, 422):
        return error.rephrased(kind=AirbyteAuthenticationError)
    if error.status == 500:  # noqa: PLR2004
        return error.rephrased(
            "Some versions of Airbyte answer this to a wrong client id or secret: if Airbyte is well, check Client ID "
            "(Login) and Client secret (Password) in the Airflow connection."
        )
    return error
