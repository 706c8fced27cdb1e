"""Listing and looking up what there is in an Airbyte, as conversations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.calls import PAGE
from airflow_provider_airbyte_api.api.conversation import Conversation, Page, call_for, now, pages, read_page
from airflow_provider_airbyte_api.api.models import Connection, Job, Source, Workspace
from airflow_provider_airbyte_api.api.retry import ONCE


def list_sources(workspace_ids: str | Iterable[str] = ()) -> Conversation[None]:
    """Emit all sources, of ``workspace_ids`` if there are any."""
    yield from pages(calls.list_sources(workspace_ids), Source.from_json, lambda source: source.source_id)


def list_connections(workspace_ids: str | Iterable[str] = ()) -> Conversation[None]:
    """Emit all Airbyte connections, of ``workspace_ids`` if there are any."""
    request = calls.list_connections(workspace_ids)
    yield from pages(request, Connection.from_json, lambda connection: connection.connection_id)


def list_jobs(
    *,
    connection_id: str | None = None,
    workspace_ids: str | Iterable[str] = (),
    status: str | None = None,
    job_type: str | None = None,
) -> Conversation[None]:
    """Emit jobs, the newest first."""
    request = calls.list_jobs(
        connection_id=connection_id, workspace_ids=workspace_ids, status=status, job_type=job_type
    )
    yield from pages(request, Job.from_json, lambda job: job.job_id)


def page_of_jobs(workspace_id: str | None, status: str, offset: int) -> Conversation[Page[Job]]:
    """Return a page of the jobs of one status, the newest first; of all workspaces if ``workspace_id`` is None."""
    request = calls.list_jobs(workspace_ids=[workspace_id] if workspace_id else (), status=status)
    return (yield from read_page(request, offset, Job.from_json, ONCE))


@dataclass(frozen=True)
class Changes:
    """Jobs whose status changed, each once, and the server's clock (seconds since the epoch) when it was asked."""

    jobs: list[Job]
    server_time: float


def changed_jobs(workspace_id: str | None, since: float) -> Conversation[Changes]:
    """Return the jobs whose status changed at ``since`` or later, by the server's clock."""
    request = calls.list_changed_jobs(workspace_id, since)
    asked_at = yield from now()
    found: dict[int, Job] = {}
    offset, server_time = 0, None
    while True:
        page = yield from read_page(request, offset, Job.from_json, ONCE)
        server_time = server_time or page.server_time
        for job in page.rows:
            found.setdefault(job.job_id, job)
        if page.is_last:
            return Changes(list(found.values()), server_time or asked_at)
        offset += PAGE


def list_workspaces() -> Conversation[None]:
    """Emit all workspaces that the application's user sees."""
    yield from pages(calls.list_workspaces(), Workspace.from_json, lambda workspace: workspace.workspace_id)


def get_connection(connection_id: str) -> Conversation[Connection]:
    """Return one Airbyte connection."""
    return (yield from call_for(calls.get_connection(connection_id), Connection.from_json))
