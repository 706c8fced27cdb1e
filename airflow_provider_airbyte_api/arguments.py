"""Arguments of operators and sensors that are checked while the DAG is parsed, where the author sees it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn


def refuse(message: str) -> NoReturn:
    """Raise :class:`~.api.errors.AirbyteConfigError`, as the ``AirflowException`` that it is to Airflow."""
    from airflow_provider_airbyte_api.api.errors import AirbyteConfigError
    from airflow_provider_airbyte_api.hooks.errors import as_airflow

    raise as_airflow(AirbyteConfigError(message))


def positive_seconds(value: object, name: str) -> float:
    """Return ``value`` as a number of seconds.

    :raises AirbyteConfigError: if it is none, or not above zero; ``name`` says whose value it is.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        refuse(f"{name} is {value!r}, expected a number of seconds above 0, such as 30.")
    return float(value)


def positive_seconds_or_none(value: object, name: str) -> float | None:
    """Return ``value`` as a number of seconds, or None; see :func:`positive_seconds`."""
    return None if value is None else positive_seconds(value, name)


def one_of(value: str, name: str, choices: Sequence[str]) -> str:
    """Return ``value``.

    :raises AirbyteConfigError: if it is none of ``choices``; ``name`` says whose value it is.
    """
    if value not in choices:
        refuse(f"{name} is {value!r}, expected one of {', '.join(choices)}.")
    return value
