"""Which errors of this package are worth a retry, for Airflow's ``retry_policy`` (3.3 and newer)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_airbyte_api import exceptions

if TYPE_CHECKING:
    from airflow.sdk import ExceptionRetryPolicy

NON_RETRYABLE = (
    exceptions.AirbyteConfigError,
    exceptions.AirbyteAuthenticationError,
    exceptions.AirbytePermissionError,
    exceptions.AirbyteNotFoundError,
    exceptions.AirbyteResourceLookupError,
    exceptions.AirbyteBadRequestError,
    exceptions.AirbyteConnectionInactiveError,
)
"""What no retry heals: somebody has to change something first."""

RATE_LIMIT_DELAY = timedelta(minutes=5)


def airbyte_retry_policy() -> ExceptionRetryPolicy:
    """Return a policy for a task's ``retry_policy``.

    It fails at once on bad credentials, missing access, unknown ids and refused requests, if Airbyte says so, waits
    five minutes after a 429, and leaves the rest to the task's ``retries`` and ``retry_delay``. So what a gateway or an
    identity proxy refuses in Airbyte's place is retried, but for a 401 that asks for HTTP authentication before
    Airbyte has answered the task at all.

    :raises AirbyteConfigError: on Airflow older than 3.3, which has no retry policies.
    """
    try:
        from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule  # noqa: PLC0415 - 3.3 and newer
    except ImportError as error:
        raise exceptions.AirbyteConfigError(
            "retry_policy needs Airflow 3.3 or newer. Leave it out on this one."
        ) from error
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=list(NON_RETRYABLE), action=RetryAction.FAIL, reason="No retry heals this."),
            RetryRule(
                exception=exceptions.AirbyteRateLimitError,
                action=RetryAction.RETRY,
                retry_delay=RATE_LIMIT_DELAY,
                reason="Airbyte is being asked too often.",
            ),
        ]
    )
