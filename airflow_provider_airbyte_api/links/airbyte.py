"""Operator links to a job and to a connection in Airbyte's web app.

Airflow 3 shows the URL that a task has pushed under a link's ``xcom_key``, so tasks push it before they wait. Airflow 3
calls ``get_link`` when the task ends. Airflow 2 calls it each time that it shows the link.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_airbyte_api._airflow_compat import BaseOperatorLink

JOB_URL, CONNECTION_URL = "job_url", "connection_url"
"""Keys of the XComs that hold the URLs."""


class _XComLink(BaseOperatorLink):
    """A link to the URL in an XCom of the task. It is empty until the task has pushed one."""

    url_xcom_key = ""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL, or an empty string if the task has not pushed one.

        :param operator: The task's operator.
        :param ti_key: The key of the task instance.
        """
        from airflow_provider_airbyte_api._airflow_compat import XCom  # noqa: PLC0415 - not while a DAG is parsed

        return str(XCom.get_value(key=self.url_xcom_key, ti_key=ti_key) or "")


class AirbyteJobLink(_XComLink):
    """A link to the job's page in Airbyte, which shows its log."""

    name = "Airbyte job"
    xcom_key = "airbyte_job_link"
    url_xcom_key = JOB_URL


class AirbyteConnectionLink(_XComLink):
    """A link to the page of the job's connection in Airbyte."""

    name = "Airbyte connection"
    xcom_key = "airbyte_connection_link"
    url_xcom_key = CONNECTION_URL


def push_link_urls(ti: Any, job_url: str | None, connection_url: str | None) -> None:
    """Push the URLs of the links as XComs.

    :param ti: The running task instance.
    :param job_url: URL of the job. None: leave the link as it is.
    :param connection_url: URL of the connection. None: leave the link as it is.
    """
    for link, url in ((AirbyteJobLink, job_url), (AirbyteConnectionLink, connection_url)):
        if url is not None:
            ti.xcom_push(key=link.url_xcom_key, value=url)
            ti.xcom_push(key=link.xcom_key, value=url)
