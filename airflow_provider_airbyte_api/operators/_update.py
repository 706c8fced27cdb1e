"""The operator that activates or deactivates an Airbyte connection, and changes its schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api._airflow_compat import BaseOperator
from airflow_provider_airbyte_api._defaults import DEFAULT_CONN_ID
from airflow_provider_airbyte_api._tracebacks import short_traceback
from airflow_provider_airbyte_api._validation import (
    CONNECTION_FIELDS,
    provided_fields,
    raise_config_error,
    require_exactly_one,
    resolve_task_connection,
    set_map_index_name,
)
from airflow_provider_airbyte_api.links.airbyte import AirbyteConnectionLink, PushesOwnLinks, push_link_urls
from airflow_provider_airbyte_api.types import UpdateResult

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context


class AirbyteUpdateConnectionOperator(PushesOwnLinks, BaseOperator):
    """Activates or deactivates an Airbyte connection, and changes when Airbyte itself syncs it.

    With ``airbyte_schedule="manual"`` only Airflow starts its syncs. A request is sent only if something differs, since
    any update cancels a job of the connection that is queued in Airbyte. Returns a dict with ``connection_id``,
    ``name``, ``status``, ``schedule`` (as in the API) and ``changed``, the list of what was different.

    :param connection_id: UUID of the Airbyte connection (templated). Required unless ``connection_name`` is given.
    :param connection_name: Exact name of the Airbyte connection (templated). Mutually exclusive with
        ``connection_id``.
    :param workspace_id: Look up ``connection_name`` in this workspace only (templated).
    :param workspace_name: Name of that workspace, instead of ``workspace_id`` (templated).
    :param status: ``active`` or ``inactive`` (templated). Default: None, unchanged.
    :param airbyte_schedule: ``manual``, or a Quartz cron expression in UTC, such as ``0 0 5 * * ?`` (second, minute,
        hour, day of month, month, day of week) (templated). Default: None, unchanged.
    :param airbyte_conn_id: ID of the Airflow connection (templated). Its application's user must be an editor. Default:
        ``airbyte_api_default``.
    """

    template_fields: Sequence[str] = (*CONNECTION_FIELDS, "status", "airbyte_schedule", "airbyte_conn_id")
    operator_extra_links = (AirbyteConnectionLink(),)
    ui_color = "#e5e4ff"

    def __init__(
        self,
        *,
        connection_id: str | None = None,
        connection_name: str | None = None,
        workspace_id: str | None = None,
        workspace_name: str | None = None,
        status: str | None = None,
        airbyte_schedule: str | None = None,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_exactly_one(connection_id, connection_name)
        if status is None and airbyte_schedule is None:
            raise_config_error("status and airbyte_schedule are None, expected a value for at least one of them.")
        self.connection_id = connection_id
        self.connection_name = connection_name
        self.workspace_id = workspace_id
        self.workspace_name = workspace_name
        self.given = provided_fields(self, CONNECTION_FIELDS)
        self.status = status
        self.airbyte_schedule = airbyte_schedule
        self.airbyte_conn_id = airbyte_conn_id

    @short_traceback
    def execute(self, context: Context) -> UpdateResult:
        """Update the values that differ, and return the updated connection."""
        from airflow_provider_airbyte_api.api.connection_update import parse_update, update_connection
        from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

        change = parse_update(self.status, self.airbyte_schedule)
        hook = AirbyteHook(self.airbyte_conn_id)
        before = hook.run(resolve_task_connection(self))
        set_map_index_name(context, before.name)
        push_link_urls(context["ti"], None, hook.connection_url(before.workspace_id, before.connection_id))
        after = hook.run(update_connection(before, change))
        return {
            "connection_id": after.connection_id,
            "name": after.name,
            "status": after.status,
            "schedule": after.raw.get("schedule"),
            "changed": sorted(change.to_payload(before)),
        }
