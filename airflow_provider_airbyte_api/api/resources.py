"""Flows that list Airbyte's resources and look them up."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.backoff import NO_RETRY, RetryPolicy
from airflow_provider_airbyte_api.api.filters import ResourceFilter, find_one_by_name
from airflow_provider_airbyte_api.api.flow import (
    Flow,
    Page,
    YieldRows,
    fetch_page,
    iter_pages,
    map_pages,
    request_model,
    send_with_retry,
)
from airflow_provider_airbyte_api.api.http import parse_response, unexpected_response
from airflow_provider_airbyte_api.api.models import (
    Connection,
    Destination,
    Job,
    Source,
    Tag,
    Workspace,
    expecting,
    parse_uuid,
)
from airflow_provider_airbyte_api.exceptions import (
    AirbyteNotFoundError,
    AirbytePermissionError,
    AirbyteResourceLookupError,
)


def list_sources(workspace_ids: Iterable[str] = (), filters: ResourceFilter = ResourceFilter()) -> Flow[None]:  # noqa: B008
    """Yield sources, of ``workspace_ids`` or of all workspaces if it is empty."""
    workspace_ids = endpoints.parse_workspace_ids(workspace_ids)
    listing = iter_pages(endpoints.list_sources(workspace_ids), Source.from_json, lambda source: source.source_id)
    yield from _list_and_check_workspaces(workspace_ids, listing, filters)


def list_destinations(workspace_ids: Iterable[str] = (), filters: ResourceFilter = ResourceFilter()) -> Flow[None]:  # noqa: B008
    """Yield destinations, of ``workspace_ids`` or of all workspaces if it is empty."""
    workspace_ids = endpoints.parse_workspace_ids(workspace_ids)
    request = endpoints.list_destinations(workspace_ids)
    listing = iter_pages(request, Destination.from_json, lambda destination: destination.destination_id)
    yield from _list_and_check_workspaces(workspace_ids, listing, filters)


def list_connections(
    workspace_ids: Iterable[str] = (),
    filters: ResourceFilter = ResourceFilter(),  # noqa: B008 - it is frozen
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[None]:
    """Yield Airbyte connections, of ``workspace_ids`` or of all workspaces if it is empty."""
    workspace_ids = endpoints.parse_workspace_ids(workspace_ids)
    tag_ids = filters.tags if filters.tags and all(map(_is_uuid, filters.tags)) else ()
    request = endpoints.list_connections(workspace_ids, tag_ids)
    listing = iter_pages(request, Connection.from_json, lambda connection: connection.connection_id, retry=retry)
    yield from _list_and_check_workspaces(workspace_ids, listing, filters)


def list_jobs(
    *,
    connection_id: str | None = None,
    workspace_ids: Iterable[str] = (),
    status: str | None = None,
    job_type: str | None = None,
    times: endpoints.JobTimeFilter = endpoints.JobTimeFilter(),  # noqa: B008 - it is frozen
) -> Flow[None]:
    """Yield jobs, newest first."""
    workspace_ids = endpoints.parse_workspace_ids(workspace_ids)
    request = endpoints.list_jobs(
        connection_id=connection_id, workspace_ids=workspace_ids, status=status, job_type=job_type, times=times
    )
    listing = iter_pages(request, Job.from_json, lambda job: job.job_id, stable_order=True)
    yield from _list_and_check_workspaces(workspace_ids if connection_id is None else (), listing, ResourceFilter())


def _list_and_check_workspaces(
    workspace_ids: tuple[str, ...], listing: Flow[None], filters: ResourceFilter
) -> Flow[None]:
    """Yield the rows of ``listing`` that match ``filters``, and check that each workspace without any row exists.

    :raises AirbyteNotFoundError: if a workspace does not exist or is not visible. Airbyte lists it as if it were empty.
    """
    shown: set[str] = set()

    def let_pass(rows: list[Any]) -> YieldRows:
        shown.update(getattr(row, "workspace_id", "") for row in rows)
        return YieldRows([row for row in rows if filters.matches(row)])

    yield from map_pages(listing, let_pass)
    for each in workspace_ids:
        if each not in shown:
            yield from get_workspace(each)


def list_tags(workspace_ids: Iterable[str] = ()) -> Flow[list[Tag]]:
    """Return the tags, of ``workspace_ids`` or of all workspaces if it is empty (Airbyte 1.6 and newer)."""
    return (yield from fetch_page(endpoints.list_tags(workspace_ids), None, Tag.from_json)).rows


def list_streams(
    source_id: str,
    destination_id: str | None = None,
    *,
    ignore_cache: bool = False,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[list[Any]]:
    """Return the streams of a source, as the API returns them."""
    request = endpoints.list_streams(source_id, destination_id, ignore_cache=ignore_cache)
    response = yield from send_with_retry(request, retry)
    rows = parse_response(request, response)
    if not isinstance(rows, list):
        raise unexpected_response(request, response, "JSON that is not a list.")
    return rows


def get_workspace(workspace_id: str) -> Flow[Workspace]:
    """Return one workspace."""
    try:
        return (
            yield from request_model(
                endpoints.get_workspace(workspace_id), expecting(Workspace.from_json, workspace_id=workspace_id)
            )
        )
    except (AirbytePermissionError, AirbyteNotFoundError) as error:
        raise error.with_hint(
            f"Workspace {workspace_id} does not exist, or the user who created the application has no access to it.",
            error_class=AirbyteNotFoundError,
        ) from None


def get_connection_by_name(
    name: str,
    workspace_ids: Iterable[str] = (),
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[Connection]:
    """Return the one Airbyte connection of that name.

    :raises AirbyteResourceLookupError: if there is none, or more than one.
    """
    found: Connection = yield from find_one_by_name(
        list_connections(workspace_ids, retry=retry), name, "Airbyte connection", lambda row: row.connection_id
    )
    return found


def get_source_by_name(name: str, workspace_ids: Iterable[str] = ()) -> Flow[Source]:
    """Return the one source of that name; see :func:`get_connection_by_name`."""
    found: Source = yield from find_one_by_name(list_sources(workspace_ids), name, "source", lambda row: row.source_id)
    return found


def get_destination_by_name(name: str, workspace_ids: Iterable[str] = ()) -> Flow[Destination]:
    """Return the one destination of that name; see :func:`get_connection_by_name`."""
    listing = list_destinations(workspace_ids)
    found: Destination = yield from find_one_by_name(listing, name, "destination", lambda row: row.destination_id)
    return found


def resolve_connection(
    connection_id: str | None,
    name: str | None = None,
    workspace_id: str | None = None,
    workspace_name: str | None = None,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[Connection]:
    """Return an Airbyte connection by its id, or otherwise by its name; in the given workspace, if any.

    :raises AirbyteResourceLookupError: if none has that name, or several have it, or it is not in that workspace.
    """
    workspace_ids = [parse_uuid(workspace_id, "workspace_id")] if workspace_id else []
    if workspace_name:
        workspace_ids += yield from resolve_workspace_ids(workspace_name, retry)
    if not connection_id:
        return (yield from get_connection_by_name(str(name), workspace_ids, retry))
    connection = yield from get_connection(connection_id, retry)
    if workspace_ids and connection.workspace_id not in workspace_ids:
        raise AirbyteResourceLookupError(
            f"Airbyte connection {connection.name!r} ({connection_id}) is in workspace {connection.workspace_id}, not "
            f"in {workspace_name or workspace_id}. Correct one of the two, or omit the workspace."
        )
    return connection


def resolve_workspace_ids(names: Iterable[str], retry: RetryPolicy = RetryPolicy()) -> Flow[list[str]]:  # noqa: B008
    """Return the ids of the workspaces with these names.

    :raises AirbyteResourceLookupError: if no workspace has one of the names, or several have it.
    """
    ids: list[str] = []
    for name in [names] if isinstance(names, str) else names:
        found: Workspace = yield from find_one_by_name(
            list_workspaces(retry), name, "workspace", lambda row: row.workspace_id
        )
        ids.append(found.workspace_id)
    return ids


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def fetch_jobs_page(workspace_id: str | None, status: str, offset: int) -> Flow[Page[Job]]:
    """Return a page of the jobs of one status, newest first; of all workspaces if ``workspace_id`` is None.

    Rows that cannot be parsed are skipped, so that they do not affect other jobs.
    """
    request = endpoints.list_jobs(workspace_ids=[workspace_id] if workspace_id else (), status=status)
    return (yield from fetch_page(request, offset, Job.from_json, NO_RETRY, skip_unreadable=True))


def fetch_updated_jobs_page(workspace_id: str | None, since: float, offset: int) -> Flow[Page[Job]]:
    """Return a page of jobs whose status changed at ``since`` or later by the server's clock, latest change first.

    Rows that cannot be parsed are skipped.

    :param workspace_id: the workspace, or None for all of them.
    :param since: seconds since the epoch.
    """
    request = endpoints.list_updated_jobs(workspace_id, since)
    return (yield from fetch_page(request, offset, Job.from_json, NO_RETRY, skip_unreadable=True))


def list_workspaces(retry: RetryPolicy = RetryPolicy()) -> Flow[None]:  # noqa: B008 - it is frozen
    """Yield all workspaces that the application's user can see."""
    request = endpoints.list_workspaces()
    yield from iter_pages(request, Workspace.from_json, lambda workspace: workspace.workspace_id, retry=retry)


def get_connection(connection_id: str, retry: RetryPolicy = RetryPolicy()) -> Flow[Connection]:  # noqa: B008 - it is frozen
    """Return one Airbyte connection."""
    return (
        yield from request_model(
            endpoints.get_connection(connection_id), expecting(Connection.from_json, connection_id=connection_id), retry
        )
    )


def get_source(source_id: str, retry: RetryPolicy = RetryPolicy()) -> Flow[Source]:  # noqa: B008 - it is frozen
    """Return one source."""
    return (
        yield from request_model(
            endpoints.get_source(source_id), expecting(Source.from_json, source_id=source_id), retry
        )
    )


def get_destination(destination_id: str, retry: RetryPolicy = RetryPolicy()) -> Flow[Destination]:  # noqa: B008 - it is frozen
    """Return one destination."""
    return (
        yield from request_model(
            endpoints.get_destination(destination_id),
            expecting(Destination.from_json, destination_id=destination_id),
            retry,
        )
    )
