"""A job, and its JSON in the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_airbyte_api.types import Failure

TERMINAL_STATUSES = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses that never change again. They are the server's own, so that a wrong belief of the client shows in a test."""

STATUSES = TERMINAL_STATUSES | {"pending", "queued", "running", "incomplete"}
"""All statuses of a job."""

ROWS = 250_000
SIZE = 104_857_600

_SHARES = {"pending": 0.0, "queued": 0.0, "failed": 0.0, "succeeded": 1.0}
"""A failed job mostly reports nothing moved, as jobs of real servers do in public reports."""


CANCELLATION = Failure(None, "manual_cancellation", "This attempt was cancelled")
"""What Airbyte adds to the last attempt of a cancelled job (server source)."""

LOG_LINES = (
    ("info", "Starting the source"),
    ("warn", "The source responds slowly"),
    ("info", "Records read: 1000"),
    ("error", "Stopping the sync"),
    ("info", "Closing the connection"),
)

JOB_FAILURE = "java.lang.RuntimeException: connector exited with code 1"


@dataclass
class LocalJob:
    """A job. Its status follows ``script``, one entry at each poll, or the clock, within ``seconds``.

    ``rows`` and ``size`` (in bytes) are what it moves if it succeeds; None omits the number from responses. ``share``
    is the part of them that it has moved, from 0 to 1. If it is None, the status decides: all if the job succeeded,
    nothing if it failed or has not started, otherwise half; a running job with ``seconds`` moves them evenly over that
    time. ``reason`` is why it fails; None records no reason.
    ``failed_attempts`` has the time and the failures of each attempt before the last one. ``log_lines`` is the log of
    each attempt: level and message.
    """

    job_id: int
    connection_id: str
    job_type: str
    created_at: float
    updated_at: float
    status: str = "pending"
    script: list[str] = field(default_factory=list)
    seconds: float | None = None
    rows: int | None = ROWS
    size: int | None = SIZE
    share: float | None = None
    poll_count: int = 0
    reason: Failure | None = None
    failed_attempts: list[tuple[float, list[Failure]]] = field(default_factory=list)
    log_lines: list[tuple[str, str]] = field(default_factory=lambda: list(LOG_LINES))
    elapsed: float = 0.0

    @property
    def is_terminal(self) -> bool:
        """True if the status will not change again."""
        return self.status in TERMINAL_STATUSES

    def set_status(self, status: str, at: float) -> None:
        """Set the status, unless the job is finished."""
        if not self.is_terminal and status != self.status:
            self.status, self.updated_at = status, at

    def advance_to(self, now: float) -> None:
        """Set the status for the time ``now``: pending for a moment, then running, then succeeded."""
        if self.seconds is None:
            return
        self.elapsed = now - self.created_at
        if now >= self.created_at + self.seconds / 10:
            self.set_status("running", self.created_at + self.seconds / 10)
        if now >= self.created_at + self.seconds:
            self.set_status("succeeded", self.created_at + self.seconds)

    def on_poll(self, now: float) -> None:
        """Set the status that the script has for this poll."""
        self.poll_count += 1
        if self.script:
            self.set_status(self.script.pop(0), now)

    def as_json(self, *, with_stats: bool) -> dict[str, Any]:
        """Return the job as the API returns it. Values that Airbyte does not know yet are absent."""
        shown: dict[str, Any] = {
            "jobId": self.job_id,
            "status": self.status,
            "jobType": self.job_type,
            "startTime": timestamp(self.created_at),
            "connectionId": self.connection_id,
        }
        if self.is_terminal:
            shown["lastUpdatedAt"] = timestamp(self.updated_at)
        if self.status != "pending":
            shown["duration"] = java_duration(self.updated_at - self.created_at)
        if with_stats:
            moved = {"bytesSynced": self.size, "rowsSynced": self.rows}
            shown.update({name: int(number * self._share) for name, number in moved.items() if number is not None})
        return shown

    @property
    def _share(self) -> float:
        """The part of the rows and bytes that the job has moved."""
        if self.share is not None:
            return self.share
        if self.status == "running" and self.seconds:
            return min(self.elapsed / self.seconds, 1.0)
        return _SHARES.get(self.status, 0.5)

    def fail_attempt(self, failures: list[Failure], at: float) -> None:
        """Let the running attempt fail, and the job continue with the next one."""
        self.failed_attempts.append((at, failures))
        self.set_status("incomplete", at)

    def as_internal_json(self) -> dict[str, Any]:
        """Return the job with its attempts as the internal API returns it: all times in seconds, except one."""
        last = [CANCELLATION] if self.status == "cancelled" else [self.reason] if self.reason else []
        ended = [self._attempt(index, "failed", *each) for index, each in enumerate(self.failed_attempts)]
        status = self.status if self.status in ("failed", "succeeded") else "failed" if self.is_terminal else "running"
        failures = last if status == "failed" else []
        return {
            "job": {
                "id": self.job_id,
                "configType": self.job_type,
                "configId": self.connection_id,
                "enabledStreams": [],
                "createdAt": int(self.created_at),
                "updatedAt": int(self.updated_at),
                "startedAt": int(self.created_at),
                "status": self.status,
                "streamAggregatedStats": [],
            },
            "attempts": [
                {"attempt": each}
                for each in (*ended, self._attempt(len(ended), status, self.updated_at, failures))
                if self.status not in ("pending", "queued")
            ],
        }

    def log_as_internal_json(self, index: int, *, structured: bool) -> dict[str, Any] | None:
        """Return an attempt with its log as the internal API returns it, or None if there is no such attempt."""
        attempts = self.as_internal_json()["attempts"]
        if not 0 <= index < len(attempts):
            return None
        if structured:
            events = [
                {"timestamp": int(self.updated_at * 1000), "message": message, "level": level, "logSource": "platform"}
                for level, message in self.log_lines
            ]
            return {**attempts[index], "logType": "structured", "logs": {"events": events, "version": "1"}}
        at = timestamp(self.updated_at)
        lines = [f"{at} \x1b[32m{level.upper()}\x1b[m i.a.Main:1 - {message}" for level, message in self.log_lines]
        return {**attempts[index], "logType": "formatted", "logs": {"logLines": lines}}

    def _attempt(self, index: int, status: str, ended_at: float, failures: list[Failure]) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": index,
            "status": status,
            "createdAt": int(self.created_at),
            "updatedAt": int(ended_at),
            "bytesSynced": 0,
            "recordsSynced": 0,
            "streamStats": [],
        }
        if status != "running":
            shown["endedAt"] = int(ended_at)
        if failures:
            found = [_failure(each, ended_at) for each in failures]
            shown["failureSummary"] = {"failures": found, "partialSuccess": False}
        return shown


def _failure(failure: Failure, at: float) -> dict[str, Any]:
    shown = {
        "failureOrigin": failure.origin,
        "failureType": failure.kind,
        "externalMessage": failure.message,
        "internalMessage": JOB_FAILURE,
        "stacktrace": f"{JOB_FAILURE}\n\tat io.airbyte.Main.main(Main.java:1)",
        "timestamp": int(at * 1000),
    }
    return {name: value for name, value in shown.items() if value is not None}


def timestamp(moment: float) -> str:
    """Return a time as Java's ``OffsetDateTime`` writes it: without the seconds if they are zero."""
    text = datetime.fromtimestamp(int(moment), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return text.replace(":00Z", "Z") if text.endswith(":00Z") else text


def java_duration(seconds: float) -> str:
    """Return a duration as Java's ``Duration`` writes it: in hours, never in days."""
    minutes, rest = divmod(int(timedelta(seconds=seconds).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = "".join(f"{value}{unit}" for value, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if value)
    return f"PT{parts or '0S'}"
