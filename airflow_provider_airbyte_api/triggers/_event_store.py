"""How a watcher keeps its position in Airflow, so that each event is emitted at least once.

Airflow 3.3 keeps it with the asset and reports when it has stored an event. Before, from 3.0.5 on, a Variable keeps it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.api.backoff import RetryPolicy
from airflow_provider_airbyte_api.api.cursor import Cursor
from airflow_provider_airbyte_api.api.safe import parse_stored_json
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.polling.asyncio_utils import create_background_task
from airflow_provider_airbyte_api.types import AssetEventExtra

CHECKPOINT_INTERVAL = 300.0
"""Seconds after which the cursor is saved without an event, so that a restart has few jobs to list."""

MAX_BACKOFF = 300.0
"""Maximum seconds between two attempts after an error. A watcher never gives up, since nothing would restart it."""

MAX_PENDING_EVENTS = 200
"""Maximum number of emitted events that Airflow has not yet stored."""

STORE_DELAY = 3.0
"""Seconds within which Airflow before 3.3 stores an event: the triggerer passes events on each second."""


class EventStream(Protocol):
    """The part of the trigger that the producer needs."""

    @property
    def log(self) -> Any:
        """The logger."""

    def stream(self, cursor: Cursor | None) -> AsyncGenerator[tuple[AssetEventExtra | None, Cursor], None]:
        """Yield payloads, each with the cursor after it."""


class Accessor(Protocol):
    """A place for values, such as Airflow 3.3 has for each asset."""

    async def aget(self, key: str) -> Any:
        """Return the value of a key, or None."""

    async def aset(self, key: str, value: Any) -> None:
        """Store a value."""


@dataclass(frozen=True)
class VariableAccessor:
    """Keeps values in Airflow's Variables.

    A message to Airflow is never cancelled, even if the trigger is: see :func:`_airflow_compat.aget_variable`.
    """

    description: str

    async def aget(self, key: str) -> Any:
        """Return the value of a Variable, or None if there is none or somebody has broken it."""
        return parse_stored_json(await asyncio.shield(create_background_task(_airflow_compat.aget_variable(key))))

    async def aset(self, key: str, value: Any) -> None:
        """Write a Variable."""
        writing = _airflow_compat.aset_variable(key, json.dumps(value), self.description)
        await asyncio.shield(create_background_task(writing))


class CursorStore:
    """Stores a cursor in each of some places: one trigger may watch for several assets."""

    def __init__(self, accessors: Sequence[Accessor], key: str) -> None:
        self._accessors = accessors
        self._key = key

    async def load(self, log: Any) -> Cursor | None:
        """Return the most advanced cursor, or None if there is none yet. Retry until Airflow returns it."""
        attempt = 0
        while True:
            try:
                values = [await place.aget(self._key) for place in self._accessors]
            except Exception as error:  # noqa: BLE001 - a start without the cursor would lose events
                attempt += 1
                delay = RetryPolicy(wait_max=MAX_BACKOFF).backoff(attempt)
                log.warning("Could not load this watcher's cursor; retrying in %.0f s. %s", delay, error)
                await CLOCK.sleep_async(delay)
            else:
                cursors = filter(None, map(Cursor.load, values))
                return max(cursors, key=lambda cursor: (cursor.position, len(cursor.emitted)), default=None)

    async def save(self, cursor: Cursor, log: Any) -> None:
        """Store ``cursor`` in each place."""
        for place in self._accessors:
            try:
                await place.aset(self._key, cursor.dump())
            except Exception as error:  # noqa: BLE001 - one asset may be deleted while the others exist
                log.warning("Could not store this watcher's cursor in %r. %s", place, error)


async def emit_payloads(trigger: EventStream, store: CursorStore | None) -> AsyncGenerator[AssetEventExtra, None]:
    """Yield each payload, and save the cursor once Airflow has stored the events. For Airflow before 3.3."""
    saved_at, has_emitted = 0.0, False
    cursor = None if store is None else await store.load(trigger.log)
    async with aclosing(trigger.stream(cursor)) as stream_items:
        async for payload, position in stream_items:
            if payload is not None:
                has_emitted = True
                yield payload
            elif store is not None and (has_emitted or CLOCK.time() >= saved_at + CHECKPOINT_INTERVAL):
                if has_emitted:
                    # Airflow answers in order. After this answer, the triggerer passes the events on within a second,
                    # and Airflow stores them before it handles the next message.
                    await store.load(trigger.log)
                    await CLOCK.sleep_async(STORE_DELAY)
                await store.save(position, trigger.log)
                saved_at, has_emitted = CLOCK.time(), False


class Producer(_airflow_compat.shared_stream_producer() or object):  # type: ignore[misc]
    """Produces the events of one trigger, and advances its cursor once Airflow has stored them."""

    def __init__(self, trigger: EventStream, store: CursorStore) -> None:
        self._trigger = trigger
        self._store = store
        self._pending = 0
        self._delivery_failed = False
        self._advanced = asyncio.Event()
        self._saved_at = 0.0

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield each payload with the cursor after it."""
        cursor = await self._store.load(self._trigger.log)
        async with aclosing(self._trigger.stream(cursor)) as stream_items:
            async for payload, position in stream_items:
                if payload is not None:
                    self._pending += 1
                    yield payload, position
                elif (
                    not self._pending
                    and not self._delivery_failed
                    and CLOCK.time() >= self._saved_at + CHECKPOINT_INTERVAL
                ):
                    await self._save(position)
                while self._pending >= MAX_PENDING_EVENTS:
                    self._advanced.clear()
                    await self._advanced.wait()

    async def advance(self, batch: Sequence[Any]) -> None:
        """Save the cursor of the last event that Airflow has stored."""
        stored = list(itertools.takewhile(lambda item: item.outcome.is_clean, batch))
        if stored and not self._delivery_failed:
            await self._save(stored[-1].broker_payload)
        # After a failed delivery Airflow ends this producer, and the next one emits the event again.
        self._delivery_failed = self._delivery_failed or len(stored) < len(batch)
        self._pending -= len(batch)
        self._advanced.set()

    async def _save(self, cursor: Cursor) -> None:
        self._saved_at = CLOCK.time()
        await self._store.save(cursor, self._trigger.log)
