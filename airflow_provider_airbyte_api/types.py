"""Types for annotations in DAG files and tests: parameters, results, and the statuses and types that Airbyte names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Literal, TypedDict

__all__ = [
    "AirbyteSyncInfo",
    "AssetEventExtra",
    "AssetEvents",
    "CancelOnKill",
    "CancelResult",
    "ClearJobType",
    "ConnectionRow",
    "ConnectionStatus",
    "DestinationRow",
    "ErrorPayload",
    "FailFastKind",
    "Failure",
    "FailureReason",
    "FailureReasonPayload",
    "JobAttempt",
    "JobEventPayload",
    "JobResult",
    "JobRow",
    "JobStatus",
    "JobType",
    "ListOutput",
    "OnAirbyteSchedule",
    "OnFailed",
    "OnInactive",
    "OnRunning",
    "OnRunningClear",
    "SourceRow",
    "UpdateResult",
]


class _Word(str, Enum):
    """A string of the API. It formats as its value, as Python 3.11's ``StrEnum`` does."""

    __str__ = str.__str__


class JobStatus(_Word):
    """Airbyte's names for a job's status. It may send others, which count as not finished."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    INCOMPLETE = "incomplete"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobType(_Word):
    """Airbyte's names for a job's type. ``clear`` and ``reset`` are the same: Airbyte shows both as ``reset``."""

    SYNC = "sync"
    RESET = "reset"
    CLEAR = "clear"
    REFRESH = "refresh"


class ConnectionStatus(_Word):
    """Airbyte's names for a connection's status. Only an active connection can be synced."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    LOCKED = "locked"
    DEPRECATED = "deprecated"


OnRunning = Literal["attach", "wait", "skip", "fail", "restart"]
"""What a sync does if a job of its connection is already running."""

OnRunningClear = Literal["fail", "wait", "skip", "restart"]
"""What a clear does if a job of its connection is already running."""

OnInactive = Literal["fail", "skip"]
"""What a task does if its connection is inactive, locked or deleted."""

OnAirbyteSchedule = Literal["warn", "fail", "ignore"]
"""What a sync does if Airbyte itself also schedules its connection."""

AssetEvents = Literal["connection", "streams", "none"]
"""Which assets get an event after a successful sync."""

OnFailed = Literal["wait", "fail"]
"""What a freshness sensor does about a failed sync."""

FailFastKind = Literal[
    "config_error", "system_error", "transient_error", "heartbeat_timeout", "destination_timeout", "refresh_schema"
]
"""The kinds of failures after which a task can be told not to retry."""

CancelOnKill = Literal["auto", "always", "never"]
"""Whether a task cancels its job if the process or the deferral of the task is ended."""

ListOutput = Literal["rows", "ids"]
"""What a list operator returns: the resources as the API returns them, or their IDs."""

ClearJobType = Literal["clear", "reset"]
"""The type of job that a clear starts."""


class JobResult(TypedDict):
    """What a task returns that has waited for a job. A value that Airbyte does not report is None."""

    job_id: int
    status: str
    connection_id: str
    job_type: str
    rows_synced: int | None
    bytes_synced: int | None
    duration_seconds: float | None
    start_time: str | None
    job_url: str | None


class AssetEventExtra(JobResult):
    """The extra of an asset event, and the payload of ``AirbyteSyncEventTrigger``."""

    end_time: str | None
    connection_name: str | None
    workspace_id: str | None


@dataclass(frozen=True)
class Failure:
    """One failure that Airbyte recorded for an attempt of a job. A value that Airbyte does not report is None.

    ``origin`` is the part that failed: ``source``, ``destination``, ``replication``, ``airbyte_platform`` and others.
    ``kind`` is what Airbyte calls its type: ``config_error``, ``system_error``, ``transient_error``,
    ``heartbeat_timeout``, ``destination_timeout``, ``refresh_schema``, ``manual_cancellation`` and others. ``message``
    is Airbyte's message for users, one line of at most 1,000 characters.
    """

    origin: str | None = None
    kind: str | None = None
    message: str | None = None

    def __str__(self) -> str:
        """Return ``origin, kind: message`` without the unknown parts; empty if all are unknown."""
        where = ", ".join(filter(None, (self.origin, self.kind)))
        return ": ".join(filter(None, (where, self.message)))


@dataclass(frozen=True)
class JobAttempt:
    """One attempt of a job. ``number`` counts from 1, ``status`` is ``succeeded``, ``failed`` or ``running``."""

    number: int
    status: str
    ended_at: datetime | None = None
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class FailureReason(Failure):
    """Why a job failed or was cancelled: its decisive failure, and its attempts, oldest first.

    All values are None if Airbyte recorded no failure.
    """

    attempts: tuple[JobAttempt, ...] = ()

    __str__ = Failure.__str__


class FailureReasonPayload(TypedDict):
    """A :class:`FailureReason` as JSON, as in the XCom ``airbyte_sync``. ``ended_at`` is in ISO 8601."""

    origin: str | None
    kind: str | None
    message: str | None
    attempts: list[dict[str, Any]]


class AirbyteSyncInfo(TypedDict):
    """The XCom ``airbyte_sync``: the job that a task follows, from its start to its end, also if it fails.

    A value that is unknown is None. Times are in UTC, in ISO 8601.

    ``status``, ``rows`` and ``bytes`` are those of the job when it was last polled. ``started_at`` is the job's start
    as Airbyte reports it. ``updated_at`` is the time at which Airflow wrote these values. ``attempt`` is the number of
    Airbyte's own last attempt of the job, from 1; only a ``reason`` tells it. ``reason`` is why the job failed or was
    cancelled.
    """

    job_id: int
    connection_id: str
    connection_name: str | None
    status: str
    rows: int | None
    bytes: int | None
    started_at: str | None
    updated_at: str
    attempt: int | None
    job_url: str | None
    reason: FailureReasonPayload | None


class CancelResult(TypedDict):
    """What ``AirbyteCancelJobOperator`` returns."""

    job_id: int | None
    status: str | None
    cancelled: bool


class UpdateResult(TypedDict):
    """What ``AirbyteUpdateConnectionOperator`` returns. ``schedule`` is the API's object."""

    connection_id: str
    name: str
    status: str
    schedule: dict[str, Any] | None
    changed: list[str]


class SourceRow(TypedDict, total=False):
    """A source as ``AirbyteListSourcesOperator`` returns it. The API may omit fields and add others."""

    sourceId: str
    name: str
    sourceType: str
    definitionId: str
    workspaceId: str
    configuration: dict[str, Any]
    createdAt: int


class DestinationRow(TypedDict, total=False):
    """A destination as ``AirbyteListDestinationsOperator`` returns it. The API may omit fields and add others."""

    destinationId: str
    name: str
    destinationType: str
    definitionId: str
    workspaceId: str
    configuration: dict[str, Any]
    createdAt: int


class ConnectionRow(TypedDict, total=False):
    """A connection as ``AirbyteListConnectionsOperator`` returns it. The API may omit fields and add others."""

    connectionId: str
    name: str
    sourceId: str
    destinationId: str
    workspaceId: str
    status: str
    schedule: dict[str, Any]
    dataResidency: str
    configurations: dict[str, Any]
    createdAt: int
    tags: list[dict[str, Any]]
    nonBreakingSchemaUpdatesBehavior: str
    namespaceDefinition: str
    namespaceFormat: str
    prefix: str


class JobRow(TypedDict, total=False):
    """A job as ``AirbyteListJobsOperator`` returns it. The API may omit fields and add others.

    ``failureReason`` is not in the API: ``with_reason`` adds it.
    """

    jobId: int
    status: str
    jobType: str
    connectionId: str
    startTime: str
    lastUpdatedAt: str
    duration: str
    rowsSynced: int
    bytesSynced: int
    failureReason: FailureReasonPayload | None


class ErrorPayload(TypedDict):
    """An error in the event of a trigger: its class, its message and its attributes."""

    type: str
    message: str
    fields: dict[str, Any]


class JobEventPayload(TypedDict):
    """The event of ``AirbyteJobTrigger`` and ``AirbyteFreshnessTrigger``.

    ``status`` is that of the job, or ``timeout`` or ``error`` if the wait ended before the job; ``error`` is the reason
    then. ``metadata`` is what the task gave to the trigger.
    """

    status: str
    job_id: int
    job: JobRow | None
    poll_count: int
    error: ErrorPayload | None
    metadata: dict[str, Any]
