"""Types for annotations in DAG files and tests: parameters, results, and the statuses and types that Airbyte names."""

from __future__ import annotations

from enum import Enum
from typing import Literal

__all__ = [
    "AssetEvents",
    "ClearJobType",
    "ConnectionStatus",
    "JobStatus",
    "JobType",
    "ListOutput",
    "OnAirbyteSchedule",
    "OnFailed",
    "OnInactive",
    "OnRunning",
    "OnRunningClear",
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

ListOutput = Literal["rows", "ids"]
"""What a list operator returns: the resources as the API returns them, or their IDs."""

ClearJobType = Literal["clear", "reset"]
"""The type of job that a clear starts."""
