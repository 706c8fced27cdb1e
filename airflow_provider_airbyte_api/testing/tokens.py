"""The access tokens that a local Airbyte issues, and their validation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from enum import Enum
from typing import Any

URL = "http://localhost:8000"
REALM = "_airbyte-application-clients"
ANONYMOUS_USER_ID = str(uuid.UUID(int=0))
ROLES = ("ADMIN", "EDITOR", "READER", "AUTHENTICATED_USER")
"""The roles of an instance administrator. The real list also has the roles in organizations and workspaces."""


class TokenRejection(Enum):
    """Why a token is rejected."""

    MISSING = "missing"
    FOREIGN = "foreign"
    EXPIRED = "expired"


class Tokens:
    """Issues JSON Web Tokens and validates them.

    The claims are those of Airbyte's own tokens, or of Keycloak's defaults (inferred). ``exp`` is in whole seconds, so
    the real expiry of a token with a shorter lifetime is kept here. All tokens are signed with one secret key,
    including those of Keycloak, which state RS256. Clients cannot check a signature without its key.
    """

    def __init__(self) -> None:
        self.key = uuid.uuid4().bytes
        self._expires_at: dict[str, float] = {}

    def issue(self, client_id: str, expires_at: float, *, now: float, keycloak: bool) -> str:
        """Return a new token.

        Airbyte itself issues identical tokens within the same second. Here ``exp`` is one second later, so that a test
        can distinguish them.
        """
        exp = int(expires_at)
        while (token := self._token(client_id, exp, now=int(now), keycloak=keycloak)) in self._expires_at:
            exp += 1
        self._expires_at[token] = expires_at
        return token

    def _token(self, client_id: str, exp: int, *, now: int, keycloak: bool) -> str:
        if keycloak:
            header = {"alg": "RS256", "typ": "JWT", "kid": "local-airbyte"}
            claims = _keycloak_claims(client_id, exp, now)
        else:
            header = {"alg": "HS256"}
            claims = {"iss": URL, "aud": "airbyte-server", "sub": ANONYMOUS_USER_ID, "roles": list(ROLES), "exp": exp}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{self._sign(signed)}"

    def rejection(self, token: str | None, now: float) -> TokenRejection | None:
        """Return why a token is rejected, or None if it is valid."""
        if not token:
            return TokenRejection.MISSING
        signed, _, signature = token.rpartition(".")
        if not (token.isascii() and hmac.compare_digest(signature, self._sign(signed))):
            return TokenRejection.FOREIGN
        expires_at = self._expires_at.get(token)
        if expires_at is None:  # of another local Airbyte that has the same key
            payload = signed.split(".")[1]
            expires_at = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
        return None if expires_at > now else TokenRejection.EXPIRED

    def revoke_all(self) -> None:
        """Reject all tokens so far, as an Airbyte whose signing key was changed does."""
        self.key = uuid.uuid4().bytes
        self._expires_at.clear()

    def _sign(self, text: str) -> str:
        return _base64(hmac.new(self.key, text.encode(), hashlib.sha256).digest())


def _keycloak_claims(client_id: str, expires_at: int, now: int) -> dict[str, Any]:
    return {
        "exp": expires_at,
        "iat": now,
        "jti": str(uuid.uuid4()),
        "iss": f"{URL}/auth/realms/{REALM}",
        "aud": "account",
        "sub": ANONYMOUS_USER_ID,
        "typ": "Bearer",
        "azp": client_id,
        "acr": "1",
        "scope": "profile email",
        "client_id": client_id,
    }


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
