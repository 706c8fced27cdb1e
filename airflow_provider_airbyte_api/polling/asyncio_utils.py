"""Small things that every part of a watch needs of its event loop."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

YIELD_EVERY = 50
"""How many are woken at once, before the event loop gets to do something else."""


def create_background_task(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run a coroutine as a task that belongs to nobody: it neither logs as one who waits, nor is cancelled with it."""
    task = contextvars.Context().run(asyncio.get_running_loop().create_task, coroutine)
    _BACKGROUND_TASKS.add(task)
    task.add_done_callback(_BACKGROUND_TASKS.discard)
    return task


def forget_closed_loops() -> None:
    """Let go of tasks whose event loop was closed with them under way: nobody ends them any more."""
    _BACKGROUND_TASKS.difference_update([task for task in _BACKGROUND_TASKS if task.get_loop().is_closed()])


async def yield_every(number: int) -> None:
    """Let the event loop turn, once in a while."""
    if number % YIELD_EVERY == YIELD_EVERY - 1:
        await asyncio.sleep(0)


async def acquired(semaphore: asyncio.Semaphore, seconds: float) -> bool:
    """Acquire ``semaphore`` and return True, or False if that takes longer than ``seconds``."""
    if not semaphore.locked():
        return await semaphore.acquire()
    # Not asyncio.wait_for, which before Python 3.12 may swallow a cancellation, and what was acquired with it.
    acquiring = asyncio.ensure_future(semaphore.acquire())
    try:
        await asyncio.wait({acquiring}, timeout=seconds)
    except asyncio.CancelledError:
        acquiring.add_done_callback(lambda task: None if task.cancelled() else semaphore.release())
        acquiring.cancel()
        raise
    if acquiring.done():
        return True
    acquiring.cancel()
    return False


async def within(seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what ``coroutine`` returns; it is cancelled if that takes longer than ``seconds``.

    :raises TimeoutError: if it does.
    """
    # Not asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
    task = asyncio.ensure_future(coroutine)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        raise TimeoutError
    return task.result()


def jitter_factor() -> float:
    """Return a factor for a pause, so that many watches do not poll together; never above 1, for that would be late."""
    return random.uniform(0.85, 1.0)  # noqa: S311 - no secret


_BACKGROUND_TASKS: set[asyncio.Task[Any]] = set()
"""What is detached now: an event loop itself holds its tasks by a weak reference only."""
