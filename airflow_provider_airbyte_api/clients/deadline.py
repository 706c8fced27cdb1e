"""A deadline for each exchange of the requests client. A socket's own timeout only limits the gap between two reads.

Each read of a response (status line, headers, body, and a proxy's answer to CONNECT) is limited to the time left for
the exchange. So a response that arrives byte by byte, or an endless ``100 Continue``, ends. It takes no thread and no
signal.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import requests.adapters
import urllib3
import urllib3.connection

from airflow_provider_airbyte_api.clients.clock import CLOCK

_DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""The deadline of the exchange that this thread performs, by ``CLOCK.monotonic()``."""


@contextlib.contextmanager
def deadline_in(seconds: float) -> Iterator[None]:
    """Limit each exchange of this thread to ``seconds``: a later read raises a ``TimeoutError``."""
    token = _DEADLINE.set(CLOCK.monotonic() + seconds)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """Sends requests over connections that observe the deadline, also through proxies."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pools of connections through one proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Reader(io.RawIOBase):
    """Reads from a socket, each time limited to what is left until the deadline."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._deadline = _DEADLINE.get()
        self.at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - CLOCK.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        gap = self._sock.gettimeout()
        is_near = gap is None or left < gap
        if is_near and left < math.inf:
            self._sock.settimeout(left)
        try:
            count = self._raw.readinto(buffer)
        finally:
            if is_near:
                self._sock.settimeout(gap)
        self.at_end = count == 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read before the deadline, and whose headers have to be complete."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _Reader(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        if self._reader.at_end:
            # http.client takes the end of the connection for the end of the headers, which gives a 200 without a body.
            raise http.client.RemoteDisconnected("the connection was closed while the headers were read")


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Response


class _TlsConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}
