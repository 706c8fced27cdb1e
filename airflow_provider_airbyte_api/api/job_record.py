"""What a task run keeps about the job that it starts, so that no later attempt starts a second one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.api.models import parse_uuid
from airflow_provider_airbyte_api.api.safe import safe_float, safe_int
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError


@dataclass(frozen=True)
class JobRecord:
    """The start of a job by a task: intended while ``job_id`` is None, completed once it is known.

    ``previous_job_id`` is the connection's newest job before the start. ``started_at`` is in seconds since the epoch,
    by the worker's clock. ``owned`` is True if this task started the job and so may cancel it.
    """

    connection_id: str
    previous_job_id: int
    started_at: float
    job_id: int | None = None
    owned: bool = True

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> JobRecord | None:
        """Return the record with these ``fields``, or None if they are not those of a record.

        On some versions of Airflow, people and other tasks can change them.
        """
        try:
            record = cls(**fields)
            connection_id = parse_uuid(record.connection_id, "connection_id")
        except (TypeError, AirbyteConfigError):
            return None
        is_valid = (
            connection_id == record.connection_id
            and safe_int(record.previous_job_id, 0) is not None
            and safe_float(record.started_at, 0) is not None
            and (record.job_id is None or safe_int(record.job_id, 1) is not None)
            and isinstance(record.owned, bool)
        )
        return record if is_valid else None
