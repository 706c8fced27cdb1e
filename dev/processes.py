"""Processes and ports of what the scripts of this folder start."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterable

import psutil


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def tree(pid: int) -> list[psutil.Process]:
    """Return the process and all below it, itself first; empty if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each of the processes that still runs."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def still_running(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return those of ``processes`` that still run after ``seconds``. A zombie does not count as running."""
    until = time.monotonic() + seconds
    while True:
        alive = [each for each in processes if _is_alive(each)]
        if not alive or time.monotonic() > until:
            return alive
        time.sleep(0.1)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has ended between the two questions
        return False
