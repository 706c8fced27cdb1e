"""Airbyte's objects as values.

The readers are tolerant: a field or a word they do not know passes through, one that is absent counts as null.
``raw`` is the API's own JSON object, whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from airflow_provider_airbyte_api.api.errors import AirbyteConfigError
from airflow_provider_airbyte_api.api.times import parse_duration, parse_timestamp

Json = Mapping[str, Any]


class JobStatus(str, Enum):
    """The words that Airbyte has for a job's state. It may send others: see :attr:`Job.is_finished`."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    INCOMPLETE = "incomplete"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINISHED = frozenset({JobStatus.SUCCEEDED.value, JobStatus.FAILED.value, JobStatus.CANCELLED.value})
"""The statuses that never change any more. After ``incomplete`` comes another attempt."""

KNOWN = frozenset(status.value for status in JobStatus)


@dataclass(frozen=True)
class Job:
    """A sync, reset, clear or refresh. ``rows_synced`` and ``bytes_synced`` are None until Airbyte counts them."""

    job_id: int
    status: str
    job_type: str
    connection_id: str
    start_time: datetime | None
    last_updated_at: datetime | None
    duration: timedelta | None
    rows_synced: int | None
    bytes_synced: int | None
    raw: Json = field(repr=False, compare=False)

    @property
    def is_finished(self) -> bool:
        """True if it will not change any more; a status nobody knows means that it still may."""
        return self.status in FINISHED

    @property
    def ended_at(self) -> float:
        """When it finished, in seconds since the epoch; 0 if Airbyte does not say."""
        moment = self.last_updated_at or self.start_time
        return 0.0 if moment is None else moment.timestamp()

    @classmethod
    def from_json(cls, value: Json) -> Job:
        """Read a job. ``KeyError``, ``TypeError`` or ``ValueError`` if it has no id or no status."""
        return cls(
            job_id=int(value["jobId"]),
            status=str(value["status"]),
            job_type=str(value.get("jobType") or "sync"),
            connection_id=str(value.get("connectionId") or ""),
            start_time=parse_timestamp(value.get("startTime")),
            last_updated_at=parse_timestamp(value.get("lastUpdatedAt")),
            duration=parse_duration(value.get("duration")),
            rows_synced=_count(value.get("rowsSynced")),
            bytes_synced=_count(value.get("bytesSynced")),
            raw=value,
        )


@dataclass(frozen=True)
class Stream:
    """A stream of a connection: a table, say. ``namespace`` is its schema or the like in the source, or empty."""

    name: str
    namespace: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """Its name within the source, from the outside in."""
        return tuple(part for part in (self.namespace, self.name) if part)


@dataclass(frozen=True)
class Connection:
    """An Airbyte connection: what one sync moves. ``status`` is active, inactive, locked or deprecated."""

    connection_id: str
    name: str
    status: str
    workspace_id: str
    source_id: str
    destination_id: str
    raw: Json = field(repr=False, compare=False)

    @property
    def tags(self) -> tuple[Tag, ...]:
        """Its tags; none on Airbyte before 1.6."""
        return tuple(Tag.from_json(tag) for tag in self.raw.get("tags") or ())

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What it moves; nothing if Airbyte does not say."""
        streams = (self.raw.get("configurations") or {}).get("streams") or ()
        return tuple(Stream(str(each.get("name") or ""), str(each.get("namespace") or "")) for each in streams)

    @property
    def schedule_type(self) -> str:
        """``manual``, ``cron`` or ``basic``: whether Airbyte starts its syncs, too."""
        return str((self.raw.get("schedule") or {}).get("scheduleType") or "manual")

    @classmethod
    def from_json(cls, value: Json) -> Connection:
        """Read a connection. ``KeyError`` if it has no id."""
        return cls(
            connection_id=str(value["connectionId"]),
            name=str(value.get("name") or ""),
            status=str(value.get("status") or "active"),
            workspace_id=str(value.get("workspaceId") or ""),
            source_id=str(value.get("sourceId") or ""),
            destination_id=str(value.get("destinationId") or ""),
            raw=value,
        )


@dataclass(frozen=True)
class Source:
    """A source. ``source_type`` is empty for a custom connector."""

    source_id: str
    name: str
    source_type: str
    workspace_id: str
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, value: Json) -> Source:
        """Read a source. ``KeyError`` if it has no id."""
        return cls(
            source_id=str(value["sourceId"]),
            name=str(value.get("name") or ""),
            source_type=str(value.get("sourceType") or ""),
            workspace_id=str(value.get("workspaceId") or ""),
            raw=value,
        )


@dataclass(frozen=True)
class Destination:
    """A destination. ``destination_type`` is empty for a custom connector."""

    destination_id: str
    name: str
    destination_type: str
    workspace_id: str
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, value: Json) -> Destination:
        """Read a destination. ``KeyError`` if it has no id."""
        return cls(
            destination_id=str(value["destinationId"]),
            name=str(value.get("name") or ""),
            destination_type=str(value.get("destinationType") or ""),
            workspace_id=str(value.get("workspaceId") or ""),
            raw=value,
        )


@dataclass(frozen=True)
class Tag:
    """A tag of connections (Airbyte 1.6 and newer)."""

    tag_id: str
    name: str
    workspace_id: str
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, value: Json) -> Tag:
        """Read a tag. ``KeyError`` if it has no id."""
        return cls(str(value["tagId"]), str(value.get("name") or ""), str(value.get("workspaceId") or ""), raw=value)


@dataclass(frozen=True)
class Workspace:
    """A workspace."""

    workspace_id: str
    name: str
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, value: Json) -> Workspace:
        """Read a workspace. ``KeyError`` if it has no id."""
        return cls(workspace_id=str(value["workspaceId"]), name=str(value.get("name") or ""), raw=value)


def valid_uuid(value: object, name: str) -> str:
    """Return ``value`` as Airbyte writes UUIDs.

    Airbyte answers a malformed id with 403 or 500, depending on its edition, so it never gets to see one.

    :raises AirbyteConfigError: if it is none; ``name`` says whose value it is.
    """
    try:
        return str(uuid.UUID(str(value).strip()))
    except ValueError:
        raise AirbyteConfigError(
            f"{name} is {value!r}, expected a UUID such as 9924bcd0-99be-453d-ba47-c2c9766f7da5. "
            f"You find it in the address of its page in Airbyte's web app."
        ) from None


def valid_job_id(value: object) -> int:
    """Return ``value``, as a number or as the text that a template renders to.

    :raises AirbyteConfigError: if it is no positive whole number.
    """
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise AirbyteConfigError(
            f"job_id is {value!r}, expected a whole number such as 12345. "
            "An AirbyteSyncOperator pushes it to XCom under the key job_id."
        )
    return int(text)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
