"""When a request is sent once more, and after how long."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_airbyte_api.api.errors import AirbyteError, AirbyteRateLimitError, AirbyteResponseError

LONGEST_RETRY_AFTER = 120.0
"""Seconds; a server that asks for more is asked again after this."""

RATE_LIMITED_PAUSE = 5.0
"""Seconds before the second try after a 429 without ``Retry-After``, which is how Airbyte itself sends it."""


@dataclass(frozen=True)
class Retry:
    """Two limits, in tries and in seconds since the first one until a pause begins, and pauses that double."""

    attempts: int = 5
    patience: float = 120.0
    first_pause: float = 1.0
    longest_pause: float = 30.0

    def pause_after(self, failures: int, elapsed: float, error: AirbyteError) -> float | None:
        """Return the seconds to wait after the ``failures``-th try failed, or None to give up."""
        if failures >= self.attempts:
            return None
        pause = self.backoff(failures)
        if isinstance(error, AirbyteRateLimitError):
            pause = max(pause, RATE_LIMITED_PAUSE * 2 ** (failures - 1))
        if isinstance(error, AirbyteResponseError) and error.retry_after is not None:
            pause = max(self.backoff(failures), min(error.retry_after, LONGEST_RETRY_AFTER))
        return pause if elapsed <= self.patience else None

    def backoff(self, failures: int) -> float:
        """Return the pause, in seconds, after ``failures`` failures in a row."""
        return float(min(self.first_pause * 2 ** min(failures - 1, 16), self.longest_pause))


ONCE = Retry(attempts=1)
"""For a loop that looks again anyway."""
