"""Access tokens: how to ask for one, how long it lives, and when to take a new one."""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from airflow_provider_airbyte_api.api.http import (
    MAX_SMALL_REPLY,
    Request,
    Response,
    parse_response,
    unexpected_response,
)
from airflow_provider_airbyte_api.api.safe import parse_json, safe_float

DEFAULT_TOKEN_LIFETIME = 150.0
"""Seconds; what a token is trusted for that names no lifetime. The shortest real ones live 180 s."""

REFRESH_MARGIN_RATIO, REFRESH_MARGIN_MAX = 0.2, 120.0
EXPIRY_MARGIN_RATIO, EXPIRY_MARGIN_MAX = 0.05, 30.0
"""Margins before the end of a token's life: a share of it, since some live 3 minutes, but no more than so long."""

REFRESH_RETRY_DELAY = 10.0
"""Seconds before the next try after an early refresh failed while the old token still worked."""


@dataclass(frozen=True)
class ClientCredentials:
    """An application's client id and secret, and the URL that gives tokens for them."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)

    def cache_key(self, api: str) -> TokenKey:
        """Return what a token for the API root ``api`` is cached under."""
        digest = hashlib.sha256(self.client_secret.encode()).hexdigest()
        return TokenKey(api, self.token_url, self.client_id, digest)

    def token_request(self) -> Request:
        """Return the request for a token. JSON, since several self-managed servers refuse a form."""
        body = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "grant-type": "client_credentials",
        }
        return Request("POST", self.token_url, json=body, idempotent=True, anonymous=True, max_bytes=MAX_SMALL_REPLY)


@dataclass(frozen=True)
class TokenKey:
    """Whose token it is. One token is never sent to another host, nor kept when the secret changes."""

    api: str
    token_url: str
    client_id: str
    secret_digest: str = field(repr=False)


class TokenState(Enum):
    """Whether a token is good (FRESH), good but soon to be renewed (STALE), or not to be used (EXPIRED)."""

    FRESH = auto()
    STALE = auto()
    EXPIRED = auto()


@dataclass(frozen=True)
class Token:
    """What opens Airbyte. ``stale_at`` and ``expires_at`` are seconds since the epoch by *our* clock.

    ``unauthorized_hint`` is what to do when Airbyte does not take it; empty: what is usual for client credentials.
    """

    value: str = field(repr=False)
    stale_at: float
    expires_at: float
    scheme: str = "Bearer"
    unauthorized_hint: str = ""

    @property
    def authorization(self) -> str:
        """The header's value."""
        return f"{self.scheme} {self.value}"

    def state(self, now: float) -> TokenState:
        """Return the state of this token at ``now``."""
        if now >= self.expires_at:
            return TokenState.EXPIRED
        return TokenState.STALE if now >= self.stale_at else TokenState.FRESH

    def with_refresh_postponed(self, now: float) -> Token:
        """Return this token, to be used on for a moment before anybody tries to renew it again."""
        return replace(self, stale_at=now + REFRESH_RETRY_DELAY)


def static_token(value: str, unauthorized_hint: str, scheme: str = "Bearer") -> Token:
    """Return a token that was given once and for all: nobody renews it."""
    return Token(value, stale_at=math.inf, expires_at=math.inf, scheme=scheme, unauthorized_hint=unauthorized_hint)


def parse_token_response(request: Request, response: Response, now: float) -> Token:
    """Return the token in the token endpoint's reply.

    It lives as long as the shorter of ``expires_in`` and the JWT's own ``exp``: Airbyte's versions err in both
    directions (180 s said of 24 h, 900 s said of 180 s). ``exp`` is by the server's clock, so it is held against
    the reply's ``Date``, and a clock of ours that is wrong does no harm.

    :raises AirbyteUnexpectedResponseError: if there is no token in it.
    """
    reply = parse_response(request, response)
    value = reply.get("access_token") if isinstance(reply, dict) else None
    if not isinstance(value, str) or not value:
        raise unexpected_response(request, response, "JSON without an access_token.")
    if not (value.isascii() and value.isprintable()):
        raise unexpected_response(
            request, response, "an access_token with characters that an HTTP header cannot carry."
        )
    lifetimes = [_positive(reply.get("expires_in")), _jwt_lifetime(value, response.server_time or now)]
    lifetime = min((each for each in lifetimes if each is not None), default=DEFAULT_TOKEN_LIFETIME)
    return Token(
        value=value,
        stale_at=now + lifetime - min(lifetime * REFRESH_MARGIN_RATIO, REFRESH_MARGIN_MAX),
        expires_at=now + lifetime - min(lifetime * EXPIRY_MARGIN_RATIO, EXPIRY_MARGIN_MAX),
    )


def _jwt_lifetime(value: str, server_now: float) -> float | None:
    """Return the seconds until ``exp``, or None if this is no JWT that says so. The signature is not our business."""
    try:
        payload = value.split(".")[1]
        claims: Any = parse_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return _positive((safe_float(claims["exp"]) or 0.0) - server_now)
    except (LookupError, TypeError, ValueError):
        return None


def _positive(value: object) -> float | None:
    return safe_float(value, 0.0) or None
