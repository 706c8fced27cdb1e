"""The retry policy for Airflow's ``retry_policy`` parameter (3.3 and newer)."""

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
    exceptions.AirbyteJobConfigError,
)
"""Errors that a retry cannot resolve, because a user has to change something first."""

RATE_LIMIT_DELAY = timedelta(minutes=5)


def airbyte_retry_policy() -> ExceptionRetryPolicy:
    """Return the policy for a task's ``retry_policy``.

    The task fails at once if Airbyte reports invalid credentials, missing permissions, an unknown ID or a bad request.
    The same applies to a job that failed because of the configuration of its source or destination (``config_error``).
    After a 429 it retries in five minutes. All other errors follow the task's ``retries`` and ``retry_delay``.

    So a request that a gateway or an identity proxy rejects instead of Airbyte is retried. The exception is a 401 that
    asks for HTTP authentication before Airbyte has answered any request of the task.

    :raises AirbyteConfigError: if Airflow is older than 3.3 and has no retry policies.
    """
    try:
        from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule  # noqa: PLC0415 - 3.3 and newer
    except ImportError as error:
        raise exceptions.AirbyteConfigError(
            "retry_policy requires Airflow 3.3 or newer. Omit it on this version."
        ) from error
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=list(NON_RETRYABLE), action=RetryAction.FAIL, reason="A retry cannot fix this error."),
            RetryRule(
                exception=exceptions.AirbyteRateLimitError,
                action=RetryAction.RETRY,
                retry_delay=RATE_LIMIT_DELAY,
                reason="Airbyte limits the rate of requests.",
            ),
        ]
    )
