"""The configuration of a client for one Airbyte, independent of Airflow."""

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
    """The logger of a client: a standard logger, or one of Airflow's."""

    def log(self, level: int, msg: str, /, *args: Any) -> Any:
        """Log ``msg % args``."""


@dataclass(frozen=True)
class TlsSettings:
    """TLS settings, as paths of PEM files. ``ca_bundle`` may be a directory; None uses the CAs that requests trusts."""

    verify: bool = True
    ca_bundle: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


@dataclass(frozen=True)
class ClientSettings:
    """The API root, the authentication, and the network settings. Timeouts are in seconds.

    ``credentials`` are exchanged for tokens. ``static_token`` is sent unchanged instead. If both are None, this Airbyte
    has authentication disabled. ``read_timeout`` limits how long a response may take to start or to continue, unless
    the request has its own; :meth:`total_timeout` limits the whole exchange.

    ``proxy`` is a URL; None uses the environment's. ``use_disk_cache`` shares the token with other processes of this
    user: see :mod:`.token_file`. ``max_concurrent_requests`` limits the requests that a triggerer has in flight:
    self-managed servers answer with five threads. ``config_url`` is the root URL of Airbyte's internal API; None
    disables its use.
    """

    urls: AirbyteUrls
    credentials: ClientCredentials | None = None
    static_token: Token | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    extra_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tls: TlsSettings = TlsSettings()
    proxy: str | None = field(default=None, repr=False)
    use_disk_cache: bool = False
    max_concurrent_requests: int = 4
    config_url: str | None = None

    @property
    def token_key(self) -> TokenKey | None:
        """Return the key under which tokens for this Airbyte are cached."""
        return None if self.credentials is None else self.credentials.cache_key(self.urls.api_url)

    def total_timeout(self, request: Request) -> float:
        """Return the timeout in seconds for the whole exchange: to connect, to start the response, and to complete it.

        ``read_timeout`` alone only limits the gap between two bytes, which a response that arrives byte by byte never
        exceeds.
        """
        return request.total_timeout or self.connect_timeout + 2 * (request.read_timeout or self.read_timeout)

    def url(self, request: Request) -> str:
        """Return the complete URL of ``request``, without its query."""
        return request.path if "://" in request.path else self.urls.api_url + request.path

    def headers(self, url: str, token: Token | None) -> dict[str, str]:
        """Return the headers of a request to ``url`` with ``token``. Extra headers are only sent to Airbyte's hosts."""
        authorization = {} if token is None else {"authorization": token.authorization}
        base = {
            "accept": "application/json",
            "accept-encoding": ACCEPT_ENCODING,
            "user-agent": f"airflow-provider-airbyte-api/{__version__}",
        }
        roots = [urlsplit(root) for root in (self.urls.api_url, self.config_url or "")]
        target = urlsplit(url)
        if (target.scheme, target.netloc) not in [(root.scheme, root.netloc) for root in roots]:
            return {**base, **authorization}
        return {**base, **{name.lower(): value for name, value in self.extra_headers}, **authorization}

    def secrets(self, token: Token | None, proxy: str | None) -> tuple[str, ...]:
        """Return the secrets of a request, which are masked in its response: see :mod:`..api.masking`.

        :param token: the token of the request.
        :param proxy: the URL of the request's proxy, which may contain a password.
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


def no_complete_response(total: float) -> str:
    """Return the message for an exchange that exceeded its total timeout, in seconds."""
    return f"no complete response within {total:.3g} s"
