"""The edge at which Airbyte's errors become Airflow's as well.

``soft_fail``, callbacks and retry policies of Airflow look for ``AirflowException``; ``api`` does not know Airflow.
So each class of the tree in :mod:`..api.errors` has a twin of the same name that is both, made when it is first
raised: ``except AirbyteNotFoundError`` and ``except AirflowException`` both catch it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_airbyte_api.api.errors import AirbyteError, dump, load


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn any :class:`AirbyteError` that leaves the block into its Airflow twin."""
    try:
        yield
    except AirbyteError as error:
        if isinstance(error, AirflowException):
            raise
        raise as_airflow(error).with_traceback(error.__traceback__) from error.__cause__


def as_airflow(error: AirbyteError) -> AirbyteError:
    """Return ``error`` as an ``AirflowException`` of the same name, with the same fields."""
    kind = _twin_of(type(error))
    twin = kind.__new__(kind, *error.args)
    twin.__dict__.update(error.__dict__)
    return twin


def _load_as_airflow(value: dict[str, Any]) -> AirbyteError:
    return as_airflow(load(value))


def _twin_of(kind: type[AirbyteError]) -> type[AirbyteError]:
    twin = _TWINS.get(kind)
    if twin is None:
        members = {
            "__module__": kind.__module__,
            "__doc__": kind.__doc__,
            "__reduce__": lambda error: (_load_as_airflow, (dump(error),)),
        }
        twin = _TWINS[kind] = type(kind.__name__, (kind, AirflowException), members)
    return twin


_TWINS: dict[type[AirbyteError], type[AirbyteError]] = {}
