"""The client based on ``aiohttp``, for code that runs in a triggerer. Only triggers import it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

import aiohttp

from airflow_provider_airbyte_api.api.flow import (
    Flow,
    GetTime,
    GetToken,
    Log,
    SendRequest,
    Sleep,
    Step,
    fetch_token,
    run_async,
)
from airflow_provider_airbyte_api.api.http import Request, Response, TransportErrorKind, TransportFailure
from airflow_provider_airbyte_api.api.tokens import Token
from airflow_provider_airbyte_api.clients._aiohttp_compat import disable_hidden_retries
from airflow_provider_airbyte_api.clients.body import CHUNK, Body, BodyError
from airflow_provider_airbyte_api.clients.clock import CLOCK, jitter_factor
from airflow_provider_airbyte_api.clients.network import create_ssl_context, get_proxy
from airflow_provider_airbyte_api.clients.settings import ClientSettings, LoggerLike, no_complete_response
from airflow_provider_airbyte_api.clients.token_cache import TOKENS
from airflow_provider_airbyte_api.clients.token_file import TokenFile

T = TypeVar("T")

MAX_PARSED_HERE = 128 * 1024
"""Maximum size of a body that is parsed on the event loop, in bytes: at most about 50 ms. A larger one is parsed in a
thread.
"""


class AsyncClient:
    """Runs flows against one Airbyte without blocking the event loop on which it was entered."""

    def __init__(self, settings: ClientSettings, log: LoggerLike) -> None:
        self.settings = settings
        self._log = log
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AsyncClient:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=await asyncio.to_thread(create_ssl_context, self.settings.tls)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # Body decompresses, within its limits
            # get_proxy looks up proxies: trust_env would also take passwords from the user's .netrc.
            trust_env=False,
        )
        disable_hidden_retries(self._session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(self, flow: Flow[T]) -> T:
        """Run all steps of ``flow`` and return its result."""
        return await run_async(flow, self.handle_step)

    async def handle_step(self, step: Step) -> Any:
        """Handle one step of a flow and return its result."""
        if isinstance(step, SendRequest):
            return await self._send(step.request, step.token)
        if isinstance(step, GetToken):
            return await self._get_token(step.rejected)
        if isinstance(step, GetTime):
            return CLOCK.time()
        if isinstance(step, Sleep):
            return await CLOCK.sleep_async(step.seconds if step.exact else step.seconds * jitter_factor())
        if isinstance(step, Log):
            return self._log.log(step.level, step.message, *step.arguments)
        raise TypeError(step)

    async def _get_token(self, rejected: Token | None) -> Token | None:
        credentials, key = self.settings.credentials, self.settings.token_key
        if credentials is None or key is None:
            return self.settings.static_token

        def fetch() -> Awaitable[Token]:
            return self.run(fetch_token(credentials))

        if not self.settings.use_disk_cache:
            return await TOKENS.aget(key, rejected, fetch)
        file = TokenFile(key, credentials.client_secret)
        return await TOKENS.aget(key, rejected, lambda: file.aget(rejected, fetch))

    async def _send(self, request: Request, token: Token | None) -> Response | TransportFailure:
        url = self.settings.url(request)
        proxy = get_proxy(self.settings, url)
        outcome = await self._exchange(request, url, proxy, token)
        outcome = replace(outcome, secrets=self.settings.secrets(token, proxy))
        if isinstance(outcome, Response) and len(outcome.body) > MAX_PARSED_HERE:
            with contextlib.suppress(ValueError):  # any later reader gets the same error
                await asyncio.to_thread(outcome.json)
        return outcome

    async def _exchange(
        self, request: Request, url: str, proxy: str | None, token: Token | None
    ) -> Response | TransportFailure:
        if self._session is None:
            raise RuntimeError("AsyncClient must be used inside an 'async with' block.")
        headers = self.settings.headers(url, token)
        body = None
        if request.json is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(request.json).encode()
        total = self.settings.total_timeout(request)
        ends_at = CLOCK.monotonic() + total
        timeout = aiohttp.ClientTimeout(
            total=total,
            sock_connect=self.settings.connect_timeout,
            sock_read=request.read_timeout or self.settings.read_timeout,
        )
        try:
            async with self._session.request(
                request.method,
                url,
                params=list(request.query),
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                proxy=proxy,
            ) as response:
                content = await _read_body(response, request.max_bytes)
        except BodyError as error:
            return TransportFailure(url, str(error), request_sent=True, kind=error.kind)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            sent = not isinstance(error, _NOT_SENT)
            if isinstance(error, asyncio.TimeoutError) and CLOCK.monotonic() >= ends_at:
                return TransportFailure(
                    url, no_complete_response(total), request_sent=sent, kind=TransportErrorKind.TIMEOUT
                )
            return TransportFailure(url, _describe_error(error), request_sent=sent, kind=_classify_error(error))
        except (OSError, ValueError) as error:  # its text may contain anything
            return TransportFailure(url, f"no response ({type(error).__name__})", request_sent=True)
        return Response(
            url, response.status, {name.lower(): value for name, value in response.headers.items()}, content
        )


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    body = Body(response.status, response.headers.get("content-encoding", ""), max_bytes)
    try:
        async for chunk in response.content.iter_chunked(CHUNK):
            body.feed(chunk)
            if body.is_full:
                break
        return body.content()
    finally:
        if not response.content.at_eof():
            response.close()  # the rest of it would be read as the response to the next request


_NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)
"""Errors after which Airbyte certainly received nothing of the request."""


_ERROR_KINDS: list[tuple[type[Exception] | tuple[type[Exception], ...], TransportErrorKind]] = [
    ((aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError), TransportErrorKind.PROXY),
    (aiohttp.ClientSSLError, TransportErrorKind.TLS),
    (aiohttp.ClientConnectorDNSError, TransportErrorKind.DNS),
    (asyncio.TimeoutError, TransportErrorKind.TIMEOUT),
]


def _classify_error(error: Exception) -> TransportErrorKind:
    """Return the kind of ``error``."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return TransportErrorKind.CERTIFICATE
    found = next((kind for types, kind in _ERROR_KINDS if isinstance(error, types)), None)
    refused = isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError)
    return found or (TransportErrorKind.REFUSED if refused else TransportErrorKind.OTHER)


def _describe_error(error: Exception) -> str:
    """Return a short description of ``error``."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "timed out while connecting"
    if isinstance(error, asyncio.TimeoutError):
        return "timed out waiting for a response"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        # The error's own text contains the proxy's URL with its password.
        return f"the proxy returned {error.status}"
    return f"no response ({error or type(error).__name__})"
