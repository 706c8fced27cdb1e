"""A job, and its JSON in the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

TERMINAL_STATUSES = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses that never change again. They are the server's own, so that a wrong belief of the client shows in a test."""

STATUSES = TERMINAL_STATUSES | {"pending", "queued", "running", "incomplete"}
"""All statuses of a job."""

ROWS = 250_000
SIZE = 104_857_600

_SHARES = {"pending": 0.0, "queued": 0.0, "failed": 0.0, "succeeded": 1.0}
"""A failed job mostly reports nothing moved, as jobs of real servers do in public reports."""


@dataclass
class LocalJob:
    """A job. Its status follows ``script``, one entry at each poll, or the clock, within ``seconds``.

    ``rows`` and ``size`` (in bytes) are what it moves if it succeeds; None omits the number from responses. ``share``
    is the part of them that it has moved, from 0 to 1. If it is None, the status decides: all if the job succeeded,
    nothing if it failed or has not started, otherwise half.
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
            share = _SHARES.get(self.status, 0.5) if self.share is None else self.share
            moved = {"bytesSynced": self.size, "rowsSynced": self.rows}
            shown.update({name: int(number * share) for name, number in moved.items() if number is not None})
        return shown


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
