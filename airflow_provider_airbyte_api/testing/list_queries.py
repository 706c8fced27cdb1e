"""The query of a list: whether Airbyte accepts it, and the requested page."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from airflow_provider_airbyte_api.api.timestamps import parse_timestamp
from airflow_provider_airbyte_api.testing import responses
from airflow_provider_airbyte_api.testing.jobs import STATUSES
from airflow_provider_airbyte_api.testing.recorded import RecordedRequest
from airflow_provider_airbyte_api.testing.responses import FakeResponse

NEXT_HOST = "http://airbyte-server.airbyte.svc:8001/api/public/v1"
"""The host in ``next`` on a self-managed server, which only the server itself can reach."""

MOMENTS = ("createdAtStart", "createdAtEnd", "updatedAtStart", "updatedAtEnd")
JOB_TYPES = ("sync", "reset", "refresh", "clear")
MAX_PAGE_SIZE = 100
INT32 = 2**31


def refusal(request: RecordedRequest, *names: str) -> FakeResponse | None:
    """Return the 400 for a query with a value of the wrong type in ``names`` or in its paging, or None."""
    for name in (*names, "limit", "offset"):
        wrong = next((value for value in request.values(name) if not _TAKES[name](value)), None)
        if wrong is not None:
            operation = f"publicList{request.path.strip('/').capitalize()}"
            return responses.invalid_input(f"{operation}.{name}", wrong, _MESSAGES.get(name, "is not valid"))
    return None


def page(
    request: RecordedRequest, rows: list[Any], show: Callable[[Any], dict[str, Any]], kept: tuple[str, ...]
) -> dict[str, Any]:
    """Return the requested page. As in the real API, its links keep only the filters in ``kept``."""
    limit, offset = int(request.value("limit") or 20), int(request.value("offset") or 0)
    shown = [show(row) for row in rows[offset : offset + limit]]

    def link(to: int) -> str:
        query = [(name, value) for name, value in request.query if name in kept]
        return f"{NEXT_HOST}{request.path}?{urlencode([*query, ('limit', limit), ('offset', to)])}"

    return {
        "previous": link(max(0, offset - limit)) if offset else "",
        "next": link(offset + limit) if shown else "",
        "data": shown,
    }


def bounds(request: RecordedRequest, name: str) -> tuple[float, float]:
    """Return the bounds of a time in whole seconds, both inclusive; infinite where the query has none."""
    start, end = (_epoch(request.value(f"{name}{bound}")) for bound in ("Start", "End"))
    return -math.inf if start is None else start, math.inf if end is None else end


def is_uuid(text: str) -> bool:
    """Return True if ``text`` is a UUID, as Airbyte's ids are."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _epoch(text: str | None) -> float | None:
    """Return the seconds since the epoch of an ISO 8601 or an RFC 1123 date."""
    if text is None:
        return None
    try:
        moment = parse_timestamp(text) or parsedate_to_datetime(text)
        return moment.timestamp()
    except (ValueError, OverflowError):  # not a date, or not one that Python can hold
        return None


def _is_integer(text: str, lowest: int, highest: int) -> bool:
    return re.fullmatch(r"-?[0-9]{1,10}", text) is not None and lowest <= int(text) <= highest


_MESSAGES = {
    "limit": f"must be greater than or equal to 1 and less than or equal to {MAX_PAGE_SIZE}",
    "offset": "must be greater than or equal to 0",
}
_TAKES: dict[str, Callable[[str], bool]] = {
    "limit": lambda text: _is_integer(text, 1, MAX_PAGE_SIZE),
    "offset": lambda text: _is_integer(text, 0, INT32 - 1),
    "connectionId": is_uuid,
    "workspaceIds": is_uuid,
    "tagIds": is_uuid,
    "sourceId": is_uuid,
    "destinationId": is_uuid,
    "status": STATUSES.__contains__,
    "jobType": JOB_TYPES.__contains__,
    "includeDeleted": ("true", "false").__contains__,
    **dict.fromkeys(MOMENTS, lambda text: _epoch(text) is not None),
}
