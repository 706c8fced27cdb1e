"""Whether Airbyte may have received a request that failed, and why it failed: by each situation, and by each exception.

``request_sent`` decides whether a POST may be repeated. It is False only if Airbyte certainly received nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
import requests
import urllib3
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from airflow_provider_airbyte_api.api.http import TransportErrorKind as Kind
from airflow_provider_airbyte_api.api.http import TransportFailure
from airflow_provider_airbyte_api.clients import async_client, sync_client
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.testing import LocalAirbyte
from tests.helpers.certificates import Authority
from tests.helpers.drivers import POST_JOBS, AsyncDriver, Driver, SyncDriver, exchange
from tests.helpers.raw_socket_server import RawSocketServer

Change = Callable[[ClientSettings], ClientSettings]
Outcome = tuple[bool, Kind]


@pytest.fixture(params=[SyncDriver, AsyncDriver], ids=["requests", "aiohttp"])
def driver(request: pytest.FixtureRequest, airbyte: LocalAirbyte) -> Driver:
    made: Driver = request.param(airbyte)
    return made


# -- situations ------------------------------------------------------------------------------------------------


@dataclass
class Situation:
    """What a client meets, and the outcome; of aiohttp, where that differs from the one of requests."""

    enter: Callable[[ExitStack, Path], str]
    """Sets it up and returns the URL to send a request to."""
    outcome: Outcome
    of_aiohttp: Outcome | None = None
    proxy: Callable[[ExitStack, Path], str] | None = None


def closed_port(stack: ExitStack, tmp_path: Path) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def full_backlog(stack: ExitStack, tmp_path: Path) -> str:
    """A server that accepts nobody, with as many waiting as the kernel lets wait."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(4):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def accepts(then: Callable[[socket.socket], None]) -> Callable[[ExitStack, Path], str]:
    """A server that reads nothing of a connection."""

    def enter(stack: ExitStack, tmp_path: Path) -> str:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as sock:
                        then(sock)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    return enter


def reset_soon(sock: socket.socket) -> None:
    time.sleep(0.1)  # until the client has its connection
    reset(sock)


def reset(sock: socket.socket, _: bytes = b"") -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def hang(sock: socket.socket, _: bytes) -> None:
    sock.recv(1)


def close(sock: socket.socket, _: bytes) -> None:
    sock.shutdown(socket.SHUT_RDWR)


def server(
    answer: Callable[[socket.socket, bytes], None],
    context: Callable[[Path], ssl.SSLContext] | None = None,
) -> Callable[[ExitStack, Path], str]:
    def enter(stack: ExitStack, tmp_path: Path) -> str:
        made = RawSocketServer(answer, None if context is None else context(tmp_path))
        return stack.enter_context(made).url

    return enter


def replies(content: bytes) -> Callable[[ExitStack, Path], str]:
    def answer(sock: socket.socket, _: bytes) -> None:
        sock.sendall(content)
        sock.shutdown(socket.SHUT_RDWR)

    return server(answer)


def no_tls(stack: ExitStack, tmp_path: Path) -> str:
    return accepts(lambda sock: sock.sendall(b"220 mail.example.com ESMTP\r\n"))(stack, tmp_path).replace(
        "http", "https"
    )


def at(url: str) -> Callable[[ExitStack, Path], str]:
    return lambda _stack, _tmp_path: url


def other_name(tmp_path: Path) -> ssl.SSLContext:
    return Authority.made_in(tmp_path).server_context("127.0.0.2")


OK = b"HTTP/1.1 200 OK\r\n"
NOWHERE, NOWHERE_TLS = at("http://airbyte.example.com"), at("https://airbyte.example.com")
SITUATIONS = {
    "refused": Situation(closed_port, (False, Kind.REFUSED)),
    "no such name": Situation(at("http://no-such-host.invalid"), (False, Kind.DNS)),
    "no connection in time": Situation(full_backlog, (False, Kind.TIMEOUT)),
    "reset before it is read": Situation(accepts(reset_soon), (True, Kind.OTHER)),
    "reset after it is read": Situation(server(reset), (True, Kind.OTHER)),
    "closed without a reply": Situation(server(close), (True, Kind.OTHER)),
    "timed out waiting for a response": Situation(server(hang), (True, Kind.TIMEOUT)),
    "no HTTP": Situation(replies(b"220 mail.example.com ESMTP\r\n"), (True, Kind.OTHER)),
    "a bad status line": Situation(replies(b"HTTP/1.1 OK fine\r\n\r\n"), (True, Kind.OTHER)),
    "a header too long": Situation(replies(OK + b"x: " + b"y" * 100_000 + b"\r\n\r\n"), (True, Kind.OTHER)),
    "a body cut off": Situation(replies(OK + b"Content-Length: 100\r\n\r\n{}"), (True, Kind.OTHER)),
    "a chunk cut off": Situation(replies(OK + b"Transfer-Encoding: chunked\r\n\r\n50\r\n{}"), (True, Kind.OTHER)),
    "a bad chunk size": Situation(replies(OK + b"Transfer-Encoding: chunked\r\n\r\nmany\r\n{}"), (True, Kind.OTHER)),
    "two lengths": Situation(replies(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), (True, Kind.OTHER)),
    "a bad gzip": Situation(replies(OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), (True, Kind.OTHER)),
    # requests does not say whether TLS failed before the request or after.
    "no TLS there": Situation(no_tls, (True, Kind.TLS), (False, Kind.TLS)),
    "an unknown CA": Situation(
        server(close, lambda tmp_path: Authority.made_in(tmp_path).server_context("127.0.0.1")),
        (True, Kind.CERTIFICATE),
        (False, Kind.CERTIFICATE),
    ),
    "another name": Situation(server(close, other_name), (True, Kind.CERTIFICATE), (False, Kind.CERTIFICATE)),
    "a proxy that is down": Situation(NOWHERE, (False, Kind.PROXY), proxy=closed_port),
    "a proxy that is down, TLS": Situation(NOWHERE_TLS, (False, Kind.PROXY), proxy=closed_port),
    "a proxy of no such name": Situation(
        NOWHERE, (False, Kind.PROXY), (False, Kind.DNS), proxy=at("http://no-such-proxy.invalid:3128")
    ),
    "a proxy of no such name, TLS": Situation(
        NOWHERE_TLS, (False, Kind.PROXY), (False, Kind.DNS), proxy=at("http://no-such-proxy.invalid:3128")
    ),
    "a proxy that refuses": Situation(
        NOWHERE_TLS, (False, Kind.PROXY), proxy=replies(b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n")
    ),
    "a proxy that opens no tunnel": Situation(NOWHERE_TLS, (True, Kind.OTHER), proxy=server(close)),
    "a proxy that loses the reply": Situation(NOWHERE, (True, Kind.PROXY), (True, Kind.OTHER), proxy=server(close)),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_has_its_outcome(driver: Driver, name: str, tmp_path: Path) -> None:
    situation = SITUATIONS[name]
    expected = situation.outcome if isinstance(driver, SyncDriver) else situation.of_aiohttp or situation.outcome
    with ExitStack() as stack:
        settings = driver.settings(url=situation.enter(stack, tmp_path), read_timeout=0.5)
        proxy = None if situation.proxy is None else situation.proxy(stack, tmp_path)
        outcome = driver.run(exchange(POST_JOBS), replace(settings, connect_timeout=0.5, proxy=proxy))
    assert isinstance(outcome, TransportFailure)
    assert (outcome.request_sent, outcome.kind) == expected, outcome.reason


# -- exceptions ------------------------------------------------------------------------------------------------


POOL = urllib3.HTTPConnectionPool("127.0.0.1")
KEY = cast("Any", SimpleNamespace(host="127.0.0.1", port=8000, ssl=True, is_ssl=True))
HISTORY = (cast("Any", SimpleNamespace(real_url="http://127.0.0.1")), ())


def wrapped(reason: Exception) -> requests.ConnectionError:
    """Return what requests raises for an exception of urllib3."""
    return requests.ConnectionError(MaxRetryError(POOL, "/", reason))


def exported(module: object, base: tuple[type[BaseException], ...]) -> set[str]:
    """Return the names of the exceptions of a module's own."""
    return {
        name
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, base) and not issubclass(kind, Warning)
    }


OF_REQUESTS: dict[str, Outcome] = {
    **dict.fromkeys(exported(requests.exceptions, (requests.RequestException,)), (True, Kind.OTHER)),
    # What is wrong with the request itself is found before it is sent.
    **dict.fromkeys(
        ["MissingSchema", "InvalidSchema", "InvalidURL", "InvalidProxyURL", "InvalidHeader", "JSONDecodeError"],
        (False, Kind.OTHER),
    ),
    "ProxyError": (True, Kind.PROXY),
    "SSLError": (True, Kind.TLS),
    "Timeout": (True, Kind.TIMEOUT),
    "ConnectTimeout": (False, Kind.TIMEOUT),
    "ReadTimeout": (True, Kind.TIMEOUT),
}


@pytest.mark.parametrize("name", sorted(OF_REQUESTS))
def test_an_exception_of_requests_has_its_outcome(name: str) -> None:
    kind = getattr(requests.exceptions, name)
    error = kind("trouble", "{", 0) if name == "JSONDecodeError" else kind("trouble")
    assert (not sync_client._is_not_sent(error), sync_client._classify_error(error)) == OF_REQUESTS[name]


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (NewConnectionError(cast("Any", POOL), "[Errno 111] Connection refused"), (False, Kind.REFUSED)),
        (NewConnectionError(cast("Any", POOL), "[Errno 113] No route to host"), (False, Kind.OTHER)),
        (ConnectTimeoutError("trouble"), (False, Kind.OTHER)),
        (urllib3.exceptions.ProtocolError("trouble"), (True, Kind.OTHER)),
        (urllib3.exceptions.ResponseError("too many 503"), (True, Kind.OTHER)),
    ],
    ids=repr,
)
def test_an_exception_of_urllib3_inside_has_its_outcome(reason: Exception, outcome: Outcome) -> None:
    error = wrapped(reason)
    assert (not sync_client._is_not_sent(error), sync_client._classify_error(error)) == outcome


OF_AIOHTTP: dict[str, Outcome] = {
    **dict.fromkeys(exported(aiohttp, (aiohttp.ClientError, asyncio.TimeoutError)), (True, Kind.OTHER)),
    **dict.fromkeys(
        ["ClientConnectorError", "InvalidURL", "InvalidUrlClientError", "InvalidUrlRedirectClientError"],
        (False, Kind.OTHER),
    ),
    **dict.fromkeys(["ClientSSLError", "ClientConnectorSSLError"], (False, Kind.TLS)),
    **dict.fromkeys(["ClientHttpProxyError", "ClientProxyConnectionError"], (False, Kind.PROXY)),
    "ClientConnectorCertificateError": (False, Kind.CERTIFICATE),
    "ClientConnectorDNSError": (False, Kind.DNS),
    "ConnectionTimeoutError": (False, Kind.TIMEOUT),
    **dict.fromkeys(["ServerTimeoutError", "SocketTimeoutError"], (True, Kind.TIMEOUT)),
}


def of_aiohttp(name: str) -> Exception:
    """Return an exception as aiohttp makes it."""
    kind = getattr(aiohttp, name)
    cause = OSError(113, "No route to host")
    for arguments in (HISTORY, (KEY, cause), (b"one", b"other", "127.0.0.1", 8000), ("trouble",), ()):
        with contextlib.suppress(TypeError, AttributeError):
            error = kind(*arguments)
            str(error)
            return cast("Exception", error)
    raise AssertionError(name)


@pytest.mark.parametrize("name", sorted(OF_AIOHTTP))
def test_an_exception_of_aiohttp_has_its_outcome(name: str) -> None:
    error = of_aiohttp(name)
    assert (not isinstance(error, async_client._NOT_SENT), async_client._classify_error(error)) == OF_AIOHTTP[name]


NOT_OF_AIOHTTPS_CLIENT = {"EofStream", "WebSocketError", "WSMessageTypeError"}
"""Exceptions of streams and web sockets, which no request raises."""


def test_every_exception_is_in_its_table() -> None:
    """An exception that is none of its library's base would reach a flow as itself."""
    of_requests = {
        name
        for name in exported(requests.exceptions, (Exception,))
        if getattr(requests.exceptions, name).__module__ == "requests.exceptions"
    }
    assert of_requests <= set(OF_REQUESTS)
    assert exported(aiohttp, (Exception,)) - NOT_OF_AIOHTTPS_CLIENT <= set(OF_AIOHTTP)
