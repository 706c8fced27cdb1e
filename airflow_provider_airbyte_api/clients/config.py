"""How to reach one Airbyte: all that a driver needs to know, without Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from airflow_provider_airbyte_api import __version__
from airflow_provider_airbyte_api.api.base_url import AirbyteUrls
from airflow_provider_airbyte_api.api.http import Request
from airflow_provider_airbyte_api.api.masking import basic_secrets
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, Token, TokenKey
from airflow_provider_airbyte_api.clients.body import ACCEPT_ENCODING


class LoggerLike(Protocol):
    """What a driver logs to: a standard logger, or one of Airflow's."""

    def log(self, level: int, msg: str, /, *args: Any) -> Any:
        """Log ``msg % args``."""


@dataclass(frozen=True)
class TlsConfig:
    """Whom to trust, and who we are: paths of PEM files. ``ca_bundle`` may be a folder; None: what requests trusts."""

    verify: bool = True
    ca_bundle: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


@dataclass(frozen=True)
class ClientConfig:
    """The API root, how we are known there, and the way to it. Time-outs are in seconds.

    ``credentials`` earn tokens; ``fixed`` is sent instead, as it is; neither: this Airbyte has authentication switched
    off. ``read_timeout`` is how long a reply may take to begin or to go on, unless a request has its own; the whole
    exchange may take :meth:`total_timeout`.
    ``proxy`` is a URL; None: what the environment says. ``use_disk_cache`` means with other processes of this user: see
    :mod:`.token_file`. ``max_concurrent_requests`` is how many requests a triggerer has under way at once:
    self-managed servers answer with five threads.
    """

    root: AirbyteUrls
    credentials: ClientCredentials | None = None
    static_token: Token | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    extra_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tls: TlsConfig = TlsConfig()
    proxy: str | None = field(default=None, repr=False)
    use_disk_cache: bool = False
    max_concurrent_requests: int = 4

    @property
    def token_key(self) -> TokenKey | None:
        """Return what tokens for this Airbyte are cached under."""
        return None if self.credentials is None else self.credentials.cache_key(self.root.api_url)

    def total_timeout(self, request: Request) -> float:
        """Return how long the whole exchange may take, in seconds: to connect, to begin a reply, and as long to end it.

        ``read_timeout`` alone bounds the gap between two bytes, which a reply that drips never exceeds.
        """
        return self.connect_timeout + 2 * (request.read_timeout or self.read_timeout)

    def url(self, request: Request) -> str:
        """Return the whole URL of ``request``, without its query."""
        return request.path if "://" in request.path else self.root.api_url + request.path

    def headers(self, url: str) -> dict[str, str]:
        """Return the headers of a request to ``url``. Those of the user's own are for Airbyte's host alone."""
        base = {
            "accept": "application/json",
            "accept-encoding": ACCEPT_ENCODING,
            "user-agent": f"airflow-provider-airbyte-api/{__version__}",
        }
        target, api = urlsplit(url), urlsplit(self.root.api_url)
        if (target.scheme, target.netloc) != (api.scheme, api.netloc):
            return base
        return {**base, **{name.lower(): value for name, value in self.extra_headers}}

    def secrets(self, token: Token | None, proxy: str | None) -> tuple[str, ...]:
        """Return what a request sends that is secret, to be masked in what comes back: see :mod:`..api.masking`.

        :param token: what the request is sent with.
        :param proxy: the URL of the proxy that it is sent through, which may hold a password.
        """
        found = [value for _, value in self.extra_headers]
        if self.credentials is not None:
            found.append(self.credentials.client_secret)
        for sent in (token, self.static_token):
            if sent is not None:
                found.extend(basic_secrets(sent.value) if sent.scheme == "Basic" else [sent.value])
        parts = urlsplit(proxy or "")
        if parts.password:
            user, password = unquote(parts.username or ""), unquote(parts.password)
            found.extend([parts.password, password, f"{user}:{password}"])
        return tuple(found)


def no_complete_reply(total: float) -> str:
    """Return the words for an exchange that took longer than its total time, in seconds."""
    return f"no complete reply in {total:.3g} s"
