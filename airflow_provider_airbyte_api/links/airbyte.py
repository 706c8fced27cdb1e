"""Links to a job and to a connection.

Airflow 3 shows what a task has pushed under a link's ``xcom_key``, so the tasks push it before they wait; it asks
``get_link`` once more when the task ends. Airflow 2 asks that each time.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

JOB_URL, CONNECTION_URL = "job_url", "connection_url"
"""The XComs that the links lead to."""


class _XComLink(BaseOperatorLink):
    """Leads to what an XCom of the task says; to nowhere while there is none."""

    leads_to = ""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL."""
        from airflow.providers.common.compat.sdk import XCom  # noqa: PLC0415 - not while a DAG is parsed

        return str(XCom.get_value(key=self.leads_to, ti_key=ti_key) or "")


class AirbyteJobLink(_XComLink):
    """To the job's page, with its log."""

    name = "Airbyte job"
    xcom_key = "airbyte_job_link"
    leads_to = JOB_URL


class AirbyteConnectionLink(_XComLink):
    """To the page of the job's connection."""

    name = "Airbyte connection"
    xcom_key = "airbyte_connection_link"
    leads_to = CONNECTION_URL


def push_link_urls(ti: Any, job_url: str | None, connection_url: str | None) -> None:
    """Let the links lead to these pages from now on."""
    for link, url in ((AirbyteJobLink, job_url), (AirbyteConnectionLink, connection_url)):
        if url is not None:
            ti.xcom_push(key=link.leads_to, value=url)
            ti.xcom_push(key=link.xcom_key, value=url)
