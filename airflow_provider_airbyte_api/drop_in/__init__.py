"""The classes of apache-airflow-providers-airbyte, on the operators, sensors and hook of this package.

A DAG migrates by a changed import. Names, parameters and defaults are those of version 6.2 of that provider. Each
parameter of the class that a class is derived from may be passed, too. ``docs/migrating.md`` lists what differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api._airflow_compat import conf
from airflow_provider_airbyte_api._defaults import DEFAULT_POLL_INTERVAL
from airflow_provider_airbyte_api._validation import boolean, check_seconds
from airflow_provider_airbyte_api.drop_in._defaults import DEFAULT_CONN_ID, DEFAULT_TIMEOUT, DEFAULT_WAIT_SECONDS
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.sensors import airbyte as sensors

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context
    from airflow_provider_airbyte_api.drop_in._hook import AirbyteHook

__all__ = ["AirbyteHook", "AirbyteJobSensor", "AirbyteTriggerSyncOperator"]


class AirbyteTriggerSyncOperator(AirbyteSyncOperator):
    """Runs one sync of an Airbyte connection, and returns its job ID.

    It runs the sync as :class:`~.operators.airbyte.AirbyteSyncOperator` does: a retry follows the sync of the previous
    attempt, and a clear starts a new one.

    :param connection_id: UUID of the Airbyte connection (templated).
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_default``.
    :param asynchronous: Succeed once the job is started, without waiting for it. Default: False.
    :param deferrable: Wait in the triggerer instead of a worker. Default: ``[operators] default_deferrable``.
    :param api_version: Without effect: the version is part of the connection's address.
    :param wait_seconds: Seconds between two polls of the job in a worker, at least 1. A deferred task polls every 30
        seconds, or every ``wait_seconds`` if that is longer. Default: 3.
    :param timeout: Seconds from the start of the job until it must have finished. After that the job is cancelled and
        the task fails. None or 0: no limit. Default: 3600.
    :param kwargs: Other parameters of :class:`~.operators.airbyte.AirbyteSyncOperator`, such as ``on_running``, and of
        Airflow's ``BaseOperator``.
    """

    def __init__(
        self,
        *,
        connection_id: str,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        asynchronous: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        api_version: str = "v1",
        wait_seconds: float = DEFAULT_WAIT_SECONDS,
        timeout: float | None = DEFAULT_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        poll_interval = check_seconds(wait_seconds, "wait_seconds")
        super().__init__(
            connection_id=connection_id,
            airbyte_conn_id=airbyte_conn_id,
            wait_for_completion=not boolean(asynchronous, "asynchronous"),
            deferrable=deferrable,
            poll_interval=max(poll_interval, DEFAULT_POLL_INTERVAL) if deferrable else poll_interval,
            timeout=timeout or None,
            **kwargs,
        )

    def execute(self, context: Context) -> Any:
        """Follow the job of an earlier attempt or start one, then wait and return the job ID, or defer."""
        return super().execute(context)["job_id"]

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as Airflow does, and return the job ID."""
        return super().resume_execution(next_method, next_kwargs, context)["job_id"]


class AirbyteJobSensor(sensors.AirbyteJobSensor):
    """Waits until an Airbyte job has succeeded, and fails if it finishes with another status.

    :param airbyte_job_id: ID of the job: a number, or a template that renders to one (templated as ``job_id``).
    :param deferrable: Wait in the triggerer instead of a worker. Default: ``[operators] default_deferrable``.
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_default``.
    :param api_version: Without effect: the version is part of the connection's address.
    :param kwargs: Other parameters of :class:`~.sensors.airbyte.AirbyteJobSensor`, and of Airflow's
        ``BaseSensorOperator``.
    """

    def __init__(
        self,
        *,
        airbyte_job_id: int | str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        api_version: str = "v1",
        **kwargs: Any,
    ) -> None:
        super().__init__(job_id=airbyte_job_id, airbyte_conn_id=airbyte_conn_id, deferrable=deferrable, **kwargs)


def __getattr__(name: str) -> Any:
    """Import the hook on first use: most DAG files need none while they are parsed."""
    if name != "AirbyteHook":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_provider_airbyte_api.drop_in._hook import AirbyteHook

    return AirbyteHook
