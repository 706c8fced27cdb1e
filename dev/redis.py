"""A Redis of its own on this machine, for Celery."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from types import TracebackType

from dev.processes import free_port


def missing_for_redis() -> str:
    """Return what this machine lacks for :class:`Redis`, or an empty text."""
    return "" if shutil.which("redis-server") else "Redis"


class Redis:
    """A Redis on a free port that stores nothing on disk, for the duration of a ``with`` block."""

    def __init__(self) -> None:
        self._port = free_port()
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The address for Celery."""
        return f"redis://127.0.0.1:{self._port}/0"

    def __enter__(self) -> Redis:
        arguments = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._server = subprocess.Popen(
            ["redis-server", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
        )
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                if time.monotonic() > end:
                    self._server.kill()
                    raise
                time.sleep(0.1)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.resume()
        self._send(signal.SIGTERM)
        if self._server is not None:
            self._server.wait(30)

    def suspend(self) -> None:
        """Let it accept connections and answer nothing."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(number)
