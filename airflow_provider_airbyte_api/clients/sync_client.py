"""The client based on ``requests``, for code that runs in a worker."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from urllib3.exceptions import (
    ConnectTimeoutError,
    InsecureRequestWarning,
    MaxRetryError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from airflow_provider_airbyte_api.api.flow import (
    Checkpoint,
    Flow,
    GetTime,
    GetToken,
    Log,
    SendRequest,
    Sleep,
    Step,
    YieldRows,
    drive,
    fetch_token,
)
from airflow_provider_airbyte_api.api.http import Request, Response, TransportErrorKind, TransportFailure
from airflow_provider_airbyte_api.api.tokens import Token
from airflow_provider_airbyte_api.clients.body import CHUNK, Body, BodyError
from airflow_provider_airbyte_api.clients.clock import CLOCK, jitter_factor
from airflow_provider_airbyte_api.clients.deadline import DeadlineAdapter, deadline_in
from airflow_provider_airbyte_api.clients.network import create_ssl_context, get_ca_bundle, get_proxy, uses_custom_files
from airflow_provider_airbyte_api.clients.settings import ClientSettings, LoggerLike, TlsSettings, no_complete_response
from airflow_provider_airbyte_api.clients.token_cache import TOKENS, TokenCache
from airflow_provider_airbyte_api.clients.token_file import TokenFile

T = TypeVar("T")


class Client:
    """Runs flows against one Airbyte, one request at a time."""

    def __init__(
        self,
        settings: ClientSettings,
        log: LoggerLike,
        tokens: TokenCache = TOKENS,
        on_token: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Create a client; ``on_token`` is called once with each token that it uses."""
        self.settings = settings
        self._on_token = on_token
        self._last_token: Token | None = None
        self._tokens = tokens
        self._log = log
        tls = settings.tls
        if urlsplit(settings.urls.api_url).scheme == "https" and uses_custom_files(tls):
            create_ssl_context(tls)  # names the unusable file, where requests would only fail
        if not tls.verify:
            # The hook has logged a warning, once.
            host = re.escape(urlsplit(settings.urls.api_url).hostname or "")
            warnings.filterwarnings("ignore", f".*host '{host}'", InsecureRequestWarning)
        self._session = _session(tls)
        self._pid = os.getpid()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all sockets."""
        if self._pid == os.getpid():
            self._session.close()

    def run(self, flow: Flow[T], checkpoint: Callable[[Checkpoint], None] | None = None) -> T:
        """Run all steps of ``flow`` and return its result. ``checkpoint`` stores the records that the flow yields."""
        with contextlib.closing(drive(flow, self._handle_step)) as steps:
            while True:
                try:
                    step = next(steps)
                except StopIteration as end:
                    result: T = end.value
                    return result
                if checkpoint is None or not isinstance(step, Checkpoint):
                    raise TypeError(step)
                checkpoint(step)

    def iter_rows(self, flow: Flow[None]) -> Iterator[Any]:
        """Run ``flow`` step by step as its rows are consumed, and yield them."""
        for step in drive(flow, self._handle_step):
            if not isinstance(step, YieldRows):
                raise TypeError(step)
            yield from step.rows

    def _handle_step(self, step: Step) -> Any:
        if isinstance(step, SendRequest):
            return self._send(step.request, step.token)
        if isinstance(step, GetToken):
            return self._get_token(step.rejected)
        if isinstance(step, GetTime):
            return CLOCK.time()
        if isinstance(step, Sleep):
            return CLOCK.sleep(step.seconds if step.exact else step.seconds * jitter_factor())
        if isinstance(step, Log):
            return self._log.log(step.level, step.message, *step.arguments)
        raise TypeError(step)

    def _get_token(self, rejected: Token | None) -> Token | None:
        credentials, key = self.settings.credentials, self.settings.token_key
        if credentials is None or key is None:
            return self.settings.static_token

        def fetch() -> Token:
            return self.run(fetch_token(credentials))

        if self.settings.use_disk_cache:
            file = TokenFile(key, credentials.client_secret)
            token = self._tokens.get(key, rejected, lambda: file.get(rejected, fetch))
        else:
            token = self._tokens.get(key, rejected, fetch)
        if self._last_token is None or token.value != self._last_token.value:
            self._on_token(token.value)
        self._last_token = token
        return token

    def _send(self, request: Request, token: Token | None) -> Response | TransportFailure:
        url = self.settings.url(request)
        proxy = get_proxy(self.settings, url)
        outcome = self._exchange(request, url, proxy, token)
        return replace(outcome, secrets=self.settings.secrets(token, proxy))

    def _exchange(
        self, request: Request, url: str, proxy: str | None, token: Token | None
    ) -> Response | TransportFailure:
        if self._pid != os.getpid():
            # A forked child that used its parent's sockets would read the responses to its siblings' requests.
            self._session, self._pid = _session(self.settings.tls), os.getpid()
        total = self.settings.total_timeout(request)
        ends_at = CLOCK.monotonic() + total
        try:
            with (
                deadline_in(total),
                self._session.request(
                    request.method,
                    url,
                    params=request.query,
                    json=request.json,
                    headers=self.settings.headers(url, token),
                    timeout=(
                        min(self.settings.connect_timeout, total),
                        request.read_timeout or self.settings.read_timeout,
                    ),
                    allow_redirects=False,
                    proxies=None if proxy is None else {"http": proxy, "https": proxy},
                    stream=True,
                ) as response,
            ):
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Response(url, response.status_code, headers, _read_body(response, request.max_bytes))
        except BodyError as error:
            return TransportFailure(url, str(error), request_sent=True, kind=error.kind)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if CLOCK.monotonic() >= ends_at:
                return TransportFailure(
                    url,
                    no_complete_response(total),
                    request_sent=not _is_not_sent(error),
                    kind=TransportErrorKind.TIMEOUT,
                )
            return TransportFailure(
                url, _describe_error(error), request_sent=not _is_not_sent(error), kind=_classify_error(error)
            )
        except (OSError, ValueError) as error:  # its text may contain anything
            return TransportFailure(url, f"no response ({type(error).__name__})", request_sent=True)


def _session(tls: TlsSettings) -> requests.Session:
    session = requests.Session()
    # The network module looks up proxies and CAs, the same for both clients. So .netrc is ignored, too.
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.verify = get_ca_bundle(tls) if tls.verify else False
    if tls.client_cert is not None:
        session.cert = tls.client_cert if tls.client_key is None else (tls.client_cert, tls.client_key)
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter())
    return session


def _read_body(response: requests.Response, max_bytes: int) -> bytes:
    body = Body(response.status_code, response.headers.get("content-encoding", ""), max_bytes)
    # The connection goes back to its pool only if the response was read to its end.
    for chunk in response.raw.stream(CHUNK, decode_content=False):
        body.feed(chunk)
        if body.is_full:
            break
    return body.content()


def _is_not_sent(error: Exception) -> bool:
    """Return True if Airbyte certainly received nothing of the request: no connection, or an invalid request."""
    reason = _cause(error)
    if isinstance(error, requests.ConnectTimeout | ValueError):
        return not isinstance(reason, urllib3.exceptions.InvalidHeader)  # that one is of the response
    if isinstance(reason, ProxyError):
        # The proxy was unreachable, or did not open the tunnel for the request.
        reason = reason.original_error
        if str(reason).startswith("Tunnel connection failed"):
            return True
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def _cause(error: Exception) -> object:
    """Return the error inside the wrappers of requests and urllib3."""
    cause = error.args[0] if error.args else None
    return cause.reason if isinstance(cause, MaxRetryError) else cause


_ERROR_KINDS: list[tuple[type[Exception] | tuple[type[Exception], ...], TransportErrorKind]] = [
    (requests.exceptions.ProxyError, TransportErrorKind.PROXY),
    ((requests.exceptions.SSLError, urllib3.exceptions.SSLError), TransportErrorKind.TLS),
    ((requests.Timeout, ReadTimeoutError), TransportErrorKind.TIMEOUT),
]


def _classify_error(error: Exception) -> TransportErrorKind:
    """Return the kind of ``error``."""
    found = next((kind for types, kind in _ERROR_KINDS if isinstance(error, types)), None)
    if found is TransportErrorKind.TLS and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return TransportErrorKind.CERTIFICATE
    if found is not None:
        return found
    reason = _cause(error)
    if isinstance(reason, getattr(urllib3.exceptions, "NameResolutionError", ())):  # urllib3 2 and newer
        return TransportErrorKind.DNS
    refused = isinstance(reason, NewConnectionError) and "refused" in str(reason)
    return TransportErrorKind.REFUSED if refused else TransportErrorKind.OTHER


def _describe_error(error: Exception) -> str:
    """Return a short description of ``error``, without the wrappers around it."""
    cause = _cause(error) if error.args else error
    if isinstance(error, requests.ConnectTimeout):
        return "timed out while connecting"
    if isinstance(error, requests.ReadTimeout | ReadTimeoutError):
        return "timed out waiting for a response"
    text = str(cause)
    return f"no response ({text.split(': ', 1)[-1] if isinstance(cause, NewConnectionError) else text})"
