"""Errors depend on whether Airbyte or a gateway sent the response: by status, body and step of a flow."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import endpoints, jobs, start_job
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.error_body import ErrorBody
from airflow_provider_airbyte_api.api.flow import fetch_token, send_with_retry
from airflow_provider_airbyte_api.api.http import Request, to_error
from airflow_provider_airbyte_api.api.tokens import ClientCredentials
from airflow_provider_airbyte_api.api.wait import WaitOptions
from airflow_provider_airbyte_api.testing import responses
from tests.helpers.scripted_driver import CONNECTION, ScriptedDriver, job, reply

GET = Request("GET", "/jobs/7", idempotent=True)

FROM_GATEWAY: dict[str, bytes] = {
    "gateway JSON": b'{"message": "no Route matched with those values"}',
    "Cloud's gateway": b'{"message": "The current request is not defined by this API.", "code": 404}',
    "only type and status": b'{"type": "about:blank", "status": 404}',
    "another's problem object": b'{"type": "about:blank", "title": "Not Found", "status": 404}',
    "Spring": b'{"timestamp": 1, "status": 404, "error": "Not Found", "path": "/"}',
    "web page": b"<!doctype html><title>Sign In</title>",
    "text": b"RBAC: access denied",
    "IAP": b"Invalid IAP credentials: empty token",
    "empty": b"",
    "a list": b"[]",
}
REFUSALS = (400, 401, 403, 404, 405, 409, 410, 422)

FROM_AIRBYTE: list[tuple[int, Any]] = [
    (401, responses.hateoas(401, "Unauthorized", "/x", "Unauthorized").body),
    (401, responses.gateway(401, "Jwt issuer is not configured").body),
    (401, responses.error_id(401).body),
    (403, responses.forbidden("WORKSPACE_READER").body),
    (403, responses.hateoas(403, "Forbidden", "/x", "Forbidden").body),
    (404, responses.not_found("JOB", "7").body),
    (404, {"id": "7", "message": "Could not find it", "exceptionClassName": "io.airbyte.NotFound"}),
    (409, responses.state_conflict().body),
    (409, {"title": "try-again-later", "status": 409, "detail": "A sync is already running for: c"}),
    (409, {"type": "error:connection/locked", "title": "Connection is locked", "status": 409}),
    (400, {"message": "Some properties contained invalid input.", "validationErrors": []}),
    (400, responses.error_id(400).body),
    (422, responses.unprocessable("no").body),
]


@pytest.mark.parametrize(("status", "body"), FROM_AIRBYTE, ids=map(str, range(len(FROM_AIRBYTE))))
def test_errors_of_every_version_of_airbyte_are_known_as_its_own(status: int, body: Any) -> None:
    error = to_error(GET, reply(status, body))
    assert isinstance(error, exceptions.AirbyteResponseError)
    assert error.from_airbyte
    assert not exceptions.is_recoverable_while_waiting(error)
    assert not isinstance(error, exceptions.AirbyteUnexpectedResponseError)


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("body", FROM_GATEWAY.values(), ids=FROM_GATEWAY)
def test_gateway_error_is_unexpected_and_retryable(status: int, body: bytes) -> None:
    error = to_error(GET, reply(status, body))
    assert type(error) is exceptions.AirbyteUnexpectedResponseError
    assert not error.from_airbyte
    assert not error.outcome_unknown
    assert exceptions.is_recoverable_while_waiting(error)
    assert not exceptions.is_recoverable_while_waiting(
        exceptions.AirbytePermissionError(method="GET", url="", status=403, detail="")
    )


# -- each step of a flow ---------------------------------------------------------------------------------


def first_poll(status: int, body: bytes) -> ScriptedDriver:
    driver = ScriptedDriver([reply(status, body)] * (2 if status == 401 else 1))
    driver.run(jobs.wait_for_job(7, WaitOptions(30)))
    return driver


def later_poll(status: int, body: bytes) -> ScriptedDriver:
    driver = ScriptedDriver(
        [reply(200, job(7)), *[reply(status, body)] * (2 if status == 401 else 1), reply(200, job(7, "succeeded"))]
    )
    driver.run(jobs.wait_for_job(7, WaitOptions(30)))
    return driver


def start(status: int, body: bytes) -> ScriptedDriver:
    driver = ScriptedDriver([reply(status, body)] * (2 if status == 401 else 1))
    driver.run(send_with_retry(endpoints.start_job(CONNECTION, "sync"), NO_RETRY))
    return driver


def cancel(status: int, body: bytes) -> ScriptedDriver:
    driver = ScriptedDriver([reply(status, body)] * (2 if status == 401 else 1))
    driver.run(send_with_retry(endpoints.cancel_job(7, 60.0), NO_RETRY))
    return driver


def list_(status: int, body: bytes) -> ScriptedDriver:
    driver = ScriptedDriver([reply(status, body)] * (2 if status == 401 else 1))
    driver.run(start_job.get_latest_job_id(CONNECTION))
    return driver


def token(status: int, body: bytes) -> ScriptedDriver:
    driver = ScriptedDriver([reply(status, body)])
    driver.run(fetch_token(ClientCredentials("https://a.example/token", "me", "hunter2"), NO_RETRY))
    return driver


PLACES = [first_poll, start, cancel, list_, token]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("body", FROM_GATEWAY.values(), ids=FROM_GATEWAY)
def test_gateway_error_fails_first_request(
    place: Callable[[int, bytes], ScriptedDriver], status: int, body: bytes
) -> None:
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError) as caught:
        place(status, body)
    assert "does not exist" not in str(caught.value)
    assert "role" not in str(caught.value).replace("Ids and roles in Airbyte", "")


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("body", FROM_GATEWAY.values(), ids=FROM_GATEWAY)
def test_gateway_errors_are_retried_during_a_wait_for_a_known_job(status: int, body: bytes) -> None:
    logs = " ".join(later_poll(status, body).logs)
    assert "does not exist" not in logs
    assert "Airbyte is reachable again." in logs


def test_a_basic_challenge_is_an_authentication_error_at_first_and_retried_later() -> None:
    challenge = reply(401, b"<html>no", www_authenticate='Basic realm="nginx"')
    with pytest.raises(exceptions.AirbyteAuthenticationError, match="auth_type to basic"):
        ScriptedDriver([challenge] * 2).run(jobs.wait_for_job(7, WaitOptions(30)))
    driver = ScriptedDriver([reply(200, job(7)), challenge, challenge, reply(200, job(7, "succeeded"))])
    assert driver.run(jobs.wait_for_job(7, WaitOptions(30))).job.status == "succeeded"


@pytest.mark.parametrize("body", [each for key, each in FROM_GATEWAY.items() if key != "IAP"])
@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504])
def test_server_errors_are_retryable_from_any_sender(status: int, body: bytes) -> None:
    kind = exceptions.AirbyteRateLimitError if status == 429 else exceptions.AirbyteServerError
    assert type(to_error(GET, reply(status, body))) is kind


# -- what it says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "headers", "words"),
    [
        (403, b"RBAC: access denied", {"server": "istio-envoy"}, "(Server: istio-envoy) rejected the GET"),
        (401, FROM_GATEWAY["IAP"], {}, "Google's Identity-Aware Proxy (IAP) rejected the GET"),
        (401, FROM_GATEWAY["IAP"], {}, "Proxy-Authorization"),
        (403, FROM_GATEWAY["web page"], {}, "An identity proxy in front of Airbyte requires a sign-in"),
        (404, FROM_GATEWAY["only type and status"], {}, "0.64 or newer is required"),
        (405, b"", {}, "Check Airbyte URL (Host)"),
    ],
)
def test_gateway_errors_name_the_sender_and_a_hint(
    status: int, body: bytes, headers: dict[str, str], words: str
) -> None:
    assert words in str(to_error(GET, reply(status, body, **headers)))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            responses.not_found("STANDARD_SYNC", "21c1").body,
            "could not be found (resourceType STANDARD_SYNC, resourceId",
        ),
        ({"title": "value-not-found", "detail": "Not found.", "data": {"value": "klaus-api"}}, "(value klaus-api)."),
        (
            {"message": "Bad.", "validationErrors": [{"propertyPath": "list.limit", "message": "at most 100"}]},
            "Bad (list.limit at most 100).",
        ),
        (
            {"message": "Bad.", "validationErrors": [{"propertyPath": "p", "message": "x" * 150}]},
            f"(p {'x' * 150})",
        ),
        (
            {"message": "Error: null", "exceptionClassName": "java.lang.NullPointerException"},
            "(java.lang.NullPointerException)",
        ),
        ({"type": "error:service-unavailable"}, "service-unavailable."),
        ({"type": "about:blank", "status": 500}, "Airbyte 0.63 and older"),
        ({"error": "invalid_client", "error_description": "Bad secret"}, "invalid_client Bad secret."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_error_keeps_all_details(body: Any, words: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert words in ErrorBody(500, {}, content).message()


def test_an_oauth_token_endpoint_differs_from_a_wrong_secret() -> None:
    with pytest.raises(exceptions.AirbyteBadRequestError, match="Remove the extra auth_url"):
        token(400, b'{"error": "invalid_request", "error_description": "Missing form parameter: grant_type"}')
    with pytest.raises(exceptions.AirbyteAuthenticationError, match="Client secret"):
        token(401, b'{"error": "invalid_client", "error_description": "Invalid client"}')


@pytest.mark.parametrize(
    ("status", "body", "blames"), [(500, b'{"errorId": "1"}', True), (500, b"", False), (502, b"<html>", False)]
)
def test_a_token_error_blames_the_secret_only_if_it_is_from_airbyte(status: int, body: bytes, blames: bool) -> None:
    with pytest.raises(exceptions.AirbyteServerError) as caught:
        token(status, body)
    assert ("wrong client id or secret" in str(caught.value)) == blames


def test_a_401_of_the_token_endpoint_says_to_check_the_path_too() -> None:
    with pytest.raises(exceptions.AirbyteAuthenticationError, match=r"the path in Airbyte URL \(Host\)"):
        token(401, responses.hateoas(401, "Unauthorized", "/api/publik/v1", "Unauthorized").body)


def test_a_sign_in_page_that_answers_200_says_what_it_is() -> None:
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError, match="An identity proxy in front of Airbyte"):
        ScriptedDriver([reply(200, b"<html><title>Sign in - Google</title>")]).run(jobs.get_job(7))
