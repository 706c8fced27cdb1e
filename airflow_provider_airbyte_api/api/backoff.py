"""When a request is sent once more, and after how long."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_airbyte_api.exceptions import (
    AirbyteError,
    AirbyteRateLimitError,
    AirbyteResponseError,
    AirbyteUnreachableError,
    is_recoverable_while_waiting,
)

MAX_RETRY_AFTER = 120.0
"""Seconds; a server that asks for more is asked again after this."""

RATE_LIMIT_WAIT_INITIAL = 5.0
"""Seconds before the second try after a 429 without ``RetryPolicy-After``, which is how Airbyte itself sends it."""

MOST_MISTAKES = 5
"""Attempts in a row that look like a mistake in the Airflow connection."""


@dataclass(frozen=True)
class RetryPolicy:
    """Two limits, in tries and in seconds since the first one until a pause begins, and pauses that double.

    ``rides_out``: the time alone is the limit, with a last attempt when it is over, and the log has one line when an
    outage begins and one when it is over, instead of one for each attempt. ``is_known``: Airbyte has answered at this
    address before, so that a reply that is not Airbyte's is an outage too.
    """

    attempts: int = 5
    timeout: float = 120.0
    wait_initial: float = 1.0
    wait_max: float = 30.0
    rides_out: bool = False
    is_known: bool = False

    def next_delay(self, attempt: int, elapsed: float, error: AirbyteError) -> float | None:
        """Return the seconds to wait after the ``failures``-th try failed, or None to give up."""
        if attempt >= self.attempts and not self.rides_out:
            return None
        pause = self.backoff(attempt)
        if isinstance(error, AirbyteRateLimitError):
            pause = max(pause, min(RATE_LIMIT_WAIT_INITIAL * 2 ** min(attempt - 1, 16), MAX_RETRY_AFTER))
        if isinstance(error, AirbyteResponseError) and error.retry_after is not None:
            pause = max(self.backoff(attempt), min(error.retry_after, MAX_RETRY_AFTER))
        if self.rides_out:
            return min(pause, self.timeout - elapsed) if elapsed < self.timeout else None
        return pause if elapsed <= self.timeout else None

    def may_help(self, error: AirbyteError) -> bool:
        """Tell whether another attempt may succeed after ``error``, harm aside."""
        return is_recoverable_while_waiting(error) if self.is_known else error.retryable

    def suspects_a_mistake(self, error: AirbyteError) -> bool:
        """Tell whether ``error`` looks like a mistake in the Airflow connection rather than an outage."""
        is_untrusted = isinstance(error, AirbyteUnreachableError) and error.kind == "certificate"
        return self.rides_out and not self.is_known and is_untrusted

    def backoff(self, attempt: int) -> float:
        """Return the pause, in seconds, after ``failures`` failures in a row."""
        return float(min(self.wait_initial * 2 ** min(attempt - 1, 16), self.wait_max))


def while_unreachable(timeout: float, *, is_known: bool = False) -> RetryPolicy:
    """Return how to ride out an outage of Airbyte for ``timeout`` seconds."""
    return RetryPolicy(timeout=timeout, wait_initial=2.0, wait_max=60.0, rides_out=True, is_known=is_known)


NO_RETRY = RetryPolicy(attempts=1)
"""For a loop that looks again anyway."""
