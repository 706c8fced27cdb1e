"""Operator links to a job and to a connection in Airbyte's web app.

A task pushes the URLs as XComs before it waits. Airflow 3 shows the XCom under a link's ``xcom_key``. Airflow 2 calls
``get_link`` each time that it shows the link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api._airflow_compat import BaseOperatorLink

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import BaseOperator

    _Operator = BaseOperator
else:
    _Operator = object


class _XComLink(BaseOperatorLink):
    """A link to the URL in an XCom of the task. It is empty until the task has pushed one."""

    xcom_key = ""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL, or an empty string if the task has not pushed one.

        :param operator: The task's operator.
        :param ti_key: The key of the task instance.
        """
        from airflow_provider_airbyte_api._airflow_compat import XCom  # noqa: PLC0415 - not while a DAG is parsed

        return str(XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "")


class AirbyteJobLink(_XComLink):
    """A link to the job's page in Airbyte, which shows its log."""

    name = "Airbyte job"
    xcom_key = "job_url"


class AirbyteConnectionLink(_XComLink):
    """A link to the page of the job's connection in Airbyte."""

    name = "Airbyte connection"
    xcom_key = "connection_url"


class PushesOwnLinks(_Operator):
    """Base class of the operators and sensors with links, which push the URLs themselves.

    What Airflow executes has no links. At the end of each part of a task, Airflow 3 calls ``get_link`` of each of its
    links, and pushes the URL again. That would be two requests to its API server for each link, and an error in the log
    without a URL.
    """

    def prepare_for_execution(self) -> Any:
        """Return the copy that Airflow executes."""
        task = super().prepare_for_execution()
        task.operator_extra_links = ()
        return task

    def pre_execute(self, context: Any) -> None:
        """Remove the links of a mapped task, which Airflow makes after the call of :meth:`prepare_for_execution`."""
        self.operator_extra_links = ()
        super().pre_execute(context)


def push_link_urls(ti: Any, job_url: str | None, connection_url: str | None) -> None:
    """Push the URLs of the links as XComs.

    :param ti: The running task instance.
    :param job_url: URL of the job. None: leave the link as it is.
    :param connection_url: URL of the connection. None: leave the link as it is.
    """
    for link, url in ((AirbyteJobLink, job_url), (AirbyteConnectionLink, connection_url)):
        if url is not None:
            ti.xcom_push(key=link.xcom_key, value=url)
