"""Let many triggers of one provider wait in one event loop, and measure that. Runs in that provider's environment.

Speaks JSON lines with the benchmark that started it: it says when a phase begins, and at the end what it measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

TICK = 0.005


def ours(job_id: int, interval: float) -> Any:
    from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger

    # The workspace is what the operator hands on.
    workspace_id = os.environ["BENCH_WORKSPACE_ID"]
    return AirbyteJobTrigger(job_id, os.environ["BENCH_CONNECTION_ID"], "bench", interval, workspace_id=workspace_id)


def official(job_id: int, interval: float) -> Any:
    from airflow.providers.airbyte.triggers.airbyte import AirbyteSyncTrigger

    return AirbyteSyncTrigger(job_id=job_id, conn_id="bench", end_time=time.time() + 3600, poll_interval=interval)


class Ticker:
    """Wakes every few milliseconds, and measures the longest stall of the event loop."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.perf_counter()

    async def tick(self) -> None:
        self._last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            self._record_stall()

    def _record_stall(self) -> None:
        """Record the time since the last tick, in case the next one is late."""
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last - TICK)
        self._last = now

    def take_longest(self) -> float:
        """Return the longest stall since the last call."""
        self._record_stall()
        longest, self.longest = self.longest, 0.0
        return longest


def emit(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def memory() -> int:
    """Return the bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def wait(trigger: Any, events: dict[int, float]) -> None:
    # A trigger lives on after its event, as it does in a triggerer, until Airflow has taken it in.
    stream: AsyncIterator[Any] = trigger.run()
    async for _ in stream:
        events[trigger.job_id] = time.time()
        return


async def measure(
    provider: str, count: int, interval: float, warm_up: int, intervals: int, timeout: float, *, burst: bool
) -> None:
    make = {"ours": ours, "official": official}[provider]
    ticker, events = Ticker(), dict[int, float]()
    ticking = asyncio.create_task(ticker.tick())
    idle = time.process_time()
    await asyncio.sleep(interval / 2)
    idle = (time.process_time() - idle) / (interval / 2)  # what the ticker itself costs
    # What is loaded and opened once is not what each trigger costs.
    make(1, interval)
    first = asyncio.create_task(wait(make(1, interval), events))
    await asyncio.sleep(interval + 2)
    # Python's collector would stop each provider for 0.1 s now and then, to visit all objects of the process.
    memory()
    gc.freeze()
    gc.disable()
    warming_up, before = ticker.take_longest(), memory()
    emit(phase="starting", at=time.time())
    waiting = [first]
    for job_id in range(2, count + 1):
        if not burst:
            await asyncio.sleep(0)  # as Airflow's triggerer does
        waiting.append(asyncio.create_task(wait(make(job_id, interval), events)))
    await asyncio.sleep(warm_up * interval)
    starting = ticker.take_longest()
    emit(phase="steady", at=time.time())
    cpu, started_at = time.process_time(), time.time()
    await asyncio.sleep(intervals * interval)
    steady_cpu, steady_seconds, steady = time.process_time() - cpu, time.time() - started_at, ticker.take_longest()
    after = memory()
    ticker.take_longest()  # collecting garbage is this benchmark's own doing
    emit(phase="ending", at=time.time())
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.gather(*waiting), timeout)
    ending = ticker.take_longest()
    ticking.cancel()
    emit(
        stall_warming_up=warming_up,
        stall_starting=starting,
        stall_steady=steady,
        stall_ending=ending,
        steady_cpu=max(steady_cpu - idle * steady_seconds, 0.0),
        steady_seconds=steady_seconds,
        bytes_each=(after - before) / max(count - 1, 1),
        events=events,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("provider")
    parser.add_argument("count", type=int)
    parser.add_argument("--burst", action="store_true", help="start all in one turn of the event loop")
    parser.add_argument("--interval", type=float, default=10.0)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--intervals", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=120.0)
    given = parser.parse_args()
    asyncio.run(
        measure(
            given.provider,
            given.count,
            given.interval,
            given.warm_up,
            given.intervals,
            given.timeout,
            burst=given.burst,
        )
    )
    sys.stdout.flush()
    os._exit(0)  # what still waits is not waited for
