"""Helpers for asyncio that the modules of this package share."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

YIELD_EVERY = 20
"""Number of waiters that are woken before the event loop can run other tasks."""


def create_background_task(
    coroutine: Coroutine[Any, Any, T], context: contextvars.Context | None = None
) -> asyncio.Task[T]:
    """Run a coroutine as a detached task, which is not cancelled with its creator.

    :param coroutine: The coroutine.
    :param context: The context in which it logs. Default: None, an empty one, and not that of its creator.
    """
    task = (context or contextvars.Context()).run(asyncio.get_running_loop().create_task, coroutine)
    _BACKGROUND_TASKS.add(task)
    task.add_done_callback(_BACKGROUND_TASKS.discard)
    return task


def forget_closed_loops() -> None:
    """Drop tasks whose event loop was closed while they were running. They can no longer finish."""
    _BACKGROUND_TASKS.difference_update([task for task in _BACKGROUND_TASKS if task.get_loop().is_closed()])


async def yield_every(number: int) -> None:
    """Yield to the event loop if ``number`` completes a group of :data:`YIELD_EVERY` items."""
    if number % YIELD_EVERY == YIELD_EVERY - 1:
        await asyncio.sleep(0)


async def acquired(semaphore: asyncio.Semaphore, seconds: float) -> bool:
    """Acquire ``semaphore`` and return True, or False if that takes longer than ``seconds``."""
    if not semaphore.locked():
        return await semaphore.acquire()
    # Not asyncio.wait_for: before Python 3.12 it may swallow a cancellation and leak the acquired semaphore.
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
    """Return the result of ``coroutine``, which is cancelled after ``seconds``.

    :raises TimeoutError: if it has not finished by then.
    """
    # Not asyncio.wait_for: before Python 3.12 it may swallow a cancellation.
    task = asyncio.ensure_future(coroutine)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        raise TimeoutError
    return task.result()


_BACKGROUND_TASKS: set[asyncio.Task[Any]] = set()
"""The running detached tasks. An event loop keeps only weak references to its tasks."""
