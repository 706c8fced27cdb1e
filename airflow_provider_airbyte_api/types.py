"""Types of the parameters of this package's classes, for annotations in DAG files and tests."""

from __future__ import annotations

from typing import Literal

from airflow_provider_airbyte_api.api.models import JobStatus

__all__ = [
    "AssetEvents",
    "ClearJobType",
    "JobStatus",
    "ListOutput",
    "OnAirbyteSchedule",
    "OnFailed",
    "OnInactive",
    "OnRunning",
    "OnRunningClear",
]

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
