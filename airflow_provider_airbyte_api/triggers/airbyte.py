"""Triggers: they wait for Airbyte in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_airbyte_api.api import jobs
from airflow_provider_airbyte_api.api.errors import AirbyteError
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.triggers import events

SETTLING = 10.0
"""Seconds, at the least, between the start of a trigger and its event.

Airflow's worker may notice up to 5 s late (``[workers] min_heartbeat_interval``) that the process of a task that defers
has ended. If the trigger has fired by then, the scheduler takes the resumed task for one that died, and fails it: seen
on 3.3.2 with the LocalExecutor. No sync is that short, and the worker has looked at the job a moment ago.
"""


class AirbyteJobTrigger(BaseTrigger):
    """Waits until a job is finished, and tells how it ended: see :mod:`.events`.

    It never blocks the event loop, and it holds no secret: what it is built of is stored in plain text. Trouble on the
    way to Airbyte is ridden out for half an hour.

    :param job_id: the job.
    :param connection_id: the Airbyte connection that the job syncs.
    :param airbyte_conn_id: the id of the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param deadline: when to give up, in seconds since the epoch; None: never. The job is not cancelled.
    :param workspace_id: the workspace of the Airbyte connection, handed on in the event.
    """

    def __init__(
        self,
        job_id: int,
        connection_id: str,
        airbyte_conn_id: str = AirbyteHook.default_conn_name,
        poll_interval: float = 30.0,
        deadline: float | None = None,
        workspace_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.job_id = job_id
        self.connection_id = connection_id
        self.airbyte_conn_id = airbyte_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.workspace_id = workspace_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what to build this trigger of again."""
        return (
            "airflow_provider_airbyte_api.triggers.airbyte.AirbyteJobTrigger",
            {
                "job_id": self.job_id,
                "connection_id": self.connection_id,
                "airbyte_conn_id": self.airbyte_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "workspace_id": self.workspace_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event once the job is finished, or cannot be waited for any longer."""
        try:
            async with await AirbyteHook(self.airbyte_conn_id).async_client() as client:
                job = await client.run(
                    jobs.wait_for_job(
                        self.job_id,
                        poll_interval=self.poll_interval,
                        deadline=self.deadline,
                        first_pause=max(SETTLING, self.poll_interval),
                    )
                )
            event = events.finished(job, self.workspace_id)
        except AirbyteError as error:
            event = events.failed(self.job_id, error, self.workspace_id)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call] # Airflow's
