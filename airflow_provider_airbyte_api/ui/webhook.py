"""The webhook: Airbyte's notification of a successful sync becomes an asset event. Only an API server imports it."""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api._defaults import SYNCS_ASSET
from airflow_provider_airbyte_api.api.safe import safe_repr
from airflow_provider_airbyte_api.api.webhook import MAX_BODY_BYTES, Notification, parse_notification
from airflow_provider_airbyte_api.types import AssetEventExtra

log = logging.getLogger(__name__)

_LOCK = threading.Lock()
"""Lets one notification at a time look for earlier events, where the database has no row locks (SQLite)."""


def create_endpoint(token: str) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that accepts notifications with the query parameter ``token``.

    It is in the query because Airflow's access log masks it there.
    """

    async def receive(request: Request) -> Response:
        given = request.query_params.get("token", "")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return JSONResponse({"detail": "The token is missing or wrong."}, status_code=401)
        body = await _read(request)
        if body is None:
            return JSONResponse({"detail": "The notification is too large."}, status_code=413)
        return JSONResponse(await run_in_threadpool(_handle, request.path_params["conn_id"], parse_notification(body)))

    return receive


async def _read(request: Request) -> bytes | None:
    """Return the body, or None if it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


def _handle(conn_id: str, notification: Notification) -> dict[str, Any]:
    """Emit the events of a notification, and return the response to it."""
    if notification.extra is None:
        level = logging.WARNING if notification.is_problem else logging.INFO
        log.log(level, "Webhook %s: no asset event. %s", safe_repr(conn_id), notification.reason)
        return {"ignored": notification.reason}
    emitted = _emit(notification.extra)
    log.info(
        "Webhook %s: job %d has events on %s.", safe_repr(conn_id), notification.extra["job_id"], emitted or "no asset"
    )
    return {"job_id": notification.extra["job_id"], "assets": emitted}


def _emit(extra: AssetEventExtra) -> list[str]:
    """Emit the event of a sync on each asset that has none of it, and return the names of these assets."""

    def is_of_job(other: Any) -> bool:
        return isinstance(other, dict) and all(other.get(key) == extra[key] for key in ("job_id", "connection_id"))

    with _LOCK:
        return _airflow_compat.register_asset_events(
            name=SYNCS_ASSET, uri_pattern=f"airbyte://%/{extra['connection_id']}", extra=extra, is_same=is_of_job
        )
