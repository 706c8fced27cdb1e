"""The notifications that Airbyte sends to a webhook when a sync has finished.

Airbyte signs nothing, so the URL must be secret. All values are made safe here, and no text is acted on, except that a
test emits no event.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_airbyte_api.api.models import Job, parse_uuid
from airflow_provider_airbyte_api.api.outcome import build_asset_event_extra
from airflow_provider_airbyte_api.api.safe import dict_or_empty, parse_json, safe_int, safe_text
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError
from airflow_provider_airbyte_api.types import AssetEventExtra, JobStatus

MAX_BODY_BYTES = 65_536
"""Maximum size of a notification. Airbyte's are about 3 kB."""

TEST_MARK = b"[THIS IS A TEST NOTIFICATION]"
"""Before the text of a notification that the *Test* button sends. All else in it looks like a success."""

EMPTY_BODY = (
    "The notification is empty. Over http://, Airbyte asks the server to upgrade to HTTP/2, and Airflow's API server "
    "then drops the body. Use an https:// URL in Airbyte, or a proxy that removes the Upgrade header."
)


@dataclass(frozen=True)
class Notification:
    """What a notification means.

    ``extra`` is that of the asset event for a successful sync. If it is None, there is no event, and ``reason`` says
    why. ``is_problem`` is True if an administrator has something to change.
    """

    extra: AssetEventExtra | None = None
    reason: str = ""
    is_problem: bool = False


def parse_notification(body: bytes) -> Notification:
    """Return what the body of a request means. It never raises."""
    if not body.strip():
        return Notification(reason=EMPTY_BODY, is_problem=True)
    try:
        data = dict_or_empty(dict_or_empty(parse_json(body)).get("data"))
    except ValueError:
        return Notification(reason="The notification is not JSON.", is_problem=True)
    if TEST_MARK in body:
        return Notification(reason="It is a test, and it has arrived.")
    if not data:
        # Of a disabled connection or a changed schema, for example: text for people alone.
        return Notification(reason="The notification is not about a sync.")
    connection = dict_or_empty(data.get("connection"))
    try:
        job = _parse_job(data, parse_uuid(connection.get("id"), "data.connection.id"))
    except (KeyError, TypeError, ValueError, AirbyteConfigError):
        return Notification(reason="The notification names no job or no connection.", is_problem=True)
    if data.get("success") is not True:
        message = safe_text(data.get("errorMessage") or "", 500)
        return Notification(reason=f"Job {job.job_id} of {job.connection_id} failed{': ' if message else '.'}{message}")
    name = connection.get("name")
    return Notification(
        build_asset_event_extra(
            job,
            _job_url(connection.get("url"), job),
            name if isinstance(name, str) else "",
            _workspace_id(data),
        )
    )


def _parse_job(data: dict[str, object], connection_id: str) -> Job:
    seconds = safe_int(data.get("durationInSeconds"), 0)
    return Job.from_json(
        {
            "jobId": data["jobId"],
            "status": JobStatus.SUCCEEDED.value if data.get("success") is True else JobStatus.FAILED.value,
            "jobType": "sync",
            "connectionId": connection_id,
            "startTime": data.get("startedAt"),
            "lastUpdatedAt": data.get("finishedAt"),
            "duration": None if seconds is None else f"PT{seconds}S",
            "rowsSynced": data.get("recordsCommitted"),
            "bytesSynced": data.get("bytesCommitted"),
        }
    )


def _workspace_id(data: dict[str, object]) -> str | None:
    try:
        return parse_uuid(dict_or_empty(data.get("workspace")).get("id"), "data.workspace.id")
    except AirbyteConfigError:
        return None


def _job_url(connection_url: object, job: Job) -> str | None:
    """Return the URL of the job's page, if the URL of the connection is one of Airbyte's web app."""
    if not isinstance(connection_url, str) or not connection_url.startswith(("https://", "http://")):
        return None
    if not connection_url.endswith(f"/connections/{job.connection_id}"):
        return None
    return f"{connection_url}/timeline?jobId={job.job_id}&openLogs=true"
