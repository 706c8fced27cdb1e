"""Whether a deferred task has stopped waiting for its job, for a trigger that Airflow has cancelled.

Airflow cancels a trigger if a user has marked or cleared the task, or if its DAG run has failed. It also cancels a
trigger if the triggerer stops, if another triggerer has taken over the trigger, and if the task has been resumed. Only
the first two leave the job to nobody. The state of the task and its XCom with the job's ID show which one it was.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.clients.clock import CLOCK

JOB_ID_XCOM = "job_id"
"""Key of the XCom with the ID of the job that the task follows. Airflow deletes it when a new attempt starts."""

CHECK_INTERVAL = 2.0
"""Seconds between two checks of a task that is about to run or runs."""

MAX_CHECK_DURATION = 120.0
"""Seconds after which the job of such a task is left running."""

NEW_ATTEMPT_DURATION = 5.0
"""Seconds for which the XCom of a running task is not read. A new attempt has none until it has started its job, and
Airflow logs an error for an XCom that does not exist."""

ENDED_STATES = frozenset({None, "success", "failed", "skipped", "upstream_failed", "removed", "restarting"})
"""States of a task instance that no longer wants its job. None: it was cleared or deleted."""

_UNSETTLED = frozenset({"scheduled", "queued", "running"})


class Decision(Enum):
    """What to do with the job of a cancelled trigger."""

    CANCEL = "cancel"
    KEEP = "keep"
    CHECK_AGAIN = "check again"


def decide(job_id: int, state: str | None, xcom: Any, now: float, check_until: float) -> Decision:
    """Decide what to do with the job of a cancelled trigger.

    The state alone is not enough: after a clear, the task may already be deferred again for another job. A task that is
    about to run or runs is either the resumed one, which handles its job itself, or a new attempt.

    :param job_id: ID of the job.
    :param state: The state of the task instance; None if it was cleared or deleted.
    :param xcom: The task's XCom :data:`JOB_ID_XCOM`. A value that is no number, such as the reference of a custom XCom
        backend, is ignored.
    :param now: The time, in seconds since the epoch.
    :param check_until: Time after which the task is not checked again.
    """
    follows_another_job = isinstance(xcom, int) and xcom != job_id
    is_new_attempt = state == "running" and xcom is None
    if state in ENDED_STATES or follows_another_job or is_new_attempt:
        return Decision.CANCEL
    if state in _UNSETTLED and now < check_until:
        return Decision.CHECK_AGAIN
    return Decision.KEEP


async def is_abandoned(ti: Any, job_id: int) -> bool:
    """Return True if the task instance no longer waits for the job. Check until that is certain, for 2 minutes.

    :param ti: The trigger's task instance.
    :param job_id: ID of the job.
    :raises Exception: if Airflow cannot be asked.
    """
    check_until = CLOCK.time() + MAX_CHECK_DURATION
    running_since: float | None = None
    while True:
        state, now = await _airflow_compat.task_state(ti), CLOCK.time()
        running_since = (running_since or now) if state == "running" else None
        if running_since is None or now >= running_since + NEW_ATTEMPT_DURATION:
            xcom = None if state in ENDED_STATES else await _airflow_compat.task_xcom(ti, JOB_ID_XCOM)
            decision = decide(job_id, state, xcom, now, check_until)
            if decision is not Decision.CHECK_AGAIN:
                return decision is Decision.CANCEL
        await CLOCK.sleep_async(CHECK_INTERVAL)
