"""Checks of arguments. Each returns the normalized value, or raises an error that names the argument.

The hook, the operators, the sensors and the command line share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import NoReturn

from airflow_provider_airbyte_api.api.safe import safe_float, safe_int, safe_repr
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

MAX_SECONDS = 100 * 365 * 86_400
"""The maximum timeout: 100 years. A much later deadline is not a valid date."""

FIRST_YEAR, LAST_YEAR = 1970, 9998
"""The valid years of a datetime. They leave room to convert it to any time zone and to seconds since the epoch."""


def raise_invalid(name: str, value: object, expected: str) -> NoReturn:
    """Raise :class:`~.exceptions.AirbyteConfigError` for the argument ``name``."""
    raise AirbyteConfigError(f"{name} is {safe_repr(value)}, expected {expected}.")


def parse_bool(value: object, name: str) -> bool:
    """Return ``value`` if it is True or False.

    Other values are rejected: text such as ``"False"``, a template and the output of another task are always truthy.
    """
    if not isinstance(value, bool):
        raise_invalid(
            name,
            value,
            "True or False. Airflow reads it while it parses the DAG, so it cannot be a string, a template or the "
            f"output of another task. Write {name}=True or {name}=False",
        )
    return value


def parse_seconds(value: object, name: str) -> float:
    """Return ``value``, a ``timedelta`` or a number, as seconds above 0, up to :data:`MAX_SECONDS`."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    found = safe_float(seconds, 0.0, MAX_SECONDS)
    if not found:
        expected = f"a number of seconds or a timedelta above 0, such as 30, and at most {MAX_SECONDS:,} (100 years)"
        raise_invalid(name, value, expected)
    return found


def parse_int(value: object, name: str, minimum: int = 0) -> int:
    """Return ``value`` as an integer from ``minimum`` up to the largest 64-bit integer."""
    found = safe_int(value, minimum)
    if found is None:
        raise_invalid(name, value, f"a whole number of at least {minimum}")
    return found


def parse_choice(value: object, name: str, choices: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise_invalid(name, value, f"one of {', '.join(choices)}")
    return str(value)


def parse_text(value: object, name: str) -> str:
    """Return ``value`` as a string that is not blank. Jinja's native types render a name such as 2024 as an integer."""
    if isinstance(value, int) and not isinstance(value, bool):
        return safe_repr(value)
    if not isinstance(value, str) or not value.strip():
        raise_invalid(name, value, "a non-empty string")
    return value


def parse_texts(value: object, name: str) -> tuple[str, ...]:
    """Return ``value``, a string or several strings, as a tuple; None as an empty one."""
    if value is None:
        return ()
    if isinstance(value, str | int):
        return (parse_text(value, name),)
    if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes):
        raise_invalid(name, value, "a string or a list of strings")
    return tuple(parse_text(each, name) for each in value)


def parse_datetime(value: object, name: str) -> datetime:
    """Return ``value``, a datetime or an ISO 8601 string, as an aware datetime. Without a time zone, it is in UTC."""
    found = value
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        except ValueError:
            found = value
    if not isinstance(found, datetime):
        raise_invalid(name, value, "a datetime, or a string such as 2026-11-23T10:00:00+00:00")
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise_invalid(name, value, f"a time in the years {FIRST_YEAR} to {LAST_YEAR}")
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)
