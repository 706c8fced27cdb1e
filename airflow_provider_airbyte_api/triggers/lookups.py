"""Looking up Airflow connections from an event loop, once for all triggers that need the same one."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import mask_secret
from asgiref.sync import sync_to_async

from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import Settings
from airflow_provider_airbyte_api.hooks.connection import secrets_of, settings_of
from airflow_provider_airbyte_api.hooks.errors import airflow_errors
from airflow_provider_airbyte_api.watch.tasks import detached

KEPT = 60.0
"""Seconds that a looked-up connection is used for newcomers."""


async def settings_for(airbyte_conn_id: str, *, since: float | None = None) -> Settings:
    """Return what the Airflow connection says, looked up within the last minute, or not before ``since``.

    It never blocks the event loop, and a thousand triggers that start together look it up once.
    """
    lookups = _LOOKUPS.setdefault(asyncio.get_running_loop(), {})
    moment = CLOCK.time()
    began, lookup = lookups.get(airbyte_conn_id, (0.0, None))
    if lookup is None or _has_failed(lookup) or began < (moment - KEPT if since is None else since):
        lookup = detached(_look_up(airbyte_conn_id))
        lookups[airbyte_conn_id] = (moment, lookup)
    return await asyncio.shield(lookup)


async def _look_up(airbyte_conn_id: str) -> Settings:
    connection = await get_async_connection(airbyte_conn_id)
    with airflow_errors():
        settings = settings_of(connection)
    for secret in secrets_of(settings):
        await _mask(secret)
    return settings


async def _mask(secret: str) -> None:
    try:
        from airflow.sdk.log import amask_secret  # noqa: PLC0415 - 3.3.2 and newer
    except ImportError:
        await sync_to_async(mask_secret)(secret)
    else:
        await amask_secret(secret)


def _has_failed(lookup: asyncio.Task[Settings]) -> bool:
    return lookup.done() and (lookup.cancelled() or lookup.exception() is not None)


_LOOKUPS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, tuple[float, asyncio.Task[Settings]]]] = (
    WeakKeyDictionary()
)
