"""Flows that enable or disable an Airbyte connection, and change the schedule on which Airbyte syncs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.flow import Flow, Log, request_model
from airflow_provider_airbyte_api.api.models import Connection, expecting
from airflow_provider_airbyte_api.api.safe import dict_or_empty
from airflow_provider_airbyte_api.api.start_job import ensure_modifiable
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError, AirbytePermissionError
from airflow_provider_airbyte_api.types import ConnectionStatus

MANUAL = "manual"
UTC = "UTC"

QUARTZ_FIELDS = (6, 7)
"""Number of fields: second, minute, hour, day of month, month, day of week, and optionally the year."""


@dataclass(frozen=True)
class ConnectionUpdate:
    """The requested state of a connection. None leaves a field unchanged.

    ``status`` is active or inactive. ``schedule`` is manual or a Quartz cron expression in UTC.
    """

    status: str | None = None
    schedule: str | None = None

    def to_payload(self, connection: Connection) -> dict[str, Any]:
        """Return the body of the request that changes ``connection`` accordingly; empty if it is already up to date."""
        body: dict[str, Any] = {}
        if self.status is not None and self.status != connection.status:
            body["status"] = self.status
        if self.schedule is not None and self.schedule != _current_schedule(connection):
            is_manual = self.schedule == MANUAL
            cron = {} if is_manual else {"cronExpression": self.schedule}
            body["schedule"] = {"scheduleType": MANUAL if is_manual else "cron", **cron}
        return body


def parse_update(status: object, schedule: object) -> ConnectionUpdate:
    """Return the requested update.

    :raises AirbyteConfigError: if both values are None, or if Airbyte's public API does not accept one of them.
    """
    if status is None and schedule is None:
        raise AirbyteConfigError("status and schedule are None, expected a value for at least one of them.")
    if status not in (None, ConnectionStatus.ACTIVE, ConnectionStatus.INACTIVE):
        raise AirbyteConfigError(
            f"status is {status!r}, expected active, inactive, or None to keep the current status."
        )
    return ConnectionUpdate(
        None if status is None else str(status), None if schedule is None else _parse_schedule(schedule)
    )


def update_connection(connection: Connection, change: ConnectionUpdate) -> Flow[Connection]:
    """Return the connection after ``change``. The request is only sent if something differs.

    Any update cancels a job of the connection that Airbyte has queued.

    :raises AirbyteConnectionInactiveError: if the connection is locked or deleted.
    """
    ensure_modifiable(connection)
    body = change.to_payload(connection)
    if not body:
        yield Log("Airbyte connection %r is already up to date.", (connection.name,))
        return connection
    try:
        parse = expecting(Connection.from_json, connection_id=connection.connection_id)
        changed = yield from request_model(endpoints.update_connection(connection.connection_id, body), parse)
    except AirbytePermissionError as error:
        raise error.with_hint(
            "To change a connection, the user who created the application needs the editor role in the workspace."
        ) from None
    yield Log(
        "Updated Airbyte connection %r: status %s, schedule %s.",
        (changed.name, changed.status, _current_schedule(changed)),
    )
    return changed


def _current_schedule(connection: Connection) -> str:
    """Return a connection's schedule in the form of :class:`ConnectionUpdate`. Airbyte adds the time zone to a cron."""
    schedule = dict_or_empty(connection.raw.get("schedule"))
    if connection.schedule_type == "cron":
        return str(schedule.get("cronExpression") or "").removesuffix(UTC).strip()
    return MANUAL if connection.schedule_type == MANUAL else str(schedule.get("basicTiming") or "basic")


def _parse_schedule(value: object) -> str:
    fields = str(value).split()
    if fields == [MANUAL]:
        return MANUAL
    if fields[-1:] == [UTC]:
        fields.pop()
    if len(fields) > QUARTZ_FIELDS[0] and fields[-1][:1].isalpha():
        raise AirbyteConfigError(
            f"airbyte_schedule is {value!r}: Airbyte's public API accepts only UTC as the time zone."
        )
    if len(fields) not in QUARTZ_FIELDS or (fields[3] == "?") == (fields[5] == "?"):
        raise AirbyteConfigError(
            f"airbyte_schedule is {value!r}, expected manual, or a Quartz cron expression in UTC: second, minute, "
            "hour, day of the month, month and day of the week. One of the two days is a question mark: "
            "0 0 5 * * ? is daily at 05:00."
        )
    return " ".join(fields)
