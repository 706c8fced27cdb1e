"""HTTP requests and responses as plain values, and the errors that they mean.

A client sends a :class:`Request` and returns a :class:`Response` or a :class:`TransportFailure`. Only :func:`to_error`
decides which error an unsuccessful outcome is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from enum import Enum
from functools import cached_property
from typing import Any

from airflow_provider_airbyte_api.api.error_body import BAD_TOKEN_REQUEST, ErrorBody
from airflow_provider_airbyte_api.api.masking import mask
from airflow_provider_airbyte_api.api.safe import MAX_ITEMS, TooManyItemsError, parse_json, safe_text
from airflow_provider_airbyte_api.api.timestamps import parse_http_date
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAlreadyRunningError,
    AirbyteAuthenticationError,
    AirbyteBadRequestError,
    AirbyteConflictError,
    AirbyteError,
    AirbyteNotFoundError,
    AirbytePermissionError,
    AirbyteRateLimitError,
    AirbyteResponseError,
    AirbyteServerError,
    AirbyteUnexpectedResponseError,
    AirbyteUnreachableError,
)

MAX_RETRY_AFTER = 365 * 24 * 3600.0
"""Seconds. A longer ``Retry-After`` counts as this value. The retry policy decides on the actual delay."""

MAX_CHALLENGE = 80
"""Maximum length of the excerpt of a ``WWW-Authenticate`` header, in characters."""

LAST_REGISTERED_REFUSAL = 451
"""The highest 4xx status that is registered (RFC 7725)."""

MAX_RESPONSE_BYTES = 16 * 2**20
"""Maximum size of a response, in bytes. A connection with 1,000 streams of 150 selected fields each has 6 MB. A list
with a larger page is read in smaller pages.
"""

MAX_SMALL_RESPONSE_BYTES = 2**20
"""Maximum size of a response that holds one small object, such as a token, in bytes."""

MAX_ERROR_BODY_BYTES = 256 * 1024
"""Maximum size of the body of an unsuccessful response; the rest is neither read nor searched for a reason."""


@dataclass(frozen=True)
class Request:
    """One API request; ``path`` is below the API root, or a complete URL.

    ``idempotent`` means that sending it twice does no harm. ``read_timeout`` and ``total_timeout``, for the whole
    exchange, are in seconds; None uses the client's.
    ``anonymous`` sends no token. ``max_bytes`` is the maximum size of the response.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    json: Mapping[str, Any] | None = field(default=None, repr=False)
    idempotent: bool = False
    anonymous: bool = False
    read_timeout: float | None = None
    total_timeout: float | None = None
    max_bytes: int = MAX_RESPONSE_BYTES

    def with_query(self, **values: object) -> Request:
        """Return this request with ``values`` added to its query."""
        return replace(self, query=self.query + tuple((name, str(value)) for name, value in values.items()))


@dataclass(frozen=True)
class Response:
    """An HTTP response. ``headers`` has lower-case names; ``url`` is the request's URL without its query.

    ``secrets`` are the secret values of the request. They are masked in every error about this response.
    """

    url: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """True for any 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def server_time(self) -> float | None:
        """The server's clock at the time of the response (its ``Date`` header), in seconds since the epoch."""
        return parse_http_date(self.headers.get("date", ""))

    def json(self) -> Any:
        """Return the JSON in the body. Only the first call parses it.

        :raises ValueError: as :func:`~.safe.parse_json`.
        """
        value, error = self._parsed
        if error is not None:
            raise error
        return value

    @cached_property
    def _parsed(self) -> tuple[Any, ValueError | None]:
        try:
            return parse_json(self.body), None
        except ValueError as error:
            return None, error


class TransportErrorKind(str, Enum):
    """Why no response arrived. It decides on the hint."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    CERTIFICATE = "certificate"
    PROXY = "proxy"
    TOO_LARGE = "too_large"
    OTHER = "other"


TRANSPORT_HINTS = {
    TransportErrorKind.DNS: "The host name could not be resolved: check Airbyte URL (Host) in the Airflow connection.",
    TransportErrorKind.REFUSED: (
        "Check Airbyte URL (Host) and its port in the Airflow connection, and that Airbyte is running."
    ),
    TransportErrorKind.TIMEOUT: "",
    TransportErrorKind.TLS: "",
    TransportErrorKind.CERTIFICATE: (
        "If a private CA signed its certificate, set the extra ca_bundle to the CA's file."
    ),
    TransportErrorKind.PROXY: "Check the extra proxy, or http_proxy, https_proxy and no_proxy in the environment.",
    TransportErrorKind.TOO_LARGE: (
        "Airbyte does not send such responses: check Airbyte URL (Host) in the Airflow connection, and any proxy."
    ),
    TransportErrorKind.OTHER: "",
}


SIGN_IN = re.compile(r"\b(sign|log)[ -]?(in|on)\b|single sign", re.IGNORECASE)
"""Matches the title of a sign-in page."""

SIGN_IN_HINT = (
    "An identity proxy in front of Airbyte requires a sign-in. Send the credentials that it expects in the extra "
    "secret_headers, or allow this machine there without a sign-in."
)

REDIRECT_HINT = (
    "Set Airbyte URL (Host) to the target of the redirect. If that is a sign-in page, an identity proxy is in front "
    "of Airbyte: send the credentials that it expects in the extra secret_headers."
)

OAUTH_HINT = (
    "The token URL is an OAuth 2 endpoint that expects a form, such as Keycloak's. Airbyte's own expects JSON. "
    "Remove the extra auth_url; for Airbyte Cloud, set Airbyte URL (Host) to https://api.airbyte.com/v1."
)


@dataclass(frozen=True)
class TransportFailure:
    """No response arrived. ``request_sent`` is False only if Airbyte certainly received nothing of the request.

    ``secrets`` are the secret values of the request. They are masked in every error about this failure.
    """

    url: str
    reason: str
    request_sent: bool
    kind: TransportErrorKind = field(default=TransportErrorKind.OTHER, compare=False)
    secrets: tuple[str, ...] = field(default=(), repr=False, compare=False)


def parse_response(request: Request, response: Response) -> Any:
    """Return the JSON in a 2xx response.

    :raises AirbyteUnreachableError: if it has more than :data:`~.safe.MAX_ITEMS`, as if it had too many bytes.
    :raises AirbyteUnexpectedResponseError: if it is not JSON, such as the web app's page, which a wrong base URL
        returns with status 200.
    """
    try:
        return response.json()
    except TooManyItemsError:
        reason = f"the response has more than {MAX_ITEMS:,} JSON items"
        too_large = TransportFailure(response.url, reason, request_sent=True, kind=TransportErrorKind.TOO_LARGE)
        raise to_error(request, too_large) from None
    except ValueError:
        body = _body_of(response)
        hint = SIGN_IN_HINT if SIGN_IN.search(body.title or "") else None
        message = _message(response, body)
        if request.anonymous and request.method == "POST" and body.title is None:
            # Some token endpoints answer with a form or a bare token. It was not part of the request, so masking does
            # not cover it.
            message = f"text that is not JSON ({len(response.body)} bytes)."
        raise unexpected_response(request, response, message, hint) from None


def unexpected_response(
    request: Request, response: Response, detail: str, hint: str | None = None
) -> AirbyteUnexpectedResponseError:
    """Return the error for a response that is not the API's. Secrets of the request are masked in ``detail``."""
    return AirbyteUnexpectedResponseError(
        method=request.method,
        url=response.url,
        status=response.status,
        detail=mask(detail, response.secrets),
        hint=hint,
    )


def to_error(
    request: Request, outcome: Response | TransportFailure, *, had_token: bool = True, unauthorized_hint: str = ""
) -> AirbyteError:
    """Return the error that ``outcome``, which is not a 2xx response, means for ``request``.

    ``had_token`` is True if the request was sent with a token. ``unauthorized_hint`` is the hint if that token was
    rejected. Secrets of the request are masked in all text of the response.
    """
    if isinstance(outcome, TransportFailure):
        reason = safe_text(mask(outcome.reason, outcome.secrets))
        message = f"{request.method} {outcome.url}: {reason}. {TRANSPORT_HINTS[outcome.kind]}"
        return AirbyteUnreachableError(
            message.strip(),
            url=outcome.url,
            outcome_unknown=outcome.request_sent,
            kind=outcome.kind.value,
        )
    body = _body_of(outcome)
    detail = _message(outcome, body)
    if outcome.status == 407:  # noqa: PLR2004
        return AirbyteUnreachableError(
            f"{request.method} {outcome.url}: the proxy returned 407: {detail} "
            f"{TRANSPORT_HINTS[TransportErrorKind.PROXY]}",
            outcome_unknown=False,
            kind=TransportErrorKind.PROXY.value,
            url=outcome.url,
        )
    is_from_airbyte = body.is_from_airbyte or (request.anonymous and bool(body.oauth_error))
    challenge = safe_text(mask(outcome.headers.get("www-authenticate", ""), outcome.secrets), MAX_CHALLENGE)
    wants_http_auth = (
        outcome.status == 401  # noqa: PLR2004
        and bool(challenge)
        and not challenge.lower().startswith("bearer")
        and not is_from_airbyte
    )
    kind = _error_class(outcome.status, body, is_from_airbyte=is_from_airbyte, wants_http_auth=wants_http_auth)
    hint = None
    if outcome.status == 401 and unauthorized_hint:  # noqa: PLR2004
        hint = unauthorized_hint
    elif wants_http_auth:
        hint = (
            f"A server in front of Airbyte requires HTTP authentication (WWW-Authenticate: {challenge!r}). "
            "If it accepts HTTP Basic, set the extra auth_type to basic."
        )
    elif kind is AirbyteAuthenticationError and not had_token and not request.anonymous:
        hint = (
            "No credentials were sent: the Airflow connection has none. "
            "Set its Client ID (Login) and Client secret (Password)."
        )
    elif kind is AirbyteUnexpectedResponseError:
        hint = _about_gateway(request, outcome, body)
    elif body.oauth_error in BAD_TOKEN_REQUEST:
        hint = OAUTH_HINT
    error = kind(
        method=request.method,
        url=outcome.url,
        status=outcome.status,
        detail=detail,
        hint=hint,
        retry_after=_retry_after(outcome),
    )
    error.is_gateway_challenge = wants_http_auth and not unauthorized_hint
    error.from_airbyte = is_from_airbyte and kind is not AirbyteUnexpectedResponseError
    if isinstance(error, AirbyteUnexpectedResponseError):
        # A server that refuses a request in Airbyte's place did not pass it on. That does not hold for the statuses
        # that some load balancers invented, such as 499 for a client that closed the connection.
        error.outcome_unknown = outcome.status > LAST_REGISTERED_REFUSAL
    return error


def _error_class(
    status: int, body: ErrorBody, *, is_from_airbyte: bool, wants_http_auth: bool
) -> type[AirbyteResponseError]:
    if 300 <= status < 400 or status == 405:  # noqa: PLR2004 - Airbyte allows each method that is used here
        return AirbyteUnexpectedResponseError
    if status in (408, 425) or (status >= 500 and not (status == 501 and is_from_airbyte)):  # noqa: PLR2004
        return AirbyteServerError
    if status == 429:  # noqa: PLR2004
        return AirbyteRateLimitError
    if not is_from_airbyte:
        return AirbyteAuthenticationError if wants_http_auth else AirbyteUnexpectedResponseError
    if status == 409 and _already_running(body):  # noqa: PLR2004
        return AirbyteAlreadyRunningError
    kinds: dict[int, type[AirbyteResponseError]] = {
        401: AirbyteAuthenticationError,
        403: AirbytePermissionError,
        404: AirbyteNotFoundError,
        409: AirbyteConflictError,
    }
    return kinds.get(status, AirbyteBadRequestError)


def _about_gateway(request: Request, response: Response, body: ErrorBody) -> str | None:
    """Return which server answered in Airbyte's place, with a hint; None if the address may be wrong."""
    if 300 <= response.status < 400:  # noqa: PLR2004
        return REDIRECT_HINT
    if SIGN_IN.search(body.title or ""):
        return SIGN_IN_HINT
    if response.status in (404, 405):
        return None
    rejection = f"{body.source} rejected the {request.method}."
    if response.status == 401:  # noqa: PLR2004
        return (
            f"{rejection} Send the credentials that it expects in the extra secret_headers (an identity proxy reads "
            "Proxy-Authorization, since Authorization contains Airbyte's token). If there is no such server, check "
            "Client ID (Login) and Client secret (Password)."
        )
    if response.status == 403:  # noqa: PLR2004
        return (
            f"{rejection} Ids and roles in Airbyte are not the cause. Allow this machine and its "
            f"{request.method} requests there, or send the credentials that it expects in the extra secret_headers."
        )
    return (
        f"{rejection} Check the proxies between Airflow and Airbyte, and Airbyte URL (Host) in the Airflow connection."
    )


def _already_running(body: ErrorBody) -> bool:
    # Airbyte answers with the same title for a deleted connection; only the message differs.
    message = body.message()
    return "already running" in message or (
        body.fields.get("title") == "try-again-later" and "is deleted" not in message
    )


def _body_of(response: Response) -> ErrorBody:
    return ErrorBody(response.status, response.headers, response.body[:MAX_ERROR_BODY_BYTES], response.secrets)


def _message(response: Response, body: ErrorBody) -> str:
    location = response.headers.get("location")
    if location is not None and 300 <= response.status < 400:  # noqa: PLR2004
        target = re.sub(r"//[^/@]*@", "//", location.split("?")[0].split("#")[0])
        return f"a redirect to {safe_text(mask(target, response.secrets))}, which is not followed with credentials."
    return body.message()


def _retry_after(response: Response) -> float | None:
    """Return the seconds of either form of the header (RFC 9110, 10.2.3)."""
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
