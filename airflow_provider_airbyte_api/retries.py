"""Which errors of this package are worth a retry, for Airflow's ``retry_policy`` (3.3 and newer)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_airbyte_api.api import errors
from airflow_provider_airbyte_api.hooks.errors import as_airflow

if TYPE_CHECKING:
    from airflow.sdk import ExceptionRetryPolicy

HOPELESS = (
    errors.AirbyteConfigError,
    errors.AirbyteAuthenticationError,
    errors.AirbyteAccessError,
    errors.AirbyteNotFoundError,
    errors.AirbyteNameError,
    errors.AirbyteRequestError,
    errors.AirbyteConnectionInactiveError,
)
"""What no retry heals: somebody has to change something first."""

RATE_LIMITED_DELAY = timedelta(minutes=5)


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
        raise as_airflow(
            errors.AirbyteConfigError("retry_policy needs Airflow 3.3 or newer. Leave it out on this one.")
        ) from error
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=list(HOPELESS), action=RetryAction.FAIL, reason="No retry heals this."),
            RetryRule(
                exception=errors.AirbyteRateLimitError,
                action=RetryAction.RETRY,
                retry_delay=RATE_LIMITED_DELAY,
                reason="Airbyte is being asked too often.",
            ),
        ]
    )
