"""The operator that switches an Airbyte connection on and off, and changes its schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

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
from airflow_provider_airbyte_api.links.airbyte import AirbyteConnectionLink, push_link_urls

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class AirbyteUpdateConnectionOperator(BaseOperator):
    """Switches an Airbyte connection on or off, and changes whether and when Airbyte itself syncs it.

    For teams that let Airflow own the schedule: ``schedule="manual"``. Airbyte is told only of what is different, for
    any update cancels a job of the connection that waits in Airbyte's queue. It returns a dict with ``connection_id``,
    ``name``, ``status``, ``schedule`` (as the API shows it) and ``changed``, a list of what was different.

    :param connection_id: the UUID of the Airbyte connection; or else
    :param connection_name: its name, exactly.
    :param workspace_id: look for the name in this workspace only.
    :param workspace_name: the same by name.
    :param status: ``active`` or ``inactive``; None: as it is.
    :param schedule: ``manual``, or a cron expression of Quartz in UTC, such as ``0 0 5 * * ?`` (second, minute, hour,
        day of the month, month, day of the week); None: as it is.
    :param airbyte_conn_id: the id of the Airflow connection. Its application's user has to be an editor.
    """

    template_fields: Sequence[str] = (*CONNECTION_FIELDS, "status", "schedule", "airbyte_conn_id")
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
        schedule: str | None = None,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_exactly_one(connection_id, connection_name)
        if status is None and schedule is None:
            raise_config_error("status and schedule are None, expected at least one of them: there is nothing to do.")
        self.connection_id = connection_id
        self.connection_name = connection_name
        self.workspace_id = workspace_id
        self.workspace_name = workspace_name
        self.given = provided_fields(self, CONNECTION_FIELDS)
        self.status = status
        self.airbyte_schedule = schedule
        self.airbyte_conn_id = airbyte_conn_id

    @short_traceback
    def execute(self, context: Context) -> dict[str, Any]:
        """Change what is different, and return how the connection is now."""
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
