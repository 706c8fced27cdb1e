"""Operators that list Airbyte's sources, destinations, connections and jobs, for mapped tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_airbyte_api._airflow_compat import BaseOperator, conf
from airflow_provider_airbyte_api._defaults import DEFAULT_CONN_ID
from airflow_provider_airbyte_api._tracebacks import short_traceback
from airflow_provider_airbyte_api._validation import (
    boolean,
    check_choice,
    parse_optional_datetime,
    provided_fields,
    raise_config_error,
    texts,
    whole_number,
)
from airflow_provider_airbyte_api.api.safe import safe_repr
from airflow_provider_airbyte_api.types import ConnectionRow, DestinationRow, JobRow, ListOutput, SourceRow

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context
    from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook


class _ListOperator(BaseOperator):
    """Base class of the operators that list resources as the API returns them, in a stable order, each once."""

    ui_color = "#e5e4ff"
    resource_label: str
    id_field: str
    given: frozenset[str]

    def __init__(
        self,
        *,
        workspace_ids: str | Iterable[str] | None = None,
        workspace_names: str | Iterable[str] | None = None,
        output: ListOutput = "rows",
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workspace_ids = workspace_ids
        self.workspace_names = workspace_names
        # Not in ``output``, which is the operator's XComArg.
        self.output_format = check_choice(output, "output", ListOutput)
        self.airbyte_conn_id = airbyte_conn_id

    @short_traceback
    def execute(self, context: Context) -> list[Any]:
        """Return all resources that match the parameters, or their IDs."""
        from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

        for field in sorted(self.given):
            value = getattr(self, field)
            if value is None or (isinstance(value, Sized) and not value) or value == "None":
                raise_config_error(
                    f"{field} is {safe_repr(value)}: it rendered to an empty value. Omit it to list everything."
                )
        hook = AirbyteHook(self.airbyte_conn_id)
        rows = self._list(hook, _workspaces(hook, self.workspace_ids, self.workspace_names))
        self.log.info("Found %d %s.", len(rows), self.resource_label)
        self._require_mappable(len(rows))
        return list(rows) if self.output_format == "rows" else [row[self.id_field] for row in rows]

    def _require_mappable(self, count: int) -> None:
        """Raise if a task is mapped over the list and the list is longer than Airflow allows.

        Airflow would reject it too, but its API server's error names neither the number nor the option.
        """
        limit = conf.getint("core", "max_map_length", fallback=1024)
        has_dag: bool = self.has_dag()  # type: ignore[no-untyped-call] # Airflow's
        if count <= limit or not has_dag or next(iter(self.iter_mapped_dependants()), None) is None:
            return
        raise_config_error(
            f"Found {count:,} {self.resource_label}, but Airflow maps a task over at most {limit:,} items. No "
            f"job was started. Set AIRFLOW__CORE__MAX_MAP_LENGTH={count} or higher (option max_map_length in section "
            "[core]) for all of Airflow's services. Or list fewer: use several groups, one for each tag, name_pattern "
            "or workspace."
        )

    def _list(self, hook: AirbyteHook, workspace_ids: list[str]) -> Sequence[Mapping[str, Any]]:
        """Return all rows. Subclasses implement this."""
        raise NotImplementedError


class _ListNamedOperator(_ListOperator):
    """Base class for resources with a name: sorted by name, without configuration unless the option includes it."""

    def __init__(
        self,
        *,
        name: str | None = None,
        name_pattern: str | None = None,
        include_configuration: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.name_pattern = name_pattern
        self.include_configuration = boolean(include_configuration, "include_configuration")

    def _to_rows(self, found: Iterable[Any]) -> list[Any]:
        """Return rows as the API returns them, sorted by name, so that a mapped task has the same index each time."""
        hidden = () if self.include_configuration else ("configuration", "configurations")
        rows = sorted(found, key=lambda row: (row.name, str(row.raw)))
        return [{name: value for name, value in row.raw.items() if name not in hidden} for row in rows]


class AirbyteListSourcesOperator(_ListNamedOperator):
    """Lists sources, sorted by name: dicts with ``sourceId``, ``name``, ``sourceType`` and so on.

    :param workspace_ids: Only those of these workspaces (templated). A workspace that does not exist is an error.
        Default: all workspaces that the application's user can access.
    :param workspace_names: Names of those workspaces, instead of or in addition to ``workspace_ids`` (templated).
    :param name: Only those with exactly this name (templated).
    :param name_pattern: Only those whose name matches this pattern, such as ``prod-*`` (templated).
    :param source_type: Only those of this type, such as ``postgres`` (templated). Custom connectors have no type.
    :param include_configuration: Keep ``configuration`` in the result. It contains host and user names; Airbyte masks
        its secrets. It may be large, and the result is stored as an XCom. Default: False.
    :param output: ``rows``: dicts as in the API. ``ids``: the IDs alone. Default: ``rows``.
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_api_default``.
    """

    template_fields: Sequence[str] = (
        "workspace_ids",
        "workspace_names",
        "name",
        "name_pattern",
        "source_type",
        "airbyte_conn_id",
    )
    resource_label = "sources"
    id_field = "sourceId"

    def __init__(
        self,
        *,
        workspace_ids: str | Iterable[str] | None = None,
        workspace_names: str | Iterable[str] | None = None,
        name: str | None = None,
        name_pattern: str | None = None,
        source_type: str | None = None,
        include_configuration: bool = False,
        output: ListOutput = "rows",
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            workspace_ids=workspace_ids,
            workspace_names=workspace_names,
            name=name,
            name_pattern=name_pattern,
            include_configuration=include_configuration,
            output=output,
            airbyte_conn_id=airbyte_conn_id,
            **kwargs,
        )
        self.source_type = source_type
        self.given = provided_fields(self, self.template_fields)

    def _list(self, hook: AirbyteHook, workspace_ids: list[str]) -> list[SourceRow]:
        """Return all sources that match the parameters."""
        found = hook.list_sources(
            workspace_ids, name=self.name, name_pattern=self.name_pattern, source_type=self.source_type
        )
        return self._to_rows(found)


class AirbyteListDestinationsOperator(_ListNamedOperator):
    """Lists destinations, sorted by name: dicts with ``destinationId``, ``name``, ``destinationType`` and so on.

    :param workspace_ids: Only those of these workspaces (templated). A workspace that does not exist is an error.
        Default: all workspaces that the application's user can access.
    :param workspace_names: Names of those workspaces, instead of or in addition to ``workspace_ids`` (templated).
    :param name: Only those with exactly this name (templated).
    :param name_pattern: Only those whose name matches this pattern, such as ``prod-*`` (templated).
    :param destination_type: Only those of this type, such as ``bigquery`` (templated). Custom connectors have no type.
    :param include_configuration: Keep ``configuration`` in the result. It contains host and user names; Airbyte masks
        its secrets. It may be large, and the result is stored as an XCom. Default: False.
    :param output: ``rows``: dicts as in the API. ``ids``: the IDs alone. Default: ``rows``.
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_api_default``.
    """

    template_fields: Sequence[str] = (
        "workspace_ids",
        "workspace_names",
        "name",
        "name_pattern",
        "destination_type",
        "airbyte_conn_id",
    )
    resource_label = "destinations"
    id_field = "destinationId"

    def __init__(
        self,
        *,
        workspace_ids: str | Iterable[str] | None = None,
        workspace_names: str | Iterable[str] | None = None,
        name: str | None = None,
        name_pattern: str | None = None,
        destination_type: str | None = None,
        include_configuration: bool = False,
        output: ListOutput = "rows",
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            workspace_ids=workspace_ids,
            workspace_names=workspace_names,
            name=name,
            name_pattern=name_pattern,
            include_configuration=include_configuration,
            output=output,
            airbyte_conn_id=airbyte_conn_id,
            **kwargs,
        )
        self.destination_type = destination_type
        self.given = provided_fields(self, self.template_fields)

    def _list(self, hook: AirbyteHook, workspace_ids: list[str]) -> list[DestinationRow]:
        """Return all destinations that match the parameters."""
        found = hook.list_destinations(
            workspace_ids, name=self.name, name_pattern=self.name_pattern, destination_type=self.destination_type
        )
        return self._to_rows(found)


class AirbyteListConnectionsOperator(_ListNamedOperator):
    """Lists Airbyte connections, sorted by name: dicts with ``connectionId``, ``name``, ``status`` and so on.

    :param workspace_ids: Only those of these workspaces (templated). A workspace that does not exist is an error.
        Default: all workspaces that the application's user can access.
    :param workspace_names: Names of those workspaces, instead of or in addition to ``workspace_ids`` (templated).
    :param name: Only those with exactly this name (templated).
    :param name_pattern: Only those whose name matches this pattern, such as ``prod-*`` (templated).
    :param status: Only those with this status (templated). None: any status. Default: ``active``, since the others
        cannot be synced.
    :param tags: Only those with one of these tags, given by name or ID (templated; Airbyte 1.6 and newer).
    :param source_id: Only those from this source (templated).
    :param source_name: Name of that source, instead of ``source_id`` (templated).
    :param destination_id: Only those to this destination (templated).
    :param destination_name: Name of that destination, instead of ``destination_id`` (templated).
    :param include_configuration: Keep ``configurations`` in the result, with every stream. It may be large. Default:
        False.
    :param output: ``rows``: dicts as in the API. ``ids``: the IDs alone, for ``.expand(connection_id=found.output)``.
        Default: ``rows``.
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_api_default``.
    """

    template_fields: Sequence[str] = (
        "workspace_ids",
        "workspace_names",
        "name",
        "name_pattern",
        "status",
        "tags",
        "source_id",
        "source_name",
        "destination_id",
        "destination_name",
        "airbyte_conn_id",
    )
    resource_label = "connections"
    id_field = "connectionId"

    def __init__(
        self,
        *,
        workspace_ids: str | Iterable[str] | None = None,
        workspace_names: str | Iterable[str] | None = None,
        name: str | None = None,
        name_pattern: str | None = None,
        status: str | None = "active",
        tags: str | Iterable[str] | None = None,
        source_id: str | None = None,
        source_name: str | None = None,
        destination_id: str | None = None,
        destination_name: str | None = None,
        include_configuration: bool = False,
        output: ListOutput = "rows",
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            workspace_ids=workspace_ids,
            workspace_names=workspace_names,
            name=name,
            name_pattern=name_pattern,
            include_configuration=include_configuration,
            output=output,
            airbyte_conn_id=airbyte_conn_id,
            **kwargs,
        )
        self.status = status
        self.tags = tags
        _check_exclusive("source_id", source_id, "source_name", source_name)
        self.source_id = source_id
        self.source_name = source_name
        _check_exclusive("destination_id", destination_id, "destination_name", destination_name)
        self.destination_id = destination_id
        self.destination_name = destination_name
        self.given = provided_fields(self, self.template_fields)

    def _list(self, hook: AirbyteHook, workspace_ids: list[str]) -> list[ConnectionRow]:
        """Return all connections that match the parameters."""
        source_id, destination_id = self.source_id, self.destination_id
        if self.source_name is not None:
            source_id = hook.get_source_by_name(self.source_name, workspace_ids).source_id
        if self.destination_name is not None:
            destination_id = hook.get_destination_by_name(self.destination_name, workspace_ids).destination_id
        found = hook.list_connections(
            workspace_ids,
            name=self.name,
            name_pattern=self.name_pattern,
            status=self.status,
            tags=() if self.tags is None else self.tags,
            source_id=source_id,
            destination_id=destination_id,
        )
        return self._to_rows(found)


class AirbyteListJobsOperator(_ListOperator):
    """Lists jobs, newest first: dicts with ``jobId``, ``status``, ``jobType``, ``startTime`` and so on.

    :param connection_id: Only those of this Airbyte connection (templated). The workspaces have no effect then.
    :param connection_name: Name of that connection, instead of ``connection_id`` (templated). It is looked up in the
        given workspaces.
    :param workspace_ids: Only those of these workspaces (templated). Default: all workspaces that the application's
        user can access.
    :param workspace_names: Names of those workspaces, instead of or in addition to ``workspace_ids`` (templated).
    :param status: Only those with this status (templated).
    :param job_type: Only those of this type: ``sync``, ``reset``, ``clear`` or ``refresh`` (templated).
    :param created_after: Only those created at this time or later: a datetime or an ISO 8601 string (templated).
    :param created_before: Only those created at this time or earlier, likewise (templated).
    :param updated_after: Only those whose status last changed at this time or later, likewise (templated).
    :param updated_before: Only those whose status last changed at this time or earlier, likewise (templated).
    :param limit: Maximum number of jobs. Default: 100.
    :param with_reason: Add ``failureReason`` to each job that failed or was cancelled, with one more request each:
        a dict with ``origin``, ``kind``, ``message`` and ``attempts``, or None if it is unknown. Default: False.
    :param output: ``rows``: dicts as in the API. ``ids``: the IDs alone, for ``.expand(job_id=found.output)``. Default:
        ``rows``.
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_api_default``.
    """

    template_fields: Sequence[str] = (
        "connection_id",
        "connection_name",
        "workspace_ids",
        "workspace_names",
        "status",
        "job_type",
        "created_after",
        "created_before",
        "updated_after",
        "updated_before",
        "airbyte_conn_id",
    )
    resource_label = "jobs"
    id_field = "jobId"

    def __init__(
        self,
        *,
        connection_id: str | None = None,
        connection_name: str | None = None,
        workspace_ids: str | Iterable[str] | None = None,
        workspace_names: str | Iterable[str] | None = None,
        status: str | None = None,
        job_type: str | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        limit: int = 100,
        with_reason: bool = False,
        output: ListOutput = "rows",
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            workspace_ids=workspace_ids,
            workspace_names=workspace_names,
            output=output,
            airbyte_conn_id=airbyte_conn_id,
            **kwargs,
        )
        _check_exclusive("connection_id", connection_id, "connection_name", connection_name)
        self.connection_id = connection_id
        self.connection_name = connection_name
        self.status = status
        self.job_type = job_type
        self.created_after = created_after
        self.created_before = created_before
        self.updated_after = updated_after
        self.updated_before = updated_before
        self.limit = whole_number(limit, "limit", 1)
        self.with_reason = boolean(with_reason, "with_reason")
        self.given = provided_fields(self, self.template_fields)

    def _list(self, hook: AirbyteHook, workspace_ids: list[str]) -> list[JobRow]:
        """Return the newest jobs that match the parameters, at most ``limit``."""
        from airflow_provider_airbyte_api.api.outcome import build_row

        with_reason = self.with_reason and self.output_format == "rows"
        connection_id = self.connection_id
        if self.connection_name is not None:
            connection_id = hook.get_connection_by_name(self.connection_name, workspace_ids).connection_id
        found = hook.list_jobs(
            connection_id,
            workspace_ids=workspace_ids,
            status=self.status,
            job_type=self.job_type,
            created_after=parse_optional_datetime(self.created_after, "created_after"),
            created_before=parse_optional_datetime(self.created_before, "created_before"),
            updated_after=parse_optional_datetime(self.updated_after, "updated_after"),
            updated_before=parse_optional_datetime(self.updated_before, "updated_before"),
            with_reason=with_reason,
        )
        listed = [job for _, job in zip(range(self.limit), found, strict=False)]
        return [build_row(job) if with_reason else cast("JobRow", dict(job.raw)) for job in listed]


def _workspaces(
    hook: AirbyteHook, workspace_ids: str | Iterable[str] | None, workspace_names: str | Iterable[str] | None
) -> list[str]:
    ids, names = texts(workspace_ids, "workspace_ids"), texts(workspace_names, "workspace_names")
    return [*ids, *(hook.get_workspace_ids_by_name(names) if names else ())]


def _check_exclusive(id_field: str, id_value: object, name_field: str, name_value: object) -> None:
    if id_value is not None and name_value is not None:
        raise_config_error(
            f"{id_field} is {safe_repr(id_value)} and {name_field} {safe_repr(name_value)}, "
            "expected only one of the two."
        )
