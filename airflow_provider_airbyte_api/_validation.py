"""Arguments of operators and sensors that are checked while the DAG is parsed, where the author sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.api.backoff import RetryPolicy
    from airflow_provider_airbyte_api.api.flow import Flow
    from airflow_provider_airbyte_api.api.models import Connection

CONNECTION_FIELDS = ("connection_id", "connection_name", "workspace_id", "workspace_name")
"""The arguments that say which Airbyte connection is meant. All are templates."""


BOOLEANS = frozenset(
    {"wait_for_completion", "deferrable", "cancel_on_kill", "durable", "emit_schema_facet", "include_configuration"}
)
"""All arguments that are True or False, whatever class has them."""


class ConnectionSelector(Protocol):
    """A task with the arguments of :data:`CONNECTION_FIELDS`; ``given`` is what :func:`given_to` says."""

    connection_id: str | None
    connection_name: str | None
    workspace_id: str | None
    workspace_name: str | None
    given: frozenset[str]


def raise_config_error(message: str) -> NoReturn:
    """Raise :class:`~.exceptions.AirbyteConfigError`, as the ``AirflowException`` that it is to Airflow."""
    from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

    raise AirbyteConfigError(message)


def require_exactly_one(connection_id: str | None, connection_name: str | None) -> None:
    """Do nothing if one of the two is given, and the other is not.

    :raises AirbyteConfigError: if not.
    """
    if (connection_id is None) == (connection_name is None):
        from airflow_provider_airbyte_api.api.safe import safe_repr

        raise_config_error(
            f"connection_id is {safe_repr(connection_id)} and connection_name {safe_repr(connection_name)}, expected "
            "one of the two: the UUID of an Airbyte connection, or its name."
        )


def resolve_task_connection(task: ConnectionSelector, retry: RetryPolicy | None = None) -> Flow[Connection]:
    """Return a conversation that finds the Airbyte connection which ``task`` names, now that it runs.

    :raises AirbyteConfigError: if what names it was a template that rendered to nothing.
    """
    from airflow_provider_airbyte_api.api.backoff import RetryPolicy
    from airflow_provider_airbyte_api.api.resources import resolve_connection

    which = [
        _rendered_text(value, name) if name in task.given or value is not None else None
        for name, value in ((name, getattr(task, name)) for name in CONNECTION_FIELDS)
    ]
    connection_id, connection_name, workspace_id, workspace_name = which
    return resolve_connection(connection_id, connection_name, workspace_id, workspace_name, retry or RetryPolicy())


def provided_fields(task: object, names: Iterable[str]) -> frozenset[str]:
    """Return which of the arguments ``names`` somebody gave to ``task``, when it is made.

    When it runs, None may be what a template, or another task, has come to, and must not mean "not given" then.
    """
    return frozenset(name for name in names if getattr(task, name) is not None)


def set_map_index_name(context: Any, name: str) -> None:
    """Offer an Airbyte connection's name to the task's ``map_index_template``, and show it while the task runs."""
    from airflow_provider_airbyte_api import _airflow_compat

    # Airflow keeps the rendered template in a column of 250 characters.
    name = name[:250]
    context["airbyte_connection_name"] = name
    with contextlib.suppress(Exception):  # no template of a user's, and no Airflow, may fail a task by a label
        _airflow_compat.show_map_index(context)


def boolean(value: object, name: str) -> bool:
    """Return ``value`` if it is True or False; see :func:`.api.checks.boolean`.

    :raises AirbyteConfigError: if it is anything else, such as the text ``"False"`` or a template.
    """
    found: bool = _checked("parse_bool", value, name)
    return found


def check_seconds(value: object, name: str) -> float:
    """Return ``value`` as a number of seconds.

    :raises AirbyteConfigError: if it is none, not above zero, or longer than 100 years.
    """
    found: float = _checked("parse_seconds", value, name)
    return found


def check_optional_seconds(value: object, name: str) -> float | None:
    """Return ``value`` as a number of seconds, or None; see :func:`positive_seconds`."""
    return None if value is None else check_seconds(value, name)


def whole_number(value: object, name: str, minimum: int = 0) -> int:
    """Return ``value`` as a whole number of at least ``minimum``.

    :raises AirbyteConfigError: if it is anything else; ``name`` says whose value it is.
    """
    found: int = _checked("parse_int", value, name, minimum)
    return found


def whole_number_or_none(value: object, name: str) -> int | None:
    """Return ``value`` as a whole number that is not negative, or None; see :func:`whole_number`."""
    return None if value is None else whole_number(value, name)


def check_choice(value: object, name: str, choices: Sequence[str]) -> str:
    """Return ``value``.

    :raises AirbyteConfigError: if it is none of ``choices``; ``name`` says whose value it is.
    """
    found: str = _checked("parse_choice", value, name, choices)
    return found


def texts(value: object, name: str) -> tuple[str, ...]:
    """Return ``value``, a text or several, as texts; None as none of them.

    :raises AirbyteConfigError: if it is anything else; ``name`` says whose value it is.
    """
    found: tuple[str, ...] = _checked("parse_texts", value, name)
    return found


def parse_optional_datetime(value: datetime | str | None, name: str) -> datetime | None:
    """Return ``value`` as a moment, in UTC where it names no zone.

    :raises AirbyteConfigError: if it is none, or not in the years 1970 to 9998; ``name`` says whose value it is.
    """
    found: datetime | None = None if value is None or value == "" else _checked("parse_datetime", value, name)
    return found


def _checked(check: str, *arguments: object) -> Any:
    """Return what that function of :mod:`.api.checks` does, and raise as :func:`refuse` does."""
    from airflow_provider_airbyte_api.api import checks

    return getattr(checks, check)(*arguments)


def _rendered_text(value: object, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # Jinja's native types make a number of a name such as 2024
    if not isinstance(value, str) or value.strip() in ("", "None"):
        from airflow_provider_airbyte_api.api.safe import safe_repr

        raise_config_error(
            f"{name} is {safe_repr(value)}: a template rendered to nothing, or to no text. Expected an id or a name, "
            "as Airbyte shows it."
        )
    return value
