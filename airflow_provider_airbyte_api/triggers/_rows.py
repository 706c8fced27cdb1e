"""Parsing of triggers' arguments: strict for arguments from code, tolerant for a row of Airflow's trigger table.

A triggerer may run another version of this package than the worker that wrote the row. A row may also be written by
hand. Airflow's triggerer catches a ``TypeError`` from a trigger's constructor. Any other exception ends the process,
again after each restart. So arguments from a row never raise: unknown keywords are ignored, and the trigger's event
reports an invalid value. Arguments from code raise at once, with an error that is also a ``TypeError``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_airbyte_api.api.safe import safe_float, safe_repr
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

MODULE = "airflow_provider_airbyte_api.triggers.airbyte"
"""The module from which users, and rows, import all triggers."""


class _ArgumentError(AirbyteConfigError, TypeError):
    """An argument of a trigger is invalid."""


def serialize(trigger: object) -> tuple[str, dict[str, Any]]:
    """Return the class path and the arguments that recreate ``trigger``, one for each parameter of its constructor.

    The argument ``from_row`` lets the constructor know that its arguments come from a row.
    """
    trigger_class = type(trigger)
    arguments = {name: name == "from_row" or getattr(trigger, name) for name in _parameters(trigger_class)}
    return f"{trigger_class.__module__}.{trigger_class.__qualname__}", arguments


def _parameters(trigger_class: type) -> list[str]:
    """Return the names of a constructor's parameters, with those that it passes on as keywords to a class of ours."""
    names: dict[str, None] = {}
    for each in trigger_class.__mro__:
        if "__init__" not in vars(each):
            continue
        parameters = list(inspect.signature(each).parameters.values())
        named = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        names |= dict.fromkeys(named)
        if each.__module__ == MODULE or len(named) == len(parameters):
            break
    return list(names)


def check_arguments(
    class_name: str, unknown_kwargs: Mapping[str, Any], parse: Callable[[], None], log: Any, *, from_row: bool
) -> AirbyteConfigError | None:
    """Return the error in the arguments of a row, or None if they are valid.

    :param class_name: Name of the trigger's class.
    :param unknown_kwargs: Keywords that this version does not know. In a row they are ignored.
    :param parse: Sets the attributes, and raises ``AirbyteConfigError`` for an invalid value.
    :param log: The trigger's logger.
    :param from_row: Whether the arguments come from a row.
    :raises AirbyteConfigError: if an argument is invalid and does not come from a row. It is also a ``TypeError``.
    """
    names = ", ".join(sorted(map(str, unknown_kwargs)))
    try:
        if unknown_kwargs and not from_row:
            raise AirbyteConfigError(f"{class_name} has no argument {names}.")  # noqa: TRY301 - one way out
        parse()
    except AirbyteConfigError as error:
        if not from_row:
            raise _ArgumentError(str(error)) from None
        return AirbyteConfigError(
            f"Could not create the trigger from its row in Airflow's database: {error} The row was written by another "
            "version of airflow-provider-airbyte-api, or by hand. Install the same version on workers and triggerers."
        )
    if unknown_kwargs:
        log.info("Ignoring arguments of %s that this version does not know: %s.", class_name, names)
    return None


def parse_seconds(value: object, name: str) -> float:
    """Return ``value``, a number or a string with one, as a number of seconds.

    :raises AirbyteConfigError: if it is not a finite number.
    """
    number = safe_float(value)
    if number is None and isinstance(value, str):
        try:
            number = safe_float(float(value))
        except ValueError:
            number = None
    if number is None:
        raise AirbyteConfigError(f"{name} is {safe_repr(value)}, expected a number of seconds, such as 30.")
    return number


def parse_optional_seconds(value: object, name: str) -> float | None:
    """Return ``value`` as a number of seconds, or None; see :func:`parse_seconds`."""
    return None if value is None else parse_seconds(value, name)


def parse_interval(value: object, name: str = "poll_interval") -> float:
    """Return ``value`` as a number of seconds above 0; see :func:`parse_seconds`."""
    number = parse_seconds(value, name)
    if number <= 0:
        raise AirbyteConfigError(f"{name} is {safe_repr(value)}, expected a number of seconds above 0, such as 30.")
    return number


def parse_text(value: object, name: str) -> str:
    """Return ``value`` if it is a string.

    :raises AirbyteConfigError: if it is not a string.
    """
    if not isinstance(value, str):
        raise AirbyteConfigError(f"{name} is {safe_repr(value)}, expected a string.")
    return value


def parse_optional_text(value: object, name: str) -> str | None:
    """Return ``value`` if it is a string, or None if it is None or empty; see :func:`parse_text`."""
    return None if value is None else parse_text(value, name) or None


def parse_json_object(value: object, name: str) -> dict[str, Any]:
    """Return ``value`` as a dict; None becomes an empty dict.

    :raises AirbyteConfigError: if it is neither a mapping nor None.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise AirbyteConfigError(f"{name} is {safe_repr(value)}, expected a dict.")
    return dict(value)
