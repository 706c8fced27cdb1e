"""Where job records are stored: in Airflow's store of a task, in Variables, or in an object storage."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api._options import get_job_state_backend
from airflow_provider_airbyte_api.api.safe import dict_or_empty, parse_stored_json, safe_float

KEY_PREFIX = "airbyte_job."
"""Start of the key of each record that is not in Airflow's store of a task."""


class Backend(Protocol):
    """A place for the record of one task run: what Airflow 3.3 has as ``task_state_store``."""

    def get(self, key: str) -> Any:
        """Return the stored value, or None."""

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""

    def delete(self, key: str) -> None:
        """Delete the value, if there is one."""


class VariableBackend:
    """Stores each value in an Airflow Variable."""

    def get(self, key: str) -> Any:
        """Return the stored value, or None."""
        return parse_stored_json(_airflow_compat.get_variable(key))

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""
        description = "The Airbyte job of a task run, for its next attempt. The task deletes it when it succeeds."
        _airflow_compat.set_variable(key, json.dumps(value), description)

    def delete(self, key: str) -> None:
        """Delete the Variable, if it exists."""
        _airflow_compat.delete_variable(key)

    def list(self) -> dict[str, Any]:
        """Return all stored values by key, for a command."""
        found = _airflow_compat.variables_of(KEY_PREFIX)
        return {key: parse_stored_json(text) for key, text in found.items()}

    def delete_all(self, keys: Iterable[str]) -> None:
        """Delete the Variables with these keys, for a command."""
        _airflow_compat.delete_variables(keys)


class ObjectStorageBackend:
    """Stores each value in a file of a folder that all workers share."""

    def __init__(self, url: str) -> None:
        self._folder = _airflow_compat.object_storage_path(url)

    def get(self, key: str) -> Any:
        """Return the stored value, or None."""
        path = self._path(key)
        return parse_stored_json(path.read_text()) if path.exists() else None

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path(key).write_text(json.dumps(value))

    def delete(self, key: str) -> None:
        """Delete the file, if it exists."""
        self._path(key).unlink(missing_ok=True)

    def list(self) -> dict[str, Any]:
        """Return all stored values by key, for a command."""
        paths = self._folder.glob(f"{KEY_PREFIX}*.json") if self._folder.exists() else ()
        return {path.name.removesuffix(".json"): parse_stored_json(path.read_text()) for path in paths}

    def delete_all(self, keys: Iterable[str]) -> None:
        """Delete the files of these keys, for a command."""
        for key in keys:
            self.delete(key)

    def _path(self, key: str) -> Any:
        return self._folder / f"{key}.json"


def get_shared_backend() -> VariableBackend | ObjectStorageBackend | None:
    """Return the backend for the records of all tasks that the option ``job_state_backend`` names; None for ``none``.

    ``auto`` is :class:`VariableBackend`, which a task uses where Airflow has no store for it.

    :raises AirbyteConfigError: if the option is invalid.
    """
    option = get_job_state_backend()
    if option == "none":
        return None
    return VariableBackend() if option in ("auto", "variables") else ObjectStorageBackend(option)


def is_older_record(value: Any, before: float) -> bool:
    """Return True if a stored ``value`` is of a start before that time, in seconds since the epoch, or no record."""
    started_at = safe_float(dict_or_empty(value).get("started_at"))
    return started_at is None or started_at < before
