"""Retry policies and outages: whether a request is sent again, after which delay, and what is logged.

Nothing here sleeps or reads a clock. Callers report failures with the time, and carry out the decision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from airflow_provider_airbyte_api.exceptions import (
    AirbyteError,
    AirbyteRateLimitError,
    AirbyteResponseError,
    AirbyteUnreachableError,
    is_recoverable_while_waiting,
    outage_error,
)

MAX_RETRY_AFTER = 120.0
"""Seconds. A server that asks for a longer delay is contacted again after this one."""

SHOWN_IN_MINUTES = 120
"""Seconds. A shorter limit is logged in seconds."""

RATE_LIMIT_WAIT_INITIAL = 5.0
"""Seconds before the second attempt after a 429 without ``Retry-After``, which is how Airbyte itself sends it."""

MAX_MISCONFIGURATION_ERRORS = 5
"""Maximum number of consecutive attempts with an error that looks like a mistake in the Airflow connection."""


REACHABLE_AGAIN = "Airbyte is reachable again."
"""The message logged at the end of an outage."""


@dataclass(frozen=True)
class RetryPolicy:
    """A limit of attempts, a limit of seconds from the first attempt, and delays that double after each failure.

    With ``until_timeout``, only the time is limited, and a last attempt follows at its end. The log then has one line
    at the start of an outage and one at its end, instead of one for each attempt. With ``airbyte_confirmed``, Airbyte
    has answered at this address before, so a response that is not Airbyte's also counts as an outage.
    """

    attempts: int = 5
    timeout: float = 120.0
    wait_initial: float = 1.0
    wait_max: float = 30.0
    until_timeout: bool = False
    airbyte_confirmed: bool = False

    def next_delay(self, attempt: int, elapsed: float, error: AirbyteError) -> float | None:
        """Return the delay in seconds after failed attempt number ``attempt``, or None to give up."""
        if attempt >= self.attempts and not self.until_timeout:
            return None
        delay = self.backoff(attempt)
        if isinstance(error, AirbyteRateLimitError):
            delay = max(delay, min(RATE_LIMIT_WAIT_INITIAL * 2 ** min(attempt - 1, 16), MAX_RETRY_AFTER))
        if isinstance(error, AirbyteResponseError) and error.retry_after is not None:
            delay = max(self.backoff(attempt), min(error.retry_after, MAX_RETRY_AFTER))
        if self.until_timeout:
            return min(delay, self.timeout - elapsed) if elapsed < self.timeout else None
        return delay if elapsed <= self.timeout else None

    def is_retryable(self, error: AirbyteError) -> bool:
        """Return True if another attempt may succeed after ``error``, whether or not repeating is safe."""
        return is_recoverable_while_waiting(error) if self.airbyte_confirmed else error.retryable

    def suspects_misconfiguration(self, error: AirbyteError) -> bool:
        """Return True if ``error`` looks like a mistake in the Airflow connection rather than an outage."""
        is_untrusted = isinstance(error, AirbyteUnreachableError) and error.kind == "certificate"
        return self.until_timeout and not self.airbyte_confirmed and is_untrusted

    def backoff(self, attempt: int) -> float:
        """Return the delay in seconds after ``attempt`` consecutive failures."""
        return float(min(self.wait_initial * 2 ** min(attempt - 1, 16), self.wait_max))


OUTAGE_WAIT_INITIAL = 2.0
OUTAGE_WAIT_MAX = 60.0
"""Seconds between two attempts during an outage: at its start, and at most."""


def while_unreachable(timeout: float, *, airbyte_confirmed: bool = False) -> RetryPolicy:
    """Return the policy that retries for ``timeout`` seconds during an outage of Airbyte."""
    return RetryPolicy(
        timeout=timeout,
        wait_initial=OUTAGE_WAIT_INITIAL,
        wait_max=OUTAGE_WAIT_MAX,
        until_timeout=True,
        airbyte_confirmed=airbyte_confirmed,
    )


NO_RETRY = RetryPolicy(attempts=1)
"""For a loop that polls again anyway."""


class RetryDecision(NamedTuple):
    """The reaction to a failure: try again after ``delay`` seconds, and log ``warning`` unless it is None."""

    delay: float
    warning: str | None


@dataclass
class Outage:
    """Consecutive failures of requests to Airbyte, from the first one to the next success.

    :param policy: for how long to retry, and after which delays.
    :param log_prefix: what cannot be known during the outage, as the start of a log line.
    :param hint: what to do, or what continues, if the outage outlasts the policy's timeout.
    :param error_prefix: what has been the case, as the start of that error's message.
    :param since: start of the outage in seconds since the epoch. Default: None, the first failure.
    """

    policy: RetryPolicy = field(default_factory=lambda: while_unreachable(math.inf, airbyte_confirmed=True))
    log_prefix: str = "Airbyte is unreachable"
    hint: str = ""
    error_prefix: str = "Airbyte has been unreachable"
    since: float | None = None
    failures: int = 0
    _misconfiguration_errors: int = 0

    @property
    def ends_at(self) -> float | None:
        """The time at which the policy gives up, in seconds since the epoch; None if there is no outage or no limit."""
        if not self.failures or self.since is None or math.isinf(self.policy.timeout):
            return None
        return self.since + self.policy.timeout

    def on_error(self, error: AirbyteError, now: float) -> RetryDecision:
        """Count a failure, and return what to do.

        :raises AirbyteError: ``error``, if retrying cannot help or no attempt is left.
        :raises AirbyteUnreachableError: if the outage outlasts the timeout of a policy with ``until_timeout``.
        """
        if not self.policy.is_retryable(error):
            raise error
        return self.on_retryable_error(error, now)

    def on_retryable_error(self, error: AirbyteError, now: float) -> RetryDecision:
        """Return what to do after a failure, like :meth:`on_error`, for a caller that knows that retrying may help."""
        self.since = now if self.since is None else self.since
        self.failures += 1
        self._misconfiguration_errors = (
            self._misconfiguration_errors + 1 if self.policy.suspects_misconfiguration(error) else 0
        )
        if self._misconfiguration_errors >= MAX_MISCONFIGURATION_ERRORS:
            raise error
        elapsed = now - self.since
        delay = self.policy.next_delay(self.failures, elapsed, error)
        if delay is not None:
            return RetryDecision(delay, self._warning(error, delay))
        if not self.policy.until_timeout:
            raise error
        raise outage_error(elapsed, error, self.hint, self.error_prefix) from error

    def on_success(self) -> str | None:
        """End the outage, and return the message to log, or None."""
        message = REACHABLE_AGAIN if self.failures and self.policy.until_timeout else None
        self.failures, self.since, self._misconfiguration_errors = 0, None, 0
        self.policy = replace(self.policy, airbyte_confirmed=True)
        return message

    def _warning(self, error: AirbyteError, delay: float) -> str | None:
        if not self.policy.until_timeout:
            return f"{error} Retrying in {delay:.0f} s."
        if self.failures > 1:
            return None
        return f"{self.log_prefix}; retrying{_format_limit(self.policy.timeout)}. {error}"


def _format_limit(timeout: float) -> str:
    if math.isinf(timeout):
        return ""
    return f" for up to {timeout / 60:.0f} min" if timeout >= SHOWN_IN_MINUTES else f" for up to {timeout:.0f} s"
