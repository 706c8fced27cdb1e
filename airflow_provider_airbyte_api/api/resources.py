"""Listing and looking up what there is in an Airbyte, as conversations."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import (
    Conversation,
    Emit,
    Page,
    call,
    call_for,
    pages,
    read_page,
    with_rows,
)
from airflow_provider_airbyte_api.api.errors import AirbyteAccessError, AirbyteNameError, AirbyteNotFoundError
from airflow_provider_airbyte_api.api.finding import Filter, the_one
from airflow_provider_airbyte_api.api.models import (
    Connection,
    Destination,
    Job,
    Source,
    Tag,
    Workspace,
    expecting,
    valid_uuid,
)
from airflow_provider_airbyte_api.api.retry import ONCE, Retry
from airflow_provider_airbyte_api.api.wire import json_of, unexpected


def list_sources(workspace_ids: Iterable[str] = (), wanted: Filter = Filter()) -> Conversation[None]:  # noqa: B008
    """Emit sources, of ``workspace_ids`` if there are any."""
    workspace_ids = calls.valid_workspaces(workspace_ids)
    listing = pages(calls.list_sources(workspace_ids), Source.from_json, lambda source: source.source_id)
    yield from _in_workspaces(workspace_ids, listing, wanted)


def list_destinations(workspace_ids: Iterable[str] = (), wanted: Filter = Filter()) -> Conversation[None]:  # noqa: B008
    """Emit destinations, of ``workspace_ids`` if there are any."""
    workspace_ids = calls.valid_workspaces(workspace_ids)
    request = calls.list_destinations(workspace_ids)
    listing = pages(request, Destination.from_json, lambda destination: destination.destination_id)
    yield from _in_workspaces(workspace_ids, listing, wanted)


def list_connections(
    workspace_ids: Iterable[str] = (),
    wanted: Filter = Filter(),  # noqa: B008 - it is frozen
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
) -> Conversation[None]:
    """Emit Airbyte connections, of ``workspace_ids`` if there are any."""
    workspace_ids = calls.valid_workspaces(workspace_ids)
    tag_ids = wanted.tags if wanted.tags and all(map(_is_uuid, wanted.tags)) else ()
    request = calls.list_connections(workspace_ids, tag_ids)
    listing = pages(request, Connection.from_json, lambda connection: connection.connection_id, retry=retry)
    yield from _in_workspaces(workspace_ids, listing, wanted)


def list_jobs(
    *,
    connection_id: str | None = None,
    workspace_ids: Iterable[str] = (),
    status: str | None = None,
    job_type: str | None = None,
    times: calls.Times = calls.Times(),  # noqa: B008 - it is frozen
) -> Conversation[None]:
    """Emit jobs, the newest first."""
    workspace_ids = calls.valid_workspaces(workspace_ids)
    request = calls.list_jobs(
        connection_id=connection_id, workspace_ids=workspace_ids, status=status, job_type=job_type, times=times
    )
    listing = pages(request, Job.from_json, lambda job: job.job_id, is_ordered=True)
    yield from _in_workspaces(workspace_ids if connection_id is None else (), listing, Filter())


def _in_workspaces(workspace_ids: tuple[str, ...], listing: Conversation[None], wanted: Filter) -> Conversation[None]:
    """Emit what ``listing`` does and ``wanted`` lets pass, and see that the workspaces exist of which nothing came.

    :raises AirbyteNotFoundError: for one that does not, or may not be seen: Airbyte lists it as if it were empty.
    """
    shown: set[str] = set()

    def let_pass(rows: list[Any]) -> Emit:
        shown.update(getattr(row, "workspace_id", "") for row in rows)
        return Emit([row for row in rows if wanted.lets_pass(row)])

    yield from with_rows(listing, let_pass)
    for each in workspace_ids:
        if each not in shown:
            yield from get_workspace(each)


def list_tags(workspace_ids: Iterable[str] = ()) -> Conversation[list[Tag]]:
    """Return the tags, of ``workspace_ids`` if there are any (Airbyte 1.6 and newer)."""
    return (yield from read_page(calls.list_tags(workspace_ids), None, Tag.from_json)).rows


def list_streams(
    source_id: str,
    destination_id: str | None = None,
    *,
    ignore_cache: bool = False,
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
) -> Conversation[list[Any]]:
    """Return the streams of a source, as the API shows them."""
    request = calls.list_streams(source_id, destination_id, ignore_cache=ignore_cache)
    reply = yield from call(request, retry)
    rows = json_of(request, reply)
    if not isinstance(rows, list):
        raise unexpected(request, reply, "JSON that is no list.")
    return rows


def get_workspace(workspace_id: str) -> Conversation[Workspace]:
    """Return one workspace."""
    try:
        return (
            yield from call_for(
                calls.get_workspace(workspace_id), expecting(Workspace.from_json, workspace_id=workspace_id)
            )
        )
    except (AirbyteAccessError, AirbyteNotFoundError) as error:
        raise error.rephrased(
            f"There is no workspace {workspace_id}, or the user who created the application may not see it.",
            kind=AirbyteNotFoundError,
        ) from None


def connection_named(
    name: str,
    workspace_ids: Iterable[str] = (),
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
) -> Conversation[Connection]:
    """Return the one Airbyte connection of that name.

    :raises AirbyteNameError: if there is none or more than one.
    """
    found: Connection = yield from the_one(
        list_connections(workspace_ids, retry=retry), name, "Airbyte connection", lambda row: row.connection_id
    )
    return found


def source_named(name: str, workspace_ids: Iterable[str] = ()) -> Conversation[Source]:
    """Return the one source of that name; see :func:`connection_named`."""
    found: Source = yield from the_one(list_sources(workspace_ids), name, "source", lambda row: row.source_id)
    return found


def destination_named(name: str, workspace_ids: Iterable[str] = ()) -> Conversation[Destination]:
    """Return the one destination of that name; see :func:`connection_named`."""
    listing = list_destinations(workspace_ids)
    found: Destination = yield from the_one(listing, name, "destination", lambda row: row.destination_id)
    return found


def find_connection(
    connection_id: str | None,
    name: str | None = None,
    workspace_id: str | None = None,
    workspace_name: str | None = None,
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
) -> Conversation[Connection]:
    """Return an Airbyte connection by its id, or else by its name, in a workspace if there is one given.

    :raises AirbyteNameError: if there is none of that name, or more than one, or it is not in that workspace.
    """
    workspace_ids = [valid_uuid(workspace_id, "workspace_id")] if workspace_id else []
    if workspace_name:
        workspace_ids += yield from workspaces_named(workspace_name, retry)
    if not connection_id:
        return (yield from connection_named(str(name), workspace_ids, retry))
    connection = yield from get_connection(connection_id, retry)
    if workspace_ids and connection.workspace_id not in workspace_ids:
        raise AirbyteNameError(
            f"Airbyte connection {connection.name!r} ({connection_id}) is in workspace {connection.workspace_id}, and "
            f"not in {workspace_name or workspace_id}. Correct one of the two, or leave the workspace out."
        )
    return connection


def workspaces_named(names: Iterable[str], retry: Retry = Retry()) -> Conversation[list[str]]:  # noqa: B008
    """Return the ids of the workspaces of these names.

    :raises AirbyteNameError: if for one of them there is none or more than one.
    """
    ids: list[str] = []
    for name in [names] if isinstance(names, str) else names:
        found: Workspace = yield from the_one(list_workspaces(retry), name, "workspace", lambda row: row.workspace_id)
        ids.append(found.workspace_id)
    return ids


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def page_of_jobs(workspace_id: str | None, status: str, offset: int) -> Conversation[Page[Job]]:
    """Return a page of the jobs of one status, the newest first; of all workspaces if ``workspace_id`` is None.

    Rows that cannot be parsed are left out: they are no trouble of the other jobs.
    """
    request = calls.list_jobs(workspace_ids=[workspace_id] if workspace_id else (), status=status)
    return (yield from read_page(request, offset, Job.from_json, ONCE, skip_unreadable=True))


def page_of_changes(workspace_id: str | None, since: float, offset: int) -> Conversation[Page[Job]]:
    """Return a page of the jobs whose status changed at ``since`` or later, by the server's clock, the last one first.

    Rows that cannot be parsed are left out.

    :param workspace_id: all workspaces if it is None.
    :param since: seconds since the epoch.
    """
    request = calls.list_changed_jobs(workspace_id, since)
    return (yield from read_page(request, offset, Job.from_json, ONCE, skip_unreadable=True))


def list_workspaces(retry: Retry = Retry()) -> Conversation[None]:  # noqa: B008 - it is frozen
    """Emit all workspaces that the application's user sees."""
    request = calls.list_workspaces()
    yield from pages(request, Workspace.from_json, lambda workspace: workspace.workspace_id, retry=retry)


def get_connection(connection_id: str, retry: Retry = Retry()) -> Conversation[Connection]:  # noqa: B008 - it is frozen
    """Return one Airbyte connection."""
    return (
        yield from call_for(
            calls.get_connection(connection_id), expecting(Connection.from_json, connection_id=connection_id), retry
        )
    )


def get_source(source_id: str, retry: Retry = Retry()) -> Conversation[Source]:  # noqa: B008 - it is frozen
    """Return one source."""
    return (yield from call_for(calls.get_source(source_id), expecting(Source.from_json, source_id=source_id), retry))


def get_destination(destination_id: str, retry: Retry = Retry()) -> Conversation[Destination]:  # noqa: B008 - it is frozen
    """Return one destination."""
    return (
        yield from call_for(
            calls.get_destination(destination_id),
            expecting(Destination.from_json, destination_id=destination_id),
            retry,
        )
    )
