"""What goes over the wire, as plain values, and what an answer means.

A driver turns a :class:`Request` into bytes and comes back with a :class:`Response` or a :class:`NoResponse`;
:func:`error_for` is the one place that tells what an unhappy one of these means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from airflow_provider_airbyte_api.api.errors import (
    AirbyteAccessError,
    AirbyteAlreadyRunningError,
    AirbyteAuthenticationError,
    AirbyteConflictError,
    AirbyteError,
    AirbyteNotFoundError,
    AirbyteRateLimitError,
    AirbyteRequestError,
    AirbyteResponseError,
    AirbyteServerError,
    AirbyteUnexpectedReplyError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.api.safe import parse_json
from airflow_provider_airbyte_api.api.times import parse_http_date

MAX_RETRY_AFTER = 365 * 24 * 3600.0
"""Seconds; a longer ``Retry-After`` counts as so many. How long is really waited, the retry policy decides."""

DETAIL_LENGTH = 200
"""How much of a reply that we cannot read goes into an error, in characters."""

LONGEST_MESSAGE = 1000
"""How much of the server's own words does, in characters."""

MAX_REPLY = 32 * 2**20
"""Bytes. A page of 100 connections with 1,000 streams each is about that large."""


@dataclass(frozen=True)
class Request:
    """One call of the API; ``path`` is below the API root, or a whole URL.

    ``repeatable`` says that sending it twice does no harm. ``read_timeout`` is in seconds; None leaves it to
    the client. ``anonymous`` keeps the token out of it. ``max_bytes`` is the size of the largest reply that is read.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    json: Mapping[str, Any] | None = field(default=None, repr=False)
    repeatable: bool = False
    anonymous: bool = False
    read_timeout: float | None = None
    max_bytes: int = MAX_REPLY

    def with_query(self, **values: object) -> Request:
        """Return this request with ``values`` added to its query."""
        return replace(self, query=self.query + tuple((name, str(value)) for name, value in values.items()))


@dataclass(frozen=True)
class Response:
    """What the server said. ``headers`` has lower-case names; ``url`` is what was asked, without its query."""

    url: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """True for any 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def server_time(self) -> float | None:
        """The server's clock when it replied (its ``Date`` header), in seconds since the epoch."""
        return parse_http_date(self.headers.get("date", ""))


class Trouble(str, Enum):
    """Why nothing came back, and so who can mend it."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    PROXY = "proxy"
    TOO_LARGE = "too_large"
    OTHER = "other"


TROUBLE_ADVICE = {
    Trouble.DNS: "There is no such name here: check Host in the Airflow connection.",
    Trouble.REFUSED: "Nothing listens there: check Host and its port in the Airflow connection, and that Airbyte runs.",
    Trouble.TIMEOUT: "",
    Trouble.TLS: "If a CA of your own signed its certificate, name that CA's file in the extra ca_bundle.",
    Trouble.PROXY: "Check the extra proxy, or http_proxy, https_proxy and no_proxy in the environment.",
    Trouble.TOO_LARGE: "Airbyte sends no such reply: check Host in the Airflow connection, and what is in between.",
    Trouble.OTHER: "",
}


@dataclass(frozen=True)
class NoResponse:
    """Nothing came back; ``sent`` is False only where Airbyte surely saw nothing of the request."""

    url: str
    reason: str
    sent: bool
    trouble: Trouble = field(default=Trouble.OTHER, compare=False)


def json_of(request: Request, response: Response) -> Any:
    """Return the JSON in a good reply.

    :raises AirbyteUnexpectedReplyError: if it is something else, as the web app's page is that a wrong base URL
        brings with status 200.
    """
    try:
        return parse_json(response.body)
    except ValueError:
        raise unexpected(request, response, _words(response)) from None


def unexpected(request: Request, response: Response, detail: str) -> AirbyteUnexpectedReplyError:
    """Return the error for a reply that is not the API's."""
    return AirbyteUnexpectedReplyError(method=request.method, url=response.url, status=response.status, detail=detail)


def error_for(
    request: Request, outcome: Response | NoResponse, *, with_token: bool = True, if_refused: str = ""
) -> AirbyteError:
    """Return what ``outcome``, which is not a 2xx, means for ``request``, sent with a token or without.

    ``if_refused`` is what to do if that token was refused.
    """
    if isinstance(outcome, NoResponse):
        said = f"{request.method} {outcome.url}: {outcome.reason}. {TROUBLE_ADVICE[outcome.trouble]}"
        return AirbyteUnreachableError(
            said.strip(),
            url=outcome.url,
            maybe_processed=outcome.sent,
            trouble=outcome.trouble.value,
        )
    detail = _words(outcome)
    if outcome.status == 407:  # noqa: PLR2004
        return AirbyteUnreachableError(
            f"{request.method} {outcome.url}: the proxy answered 407: {detail} {TROUBLE_ADVICE[Trouble.PROXY]}",
            maybe_processed=False,
            trouble=Trouble.PROXY.value,
            url=outcome.url,
        )
    kind = _kind_of(outcome, detail)
    advice = None
    if kind is AirbyteAuthenticationError and if_refused:
        advice = if_refused
    challenge = outcome.headers.get("www-authenticate", "")
    gateway_asks = (
        advice is None
        and kind is AirbyteAuthenticationError
        and bool(challenge)
        and not challenge.lower().startswith("bearer")
    )
    if gateway_asks:
        advice = (
            f"Something before Airbyte asks for HTTP authentication of its own: WWW-Authenticate {challenge[:80]!r}. "
            "If that is all it takes, set the extra auth_type to basic."
        )
    elif kind is AirbyteAuthenticationError and not with_token and not request.anonymous:
        advice = (
            "No credentials were sent, for the Airflow connection has none. "
            "Set its Login (client id) and Password (client secret)."
        )
    error = kind(
        method=request.method,
        url=outcome.url,
        status=outcome.status,
        detail=detail,
        advice=advice,
        retry_after=_retry_after(outcome),
    )
    error.gateway_asks, error.in_airbytes_words = gateway_asks, bool(_object(outcome))
    if isinstance(error, AirbyteUnexpectedReplyError):
        # A redirect, or a path that is not there: whoever said so did not pass the request on to Airbyte.
        error.maybe_processed = False
    return error


def _kind_of(response: Response, detail: str) -> type[AirbyteResponseError]:
    status = response.status
    redirected = 300 <= status < 400  # noqa: PLR2004
    # Nothing of Airbyte's refuses a method that we use, whatever the form of its reply.
    no_route = status == 405 or (status == 404 and _parsed(response) is None)  # noqa: PLR2004
    if redirected or no_route:
        return AirbyteUnexpectedReplyError
    if status in (408, 425) or (status >= 500 and status != 501):  # noqa: PLR2004
        return AirbyteServerError
    if status == 409 and _already_running(response, detail):  # noqa: PLR2004
        return AirbyteAlreadyRunningError
    kinds: dict[int, type[AirbyteResponseError]] = {
        401: AirbyteAuthenticationError,
        403: AirbyteAccessError,
        404: AirbyteNotFoundError,
        409: AirbyteConflictError,
        429: AirbyteRateLimitError,
    }
    return kinds.get(status, AirbyteRequestError)


def _already_running(response: Response, detail: str) -> bool:
    # A deleted connection is answered with the same title; only the words tell the two apart.
    title = _object(response).get("title")
    return "already running" in detail or (title == "try-again-later" and "is deleted" not in detail)


def _retry_after(response: Response) -> float | None:
    """Seconds, from either form of the header (RFC 9110, 10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdecimal():
        return min(float(value), MAX_RETRY_AFTER)
    until = parse_http_date(value)
    if until is None:
        return None
    now = response.server_time or datetime.now(timezone.utc).timestamp()
    return min(max(0.0, until - now), MAX_RETRY_AFTER)


def _words(response: Response) -> str:
    """Return the server's own words: Airbyte's, its framework's, its gateway's or a proxy's."""
    location = response.headers.get("location")
    if location is not None and 300 <= response.status < 400:  # noqa: PLR2004
        target = re.sub(r"//[^/@]*@", "//", location.split("?")[0])
        return f"a redirect to {target}, which is not followed with credentials."
    text = response.body.decode("utf-8", "replace").strip()
    said = _object(response)
    for found in (
        _dig(said, "data", "message"),
        _dig(said, "_embedded", "errors", 0, "message"),
        said.get("message"),
        said.get("detail"),
        said.get("title"),
        said.get("errorId") and f"no reason, but an id for the server's log: errorId {said['errorId']}",
    ):
        if found:
            return _sentence(str(found)[:LONGEST_MESSAGE])
    if "<html" in text[:1000].lower():
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return "a web page" + (f" titled {' '.join(title[1].split())[:80]!r}." if title else ".")
    return _sentence(text[:DETAIL_LENGTH]) if text else "an empty body."


def _parsed(response: Response) -> Any:
    try:
        return parse_json(response.body)
    except ValueError:
        return None


def _object(response: Response) -> dict[str, Any]:
    value = _parsed(response)
    return value if isinstance(value, dict) else {}


def _dig(value: Any, *keys: str | int) -> Any:
    for key in keys:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
