"""What a wait logs of the rows and bytes of a running job, and since when they have stood still.

The public API updates these numbers while a job runs. This module does no I/O and reads no clock. Times are in seconds
since the epoch.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from airflow_provider_airbyte_api.api.flow import Log
from airflow_provider_airbyte_api.api.models import Job

CHANGE_LOG_INTERVAL = 60.0
"""Minimum seconds between two log lines of a job whose numbers change."""

PROGRESS_LOG_INTERVAL = 600.0
"""Seconds between two log lines of a wait without a change."""

REPORT_INTERVAL = 15.0
"""Minimum seconds between two reports of changed numbers outside of the log."""

MINUTE = 60.0

Numbers: TypeAlias = tuple[int | None, int | None]
"""The rows and the bytes that a job has moved, each None if it is unknown."""


def numbers_of(job: Job) -> Numbers:
    """Return the rows and the bytes of ``job``."""
    return job.rows_synced, job.bytes_synced


class Progress:
    """The numbers of one job during a wait."""

    def __init__(self, now: float) -> None:
        self.numbers: Numbers = (None, None)
        """The last known numbers."""
        self.changed_at = now
        """The time since which the numbers and the status have stood still."""
        self._logged: Numbers = (None, None)
        self._logged_at = now

    def restart(self, job: Job, now: float) -> None:
        """Take a job with another status, which the wait logs itself."""
        self._update(job, now)
        self.changed_at = self._logged_at = now
        self._logged = self.numbers

    def feed(self, job: Job, now: float) -> Log | None:
        """Take a job with an unchanged status, and return what to log of it, if anything."""
        self._update(job, now)
        elapsed = now - self._logged_at
        has_changed = self.numbers != self._logged
        if elapsed < (CHANGE_LOG_INTERVAL if has_changed else PROGRESS_LOG_INTERVAL):
            return None
        log = _log(job, self._describe(elapsed, now), now)
        self._logged, self._logged_at = self.numbers, now
        return log

    def _update(self, job: Job, now: float) -> None:
        """Take the numbers of ``job``. Some servers omit them in lists; the last known ones are kept then."""
        numbers = numbers_of(job)
        if numbers not in (self.numbers, (None, None)):
            self.numbers, self.changed_at = numbers, now

    def _describe(self, elapsed: float, now: float) -> str:
        """Return the numbers with their rate since the last log line, or how long they have stood still."""
        rows, size = self.numbers
        if not rows and not size:
            return ""
        if self.numbers == self._logged:
            return f"{format_numbers(self.numbers)}, unchanged for {(now - self.changed_at) / MINUTE:.0f} min"
        rate = format_rate(self._logged, self.numbers, elapsed)
        return format_numbers(self.numbers) + (f" ({rate})" if rate else "")


class ReportSchedule:
    """Decides when a job is reported outside of the log: on a change, at most every :data:`REPORT_INTERVAL`."""

    def __init__(self) -> None:
        self._reported: tuple[str, Numbers] | None = None
        self._reported_at = -math.inf

    def is_due(self, job: Job, now: float) -> bool:
        """Return True if ``job`` has to be reported."""
        has_changed = (job.status, numbers_of(job)) != self._reported
        return has_changed and (job.is_terminal or now - self._reported_at >= REPORT_INTERVAL)

    def on_report(self, job: Job, now: float) -> None:
        """Take note of a report."""
        self._reported, self._reported_at = (job.status, numbers_of(job)), now


def format_numbers(numbers: Numbers) -> str:
    """Return the numbers that are known, such as ``1,000 rows, 50,000 bytes``."""
    named = zip(numbers, ("rows", "bytes"), strict=True)
    return ", ".join(f"{number:,} {name}" for number, name in named if number is not None)


def rates(before: Numbers, after: Numbers, seconds: float) -> Numbers:
    """Return the rows and bytes per second, each None if it is unknown or has decreased, as in a new attempt."""
    rows, size = (
        None if old is None or new is None or new < old else int((new - old) / max(seconds, 1.0))
        for old, new in zip(before, after, strict=True)
    )
    return rows, size


def format_rate(before: Numbers, after: Numbers, seconds: float) -> str:
    """Return the rows and bytes per second, without those that are unknown."""
    named = zip(rates(before, after, seconds), ("rows/s", "bytes/s"), strict=True)
    return ", ".join(f"{rate:,} {name}" for rate, name in named if rate is not None)


def _log(job: Job, numbers: str, now: float) -> Log:
    since = "" if job.start_time is None else f", {(now - job.start_time.timestamp()) / MINUTE:.0f} min after its start"
    return Log("Job %d is still %s%s.", (job.job_id, job.status, since + (f": {numbers}" if numbers else "")))
