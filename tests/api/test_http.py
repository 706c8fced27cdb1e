from __future__ import annotations

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.http import (
    MAX_RESPONSE_BYTES,
    MAX_RETRY_AFTER,
    Request,
    Response,
    parse_response,
    to_error,
)
from airflow_provider_airbyte_api.api.tokens import ClientCredentials
from airflow_provider_airbyte_api.testing import responses
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from tests.helpers.scripted_driver import ROOT, TOKEN_URL, no_response, reply

GET = Request("GET", "/jobs/7", idempotent=True)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, responses.bad_request("Invalid order by"), exceptions.AirbyteBadRequestError, "Invalid order by"),
        (400, responses.error_id(400), exceptions.AirbyteBadRequestError, "errorId"),
        (
            401,
            responses.hateoas(401, "Unauthorized", "", "Token is old"),
            exceptions.AirbyteAuthenticationError,
            "Token is old",
        ),
        (401, responses.gateway(401, "Jwt is expired"), exceptions.AirbyteAuthenticationError, "Jwt is expired"),
        (403, responses.forbidden("WORKSPACE_READER"), exceptions.AirbytePermissionError, "WORKSPACE_READER"),
        (404, responses.not_found("STANDARD_SYNC", "x"), exceptions.AirbyteNotFoundError, "could not be found"),
        (404, responses.no_route(), exceptions.AirbyteUnexpectedResponseError, "Object not found"),
        (405, responses.html(405), exceptions.AirbyteUnexpectedResponseError, "a web page titled 'Airbyte'"),
        (
            405,
            responses.gateway(405, "Method Not Allowed"),
            exceptions.AirbyteUnexpectedResponseError,
            "Method Not Allowed",
        ),
        (408, responses.error_id(408), exceptions.AirbyteServerError, "errorId"),
        (409, responses.already_running("c"), exceptions.AirbyteAlreadyRunningError, "already running for: c"),
        (409, responses.state_conflict(), exceptions.AirbyteConflictError, "Could not fulfill request"),
        (422, responses.unprocessable("Refreshes are not"), exceptions.AirbyteBadRequestError, "Refreshes are not"),
        (429, responses.of_status(429), exceptions.AirbyteRateLimitError, "being rate limited"),
        (500, responses.error_id(500), exceptions.AirbyteServerError, "errorId"),
        (501, responses.error_id(501), exceptions.AirbyteBadRequestError, "errorId"),
        (502, responses.of_status(502), exceptions.AirbyteServerError, "a web page titled '502 Bad Gateway'"),
        (503, responses.html(503, ""), exceptions.AirbyteServerError, "an empty body"),
        (418, responses.html(418, "teapot"), exceptions.AirbyteUnexpectedResponseError, "teapot"),
    ],
)
def test_each_status_has_its_error_with_the_servers_own_words(
    status: int, body: responses.FakeResponse, kind: type[exceptions.AirbyteError], words: str
) -> None:
    error = to_error(GET, reply(status, body.body))
    assert type(error) is kind
    assert isinstance(error, exceptions.AirbyteResponseError)
    assert error.status == status
    assert str(error).startswith(f"GET {ROOT}/somewhere returned {status}: ")
    assert words in str(error)


def test_a_conflict_of_old_servers_says_already_running_in_its_detail() -> None:
    body = {"title": "try-again-later", "status": 409, "detail": "A sync is already running for: c"}
    assert type(to_error(GET, reply(409, body))) is exceptions.AirbyteAlreadyRunningError


def test_a_deleted_connection_is_not_taken_for_a_running_one() -> None:
    message = (
        "The connection manager workflow for connection c is deleted, so no further operations cannot be performed"
    )
    body = {"title": "try-again-later", "status": 409, "data": {"message": message}}
    assert type(to_error(GET, reply(409, body))) is exceptions.AirbyteConflictError


def test_a_redirect_is_named_without_its_query_and_not_followed() -> None:
    error = to_error(GET, reply(302, b"", location="https://login.example.com/start?state=secret"))
    assert type(error) is exceptions.AirbyteUnexpectedResponseError
    assert "a redirect to https://login.example.com/start, which is not followed" in str(error)
    assert "state=secret" not in str(error)


@pytest.mark.parametrize(("status", "body"), [(302, b""), (404, b"Object not found."), (405, b"<html>")])
def test_who_answers_for_airbyte_did_not_pass_the_request_on(status: int, body: bytes) -> None:
    assert not to_error(GET, reply(status, body)).outcome_unknown


def test_a_401_of_something_before_airbyte_says_so() -> None:
    error = to_error(GET, reply(401, b"<html>no</html>", www_authenticate='Basic realm="nginx"'))
    assert "A server in front of Airbyte requires HTTP authentication" in str(error)


def test_a_401_without_a_token_says_that_none_was_sent() -> None:
    assert "No credentials were sent" in str(to_error(GET, reply(401), had_token=False))
    assert "No credentials were sent" not in str(to_error(GET, reply(401), had_token=True))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("Mon, 23 Nov 2026 10:00:30 GMT", 30.0), ("Mon, 23 Nov 2026 09:00:00 GMT", 0.0), ("soon", None)],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    error = to_error(GET, reply(429, {}, retry_after=value, date="Mon, 23 Nov 2026 10:00:00 GMT"))
    assert isinstance(error, exceptions.AirbyteRateLimitError)
    assert error.retry_after == seconds


@pytest.mark.parametrize("sent", [True, False])
def test_silence_may_have_been_heard_unless_nothing_was_sent(sent: bool) -> None:
    error = to_error(GET, no_response(sent=sent))
    assert isinstance(error, exceptions.AirbyteUnreachableError)
    assert error.outcome_unknown == sent
    assert error.retryable


@pytest.mark.parametrize("body", [responses.WEB_APP.encode(), b"", b"Successful operation"])
def test_a_good_status_with_something_else_than_json_is_a_wrong_base_url(body: bytes) -> None:
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError, match=r"Check Airbyte URL \(Host\)"):
        parse_response(GET, reply(200, body))


def test_json_too_deep_to_read_is_no_json() -> None:
    deep = Response(f"{ROOT}/jobs/7", 200, {}, b"[" * 200_000)
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError):
        parse_response(GET, deep)


def test_the_servers_own_words_are_cut_short() -> None:
    assert len(str(to_error(GET, reply(422, {"message": "x" * 50_000})))) < 1_500


YEARS = "Tue, 14 Nov 99999999999999999999 22:13:20 GMT"


def test_headers_with_impossible_years_count_as_absent() -> None:
    response = reply(503, b"", date=YEARS, retry_after=YEARS)
    assert response.server_time is None
    error = to_error(GET, response)
    assert isinstance(error, exceptions.AirbyteServerError)
    assert error.retry_after is None


@pytest.mark.parametrize("value", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_retry_after_is_bounded(value: str) -> None:
    error = to_error(GET, reply(503, b"", retry_after=value))
    assert isinstance(error, exceptions.AirbyteServerError)
    assert error.retry_after == MAX_RETRY_AFTER


@pytest.mark.parametrize(
    "request_",
    [
        ClientCredentials(TOKEN_URL, "me", "hunter2").token_request(),
        endpoints.instance_configuration("https://airbyte.example"),
        endpoints.get_workspace(WORKSPACE_ID),
        endpoints.get_job(7),
        endpoints.list_updated_jobs(None, 0.0),
    ],
    ids=lambda request: request.path,
)
def test_a_reply_about_something_small_may_be_small(request_: Request) -> None:
    assert request_.max_bytes <= 2**20 < endpoints.get_connection(STRIPE_TO_BIGQUERY).max_bytes == MAX_RESPONSE_BYTES


def test_a_connection_with_very_many_streams_is_read() -> None:
    """1,000 streams of 150 selected fields each."""
    streams = [
        {
            "name": f"some_table_{number}",
            "namespace": "public",
            "syncMode": "incremental_deduped_history",
            "cursorField": ["updated_at"],
            "primaryKey": [["id"]],
            "mappers": [],
            "selectedFields": [{"fieldPath": [f"some_column_of_it_{field}"]} for field in range(150)],
            "includeFiles": False,
        }
        for number in range(1_000)
    ]
    request, response = (
        endpoints.get_connection(STRIPE_TO_BIGQUERY),
        reply(200, {"configurations": {"streams": streams}}),
    )
    assert len(response.body) < request.max_bytes
    assert parse_response(request, response)["configurations"]["streams"] == streams
