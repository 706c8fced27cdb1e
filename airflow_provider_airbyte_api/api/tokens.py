"""Access tokens: the request for one, its lifetime, and when to refresh it."""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from airflow_provider_airbyte_api.api.http import (
    MAX_SMALL_RESPONSE_BYTES,
    Request,
    Response,
    parse_response,
    unexpected_response,
)
from airflow_provider_airbyte_api.api.safe import parse_json, safe_float

DEFAULT_TOKEN_LIFETIME = 150.0
"""Lifetime in seconds of a token that does not state one. The shortest real lifetime is 180 s."""

REFRESH_MARGIN_RATIO, REFRESH_MARGIN_MAX = 0.2, 120.0
EXPIRY_MARGIN_RATIO, EXPIRY_MARGIN_MAX = 0.05, 30.0
"""Margins before a token's end of life: a share of its lifetime, which may be 3 minutes, and a maximum in seconds."""

REFRESH_RETRY_DELAY = 10.0
"""Seconds before the next attempt after an early refresh failed while the old token was still valid."""


@dataclass(frozen=True)
class ClientCredentials:
    """An application's client id and secret, and the URL of its token endpoint."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)

    def cache_key(self, api: str) -> TokenKey:
        """Return the key under which a token for the API root ``api`` is cached."""
        digest = hashlib.sha256(self.client_secret.encode()).hexdigest()
        return TokenKey(api, self.token_url, self.client_id, digest)

    def token_request(self) -> Request:
        """Return the request for a token. It sends JSON, because several self-managed servers reject a form."""
        body = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "grant-type": "client_credentials",
        }
        return Request(
            "POST", self.token_url, json=body, idempotent=True, anonymous=True, max_bytes=MAX_SMALL_RESPONSE_BYTES
        )


@dataclass(frozen=True)
class TokenKey:
    """Identifies a cached token. A token is never sent to another host, and is dropped when the secret changes."""

    api: str
    token_url: str
    client_id: str
    secret_digest: str = field(repr=False)


class TokenState(Enum):
    """Whether a token is valid (FRESH), valid but due for a refresh (STALE), or no longer usable (EXPIRED)."""

    FRESH = auto()
    STALE = auto()
    EXPIRED = auto()


@dataclass(frozen=True)
class Token:
    """A credential for Airbyte. ``stale_at`` and ``expires_at`` are seconds since the epoch by *this machine's* clock.

    ``unauthorized_hint`` is the hint if Airbyte rejects the token. If it is empty, the one for client credentials
    applies.
    """

    value: str = field(repr=False)
    stale_at: float
    expires_at: float
    scheme: str = "Bearer"
    unauthorized_hint: str = ""

    @property
    def authorization(self) -> str:
        """The value of the ``Authorization`` header."""
        return f"{self.scheme} {self.value}"

    def state(self, now: float) -> TokenState:
        """Return the state of this token at ``now``."""
        if now >= self.expires_at:
            return TokenState.EXPIRED
        return TokenState.STALE if now >= self.stale_at else TokenState.FRESH

    def with_refresh_postponed(self, now: float) -> Token:
        """Return this token with the next refresh postponed by :data:`REFRESH_RETRY_DELAY`."""
        return replace(self, stale_at=now + REFRESH_RETRY_DELAY)


def static_token(value: str, unauthorized_hint: str, scheme: str = "Bearer") -> Token:
    """Return a token that never expires and is never refreshed."""
    return Token(value, stale_at=math.inf, expires_at=math.inf, scheme=scheme, unauthorized_hint=unauthorized_hint)


def parse_token_response(request: Request, response: Response, now: float) -> Token:
    """Return the token in the token endpoint's response.

    Its lifetime is the shorter of ``expires_in`` and the JWT's own ``exp``. Versions of Airbyte err in both directions:
    180 s stated for 24 h, 900 s stated for 180 s. ``exp`` is in the server's time, so it is compared with the ``Date``
    of the response. A wrong clock on this machine does no harm.

    :raises AirbyteUnexpectedResponseError: if it contains no token.
    """
    body = parse_response(request, response)
    value = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise unexpected_response(request, response, "JSON without an access_token.")
    if not (value.isascii() and value.isprintable()):
        raise unexpected_response(
            request, response, "an access_token with characters that an HTTP header cannot carry."
        )
    lifetimes = [_positive(body.get("expires_in")), _jwt_lifetime(value, response.server_time or now)]
    lifetime = min((each for each in lifetimes if each is not None), default=DEFAULT_TOKEN_LIFETIME)
    return Token(
        value=value,
        stale_at=now + lifetime - min(lifetime * REFRESH_MARGIN_RATIO, REFRESH_MARGIN_MAX),
        expires_at=now + lifetime - min(lifetime * EXPIRY_MARGIN_RATIO, EXPIRY_MARGIN_MAX),
    )


def _jwt_lifetime(value: str, server_now: float) -> float | None:
    """Return the seconds until ``exp``, or None if this is not a JWT with an ``exp``. The signature is not verified."""
    try:
        payload = value.split(".")[1]
        claims: Any = parse_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return _positive((safe_float(claims["exp"]) or 0.0) - server_now)
    except (LookupError, TypeError, ValueError):
        return None


def _positive(value: object) -> float | None:
    return safe_float(value, 0.0) or None
