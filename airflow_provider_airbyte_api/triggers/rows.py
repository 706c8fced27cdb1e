"""Arguments of triggers: strict where a person gives them, tolerant where Airflow reads them from a row of its table.

A triggerer may run another version of this package than the worker that wrote the row, and a row may be written by
hand. Airflow's triggerer catches a ``TypeError`` from a trigger's constructor; any other exception ends the whole
process, again after each restart. So a row never raises: keywords that this version does not know are ignored, and a
value that cannot be used is reported by the trigger's event. An author who builds a trigger still gets an error at
once, and it is a ``TypeError``, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_airbyte_api.api.safe import safe_float, safe_repr
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

FROM_ROW = {"from_row": True}
"""What :meth:`serialize` adds, so that a constructor knows that it reads a row."""


class _ArgumentError(AirbyteConfigError, TypeError):
    """An argument of a trigger that cannot be used."""


def check_arguments(
    kind: str, unknown: Mapping[str, Any], read: Callable[[], None], log: Any, *, from_row: bool
) -> AirbyteConfigError | None:
    """Return why the arguments of a row cannot be used; None if they can.

    :param kind: the trigger's class.
    :param unknown: keywords that this version does not know. They are ignored in a row.
    :param read: sets the attributes, and raises ``AirbyteConfigError`` for a value that cannot be used.
    :raises AirbyteConfigError: what a row returns, if the arguments are no row's. It is a ``TypeError``, too.
    """
    names = ", ".join(sorted(map(str, unknown)))
    try:
        if unknown and not from_row:
            raise AirbyteConfigError(f"{kind} has no argument {names}.")  # noqa: TRY301 - one way out
        read()
    except AirbyteConfigError as error:
        if not from_row:
            raise _ArgumentError(str(error)) from None
        return AirbyteConfigError(
            f"The trigger cannot be built from its row in Airflow's database: {error} The row was written by another "
            "version of airflow-provider-airbyte-api, or by hand: install the same version on workers and triggerers."
        )
    if unknown:
        log.info("%s of another version has arguments that this one ignores: %s.", kind, names)
    return None


def parse_seconds(value: object, name: str) -> float:
    """Return ``value`` as a number of seconds, also if it is written as text.

    :raises AirbyteConfigError: if it is no finite number.
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
    """Return ``value`` as a number of seconds, or None; see :func:`seconds`."""
    return None if value is None else parse_seconds(value, name)


def parse_interval(value: object, name: str = "poll_interval") -> float:
    """Return ``value`` as a number of seconds above 0; see :func:`seconds`."""
    number = parse_seconds(value, name)
    if number <= 0:
        raise AirbyteConfigError(f"{name} is {safe_repr(value)}, expected a number of seconds above 0, such as 30.")
    return number


def parse_text(value: object, name: str) -> str:
    """Return ``value``.

    :raises AirbyteConfigError: if it is no text.
    """
    if not isinstance(value, str):
        raise AirbyteConfigError(f"{name} is {safe_repr(value)}, expected a text.")
    return value


def parse_json_object(value: object, name: str) -> dict[str, Any]:
    """Return ``value`` as a JSON object; None is an empty one.

    :raises AirbyteConfigError: if it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise AirbyteConfigError(f"{name} is {safe_repr(value)}, expected a dict.")
    return dict(value)
