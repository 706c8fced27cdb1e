"""The hook of apache-airflow-providers-airbyte, on the hook of this package."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_airbyte_api._validation import check_seconds
from airflow_provider_airbyte_api.drop_in._defaults import DEFAULT_CONN_ID, DEFAULT_TIMEOUT, DEFAULT_WAIT_SECONDS
from airflow_provider_airbyte_api.exceptions import AirbyteJobTimeoutError
from airflow_provider_airbyte_api.hooks import airbyte as hooks

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.api.models import Job
    from airflow_provider_airbyte_api.clients.settings import ClientSettings


class AirbyteHook(hooks.AirbyteHook):
    """Calls the public API of one Airbyte instance, with the methods of both hooks.

    A method that starts, cancels or gets a job returns a :class:`~.api.models.Job`, which has the attributes of the
    official provider's job.

    :param airbyte_conn_id: ID of the Airflow connection. Default: ``airbyte_default``.
    :param api_version: Without effect: the version is part of the connection's address.
    :param timeout: Timeout of a request in seconds, to connect and to receive the response. Default: None, the extras
        of the connection.
    """

    default_conn_name = DEFAULT_CONN_ID

    def __init__(
        self, airbyte_conn_id: str = DEFAULT_CONN_ID, api_version: str = "v1", timeout: float | None = None
    ) -> None:
        super().__init__(airbyte_conn_id)
        self.timeout = None if timeout is None else check_seconds(timeout, "timeout")

    @cached_property
    def _settings(self) -> ClientSettings:
        settings = super()._settings
        if self.timeout is None:
            return settings
        return replace(settings, connect_timeout=self.timeout, read_timeout=self.timeout)

    def submit_sync_connection(self, connection_id: str) -> Job:
        """Start a sync and return its job.

        :param connection_id: UUID of the Airbyte connection.
        :raises AirbyteAlreadyRunningError: if a job of the connection is already running.
        """
        return self.start_sync(connection_id)

    def submit_reset_connection(self, connection_id: str) -> Job:
        """Start a reset and return its job.

        :param connection_id: UUID of the Airbyte connection.
        :raises AirbyteAlreadyRunningError: if a job of the connection is already running.
        """
        return self.start_clear(connection_id, job_type="reset")

    def get_job_details(self, job_id: int) -> Job:
        """Return a job.

        :param job_id: ID of the job.
        """
        return self.get_job(job_id)

    def get_job_status(self, job_id: int) -> str:
        """Return the status of a job.

        :param job_id: ID of the job.
        """
        return self.get_job(job_id).status

    def wait_for_job(  # type: ignore[override] # the signature is the official provider's
        self, job_id: str | int, wait_seconds: float = DEFAULT_WAIT_SECONDS, timeout: float | None = DEFAULT_TIMEOUT
    ) -> None:
        """Wait until the job has succeeded. If it takes too long, cancel it.

        :param job_id: ID of the job.
        :param wait_seconds: Seconds between two polls, at least 1. Default: 3.
        :param timeout: Seconds from now within which the job must finish. None or 0: no limit. Default: 3600.
        :raises AirbyteJobTimeoutError: if the job has not finished within ``timeout``. It is cancelled.
        :raises AirbyteJobError: if the job failed or was cancelled.
        """
        try:
            super().wait_for_job(int(job_id), poll_interval=wait_seconds, timeout=timeout or None, check=True)
        except AirbyteJobTimeoutError:
            self.cancel_job(int(job_id))
            raise
