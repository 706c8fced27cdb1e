"""The endpoints of the public API that this package calls. Each function returns a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_airbyte_api.api import checks
from airflow_provider_airbyte_api.api.http import MAX_SMALL_RESPONSE_BYTES, Request
from airflow_provider_airbyte_api.api.models import parse_job_id, parse_uuid
from airflow_provider_airbyte_api.api.timestamps import format_timestamp
from airflow_provider_airbyte_api.types import JobStatus, JobType

PAGE_SIZE = 100
"""Rows per page. The server rejects more."""

NEWEST_FIRST = "createdAt|DESC"
"""The order of the requests for jobs. Airbyte's own default is oldest first."""

RECENTLY_UPDATED_FIRST = "updatedAt|DESC"
"""A row that changes between two pages moves to the top and is read twice. In ascending order, a row could be skipped.
"""

DISCOVERY_TIMEOUT = 600.0
"""Timeout in seconds for the streams of a source: Airbyte runs a connector to discover them."""

START_CANCEL_TIMEOUT = 150.0
"""Timeout in seconds for the response to a start or a cancel.

Airbyte answers only once its workflow runs or has stopped: up to 60 s by design, and longer on a busy server.
"""

MAX_JOBS_RESPONSE_BYTES = 2**19
"""Maximum size of a response about jobs, in bytes; a page of 100 has about 40 KB.

A triggerer polls jobs continuously, and nothing else runs there while it parses a response.
"""


MAX_LOG_BYTES = 10 * 2**20
"""Maximum size of a response with the log of an attempt, in bytes. Airbyte does not limit it in a reliable way."""


@dataclass(frozen=True)
class JobTimeFilter:
    """Time ranges, inclusive, of a job's creation and of its last change of status. Airbyte's resolution is seconds."""

    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    updated_before: datetime | None = None

    def query_params(self) -> list[tuple[str, datetime]]:
        """Return the query parameters of the values that are set, in UTC if they have no time zone.

        :raises AirbyteConfigError: if a value is not a datetime, or not in the years 1970 to 9998.
        """
        names = {
            "created_after": "createdAtStart",
            "created_before": "createdAtEnd",
            "updated_after": "updatedAtStart",
            "updated_before": "updatedAtEnd",
        }
        given = [(ours, theirs, getattr(self, ours)) for ours, theirs in names.items()]
        return [(theirs, checks.parse_datetime(value, ours)) for ours, theirs, value in given if value is not None]


def get_job(job_id: int) -> Request:
    """Return the request for one job."""
    return Request("GET", f"/jobs/{parse_job_id(job_id)}", idempotent=True, max_bytes=MAX_JOBS_RESPONSE_BYTES)


def get_job_without_logs(config_url: str, job_id: int, timeout: float) -> Request:
    """Return the request for one job with its attempts, from Airbyte's internal API at ``config_url``.

    :param timeout: seconds for the whole exchange.
    """
    return Request(
        "POST",
        f"{config_url}/jobs/get_without_logs",
        json={"id": parse_job_id(job_id)},
        idempotent=True,
        read_timeout=timeout,
        total_timeout=timeout,
    )


def get_attempt(config_url: str, job_id: int, index: int, timeout: float) -> Request:
    """Return the request for one attempt of a job with its log, from Airbyte's internal API at ``config_url``.

    :param index: number of the attempt, from 0.
    :param timeout: seconds for the whole exchange.
    """
    return Request(
        "POST",
        f"{config_url}/attempt/get_for_job",
        json={"jobId": parse_job_id(job_id), "attemptNumber": index},
        idempotent=True,
        read_timeout=timeout,
        total_timeout=timeout,
        max_bytes=MAX_LOG_BYTES,
    )


def list_jobs(
    *,
    connection_id: str | None = None,
    workspace_ids: Iterable[str] = (),
    status: str | None = None,
    job_type: str | None = None,
    times: JobTimeFilter = JobTimeFilter(),
) -> Request:
    """Return the request for jobs, newest first."""
    query = [("orderBy", NEWEST_FIRST)]
    if connection_id is not None:
        query.append(("connectionId", parse_uuid(connection_id, "connection_id")))
    if status is not None:
        query.append(("status", checks.parse_choice(status, "status", tuple(JobStatus))))
    if job_type is not None:
        query.append(("jobType", checks.parse_choice(job_type, "job_type", tuple(JobType))))
    query += [(name, format_timestamp(moment.timestamp())) for name, moment in times.query_params()]
    query = [*_workspace_params(workspace_ids), *query]
    return Request("GET", "/jobs", tuple(query), idempotent=True, max_bytes=MAX_JOBS_RESPONSE_BYTES)


def list_updated_jobs(workspace_id: str | None, since: float) -> Request:
    """Return the request for jobs whose status changed at ``since`` or later, in seconds since the epoch."""
    workspace = _workspace_params([workspace_id] if workspace_id else ())
    query = (*workspace, ("orderBy", RECENTLY_UPDATED_FIRST), ("updatedAtStart", format_timestamp(since)))
    return Request("GET", "/jobs", query, idempotent=True, max_bytes=MAX_JOBS_RESPONSE_BYTES)


def start_job(connection_id: str, job_type: str) -> Request:
    """Return the request that starts a sync, clear or reset. Sending it twice may start two jobs."""
    body = {"connectionId": parse_uuid(connection_id, "connection_id"), "jobType": job_type}
    return Request("POST", "/jobs", json=body, read_timeout=START_CANCEL_TIMEOUT, max_bytes=MAX_JOBS_RESPONSE_BYTES)


def cancel_job(job_id: int, read_timeout: float = START_CANCEL_TIMEOUT) -> Request:
    """Return the request that stops *whatever runs now* on the connection of ``job_id``."""
    path = f"/jobs/{parse_job_id(job_id)}"
    return Request("DELETE", path, read_timeout=read_timeout, max_bytes=MAX_JOBS_RESPONSE_BYTES)


def get_connection(connection_id: str) -> Request:
    """Return the request for one Airbyte connection."""
    return Request("GET", f"/connections/{parse_uuid(connection_id, 'connection_id')}", idempotent=True)


def update_connection(connection_id: str, body: Mapping[str, Any]) -> Request:
    """Return the request that updates the fields in ``body`` of an Airbyte connection. It is idempotent."""
    path = f"/connections/{parse_uuid(connection_id, 'connection_id')}"
    return Request("PATCH", path, json=dict(body), idempotent=True)


def list_connections(workspace_ids: Iterable[str] = (), tag_ids: Iterable[str] = ()) -> Request:
    """Return the request for connections. Airbyte guarantees no order."""
    tags = tuple(("tagIds", parse_uuid(each, "tag_ids")) for each in tag_ids)
    return Request("GET", "/connections", (*_workspace_params(workspace_ids), *tags), idempotent=True)


def list_destinations(workspace_ids: Iterable[str] = ()) -> Request:
    """Return the request for destinations. Airbyte guarantees no order."""
    return Request("GET", "/destinations", _workspace_params(workspace_ids), idempotent=True)


def list_tags(workspace_ids: Iterable[str] = ()) -> Request:
    """Return the request for tags, a list without pages (Airbyte 1.6 and newer)."""
    return Request("GET", "/tags", _workspace_params(workspace_ids), idempotent=True)


def list_streams(source_id: str, destination_id: str | None = None, *, ignore_cache: bool = False) -> Request:
    """Return the request for the streams of a source. Airbyte may query the source for them, which takes minutes."""
    query = [("sourceId", parse_uuid(source_id, "source_id"))]
    if destination_id is not None:
        query.append(("destinationId", parse_uuid(destination_id, "destination_id")))
    if ignore_cache:
        query.append(("ignoreCache", "true"))
    return Request("GET", "/streams", tuple(query), idempotent=True, read_timeout=DISCOVERY_TIMEOUT)


def get_workspace(workspace_id: str) -> Request:
    """Return the request for one workspace."""
    path = f"/workspaces/{parse_uuid(workspace_id, 'workspace_id')}"
    return Request("GET", path, idempotent=True, max_bytes=MAX_SMALL_RESPONSE_BYTES)


def get_source(source_id: str) -> Request:
    """Return the request for one source."""
    return Request("GET", f"/sources/{parse_uuid(source_id, 'source_id')}", idempotent=True)


def get_destination(destination_id: str) -> Request:
    """Return the request for one destination."""
    return Request("GET", f"/destinations/{parse_uuid(destination_id, 'destination_id')}", idempotent=True)


def list_sources(workspace_ids: Iterable[str] = ()) -> Request:
    """Return the request for sources. Airbyte guarantees no order."""
    return Request("GET", "/sources", _workspace_params(workspace_ids), idempotent=True)


def list_workspaces() -> Request:
    """Return the request for the workspaces that the application's user can see."""
    return Request("GET", "/workspaces", idempotent=True)


def instance_configuration(ui: str) -> Request:
    """Return the request for the public configuration of a self-managed Airbyte, whose web app is at ``ui``.

    It needs no authentication, and is not part of the public API.
    """
    return Request(
        "GET",
        f"{ui}/api/v1/instance_configuration",
        idempotent=True,
        anonymous=True,
        max_bytes=MAX_SMALL_RESPONSE_BYTES,
    )


def parse_workspace_ids(workspace_ids: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of workspaces in Airbyte's spelling.

    :raises AirbyteConfigError: if one is not a UUID.
    """
    return tuple(parse_uuid(each, "workspace_ids") for each in checks.parse_texts(workspace_ids, "workspace_ids"))


def _workspace_params(workspace_ids: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple(("workspaceIds", each) for each in parse_workspace_ids(workspace_ids))
