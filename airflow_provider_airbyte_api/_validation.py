"""Validation of the arguments of operators and sensors while the DAG is parsed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, get_args

from airflow_provider_airbyte_api.api.safe import safe_repr

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.api.backoff import RetryPolicy
    from airflow_provider_airbyte_api.api.flow import Flow
    from airflow_provider_airbyte_api.api.models import Connection

Choice = TypeVar("Choice", bound=str)

CONNECTION_FIELDS = ("connection_id", "connection_name", "workspace_id", "workspace_name")
"""The arguments that select an Airbyte connection. All are templated."""


BOOLEANS = frozenset(
    {
        "wait_for_completion",
        "deferrable",
        "durable",
        "emit_schema_facet",
        "include_configuration",
        "show_internal_errors",
        "with_reason",
    }
)
"""The boolean arguments of all classes."""


class ConnectionSelector(Protocol):
    """A task with the arguments of :data:`CONNECTION_FIELDS`; ``given`` is the result of :func:`provided_fields`."""

    connection_id: str | None
    connection_name: str | None
    workspace_id: str | None
    workspace_name: str | None
    given: frozenset[str]


def raise_config_error(message: str) -> NoReturn:
    """Raise :class:`~.exceptions.AirbyteConfigError`, which is also an ``AirflowException``."""
    from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

    raise AirbyteConfigError(message)


def require_exactly_one(connection_id: str | None, connection_name: str | None) -> None:
    """Raise unless exactly one of the two arguments is given.

    :raises AirbyteConfigError: if both are given, or neither.
    """
    if (connection_id is None) == (connection_name is None):
        raise_config_error(
            f"connection_id is {safe_repr(connection_id)} and connection_name {safe_repr(connection_name)}, expected "
            "exactly one of the two: the UUID of an Airbyte connection, or its name."
        )


def resolve_task_connection(task: ConnectionSelector, retry: RetryPolicy | None = None) -> Flow[Connection]:
    """Return a flow that resolves the Airbyte connection that ``task`` selects, for use at run time.

    :param task: The operator or sensor, with rendered templates.
    :param retry: The retry policy. Default: None, the defaults of ``RetryPolicy``.
    :raises AirbyteConfigError: if a given argument rendered to an empty value.
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
    """Return the arguments among ``names`` that were given to ``task``. Call this in its constructor.

    At run time, None may be the result of a template or of another task. It must not count as "not given" then.
    """
    return frozenset(name for name in names if getattr(task, name) is not None)


def set_map_index_name(context: Any, name: str) -> None:
    """Provide an Airbyte connection's name to the task's ``map_index_template``, and show it while the task runs."""
    from airflow_provider_airbyte_api import _airflow_compat

    # Airflow stores the rendered template in a column of 250 characters.
    name = name[:250]
    context["airbyte_connection_name"] = name
    with contextlib.suppress(Exception):  # an error in a label must never fail the task
        _airflow_compat.show_map_index(context)


def boolean(value: object, name: str) -> bool:
    """Return ``value`` if it is True or False; see :func:`.api.checks.parse_bool`.

    :raises AirbyteConfigError: if it is anything else, such as the string ``"False"`` or a template.
    """
    found: bool = _checked("parse_bool", value, name)
    return found


def check_seconds(value: object, name: str) -> float:
    """Return ``value``, a ``timedelta`` or a number, as seconds.

    :raises AirbyteConfigError: if it is neither, not above zero, or longer than 100 years.
    """
    found: float = _checked("parse_seconds", value, name)
    return found


def check_optional_seconds(value: object, name: str) -> float | None:
    """Return ``value`` as seconds, or None; see :func:`check_seconds`."""
    return None if value is None else check_seconds(value, name)


def whole_number(value: object, name: str, minimum: int = 0) -> int:
    """Return ``value`` as a whole number of at least ``minimum``.

    :raises AirbyteConfigError: if it is anything else. The message contains ``name``.
    """
    found: int = _checked("parse_int", value, name, minimum)
    return found


def whole_number_or_none(value: object, name: str) -> int | None:
    """Return ``value`` as a non-negative whole number, or None; see :func:`whole_number`."""
    return None if value is None else whole_number(value, name)


def check_choice(value: Choice, name: str, literal: object) -> Choice:
    """Return ``value`` if it is one of the strings of ``literal``, a ``Literal`` of :mod:`.types`.

    :raises AirbyteConfigError: if it is not. The message contains ``name``.
    """
    found: Choice = _checked("parse_choice", value, name, get_args(literal))
    return found


def texts(value: object, name: str) -> tuple[str, ...]:
    """Return ``value``, a string or several, as a tuple of strings; None becomes an empty tuple.

    :raises AirbyteConfigError: if it is anything else. The message contains ``name``.
    """
    found: tuple[str, ...] = _checked("parse_texts", value, name)
    return found


def parse_optional_datetime(value: datetime | str | None, name: str) -> datetime | None:
    """Return ``value`` as a datetime, in UTC if it has no time zone; None for None or an empty string.

    :raises AirbyteConfigError: if it is not a datetime, or not in the years 1970 to 9998. The message contains
        ``name``.
    """
    found: datetime | None = None if value is None or value == "" else _checked("parse_datetime", value, name)
    return found


def _checked(check: str, *arguments: object) -> Any:
    """Call the function ``check`` of :mod:`.api.checks`, which is imported only now, and return its result."""
    from airflow_provider_airbyte_api.api import checks

    return getattr(checks, check)(*arguments)


def _rendered_text(value: object, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # Jinja's native types convert a name such as 2024 to a number
    if not isinstance(value, str) or value.strip() in ("", "None"):
        raise_config_error(
            f"{name} is {safe_repr(value)}: a template rendered to an empty value, or to one that is no string. "
            "Expected an id or a name as in Airbyte."
        )
    return value
