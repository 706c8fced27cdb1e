"""Time, as the drivers know it. One place, so that a test can let it pass faster."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time


class Clock:
    """The machine's clock, and pauses in seconds, for threads and for coroutines."""

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let ``seconds`` pass, while others go on."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until ``event`` is set, but no longer than ``seconds``, which may be infinite."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(event.wait(), None if seconds == math.inf else seconds)


CLOCK = Clock()
"""The clock of this process."""
