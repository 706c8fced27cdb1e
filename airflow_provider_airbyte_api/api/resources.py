"""Listing and looking up what there is in an Airbyte, as conversations."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import Conversation, call_for, pages
from airflow_provider_airbyte_api.api.models import Connection, Job, Source, Workspace


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


def list_workspaces() -> Conversation[None]:
    """Emit all workspaces that the application's user sees."""
    yield from pages(calls.list_workspaces(), Workspace.from_json, lambda workspace: workspace.workspace_id)


def get_connection(connection_id: str) -> Conversation[Connection]:
    """Return one Airbyte connection."""
    return (yield from call_for(calls.get_connection(connection_id), Connection.from_json))
