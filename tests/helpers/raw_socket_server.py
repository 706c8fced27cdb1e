"""A server that answers each request with whatever bytes a test wants, as slowly as it wants."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

DRIP = 0.1
"""Seconds between two drops."""


class RawSocketServer:
    """Listens on 127.0.0.1. ``answer`` gets the socket and each request."""

    def __init__(self, answer: Callable[[socket.socket, bytes], None], context: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self.requests: list[bytes] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self._port}"

    def __enter__(self) -> RawSocketServer:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(accepted,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._open.add(sock)
            with sock:
                while asked := _request(sock):
                    self.requests.append(asked)
                    self._answer(sock, asked)
        self._open.discard(sock)


def _request(sock: socket.socket) -> bytes:
    """Return the next request, whole; nothing at the end of the connection."""
    asked = b""
    while more := sock.recv(65536):
        asked += more
        head, end, body = asked.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if end and len(body) >= int(length[1] if length else 0):
            break
    return asked


def drip(sock: socket.socket, drops: Iterator[bytes]) -> None:
    for drop in drops:
        sock.sendall(drop)
        time.sleep(DRIP)
