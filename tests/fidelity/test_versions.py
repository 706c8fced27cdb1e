"""What a local Airbyte answers where editions and versions of Airbyte differ, whole bodies and headers."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import (
    SNOWFLAKE,
    STRIPE,
    STRIPE_TO_BIGQUERY,
    STRIPE_TO_POSTGRES,
    WORKSPACE_ID,
)

API = "/api/public/v1"
TOKEN = "/applications/token"
NOWHERE = "00000000-0000-4000-8000-000000000000"
ID = {"errorId": "an id"}


class Client:
    """Sends requests with a token, and shows bodies with ids and hosts taken out of them."""

    def __init__(self, airbyte: LocalAirbyte, *, login: bool = True) -> None:
        self.airbyte = airbyte
        self.headers: dict[str, str] = {}
        if login:
            reply = self.log_in()
            self.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"

    def log_in(self, path: str = API + TOKEN, secret: str | None = None, *, form: bool = False) -> requests.Response:
        body = {"client_id": self.airbyte.client_id, "client_secret": secret or self.airbyte.client_secret}
        return self.at("POST", path, **{"data" if form else "json": body})

    def at(self, method: str, path: str, **more: Any) -> requests.Response:
        url = self.airbyte.url + path
        return requests.request(method, url, headers=self.headers, timeout=30, allow_redirects=False, **more)

    def __call__(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.at(method, API + path, **more)

    def start(self, connection_id: str = STRIPE_TO_BIGQUERY, job_type: str = "sync") -> requests.Response:
        return self("POST", "/jobs", json={"connectionId": connection_id, "jobType": job_type})


@contextmanager
def client(*, login: bool = True, **how: Any) -> Iterator[Client]:
    with LocalAirbyte(**how) as airbyte:
        yield Client(airbyte, login=login and how.get("auth", True))


def body(reply: requests.Response) -> Any:
    found = reply.json()
    if isinstance(found, dict) and "errorId" in found:
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found["errorId"])
        return {**found, "errorId": "an id"}
    return found


def hateoas(message: str, path: str, error: str) -> dict[str, Any]:
    return {
        "message": message,
        "_links": {"self": {"href": path, "templated": False}},
        "_embedded": {"errors": [{"message": error, "_links": {}, "_embedded": {}}]},
    }


def exception(message: str, java_class: str) -> dict[str, Any]:
    return {
        "message": message,
        "exceptionClassName": java_class,
        "exceptionStack": [],
        "rootCauseExceptionStack": [],
    }


def claims_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]
    )
    return header, claims


# -- tokens and paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/jobs/get", f"{API}/sources", f"{API}/nowhere"])
def test_a_401_names_the_path_that_was_asked_for(path: str) -> None:
    with client(login=False) as curl:
        reply = curl.at("GET", path)
        assert (reply.status_code, body(reply)) == (401, hateoas("Unauthorized", path, "Unauthorized"))


def test_the_token_endpoint_of_the_internal_api_takes_json_and_gives_a_token_alone() -> None:
    path = "/api/v1/applications/token"
    with client() as curl:
        reply = curl.log_in(path)
        assert (reply.status_code, list(reply.json())) == (200, ["access_token"])
        curl.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"
        assert curl("GET", "/sources").status_code == 200
        wrong = curl.log_in(path, "wrong")
        assert (wrong.status_code, body(wrong)) == (400, hateoas("Bad Request", path, "Invalid client id or token"))
        form = curl.log_in(path, form=True)
        assert (form.status_code, body(form)) == (401, hateoas("Unauthorized", path, "Unauthorized"))


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({}, 200),
        ({"version": "1.7"}, 200),
        ({"version": "1.6.2"}, 401),
        ({"version": "1.0"}, 401),
        ({"edition": "cloud", "version": "1.0"}, 200),
    ],
    ids=str,
)
def test_a_form_for_a_token_is_refused_on_self_managed_ones_up_to_1_6_2(how: dict[str, Any], status: int) -> None:
    with client(login=False, **how) as curl:
        reply = curl.log_in(form=True)
        assert reply.status_code == status
        if status == 401:
            assert body(reply) == hateoas("Unauthorized", API + TOKEN, "Unauthorized")


@pytest.mark.parametrize("login", [True, False])
@pytest.mark.parametrize("path", [f"{API}/nowhere", "/api/v1/instance_configuration", "/api/v1/health", "/v1/jobs"])
def test_clouds_gateway_says_that_a_path_is_not_of_its_api(path: str, login: bool) -> None:
    with client(edition="cloud", login=login) as curl:
        reply = curl.at("GET", path)
        assert (reply.status_code, body(reply)) == (
            404,
            {"message": "The current request is not defined by this API.", "code": 404},
        )


@pytest.mark.parametrize("path", [f"{API}/nowhere", f"{API}//sources", "/api/v1/jobs"])
def test_an_unknown_path_is_forbidden_in_the_frameworks_words(path: str) -> None:
    with client() as curl:
        reply = curl.at("GET", path)
        assert (reply.status_code, body(reply)) == (403, hateoas("Forbidden", path, "Forbidden"))


def test_a_community_token_has_airbytes_own_claims() -> None:
    with client(login=False) as curl:
        header, claims = claims_of(curl.log_in().json()["access_token"])
        assert header == {"alg": "HS256"}
        assert list(claims) == ["iss", "aud", "sub", "roles", "exp"]
        assert (claims["aud"], claims["sub"]) == ("airbyte-server", "00000000-0000-0000-0000-000000000000")
        assert len(claims["roles"]) > 1


@pytest.mark.parametrize("edition", ["cloud", "enterprise"])
def test_a_token_of_cloud_and_enterprise_has_keycloaks_claims(edition: str) -> None:
    with client(edition=edition, login=False) as curl:
        header, claims = claims_of(curl.log_in().json()["access_token"])
        assert header["alg"] == "RS256"
        assert (claims["typ"], claims["azp"]) == ("Bearer", curl.airbyte.client_id)
        assert isinstance(claims["jti"], str)
        assert type(claims["exp"]) is int


@pytest.mark.parametrize(
    ("version", "expires_in", "lifetime"), [("1.5", 180, 86_400), ("1.6", 900, 900), ("2.1", 900, 900)]
)
def test_before_1_6_expires_in_is_three_minutes_and_a_token_lives_a_day(
    version: str, expires_in: int, lifetime: int
) -> None:
    with client(version=version, login=False) as curl:
        reply = curl.log_in()
        _, claims = claims_of(reply.json()["access_token"])
        assert reply.json()["expires_in"] == expires_in
        assert abs(claims["exp"] - curl.airbyte.requests[0].at - lifetime) < 2


@pytest.mark.parametrize(("version", "status"), [("2.0", 500), ("2.1", 401)])
def test_keycloak_refuses_a_wrong_secret_with_an_id_alone(version: str, status: int) -> None:
    with client(edition="enterprise", version=version, login=False) as curl:
        reply = curl.log_in(secret="wrong")
        assert (reply.status_code, body(reply)) == (status, ID)


def test_before_0_63_9_there_is_no_token_endpoint() -> None:
    with client(version="0.63", login=False) as curl:
        reply = curl.log_in()
        assert (reply.status_code, body(reply)) == (404, {"type": "about:blank", "status": 404})


def test_instance_configuration_has_all_that_the_servers_source_names() -> None:
    with client(version="1.8", login=False) as curl:
        reply = curl.at("GET", "/api/v1/instance_configuration").json()
        assert list(reply) == [
            "airbyteUrl",
            "edition",
            "version",
            "auth",
            "initialSetupComplete",
            "defaultUserId",
            "defaultOrganizationId",
            "defaultOrganizationEmail",
            "trackingStrategy",
        ]
        assert (reply["airbyteUrl"], reply["edition"]) == (curl.airbyte.url, "community")
        assert (reply["version"], reply["auth"]) == ("1.8.0", {"mode": "simple"})
    with client(edition="enterprise", login=False) as curl:
        reply = curl.at("GET", "/api/v1/instance_configuration").json()
        assert (reply["edition"], reply["auth"]) == ("pro", {"mode": "oidc"})
    with client(auth=False) as curl:
        assert curl.at("GET", "/api/v1/instance_configuration").json()["auth"] == {"mode": "none"}


def test_health_is_a_bare_string_that_calls_itself_json() -> None:
    with client(login=False) as curl:
        reply = curl("GET", "/health")
        assert (reply.status_code, reply.text) == (200, "Successful operation")
        assert reply.headers["content-type"] == "application/json"


def test_the_internal_apis_health_and_the_root_of_the_api_need_no_token() -> None:
    with client(login=False) as curl:
        health = curl.at("GET", "/api/v1/health")
        assert (health.status_code, body(health)) == (200, {"available": True})
        for path in (API, API + "/"):
            root = curl.at("GET", path)
            assert (root.status_code, root.headers["location"]) == (302, "https://reference.airbyte.com/")


@pytest.mark.parametrize(
    ("authorization", "message", "error"),
    [
        (None, "Jwt is missing", ""),
        ("Bearer a.b.c", "Jwt issuer is not configured", ', error="invalid_token"'),
    ],
)
def test_clouds_401_has_a_challenge(authorization: str | None, message: str, error: str) -> None:
    with client(edition="cloud", login=False) as curl:
        curl.headers.update({"Authorization": authorization} if authorization else {})
        reply = curl("GET", "/sources")
        assert (reply.status_code, body(reply)) == (401, {"code": 401, "message": message})
        assert reply.headers["www-authenticate"] == f'Bearer realm="{curl.airbyte.api_url}/sources"{error}'


# -- jobs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "queued"])
def test_a_job_that_has_not_begun_has_moved_zero_rows_by_its_id(status: str) -> None:
    with client() as curl:
        curl.airbyte.script_jobs(status)
        curl.airbyte.add_job(STRIPE_TO_BIGQUERY, status)
        shown = curl("GET", "/jobs/1").json()
        assert (shown["bytesSynced"], shown["rowsSynced"]) == (0, 0)


def test_a_failed_job_has_moved_nothing_unless_its_share_is_set() -> None:
    with client() as curl:
        job = curl.airbyte.add_job(STRIPE_TO_BIGQUERY, "failed")
        shown = curl("GET", "/jobs/1").json()
        assert (shown["bytesSynced"], shown["rowsSynced"]) == (0, 0)
        job.share = 0.5
        shown = curl("GET", "/jobs/1").json()
        assert (shown["bytesSynced"], shown["rowsSynced"]) == (52_428_800, 125_000)


@pytest.mark.parametrize(
    ("version", "status", "duration"),
    [("1.0", "running", "PT0S"), ("2.0", "running", "PT0S"), ("2.1", "pending", None)],
)
def test_up_to_2_0_a_start_is_answered_when_the_job_runs(version: str, status: str, duration: str | None) -> None:
    with client(version=version) as curl:
        curl.airbyte.script_jobs("running", "succeeded")
        shown = curl.start().json()
        assert (shown["status"], shown.get("duration")) == (status, duration)
        assert "rowsSynced" not in shown


@pytest.mark.parametrize(("version", "status"), [("2.0", 409), ("2.1", 200)])
@pytest.mark.parametrize("job_type", ["sync", "reset", "clear"])
def test_a_pending_job_is_what_a_start_is_answered_with_whatever_its_type(
    version: str, status: int, job_type: str
) -> None:
    with client(version=version) as curl:
        curl.airbyte.script_jobs("running")
        waiting = curl.airbyte.add_job(STRIPE_TO_BIGQUERY, "pending", job_type=job_type)
        reply = curl.start()
        assert reply.status_code == status
        assert curl.airbyte.jobs == [waiting]
        if status == 200:
            assert (reply.json()["jobId"], reply.json()["jobType"]) == (waiting.job_id, job_type)


@pytest.mark.parametrize(("asked", "given"), [("sync", "reset"), ("sync", "refresh"), ("clear", "sync")])
def test_a_start_may_make_a_job_of_another_type_once(asked: str, given: str) -> None:
    with client() as curl:
        curl.airbyte.next_job_type(given)
        assert curl.start(job_type=asked).json()["jobType"] == given
        curl.airbyte.finish_job(1)
        assert curl.start().json()["jobType"] == "sync"


@pytest.mark.parametrize("version", ["0.61", "0.62"])
def test_up_to_0_61_the_message_of_a_409_is_its_detail(version: str) -> None:
    message = f"A sync is already running for: {STRIPE_TO_BIGQUERY}"
    kind = "https://reference.airbyte.com/reference/errors#try-again-later"
    with client(version=version, auth=False) as curl:
        curl.airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
        reply = curl.start()
        assert reply.status_code == 409
        if version == "0.61":
            assert reply.headers["content-type"] == "application/problem+json"
            assert body(reply) == {"type": kind, "title": "try-again-later", "status": 409, "detail": message}
        else:
            assert reply.headers["content-type"] == "application/json"
            assert body(reply) == {
                "status": 409,
                "type": kind,
                "title": "try-again-later",
                "detail": "Please try again later.",
                "documentationUrl": None,
                "data": {"message": message},
            }


@pytest.mark.parametrize(("version", "listed"), [("2.0", ["sync", "reset"]), ("2.1", ["sync", "reset", "refresh"])])
def test_up_to_2_0_a_list_of_jobs_leaves_refreshes_out_unless_asked_for(version: str, listed: list[str]) -> None:
    with client(version=version) as curl:
        for job_type in ("sync", "reset", "refresh"):
            curl.airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", job_type=job_type)
        assert [row["jobType"] for row in curl("GET", "/jobs").json()["data"]] == listed
        assert [row["jobId"] for row in curl("GET", "/jobs?jobType=refresh").json()["data"]] == [3]


# -- errors that Airbyte did not catch ---------------------------------------------------------------------------------


NO_UUID = exception("Internal Server Error: Invalid UUID string: nonsense", "java.lang.IllegalArgumentException")
TOO_MANY = {
    "message": "Some properties contained invalid input.",
    "exceptionClassName": "jakarta.validation.ConstraintViolationException",
    "exceptionStack": [],
    "validationErrors": [
        {
            "propertyPath": "publicListJobs.limit",
            "invalidValue": "101",
            "message": "must be greater than or equal to 1 and less than or equal to 100",
        }
    ],
}


@pytest.mark.parametrize(
    ("path", "status", "old"), [("/connections/nonsense", 500, NO_UUID), ("/jobs?limit=101", 400, TOO_MANY)]
)
@pytest.mark.parametrize("version", ["0.63", "0.64", "1.8", "2.0", "2.1"])
def test_what_was_not_caught_is_an_id_since_2_0_and_an_exception_before(
    path: str, status: int, old: dict[str, Any], version: str
) -> None:
    said = {"0.63": {"type": "about:blank", "status": status}, "0.64": old, "1.8": old}
    with client(version=version, auth=False) as curl:
        reply = curl("GET", path)
        assert (reply.status_code, body(reply)) == (status, said.get(version, ID))


@pytest.mark.parametrize(
    ("version", "said"),
    [("1.8", exception("Internal Server Error: null", "java.lang.NullPointerException")), ("2.0", ID)],
)
def test_a_scripted_500_is_in_the_words_of_the_version(version: str, said: dict[str, Any]) -> None:
    with client(version=version, auth=False) as curl:
        curl.airbyte.respond_with(500, headers={"X-Request-Id": "7"})
        reply = curl("GET", "/sources")
        assert (body(reply), reply.headers["x-request-id"]) == (said, "7")


# -- what there is -----------------------------------------------------------------------------------------------------


def test_a_workspace_has_six_kinds_of_notifications() -> None:
    with client() as curl:
        notifications = curl("GET", f"/workspaces/{WORKSPACE_ID}").json()["notifications"]
        assert len(notifications) == 6
        for each in notifications.values():
            assert each == {"email": {"enabled": True}, "webhook": {"enabled": False}}


def test_the_type_of_a_connector_is_beside_its_configuration_and_not_inside() -> None:
    with client() as curl:
        for kind in ("source", "destination"):
            for row in curl("GET", f"/{kind}s").json()["data"]:
                assert row[f"{kind}Type"]
                assert f"{kind}Type" not in row["configuration"]


def test_streams_have_all_modes_that_can_be_chosen_and_a_namespace_where_there_is_one() -> None:
    with client() as curl:
        orders = curl.airbyte.connections[1]["configurations"]["streams"][0]
        orders["namespace"] = "PUBLIC"
        (shown,) = curl("GET", f"/streams?sourceId={SNOWFLAKE}").json()
        assert (shown["streamName"], shown["streamnamespace"]) == ("orders", "PUBLIC")
        assert {"full_refresh_overwrite", "incremental_deduped_history"} < set(shown["syncModes"])
        assert all("streamnamespace" not in each for each in curl("GET", f"/streams?sourceId={STRIPE}").json())


def test_a_connection_may_have_a_schedule_of_the_basic_kind() -> None:
    with client() as curl:
        schedule = curl("GET", f"/connections/{STRIPE_TO_POSTGRES}").json()["schedule"]
        assert schedule == {"scheduleType": "basic", "basicTiming": "Every 24 HOURS"}


@pytest.mark.parametrize(
    ("version", "absent", "present"),
    [
        ("1.1", {"createdAt", "tags"}, {"dataResidency"}),
        ("1.5", {"tags"}, {"createdAt", "dataResidency"}),
        ("1.7", set(), {"createdAt", "tags", "dataResidency"}),
        ("1.8", {"dataResidency"}, {"createdAt", "tags"}),
    ],
)
def test_a_connection_has_the_fields_of_its_version(version: str, absent: set[str], present: set[str]) -> None:
    path = f"/connections/{STRIPE_TO_BIGQUERY}"
    with client(version=version) as curl:
        listed = curl("GET", "/connections").json()["data"][0]
        changed = curl("PATCH", path, json={"prefix": "x_"}).json()
        for shown in (listed, curl("GET", path).json(), changed):
            assert present <= shown.keys()
            assert not absent & shown.keys()
        assert curl("GET", "/tags").status_code == (403 if "tags" in absent else 200)


@pytest.mark.parametrize(("edition", "status"), [("cloud", 200), ("community", 200), ("enterprise", 403)])
@pytest.mark.parametrize("what", ["jobs", "workspaces", "sources", "destinations", "connections", "tags"])
def test_a_workspace_that_is_not_known_has_nothing_or_is_forbidden(edition: str, status: int, what: str) -> None:
    with client(edition=edition) as curl:
        assert curl("GET", f"/{what}?workspaceIds={WORKSPACE_ID}").status_code == 200
        reply = curl("GET", f"/{what}?workspaceIds={NOWHERE}")
        assert reply.status_code == status
        assert reply.json()["data"] == (
            []
            if status == 200
            else {
                "message": "Caller does not have the required WORKSPACE_READER permissions to access the resource(s)."
            }
        )


@pytest.mark.parametrize("edition", ["cloud", "enterprise"])
@pytest.mark.parametrize("path", [f"/connections/{NOWHERE}", "/connections/nonsense", "/jobs/999"])
def test_an_unknown_id_is_forbidden_where_there_are_roles(edition: str, path: str) -> None:
    with client(edition=edition) as curl:
        reply = curl("GET", path)
        assert (reply.status_code, reply.json()["title"]) == (403, "forbidden")


def test_cloud_is_always_the_newest() -> None:
    with client(edition="cloud", version="0.63") as curl:
        curl.airbyte.respond_with(500)
        assert body(curl("GET", "/sources")) == ID


@pytest.mark.parametrize("version", ["", "2", "latest", "v1.8", "1.8-rc1", "1.8.0.1"])
def test_a_version_that_is_none_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="expected two or three numbers"):
        LocalAirbyte(version=version)


# -- what a test can make happen ---------------------------------------------------------------------------------------


GATEWAYS: dict[str, tuple[str | None, str]] = {
    "html": ("text/html", "<html><head><title>403 Forbidden</title></head><body><center>nginx</center></body></html>"),
    "json": ("application/json", '{"message": "Forbidden"}'),
    "text": ("text/plain", "RBAC: access denied"),
    "empty": (None, ""),
}


@pytest.mark.parametrize("kind", GATEWAYS)
def test_something_in_front_of_airbyte_can_answer_in_words_of_its_own(kind: Any) -> None:
    with client() as curl:
        curl.airbyte.respond_with(403, path="/jobs", gateway=kind, times=2)
        replies = [curl("GET", "/jobs") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [403, 403, 200]
        assert (replies[0].headers.get("content-type"), replies[0].text) == GATEWAYS[kind]


def outages() -> dict[str, Callable[[LocalAirbyte], Any]]:
    return {
        "502": lambda airbyte: airbyte.outage(path=TOKEN),
        "sign-in page": lambda airbyte: airbyte.outage(200, path=TOKEN, body="<title>Sign in</title>"),
    }


@pytest.mark.parametrize("kind", outages())
def test_an_outage_lasts_as_long_as_its_block_and_hits_what_it_names(kind: str) -> None:
    with client() as curl:
        with outages()[kind](curl.airbyte):
            replies = [curl.log_in() for _ in range(3)]
            assert {reply.headers["content-type"] for reply in replies} == {"text/html"}
            assert curl("GET", "/jobs").status_code == 200
        assert curl.log_in().headers["content-type"] == "application/json"


def test_an_outage_may_cut_every_connection() -> None:
    with client() as curl:
        with curl.airbyte.outage(drop_connection=True), pytest.raises(requests.ConnectionError):
            curl("GET", "/jobs")
        assert curl("GET", "/jobs").status_code == 200


def test_an_ineffective_cancel_gets_a_normal_response() -> None:
    with client() as curl:
        job = curl.airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
        curl.airbyte.ignore_cancels()
        assert curl("DELETE", "/jobs/1").status_code == 200
        assert (job.status, curl.airbyte.cancelled) == ("running", [])
        assert curl("DELETE", "/jobs/1").status_code == 200
        assert (job.status, curl.airbyte.cancelled) == ("cancelled", [1])


@pytest.mark.parametrize(("rows", "size"), [(0, 0), (None, None), (7, None)])
def test_a_success_may_have_moved_nothing_or_be_without_statistics(rows: int | None, size: int | None) -> None:
    with client() as curl:
        curl.airbyte.script_jobs("succeeded", rows=rows, size=size)
        curl.start()
        shown = curl("GET", "/jobs/1").json()
        assert (shown["status"], shown.get("rowsSynced"), shown.get("bytesSynced")) == ("succeeded", rows, size)
        assert "rowsSynced" not in shown or rows is not None


def test_two_tokens_of_one_second_differ() -> None:
    with client(login=False) as curl:
        assert len({curl.log_in().json()["access_token"] for _ in range(3)}) == 3


def test_a_revoked_token_is_refused_and_a_new_one_taken_within_the_same_second() -> None:
    with client() as curl:
        curl.airbyte.revoke_tokens()
        assert curl("GET", "/sources").status_code == 401
        assert Client(curl.airbyte)("GET", "/sources").status_code == 200
