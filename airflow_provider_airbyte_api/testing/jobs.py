"""A job, and how the API writes it down."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_airbyte_api.api.models import TERMINAL_STATUSES

ROWS = 250_000
SIZE = 104_857_600

_SHARES = {"pending": 0.0, "queued": 0.0, "failed": 0.0, "succeeded": 1.0}
"""A failed job mostly shows nothing moved, as jobs of real servers do in public reports."""


@dataclass
class LocalJob:
    """A job. Either its ``script`` says its status at each look, or its ``seconds`` do by the clock.

    ``rows`` and ``size`` (in bytes) are what it moves if it succeeds; None leaves that number out of its replies.
    ``share`` is the part of them that it has moved, from 0 to 1; None lets its status decide: all if it succeeded,
    nothing if it has failed or not begun, else a half.
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
        """True if it will not change any more."""
        return self.status in TERMINAL_STATUSES

    def set_status(self, status: str, at: float) -> None:
        """Change the status, unless the job is finished."""
        if not self.is_terminal and status != self.status:
            self.status, self.updated_at = status, at

    def advance_to(self, now: float) -> None:
        """Become what the clock says: pending for a moment, then running, then done."""
        if self.seconds is None:
            return
        if now >= self.created_at + self.seconds / 10:
            self.set_status("running", self.created_at + self.seconds / 10)
        if now >= self.created_at + self.seconds:
            self.set_status("succeeded", self.created_at + self.seconds)

    def on_poll(self, now: float) -> None:
        """Become what the script says for this look."""
        self.poll_count += 1
        if self.script:
            self.set_status(self.script.pop(0), now)

    def as_json(self, *, with_stats: bool) -> dict[str, Any]:
        """Return the job as the API shows it. What Airbyte does not know yet is absent."""
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
    """Return a moment as Java's ``OffsetDateTime`` writes it: without the seconds where they are zero."""
    text = datetime.fromtimestamp(int(moment), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return text.replace(":00Z", "Z") if text.endswith(":00Z") else text


def java_duration(seconds: float) -> str:
    """Return a length of time as Java's ``Duration`` writes it: hours, never days."""
    minutes, rest = divmod(int(timedelta(seconds=seconds).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = "".join(f"{value}{unit}" for value, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if value)
    return f"PT{parts or '0S'}"
