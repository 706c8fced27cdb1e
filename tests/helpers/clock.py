"""A clock of the drivers that runs ahead, and a wait for what takes some real time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import pytest

from airflow_provider_airbyte_api.clients.clock import CLOCK


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses take no time, but the drivers' clock goes on by what they would have taken."""
    passed = 0.0

    def sleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        time.sleep(0.001)

    async def asleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        await asyncio.sleep(0.001)

    async def wait(event: asyncio.Event, seconds: float) -> None:
        nonlocal passed
        if seconds == math.inf:
            await event.wait()
        else:
            await asyncio.sleep(0.001)
            passed += 0.0 if event.is_set() else seconds

    monkeypatch.setattr(CLOCK, "wait_event", wait)
    monkeypatch.setattr(CLOCK, "time", lambda: time.time() + passed)
    monkeypatch.setattr(CLOCK, "sleep", sleep)
    monkeypatch.setattr(CLOCK, "sleep_async", asleep)


TIMEOUT = 10.0


def wait_until(condition: Callable[[], object], seconds: float = TIMEOUT, pause: float = 0.01) -> None:
    """Return once something has happened in another thread or process."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in {seconds:g} seconds"
        time.sleep(pause)


async def until(condition: Callable[[], object]) -> None:
    """Return once something has happened in another task of the event loop."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in {TIMEOUT:g} seconds"
        await asyncio.sleep(0.01)
