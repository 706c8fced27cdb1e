"""Airbyte's objects as values.

Parsing is tolerant: an unknown field or word passes through, and a missing field or one of another type counts as null.
For any JSON, parsing returns a value or raises ``KeyError``, ``TypeError`` or ``ValueError``. Text is one line of valid
UTF-8 of limited length, and integers have at most 64 bits, so that Airflow can encode them. ``raw`` is the API's
complete JSON object.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from airflow_provider_airbyte_api.api.safe import (
    dict_or_empty,
    list_or_empty,
    safe_id,
    safe_int,
    safe_repr,
    safe_text,
)
from airflow_provider_airbyte_api.api.timestamps import parse_duration, parse_timestamp
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError
from airflow_provider_airbyte_api.types import ConnectionStatus, FailureReason, JobStatus, JobType

JsonObject = Mapping[str, Any]
T = TypeVar("T")


TERMINAL_STATUSES = frozenset({JobStatus.SUCCEEDED.value, JobStatus.FAILED.value, JobStatus.CANCELLED.value})
"""The statuses that never change again. After ``incomplete``, Airbyte starts another attempt."""

KNOWN_STATUSES = frozenset(status.value for status in JobStatus)

MAX_WORD = 100
"""Maximum length of an id or of a word such as a status, in characters."""


JOB_FIELDS = (
    *("jobId", "status", "jobType", "connectionId"),
    *("startTime", "lastUpdatedAt", "duration", "rowsSynced", "bytesSynced"),
)
"""The fields of the API's JSON that :meth:`Job.from_json` reads."""


@dataclass(frozen=True)
class Job:
    """A sync, reset, clear or refresh. ``rows_synced`` and ``bytes_synced`` are None until Airbyte reports them."""

    job_id: int
    status: str
    job_type: str
    connection_id: str
    start_time: datetime | None
    last_updated_at: datetime | None
    duration: timedelta | None
    rows_synced: int | None
    bytes_synced: int | None
    raw: JsonObject = field(repr=False, compare=False)
    reason: FailureReason | None = field(default=None, compare=False)
    """Why it failed or was cancelled, if it was listed with its reason."""

    @property
    def is_terminal(self) -> bool:
        """True if the status will not change again. An unknown status counts as not terminal."""
        return self.status in TERMINAL_STATUSES

    @property
    def completed_timestamp(self) -> float:
        """The end of the job in seconds since the epoch, or 0 if Airbyte does not report it."""
        moment = self.last_updated_at or self.start_time
        return 0.0 if moment is None else moment.timestamp()

    @classmethod
    def from_json(cls, value: JsonObject) -> Job:
        """Parse a job.

        :raises KeyError: if it has no id or no status.
        :raises TypeError: if it is not a JSON object.
        :raises ValueError: if its id is not a positive 64-bit integer (also as a string), or its status is not a
            string.
        """
        job_id = safe_id(_field(value, "jobId"))
        if job_id is None:
            raise ValueError(f"jobId is {safe_repr(value['jobId'])}, expected a positive 64-bit integer")
        return cls(
            job_id=job_id,
            status=_required(value, "status"),
            job_type=_word(value, "jobType") or JobType.SYNC.value,
            connection_id=_word(value, "connectionId"),
            start_time=parse_timestamp(value.get("startTime")),
            last_updated_at=parse_timestamp(value.get("lastUpdatedAt")),
            duration=parse_duration(value.get("duration")),
            rows_synced=safe_int(value.get("rowsSynced"), 0),
            bytes_synced=safe_int(value.get("bytesSynced"), 0),
            raw=value,
        )


@dataclass(frozen=True)
class Stream:
    """A stream of a connection, such as a table. ``namespace`` is its schema or similar in the source, or empty."""

    name: str
    namespace: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """The parts of its name within the source, outermost first."""
        return tuple(part for part in (self.namespace, self.name) if part)


@dataclass(frozen=True)
class Connection:
    """An Airbyte connection, which defines what a sync moves. ``status`` is active, inactive, locked or deprecated."""

    connection_id: str
    name: str
    status: str
    workspace_id: str
    source_id: str
    destination_id: str
    raw: JsonObject = field(repr=False, compare=False)

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The connection's tags; empty on Airbyte before 1.6."""
        tags = list_or_empty(self.raw.get("tags"))
        return tuple(Tag.from_json(tag) for tag in tags if _text_in(tag, "tagId"))

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The connection's streams; empty if Airbyte does not report them."""
        streams = list_or_empty(dict_or_empty(self.raw.get("configurations")).get("streams"))
        return tuple(Stream(_name(each), _name(each, "namespace")) for each in streams if _text_in(each, "name"))

    @property
    def schedule_type(self) -> str:
        """``manual``, ``cron`` or ``basic``. Except with ``manual``, Airbyte itself starts syncs, too."""
        return _word(dict_or_empty(self.raw.get("schedule")), "scheduleType") or "manual"

    @classmethod
    def from_json(cls, value: JsonObject) -> Connection:
        """Parse a connection. See :meth:`Job.from_json` for the errors."""
        return cls(
            connection_id=_required(value, "connectionId"),
            name=_name(value),
            status=_word(value, "status") or ConnectionStatus.ACTIVE.value,
            workspace_id=_word(value, "workspaceId"),
            source_id=_word(value, "sourceId"),
            destination_id=_word(value, "destinationId"),
            raw=value,
        )


@dataclass(frozen=True)
class Source:
    """A source. ``source_type`` is empty for a custom connector."""

    source_id: str
    name: str
    source_type: str
    workspace_id: str
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, value: JsonObject) -> Source:
        """Parse a source. See :meth:`Job.from_json` for the errors."""
        return cls(
            source_id=_required(value, "sourceId"),
            name=_name(value),
            source_type=_word(value, "sourceType"),
            workspace_id=_word(value, "workspaceId"),
            raw=value,
        )


@dataclass(frozen=True)
class Destination:
    """A destination. ``destination_type`` is empty for a custom connector."""

    destination_id: str
    name: str
    destination_type: str
    workspace_id: str
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, value: JsonObject) -> Destination:
        """Parse a destination. See :meth:`Job.from_json` for the errors."""
        return cls(
            destination_id=_required(value, "destinationId"),
            name=_name(value),
            destination_type=_word(value, "destinationType"),
            workspace_id=_word(value, "workspaceId"),
            raw=value,
        )


@dataclass(frozen=True)
class Tag:
    """A tag of connections (Airbyte 1.6 and newer)."""

    tag_id: str
    name: str
    workspace_id: str
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, value: JsonObject) -> Tag:
        """Parse a tag. See :meth:`Job.from_json` for the errors."""
        return cls(_required(value, "tagId"), _name(value), _word(value, "workspaceId"), raw=value)


@dataclass(frozen=True)
class Workspace:
    """A workspace."""

    workspace_id: str
    name: str
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, value: JsonObject) -> Workspace:
        """Parse a workspace. See :meth:`Job.from_json` for the errors."""
        return cls(workspace_id=_required(value, "workspaceId"), name=_name(value), raw=value)


def expecting(parse: Callable[[JsonObject], T], **fields: object) -> Callable[[JsonObject], T]:
    """Return ``parse`` as a parser that raises ``ValueError`` if the object is not the requested one.

    :param fields: the object's attributes and their expected values. An attribute that the response omits is not
        checked.
    """

    def read(value: JsonObject) -> T:
        found = parse(value)
        for name, expected in fields.items():
            shown = getattr(found, name)
            if _canonical(shown or expected) != _canonical(expected):
                raise ValueError(f"its {name} is {shown}, expected {expected}")
        return found

    return read


def _canonical(value: object) -> str:
    """Return an id in one spelling. Callers write UUIDs in several, as :func:`parse_uuid` accepts them."""
    text = str(value).strip().lower()
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return text


def parse_uuid(value: object, name: str) -> str:
    """Return ``value`` as a UUID in Airbyte's spelling.

    A malformed id is never sent, because Airbyte answers it with 403 or 500, depending on its edition.

    :raises AirbyteConfigError: if it is not a UUID; ``name`` is the argument's name in the message.
    """
    try:
        return str(uuid.UUID(str(value).strip()))
    except ValueError:
        raise AirbyteConfigError(
            f"{name} is {safe_repr(value)}, expected a UUID such as 9924bcd0-99be-453d-ba47-c2c9766f7da5. "
            f"It is part of the URL of its page in Airbyte's web app."
        ) from None


def parse_job_id(value: object) -> int:
    """Return ``value`` as a job id. A string, as a template renders it, is accepted.

    :raises AirbyteConfigError: if it is not a positive integer.
    """
    job_id = safe_id(value)
    if job_id is None:
        raise AirbyteConfigError(
            f"job_id is {safe_repr(value)}, expected a whole number such as 12345. "
            "An AirbyteSyncOperator pushes it to XCom under the key job_id."
        )
    return job_id


def _field(value: JsonObject, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"it is of type {type(value).__name__}, expected a JSON object")
    return value[name]


def _text_in(value: object, name: str) -> bool:
    """Return True if ``value`` is a JSON object whose field ``name`` is a string and not empty."""
    found = dict_or_empty(value).get(name)
    return isinstance(found, str) and bool(found)


def _required(value: JsonObject, name: str) -> str:
    found = _field(value, name)
    if not isinstance(found, str) or not found:
        raise ValueError(f"{name} is {safe_repr(found)}, expected a string")
    return safe_text(found, MAX_WORD)


def _word(value: JsonObject, name: str) -> str:
    return safe_text(value.get(name) or "", MAX_WORD)


def _name(value: JsonObject, name: str = "name") -> str:
    return safe_text(value.get(name) or "")
