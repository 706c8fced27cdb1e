"""The local Airbyte answers as the real one is known to, so that a test against it means something."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import subprocess
import sys
import time
from datetime import datetime, timezone
from typing import Any

import aiohttp
import pytest
import requests

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.jobs import java_duration, timestamp
from airflow_provider_airbyte_api.testing.seed import (
    NIGHTLY,
    SNOWFLAKE_TO_POSTGRES,
    STRIPE,
    STRIPE_TO_BIGQUERY,
    STRIPE_TO_POSTGRES,
    WORKSPACE_ID,
)
from airflow_provider_airbyte_api.types import Failure

NOWHERE = "00000000-0000-4000-8000-000000000000"


class Curl:
    """A client as plain as can be."""

    def __init__(self, airbyte: LocalAirbyte, *, login: bool = True) -> None:
        self.airbyte = airbyte
        self.headers: dict[str, str] = {}
        if login:
            reply = self("POST", "/applications/token", json=self.credentials)
            self.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"

    @property
    def credentials(self) -> dict[str, str]:
        return {"client_id": self.airbyte.client_id, "client_secret": self.airbyte.client_secret}

    def __call__(self, method: str, path: str, **more: Any) -> requests.Response:
        url = path if path.startswith("http") else self.airbyte.api_url + path
        return requests.request(method, url, headers=self.headers, timeout=10, allow_redirects=False, **more)

    def start(self, connection_id: str = STRIPE_TO_BIGQUERY, job_type: str = "sync") -> requests.Response:
        return self("POST", "/jobs", json={"connectionId": connection_id, "jobType": job_type})


@pytest.fixture
def curl(airbyte: LocalAirbyte) -> Curl:
    return Curl(airbyte)


@pytest.mark.parametrize("how", ["json", "data"])
def test_a_token_is_given_for_json_and_for_a_form_and_is_a_jwt_that_expires(airbyte: LocalAirbyte, how: str) -> None:
    curl = Curl(airbyte, login=False)
    reply = curl("POST", "/applications/token", **{how: curl.credentials}).json()
    assert (reply["token_type"], reply["expires_in"]) == ("Bearer", 900)
    payload = reply["access_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["exp"] == pytest.approx(time.time() + 900, abs=10)
    assert claims["aud"] == "airbyte-server"


def test_a_jwt_may_die_before_its_expires_in() -> None:
    with LocalAirbyte(token_seconds=900, jwt_seconds=0.2) as airbyte:
        curl = Curl(airbyte)
        assert curl("GET", "/sources").status_code == 200
        time.sleep(0.25)
        assert curl("GET", "/sources").status_code == 401


def test_a_forged_or_revoked_token_is_refused(airbyte: LocalAirbyte, curl: Curl) -> None:
    token = curl.headers["Authorization"]
    curl.headers["Authorization"] = token[:-3] + "abc"
    assert curl("GET", "/sources").status_code == 401
    curl.headers["Authorization"] = token
    airbyte.revoke_tokens()
    assert curl("GET", "/sources").status_code == 401


def test_a_401_has_the_body_of_the_framework_or_of_the_gateway() -> None:
    with LocalAirbyte() as airbyte:
        body = Curl(airbyte, login=False)("GET", "/sources").json()
        assert body["_embedded"]["errors"][0]["message"] == "Unauthorized"
    with LocalAirbyte(edition="cloud") as airbyte:
        assert Curl(airbyte, login=False)("GET", "/sources").json()["code"] == 401


def test_a_wrong_secret_is_400_on_community_and_401_on_cloud() -> None:
    for edition, status in (("community", 400), ("cloud", 401)):
        with LocalAirbyte(edition=edition) as airbyte:  # type: ignore[arg-type]
            curl = Curl(airbyte, login=False)
            wrong = {**curl.credentials, "client_secret": "wrong"}
            assert curl("POST", "/applications/token", json=wrong).status_code == status


def test_with_authentication_off_there_is_no_token_endpoint_and_no_401() -> None:
    with LocalAirbyte(auth=False) as airbyte:
        curl = Curl(airbyte, login=False)
        reply = curl("POST", "/applications/token", json=curl.credentials)
        assert (reply.status_code, reply.text) == (404, "Object not found.")
        assert reply.headers["content-type"].startswith("application/json")
        assert curl("GET", "/sources").status_code == 200
        assert "login" not in json.loads(airbyte.airflow_connection)


def test_outside_the_api_there_is_the_web_app(airbyte: LocalAirbyte, curl: Curl) -> None:
    for path in ("", "/v1/sources", "/workspaces/x"):
        reply = curl("GET", airbyte.url + path)
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html")
    assert curl("POST", airbyte.url + "/v1/jobs").status_code == 405


def test_an_unknown_route_is_403_with_a_token_and_so_is_a_double_slash(airbyte: LocalAirbyte, curl: Curl) -> None:
    assert curl("GET", airbyte.url + "/api/v1/jobs").status_code == 403
    assert curl("GET", airbyte.url + "/api/public/v1//sources").status_code == 403


def test_health_is_open_to_all_and_no_json_object(airbyte: LocalAirbyte) -> None:
    reply = Curl(airbyte, login=False)("GET", "/health")
    assert (reply.status_code, reply.text) == (200, "Successful operation")


def test_instance_configuration_is_open_to_all(airbyte: LocalAirbyte) -> None:
    reply = Curl(airbyte, login=False)("GET", airbyte.url + "/api/v1/instance_configuration")
    assert reply.json()["auth"] == {"mode": "simple"}


@pytest.mark.parametrize(
    ("path", "at_least"),
    [("/workspaces", 1), ("/sources", 2), ("/destinations", 2), ("/connections", 3), ("/tags", 1)],
)
def test_there_is_something_of_everything(curl: Curl, path: str, at_least: int) -> None:
    assert len(curl("GET", path).json()["data"]) >= at_least
    assert curl("GET", path, params={"workspaceIds": NOWHERE}).json()["data"] == []


def test_streams_are_a_bare_list(curl: Curl) -> None:
    assert [each["streamName"] for each in curl("GET", "/streams", params={"sourceId": STRIPE}).json()] == [
        "invoices",
        "customers",
    ]


def test_connections_can_be_chosen_by_tag_and_switched_off(curl: Curl) -> None:
    assert len(curl("GET", "/connections", params={"tagIds": NIGHTLY}).json()["data"]) == 3
    reply = curl("PATCH", f"/connections/{STRIPE_TO_BIGQUERY}", json={"status": "inactive"})
    assert reply.json()["status"] == "inactive"
    assert curl.start().status_code == 409


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("0 0 5 * * ?", "0 0 5 * * ? UTC"),
        ("0 0 5 * * ? UTC", "0 0 5 * * ? UTC"),
        ("0 */15 * ? * MON-FRI", "0 */15 * ? * MON-FRI UTC"),
        ("0 0 0 L * ? 2030", "0 0 0 L * ? 2030 UTC"),
        ("0 0 12 ? jan,JUL 2#1", "0 0 12 ? jan,JUL 2#1 UTC"),
        ("0 0 5 LW * ?", "0 0 5 LW * ? UTC"),
        ("* 0 5 * * ?", "less than the one hour minimum"),
        ("0 * 5 * * ? 2030", "less than the one hour minimum"),
        ("0 5 * * *", "is not valid. Error"),
        ("0 0 5 * * *", "is not valid. Error"),
        ("0 0 5 ? * ?", "is not valid. Error"),
        ("0 0 24 * * ?", "is not valid. Error"),
        ("0 0 5 * * ? Europe/Berlin", "is not valid. Error"),
        ("@daily", "is not valid. Error"),
        ("", "is not valid. Error"),
        (None, "Missing cron expression in the schedule."),
    ],
)
def test_a_cron_expression_is_one_of_quartz_and_kept_with_its_zone(curl: Curl, given: str | None, kept: str) -> None:
    schedule = {"scheduleType": "cron", "cronExpression": given}
    reply = curl("PATCH", f"/connections/{STRIPE_TO_BIGQUERY}", json={"schedule": schedule})
    if kept.endswith(" UTC"):
        assert reply.json()["schedule"] == {"scheduleType": "cron", "cronExpression": kept}
    else:
        assert (reply.status_code, reply.json()["title"]) == (400, "bad-request")
        assert kept in reply.json()["data"]["message"]
        assert curl.airbyte.connections[0]["schedule"] == {"scheduleType": "manual"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 1},
        {"status": "paused"},
        {"schedule": []},
        {"schedule": {"scheduleType": "basic"}},
        {"configurations": {"streams": [{"syncMode": "full_refresh_append"}]}},
        {"configurations": {"streams": [{"name": "x", "syncMode": "append"}]}},
        {"tags": [{"tagId": NIGHTLY}]},
    ],
)
def test_a_change_of_the_wrong_type_is_400_and_changes_nothing(curl: Curl, wrong: dict[str, Any]) -> None:
    before = curl("GET", f"/connections/{STRIPE_TO_BIGQUERY}").json()
    assert curl("PATCH", f"/connections/{STRIPE_TO_BIGQUERY}", json={"prefix": "new_", **wrong}).status_code == 400
    assert curl("GET", f"/connections/{STRIPE_TO_BIGQUERY}").json() == before


def test_a_change_passes_over_what_is_null_or_not_known(curl: Curl) -> None:
    body = {"name": "Renamed", "prefix": None, "sourceId": NOWHERE, "colour": "red"}
    reply = curl("PATCH", f"/connections/{STRIPE_TO_BIGQUERY}", json=body).json()
    assert (reply["name"], reply["prefix"], reply["sourceId"]) == ("Renamed", "", STRIPE)
    assert "colour" not in reply


@pytest.mark.parametrize(("method", "path"), [("POST", "/jobs"), ("PATCH", f"/connections/{STRIPE_TO_BIGQUERY}")])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"NaN", b"[" * 100_000])
def test_a_body_that_is_no_object_is_422(curl: Curl, method: str, path: str, body: bytes) -> None:
    assert curl(method, path, data=body).status_code == 422


def test_streams_are_those_of_a_source(curl: Curl) -> None:
    assert curl("GET", "/streams").status_code == 400
    assert curl("GET", "/streams", params={"sourceId": NOWHERE}).status_code == 404


def test_who_is_no_administrator_is_refused_a_list_for_a_workspace_that_is_not_ones_own() -> None:
    with LocalAirbyte(edition="enterprise") as airbyte:
        curl = Curl(airbyte)
        for path in ("/jobs", "/workspaces", "/sources", "/destinations", "/connections", "/tags"):
            assert curl("GET", path, params={"workspaceIds": WORKSPACE_ID}).status_code == 200
            assert curl("GET", path, params={"workspaceIds": [WORKSPACE_ID, NOWHERE]}).status_code == 403


@pytest.mark.parametrize(
    "rest",
    [
        "Content-Length: x\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_what_is_no_http_is_400_and_leaves_no_trace_in_the_log(caplog: pytest.LogCaptureFixture, rest: str) -> None:
    with LocalAirbyte(auth=False) as airbyte:
        address = ("127.0.0.1", int(airbyte.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(f"POST /api/public/v1/jobs HTTP/1.1\r\nHost: x\r\n{rest}".encode())
            assert connection.recv(4096).split()[1] == b"400"
    assert caplog.records == []


def test_a_body_that_never_comes_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with LocalAirbyte(auth=False) as airbyte:
        address = ("127.0.0.1", int(airbyte.url.rpartition(":")[2]))
        connection = socket.create_connection(address, timeout=10)
        connection.sendall(b"POST /api/public/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert requests.get(f"{airbyte.api_url}/health", timeout=10).status_code == 200
    connection.close()
    assert caplog.records == []


def test_next_is_there_on_the_last_page_names_a_foreign_host_and_drops_filters(curl: Curl) -> None:
    for _ in range(3):
        curl.airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    params = {"connectionId": STRIPE_TO_BIGQUERY, "status": "succeeded", "orderBy": "createdAt|DESC", "limit": 2}
    first = curl("GET", "/jobs", params=params).json()
    assert first["previous"] == ""
    assert not first["next"].startswith(curl.airbyte.url)
    assert "connectionId=" in first["next"]
    assert "status=" not in first["next"]
    assert "orderBy=" not in first["next"]
    assert curl("GET", "/jobs", params={**params, "offset": 2}).json()["next"] != ""
    assert curl("GET", "/jobs", params={**params, "offset": 4}).json()["next"] == ""


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 101},
        {"limit": 0},
        {"limit": "x"},
        {"offset": -1},
        {"offset": 2**31},
        {"orderBy": "jobId"},
        {"status": "done"},
        {"jobType": "sink"},
        {"connectionId": "nonsense"},
        {"workspaceIds": "nonsense"},
        {"updatedAtStart": "yesterday"},
    ],
)
def test_a_query_out_of_range_is_400(curl: Curl, query: dict[str, Any]) -> None:
    assert curl("GET", "/jobs", params=query).status_code == 400


def test_dates_of_a_query_may_be_written_as_in_a_header(curl: Curl) -> None:
    curl.airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    for start, found in (("Tue, 15 Nov 1994 08:12:31 GMT", 1), ("Tue, 15 Nov 2994 08:12:31 GMT", 0)):
        assert len(curl("GET", "/jobs", params={"createdAtStart": start}).json()["data"]) == found


def test_jobs_come_oldest_first_unless_asked_otherwise(curl: Curl) -> None:
    ages = [curl.airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", age=age).job_id for age in (300, 200, 100)]
    rows = curl("GET", "/jobs").json()["data"]
    assert [row["jobId"] for row in rows] == ages
    rows = curl("GET", "/jobs", params={"orderBy": "createdAt|DESC"}).json()["data"]
    assert [row["jobId"] for row in rows] == ages[::-1]


def test_jobs_can_be_filtered(curl: Curl) -> None:
    old = curl.airbyte.add_job(STRIPE_TO_BIGQUERY, "failed", age=3600)
    new = curl.airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "running", job_type="reset")
    recently = datetime.fromtimestamp(time.time() - 600, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def ids(**query: str) -> list[int]:
        return [row["jobId"] for row in curl("GET", "/jobs", params=query).json()["data"]]

    assert ids(connectionId=STRIPE_TO_BIGQUERY) == [old.job_id]
    assert ids(status="running") == [new.job_id]
    assert ids(jobType="reset") == [new.job_id]
    assert ids(workspaceIds=WORKSPACE_ID) == [old.job_id, new.job_id]
    assert ids(workspaceIds=NOWHERE) == []
    assert ids(updatedAtStart=recently) == [new.job_id]
    assert ids(createdAtEnd=recently) == [old.job_id]
    curl.airbyte.finish_job(old.job_id)
    assert ids(updatedAtStart=recently) == [new.job_id], "a finished job never changes"


def test_a_job_says_only_what_airbyte_knows_by_then(airbyte: LocalAirbyte, curl: Curl) -> None:
    airbyte.script_jobs("running", "succeeded")
    started = curl.start()
    assert (started.status_code, sorted(started.json())) == (
        200,
        ["connectionId", "jobId", "jobType", "startTime", "status"],
    )
    path = f"/jobs/{started.json()['jobId']}"
    running = curl("GET", path).json()
    assert running["status"] == "running"
    assert "lastUpdatedAt" not in running
    done = curl("GET", path).json()
    assert done["status"] == "succeeded"
    assert {"lastUpdatedAt", "duration", "rowsSynced", "bytesSynced"} <= done.keys()


def test_a_job_without_a_script_goes_by_the_clock() -> None:
    with LocalAirbyte(job_seconds=300) as airbyte:
        curl = Curl(airbyte)
        path = f"/jobs/{curl.start().json()['jobId']}"
        assert curl("GET", path).json()["status"] == "pending"
        airbyte.clock_skew = 100
        assert curl("GET", path).json()["status"] == "running"
        airbyte.clock_skew = 400
        assert curl("GET", path).json()["status"] == "succeeded"


def test_timestamps_lack_seconds_that_are_zero_and_durations_have_no_days() -> None:
    assert timestamp(1_700_000_040) == "2023-11-14T22:14Z"
    assert timestamp(1_700_000_041) == "2023-11-14T22:14:01Z"
    assert [java_duration(seconds) for seconds in (0, 330, 90_000, 3_600.7)] == ["PT0S", "PT5M30S", "PT25H", "PT1H"]


@pytest.mark.parametrize("status", ["pending", "queued"])
def test_a_start_during_a_queued_job_returns_that_job(airbyte: LocalAirbyte, curl: Curl, status: str) -> None:
    airbyte.script_jobs("running")
    waiting = airbyte.add_job(STRIPE_TO_BIGQUERY, status)
    reply = curl.start()
    assert (reply.status_code, reply.json()["jobId"], reply.json()["status"]) == (200, waiting.job_id, status)
    assert airbyte.jobs == [waiting]


def test_409_says_already_running_or_hides_its_reason(airbyte: LocalAirbyte, curl: Curl) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "incomplete")
    running = curl.start().json()
    assert (running["status"], running["title"]) == (409, "try-again-later")
    assert running["documentationUrl"] is None
    inactive = curl.start(STRIPE_TO_POSTGRES).json()
    assert (inactive["title"], inactive["data"]["message"]) == ("state-conflict", "Could not fulfill request")


def test_a_reset_cancels_what_runs_and_both_kinds_are_called_reset(airbyte: LocalAirbyte, curl: Curl) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    assert curl.start(job_type="clear").json()["jobType"] == "reset"
    assert job.status == "cancelled"


def test_a_refresh_is_422(curl: Curl) -> None:
    reply = curl.start(job_type="refresh")
    assert reply.status_code == 422
    assert reply.json()["data"]["message"] == "Refreshes are not supported in the public API"


def test_cancelling_stops_whatever_runs_on_the_jobs_connection(airbyte: LocalAirbyte, curl: Curl) -> None:
    old = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    new = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    reply = curl("DELETE", f"/jobs/{old.job_id}")
    assert (reply.status_code, reply.json()["jobId"]) == (200, old.job_id)
    assert new.status == "cancelled"
    assert airbyte.cancelled == [new.job_id]
    again = curl("DELETE", f"/jobs/{old.job_id}")
    assert (again.status_code, again.json()["data"]["message"]) == (409, "Job is not currently running")


@pytest.mark.parametrize(
    ("path", "community"),
    [
        (f"/connections/{NOWHERE}", 404),
        ("/connections/nonsense", 500),
        ("/jobs/999", 409),
        (f"/sources/{NOWHERE}", 404),
    ],
)
def test_an_unknown_id_is_403_on_cloud_and_many_things_elsewhere(path: str, community: int) -> None:
    for edition, status in (("community", community), ("cloud", 403)):
        with LocalAirbyte(edition=edition) as airbyte:  # type: ignore[arg-type]
            assert Curl(airbyte)("GET", path).status_code == status


def test_a_script_of_faults_is_one_line_each(airbyte: LocalAirbyte, curl: Curl) -> None:
    airbyte.respond_with(502, path="/sources")
    assert "502 Bad Gateway" in curl("GET", "/sources").text
    assert curl("GET", "/sources").status_code == 200

    airbyte.drop_next_response()
    with pytest.raises(requests.ConnectionError):
        curl.start()
    assert len(airbyte.jobs) == 1, "the job was made before the reply got lost"

    airbyte.respond_with(429, headers={"Retry-After": "7"}, times=2)
    replies = [curl("GET", "/jobs") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [429, 429, 200]
    assert replies[0].headers["retry-after"] == "7"

    airbyte.respond_with(500, method="POST", path="/jobs", apply_first=True)
    assert curl.start(SNOWFLAKE_TO_POSTGRES).status_code == 500
    assert len(airbyte.jobs) == 2

    airbyte.respond_with(path="/tags", delay=0.2)
    before = time.monotonic()
    assert curl("GET", "/tags").status_code == 200
    assert time.monotonic() - before >= 0.2


def test_every_request_is_remembered(airbyte: LocalAirbyte, curl: Curl) -> None:
    curl("GET", "/sources", params={"limit": 5})
    assert [(asked.method, asked.path) for asked in airbyte.requests] == [
        ("POST", "/applications/token"),
        ("GET", "/sources"),
    ]
    assert airbyte.requests[-1].value("limit") == "5"
    assert airbyte.requests_to("GET", "/sources") == airbyte.requests[-1:]


async def test_two_thousand_requests_at_once_are_all_answered() -> None:
    with LocalAirbyte(auth=False) as airbyte:
        airbyte.latency = 2.0
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask() -> int:
                async with session.get(airbyte.api_url + "/sources") as reply:
                    await reply.read()
                    return reply.status

            assert await asyncio.gather(*(ask() for _ in range(2000))) == [200] * 2000
        assert airbyte.peak_in_flight > 1000


def test_the_command_serves_until_it_is_stopped_and_says_how_to_reach_it() -> None:
    command = [sys.executable, "-m", "airflow_provider_airbyte_api.testing"]
    options = ["--port", "0", "--client-id", "me", "--client-secret", "mine", "--job-seconds", "0"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = re.search(r"http://\S+", process.stdout.readline())
            assert url is not None
            credentials = {"client_id": "me", "client_secret": "mine"}
            reply = requests.post(f"{url[0]}/applications/token", json=credentials, timeout=10)
            assert reply.status_code == 200
        finally:
            process.terminate()
        assert process.wait(timeout=10) == 0


def test_the_command_says_which_port_is_taken(airbyte: LocalAirbyte) -> None:
    port = airbyte.url.rpartition(":")[2]
    command = [sys.executable, "-m", "airflow_provider_airbyte_api.testing", "--port", port]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert f"port {port} cannot be used" in ended.stderr


# -- the internal API ------------------------------------------------------------------------------------------------


def test_the_internal_api_has_the_attempts_of_a_job_and_why_each_failed(airbyte: LocalAirbyte, curl: Curl) -> None:
    job_id = airbyte.add_job(STRIPE_TO_BIGQUERY).job_id
    airbyte.fail_attempt(job_id, Failure("source", "transient_error", "Reset"), Failure("replication"))
    airbyte.fail_job(job_id, "The password is wrong.")
    found = curl("POST", f"{airbyte.url}/api/v1/jobs/get_without_logs", json={"id": job_id}).json()
    assert (found["job"]["id"], found["job"]["status"]) == (job_id, "failed")
    first, second = (each["attempt"] for each in found["attempts"])
    assert [(each["id"], each["status"]) for each in (first, second)] == [(0, "failed"), (1, "failed")]
    assert [each["failureOrigin"] for each in first["failureSummary"]["failures"]] == ["source", "replication"]
    (failure,) = second["failureSummary"]["failures"]
    assert (failure["failureType"], failure["externalMessage"]) == ("config_error", "The password is wrong.")
    assert failure["timestamp"] // 1000 == second["endedAt"], "milliseconds and seconds"


@pytest.mark.parametrize(("edition", "status"), [("community", 500), ("enterprise", 403), ("cloud", 403)])
def test_the_internal_api_wants_a_token_and_a_job(edition: Any, status: int) -> None:
    with LocalAirbyte(edition=edition) as airbyte:
        url = f"{airbyte.url}/api/v1/jobs/get_without_logs"
        assert Curl(airbyte, login=False)("POST", url, json={"id": 1}).status_code == 401
        assert Curl(airbyte)("POST", url, json={"id": 1}).status_code == status
        assert Curl(airbyte)("POST", url, data=b"no JSON").status_code == 422
