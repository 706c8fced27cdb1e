"""Time, as the drivers know it. One place, so that a test can let it pass faster."""

from __future__ import annotations

import asyncio
import math
import time


class Clock:
    """The machine's clock, and pauses in seconds, for threads and for coroutines."""

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that nobody sets back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let ``seconds`` pass, while others go on."""
        await asyncio.sleep(seconds)

    async def wait_event(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until ``event`` is set, which this does itself after ``seconds`` (they may be infinite)."""
        # Not asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
        alarm = None if seconds == math.inf else asyncio.get_running_loop().call_later(seconds, event.set)
        try:
            await event.wait()
        finally:
            if alarm is not None:
                alarm.cancel()


CLOCK = Clock()
"""The clock of this process."""
