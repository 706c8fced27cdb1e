"""Looking up Airflow connections from an event loop, once for all triggers that need the same one."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.connection import get_async_connection

from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import Settings
from airflow_provider_airbyte_api.hooks.connection import secrets_of, settings_of
from airflow_provider_airbyte_api.hooks.errors import airflow_errors
from airflow_provider_airbyte_api.hooks.masking import amask_secret
from airflow_provider_airbyte_api.watch.tasks import detached

SETTINGS_KEPT = 60.0
"""Seconds that a looked-up connection is used for newcomers."""


async def settings_for(airbyte_conn_id: str, *, other_than: Settings | None = None) -> Settings:
    """Return what the Airflow connection says, looked up within the last minute.

    It never blocks the event loop, and a thousand triggers that start together look it up once.

    :param other_than: what it said, and Airbyte refused: it is looked up anew, unless somebody did already.
    """
    lookups = _LOOKUPS.setdefault(asyncio.get_running_loop(), {})
    lookup = lookups.get(airbyte_conn_id)
    if lookup is None or lookup.is_of_no_use(other_than):
        lookup = lookups[airbyte_conn_id] = _Lookup()
        lookup.task = detached(_look_up(airbyte_conn_id, lookup))
    if lookup.settings is not None:
        return lookup.settings
    found: Settings = await asyncio.shield(lookup.task)
    return found


class _Lookup:
    """A look-up, under way or done."""

    def __init__(self) -> None:
        self.began = CLOCK.time()
        self.settings: Settings | None = None
        self.task: Any = None

    def is_of_no_use(self, other_than: Settings | None) -> bool:
        if self.settings is None:
            return bool(self.task.done())  # it failed
        return self.settings == other_than or CLOCK.time() > self.began + SETTINGS_KEPT


async def _look_up(airbyte_conn_id: str, lookup: _Lookup) -> Settings:
    connection = await get_async_connection(airbyte_conn_id)
    with airflow_errors():
        settings = settings_of(connection)
    for secret in secrets_of(connection, settings):
        await amask_secret(secret)
    lookup.settings, lookup.task = settings, None  # a task would keep its event loop alive
    return settings


_LOOKUPS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Lookup]] = WeakKeyDictionary()
