"""The calls of the public API that this package makes, each a function that returns a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_airbyte_api.api import checks
from airflow_provider_airbyte_api.api.models import JobStatus, valid_job_id, valid_uuid
from airflow_provider_airbyte_api.api.times import format_timestamp
from airflow_provider_airbyte_api.api.wire import MAX_SMALL_REPLY, Request

PAGE = 100
"""Rows a page; more is refused by the server."""

NEWEST_FIRST = "createdAt|DESC"
"""Airbyte's own default is oldest first."""

LAST_CHANGED_FIRST = "updatedAt|DESC"
"""What changes while the pages are read goes to the top, and so is seen twice; oldest first, a row could be skipped."""

JOB_STATUSES = tuple(status.value for status in JobStatus)
"""What jobs can be filtered by; Airbyte answers 400 without a reason to another word."""

JOB_TYPES = ("sync", "reset", "clear", "refresh")
"""The same of types."""

DISCOVERY = 600.0
"""Seconds to wait for the streams of a source: Airbyte runs a connector to find them."""

SLOW_START = 150.0
"""Seconds to wait for the reply to a start or a cancel.

Airbyte answers only once its workflow runs or has stopped: up to 60 s by design, and longer on a busy server.
"""

MAX_JOBS_REPLY = 2**19
"""Bytes of the largest reply that is read about jobs; a page of 100 has about 40 KB.

A triggerer polls them all the time, and nothing else runs there while it parses a reply.
"""


@dataclass(frozen=True)
class Times:
    """Between which moments jobs were created and last changed their status, both inclusive. Airbyte knows seconds."""

    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    updated_before: datetime | None = None

    def given(self) -> list[tuple[str, datetime]]:
        """Return Airbyte's names for those that are given, in UTC where they name no zone.

        :raises AirbyteConfigError: if one is no datetime, or not in the years 1970 to 9998.
        """
        names = {
            "created_after": "createdAtStart",
            "created_before": "createdAtEnd",
            "updated_after": "updatedAtStart",
            "updated_before": "updatedAtEnd",
        }
        given = [(ours, theirs, getattr(self, ours)) for ours, theirs in names.items()]
        return [(theirs, checks.moment(value, ours)) for ours, theirs, value in given if value is not None]


def get_job(job_id: int) -> Request:
    """Return the request for one job."""
    return Request("GET", f"/jobs/{valid_job_id(job_id)}", repeatable=True, max_bytes=MAX_JOBS_REPLY)


def list_jobs(
    *,
    connection_id: str | None = None,
    workspace_ids: Iterable[str] = (),
    status: str | None = None,
    job_type: str | None = None,
    times: Times = Times(),
) -> Request:
    """Return the request for jobs, newest first."""
    query = [("orderBy", NEWEST_FIRST)]
    if connection_id is not None:
        query.append(("connectionId", valid_uuid(connection_id, "connection_id")))
    if status is not None:
        query.append(("status", checks.one_of(status, "status", JOB_STATUSES)))
    if job_type is not None:
        query.append(("jobType", checks.one_of(job_type, "job_type", JOB_TYPES)))
    query += [(name, format_timestamp(moment.timestamp())) for name, moment in times.given()]
    query = [*_workspaces(workspace_ids), *query]
    return Request("GET", "/jobs", tuple(query), repeatable=True, max_bytes=MAX_JOBS_REPLY)


def list_changed_jobs(workspace_id: str | None, since: float) -> Request:
    """Return the request for jobs whose status changed at ``since``, in seconds since the epoch, or later."""
    workspace = _workspaces([workspace_id] if workspace_id else ())
    query = (*workspace, ("orderBy", LAST_CHANGED_FIRST), ("updatedAtStart", format_timestamp(since)))
    return Request("GET", "/jobs", query, repeatable=True, max_bytes=MAX_JOBS_REPLY)


def start_job(connection_id: str, job_type: str) -> Request:
    """Return the request that starts a job: a sync, clear or reset. Sending it twice may start two."""
    body = {"connectionId": valid_uuid(connection_id, "connection_id"), "jobType": job_type}
    return Request("POST", "/jobs", json=body, read_timeout=SLOW_START, max_bytes=MAX_JOBS_REPLY)


def cancel_job(job_id: int, read_timeout: float = SLOW_START) -> Request:
    """Return the request that stops *whatever runs now* on the connection of ``job_id``."""
    path = f"/jobs/{valid_job_id(job_id)}"
    return Request("DELETE", path, read_timeout=read_timeout, max_bytes=MAX_JOBS_REPLY)


def get_connection(connection_id: str) -> Request:
    """Return the request for one Airbyte connection."""
    return Request("GET", f"/connections/{valid_uuid(connection_id, 'connection_id')}", repeatable=True)


def update_connection(connection_id: str, body: Mapping[str, Any]) -> Request:
    """Return the request that changes what ``body`` names of an Airbyte connection. Sent twice, it does no more."""
    path = f"/connections/{valid_uuid(connection_id, 'connection_id')}"
    return Request("PATCH", path, json=dict(body), repeatable=True)


def list_connections(workspace_ids: Iterable[str] = (), tag_ids: Iterable[str] = ()) -> Request:
    """Return the request for connections, in no order that Airbyte would promise."""
    tags = tuple(("tagIds", valid_uuid(each, "tag_ids")) for each in tag_ids)
    return Request("GET", "/connections", (*_workspaces(workspace_ids), *tags), repeatable=True)


def list_destinations(workspace_ids: Iterable[str] = ()) -> Request:
    """Return the request for destinations, in no order that Airbyte would promise."""
    return Request("GET", "/destinations", _workspaces(workspace_ids), repeatable=True)


def list_tags(workspace_ids: Iterable[str] = ()) -> Request:
    """Return the request for tags, which come without pages (Airbyte 1.6 and newer)."""
    return Request("GET", "/tags", _workspaces(workspace_ids), repeatable=True)


def list_streams(source_id: str, destination_id: str | None = None, *, ignore_cache: bool = False) -> Request:
    """Return the request for the streams of a source. Airbyte may look into the source for that, for minutes."""
    query = [("sourceId", valid_uuid(source_id, "source_id"))]
    if destination_id is not None:
        query.append(("destinationId", valid_uuid(destination_id, "destination_id")))
    if ignore_cache:
        query.append(("ignoreCache", "true"))
    return Request("GET", "/streams", tuple(query), repeatable=True, read_timeout=DISCOVERY)


def get_workspace(workspace_id: str) -> Request:
    """Return the request for one workspace."""
    path = f"/workspaces/{valid_uuid(workspace_id, 'workspace_id')}"
    return Request("GET", path, repeatable=True, max_bytes=MAX_SMALL_REPLY)


def get_source(source_id: str) -> Request:
    """Return the request for one source."""
    return Request("GET", f"/sources/{valid_uuid(source_id, 'source_id')}", repeatable=True)


def get_destination(destination_id: str) -> Request:
    """Return the request for one destination."""
    return Request("GET", f"/destinations/{valid_uuid(destination_id, 'destination_id')}", repeatable=True)


def list_sources(workspace_ids: Iterable[str] = ()) -> Request:
    """Return the request for sources, in no order that Airbyte would promise."""
    return Request("GET", "/sources", _workspaces(workspace_ids), repeatable=True)


def list_workspaces() -> Request:
    """Return the request for the workspaces that this application's user sees."""
    return Request("GET", "/workspaces", repeatable=True)


def instance_configuration(ui: str) -> Request:
    """Return the request for what a self-managed Airbyte, whose web app is at ``ui``, says of itself to anybody.

    It is no part of the public API.
    """
    return Request(
        "GET", f"{ui}/api/v1/instance_configuration", repeatable=True, anonymous=True, max_bytes=MAX_SMALL_REPLY
    )


def valid_workspaces(workspace_ids: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of workspaces as Airbyte writes them.

    :raises AirbyteConfigError: if one is no UUID.
    """
    return tuple(valid_uuid(each, "workspace_ids") for each in checks.texts(workspace_ids, "workspace_ids"))


def _workspaces(workspace_ids: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple(("workspaceIds", each) for each in valid_workspaces(workspace_ids))
