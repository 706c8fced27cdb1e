"""Retry policies: whether a request is sent again, and after which delay."""

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
"""Seconds. A server that asks for a longer delay is contacted again after this one."""

RATE_LIMIT_WAIT_INITIAL = 5.0
"""Seconds before the second attempt after a 429 without ``Retry-After``, which is how Airbyte itself sends it."""

MOST_MISTAKES = 5
"""Maximum number of consecutive attempts with an error that looks like a mistake in the Airflow connection."""


@dataclass(frozen=True)
class RetryPolicy:
    """A limit of attempts, a limit of seconds from the first attempt, and delays that double after each failure.

    With ``rides_out``, only the time is limited, and a last attempt follows at its end. The log then has one line at
    the start of an outage and one at its end, instead of one for each attempt. With ``is_known``, Airbyte has answered
    at this address before, so a response that is not Airbyte's also counts as an outage.
    """

    attempts: int = 5
    timeout: float = 120.0
    wait_initial: float = 1.0
    wait_max: float = 30.0
    rides_out: bool = False
    is_known: bool = False

    def next_delay(self, attempt: int, elapsed: float, error: AirbyteError) -> float | None:
        """Return the delay in seconds after failed attempt number ``attempt``, or None to give up."""
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
        """Return True if another attempt may succeed after ``error``, whether or not repeating is safe."""
        return is_recoverable_while_waiting(error) if self.is_known else error.retryable

    def suspects_a_mistake(self, error: AirbyteError) -> bool:
        """Return True if ``error`` looks like a mistake in the Airflow connection rather than an outage."""
        is_untrusted = isinstance(error, AirbyteUnreachableError) and error.kind == "certificate"
        return self.rides_out and not self.is_known and is_untrusted

    def backoff(self, attempt: int) -> float:
        """Return the delay in seconds after ``attempt`` consecutive failures."""
        return float(min(self.wait_initial * 2 ** min(attempt - 1, 16), self.wait_max))


def while_unreachable(timeout: float, *, is_known: bool = False) -> RetryPolicy:
    """Return the policy that retries for ``timeout`` seconds during an outage of Airbyte."""
    return RetryPolicy(timeout=timeout, wait_initial=2.0, wait_max=60.0, rides_out=True, is_known=is_known)


NO_RETRY = RetryPolicy(attempts=1)
"""For a loop that polls again anyway."""
