"""The clients' clock. All of them use this one, so that a test can speed up time."""

from __future__ import annotations

import asyncio
import math
import random
import time


class Clock:
    """The machine's clock, and sleeping, in seconds, for threads and for coroutines."""

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return the seconds of a clock that is never set back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds``."""
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Sleep for ``seconds`` without blocking the event loop."""
        await asyncio.sleep(seconds)

    async def wait_event(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until ``event`` is set. After ``seconds``, which may be infinite, this function sets it."""
        # Not asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
        alarm = None if seconds == math.inf else asyncio.get_running_loop().call_later(seconds, event.set)
        try:
            await event.wait()
        finally:
            if alarm is not None:
                alarm.cancel()


def jitter_factor() -> float:
    """Return a random factor for a delay, so that many pollers do not poll together. It is at most 1: never late."""
    return random.uniform(0.85, 1.0)  # noqa: S311 - no secret


CLOCK = Clock()
"""The clock of this process."""
