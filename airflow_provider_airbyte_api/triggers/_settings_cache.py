"""A cache of Airflow connections for an event loop: triggers with the same connection share one lookup."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from airflow_provider_airbyte_api._airflow_compat import get_async_connection
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.hooks._settings import parse_and_mask
from airflow_provider_airbyte_api.polling.asyncio_utils import create_background_task

SETTINGS_TTL = 60.0
"""Seconds for which a loaded connection is reused."""


async def get_settings(airbyte_conn_id: str, *, rejected: ClientSettings | None = None) -> ClientSettings:
    """Return the settings of the Airflow connection, loaded within the last minute.

    It never blocks the event loop. Triggers that start together share one lookup.

    :param airbyte_conn_id: ID of the Airflow connection.
    :param rejected: Settings whose credentials Airbyte has rejected. The connection is loaded again unless the cache
        already holds different settings. Default: None.
    """
    lookups = _LOOKUPS.setdefault(asyncio.get_running_loop(), {})
    lookup = lookups.get(airbyte_conn_id)
    if lookup is None or lookup.is_stale(rejected):
        lookup = lookups[airbyte_conn_id] = _Lookup()
        lookup.task = create_background_task(_load(airbyte_conn_id, lookup))
    if lookup.settings is not None:
        return lookup.settings
    found: ClientSettings = await asyncio.shield(lookup.task)
    return found


class _Lookup:
    """A lookup, in progress or completed."""

    def __init__(self) -> None:
        self.started_at = CLOCK.time()
        self.settings: ClientSettings | None = None
        self.task: Any = None

    def is_stale(self, rejected: ClientSettings | None) -> bool:
        if self.settings is None:
            return bool(self.task.done())  # it failed
        return self.settings == rejected or CLOCK.time() > self.started_at + SETTINGS_TTL


async def _load(airbyte_conn_id: str, lookup: _Lookup) -> ClientSettings:
    settings = await parse_and_mask(await get_async_connection(airbyte_conn_id))
    lookup.settings, lookup.task = settings, None  # a task would keep its event loop alive
    return settings


_LOOKUPS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Lookup]] = WeakKeyDictionary()
