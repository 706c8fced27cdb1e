"""Listing and looking up what there is in an Airbyte, as conversations."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import Conversation, Page, call_for, pages, read_page
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


def page_of_changes(workspace_id: str | None, since: float, offset: int) -> Conversation[Page[Job]]:
    """Return a page of the jobs whose status changed at ``since`` or later, by the server's clock, the last one first.

    :param workspace_id: all workspaces if it is None.
    :param since: seconds since the epoch.
    """
    return (yield from read_page(calls.list_changed_jobs(workspace_id, since), offset, Job.from_json, ONCE))


def list_workspaces() -> Conversation[None]:
    """Emit all workspaces that the application's user sees."""
    yield from pages(calls.list_workspaces(), Workspace.from_json, lambda workspace: workspace.workspace_id)


def get_connection(connection_id: str) -> Conversation[Connection]:
    """Return one Airbyte connection."""
    return (yield from call_for(calls.get_connection(connection_id), Connection.from_json))
