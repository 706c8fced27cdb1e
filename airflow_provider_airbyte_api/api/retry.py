"""When a request is sent once more, and after how long."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_airbyte_api.api.errors import (
    AirbyteError,
    AirbyteRateLimitError,
    AirbyteResponseError,
    AirbyteUnreachableError,
    may_heal,
)

LONGEST_RETRY_AFTER = 120.0
"""Seconds; a server that asks for more is asked again after this."""

RATE_LIMITED_PAUSE = 5.0
"""Seconds before the second try after a 429 without ``Retry-After``, which is how Airbyte itself sends it."""

MOST_MISTAKES = 5
"""Attempts in a row that look like a mistake in the Airflow connection."""


@dataclass(frozen=True)
class Retry:
    """Two limits, in tries and in seconds since the first one until a pause begins, and pauses that double.

    ``rides_out``: the time alone is the limit, with a last attempt when it is over, and the log has one line when an
    outage begins and one when it is over, instead of one for each attempt. ``is_known``: Airbyte has answered at this
    address before, so that a reply that is not Airbyte's is an outage too.
    """

    attempts: int = 5
    patience: float = 120.0
    first_pause: float = 1.0
    longest_pause: float = 30.0
    rides_out: bool = False
    is_known: bool = False

    def pause_after(self, failures: int, elapsed: float, error: AirbyteError) -> float | None:
        """Return the seconds to wait after the ``failures``-th try failed, or None to give up."""
        if failures >= self.attempts and not self.rides_out:
            return None
        pause = self.backoff(failures)
        if isinstance(error, AirbyteRateLimitError):
            pause = max(pause, min(RATE_LIMITED_PAUSE * 2 ** min(failures - 1, 16), LONGEST_RETRY_AFTER))
        if isinstance(error, AirbyteResponseError) and error.retry_after is not None:
            pause = max(self.backoff(failures), min(error.retry_after, LONGEST_RETRY_AFTER))
        if self.rides_out:
            return min(pause, self.patience - elapsed) if elapsed < self.patience else None
        return pause if elapsed <= self.patience else None

    def may_help(self, error: AirbyteError) -> bool:
        """Tell whether another attempt may succeed after ``error``, harm aside."""
        return may_heal(error) if self.is_known else error.transient

    def suspects_a_mistake(self, error: AirbyteError) -> bool:
        """Tell whether ``error`` looks like a mistake in the Airflow connection rather than an outage."""
        is_untrusted = isinstance(error, AirbyteUnreachableError) and error.trouble == "certificate"
        return self.rides_out and not self.is_known and is_untrusted

    def backoff(self, failures: int) -> float:
        """Return the pause, in seconds, after ``failures`` failures in a row."""
        return float(min(self.first_pause * 2 ** min(failures - 1, 16), self.longest_pause))


def while_unreachable(timeout: float, *, is_known: bool = False) -> Retry:
    """Return how to ride out an outage of Airbyte for ``timeout`` seconds."""
    return Retry(patience=timeout, first_pause=2.0, longest_pause=60.0, rides_out=True, is_known=is_known)


ONCE = Retry(attempts=1)
"""For a loop that looks again anyway."""
