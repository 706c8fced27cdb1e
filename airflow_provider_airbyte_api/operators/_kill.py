"""Whether a task whose process is told to die cancels its job.

Airflow ends the process of a running task for many reasons, and tells it none of them. If a user has marked or cleared
the task, or if its DAG run has failed, nobody wants the job any more. If a worker is deployed or evicted, or if the API
server cannot be reached, the job is fine and the next attempt follows it. The state of the task shows which one it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.triggers._abandonment import ENDED_STATES
from airflow_provider_airbyte_api.types import CancelOnKill


def is_execution_timeout() -> bool:
    """Return True if Airflow calls ``on_kill`` because the task's ``execution_timeout`` has passed."""
    return isinstance(sys.exc_info()[1], _airflow_compat.AirflowTaskTimeout)


def should_cancel(
    policy: CancelOnKill, *, timed_out: bool, next_attempt_follows: bool, get_state: Callable[[], str | None]
) -> bool:
    """Return True if the job of a killed task has to be cancelled.

    :param policy: The operator's ``cancel_on_kill``.
    :param timed_out: Whether the task's ``execution_timeout`` has passed.
    :param next_attempt_follows: Whether the task has another attempt, and a record by which it finds the job.
    :param get_state: Returns the state of the task instance, None if it was cleared or deleted. Only called if the
        answer depends on it.
    :raises Exception: any error of ``get_state``.
    """
    if policy != "auto":
        return policy == "always"
    if not next_attempt_follows:
        return True
    state = get_state()
    # The time of an attempt that Airflow has given up also runs out, while the next one may be waiting for the job.
    return state in ENDED_STATES or (timed_out and state == "running")
