from __future__ import annotations

import pytest

from airflow_provider_airbyte_api.api import calls, errors
from airflow_provider_airbyte_api.api.tokens import Credentials
from airflow_provider_airbyte_api.api.wire import MAX_REPLY, MAX_RETRY_AFTER, Request, Response, error_for, json_of
from airflow_provider_airbyte_api.testing import replies
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from tests.api.talk import ROOT, TOKEN_URL, reply, silence

GET = Request("GET", "/jobs/7", repeatable=True)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, replies.bad_request("Invalid order by"), errors.AirbyteRequestError, "Invalid order by"),
        (400, replies.error_id(400), errors.AirbyteRequestError, "errorId"),
        (
            401,
            replies.hateoas(401, "Unauthorized", "", "Token is old"),
            errors.AirbyteAuthenticationError,
            "Token is old",
        ),
        (401, replies.gateway(401, "Jwt is expired"), errors.AirbyteAuthenticationError, "Jwt is expired"),
        (403, replies.forbidden("WORKSPACE_READER"), errors.AirbyteAccessError, "WORKSPACE_READER"),
        (404, replies.not_found("STANDARD_SYNC", "x"), errors.AirbyteNotFoundError, "could not be found"),
        (404, replies.no_route(), errors.AirbyteUnexpectedReplyError, "Object not found"),
        (405, replies.html(405), errors.AirbyteUnexpectedReplyError, "a web page titled 'Airbyte'"),
        (405, replies.gateway(405, "Method Not Allowed"), errors.AirbyteUnexpectedReplyError, "Method Not Allowed"),
        (408, replies.error_id(408), errors.AirbyteServerError, "errorId"),
        (409, replies.already_running("c"), errors.AirbyteAlreadyRunningError, "already running for: c"),
        (409, replies.state_conflict(), errors.AirbyteConflictError, "Could not fulfill request"),
        (422, replies.unprocessable("Refreshes are not"), errors.AirbyteRequestError, "Refreshes are not"),
        (429, replies.of_status(429), errors.AirbyteRateLimitError, "being rate limited"),
        (500, replies.error_id(500), errors.AirbyteServerError, "errorId"),
        (501, replies.error_id(501), errors.AirbyteRequestError, "errorId"),
        (502, replies.of_status(502), errors.AirbyteServerError, "a web page titled '502 Bad Gateway'"),
        (503, replies.html(503, ""), errors.AirbyteServerError, "an empty body"),
        (418, replies.html(418, "teapot"), errors.AirbyteUnexpectedReplyError, "teapot"),
    ],
)
def test_each_status_has_its_error_with_the_servers_own_words(
    status: int, body: replies.Reply, kind: type[errors.AirbyteError], words: str
) -> None:
    error = error_for(GET, reply(status, body.body))
    assert type(error) is kind
    assert isinstance(error, errors.AirbyteResponseError)
    assert error.status == status
    assert str(error).startswith(f"GET {ROOT}/somewhere answered {status}: ")
    assert words in str(error)


def test_a_conflict_of_old_servers_says_already_running_in_its_detail() -> None:
    body = {"title": "try-again-later", "status": 409, "detail": "A sync is already running for: c"}
    assert type(error_for(GET, reply(409, body))) is errors.AirbyteAlreadyRunningError


def test_a_deleted_connection_is_not_taken_for_a_running_one() -> None:
    message = (
        "The connection manager workflow for connection c is deleted, so no further operations cannot be performed"
    )
    body = {"title": "try-again-later", "status": 409, "data": {"message": message}}
    assert type(error_for(GET, reply(409, body))) is errors.AirbyteConflictError


def test_a_redirect_is_named_without_its_query_and_not_followed() -> None:
    error = error_for(GET, reply(302, b"", location="https://login.example.com/start?state=secret"))
    assert type(error) is errors.AirbyteUnexpectedReplyError
    assert "a redirect to https://login.example.com/start, which is not followed" in str(error)
    assert "state=secret" not in str(error)


@pytest.mark.parametrize(("status", "body"), [(302, b""), (404, b"Object not found."), (405, b"<html>")])
def test_who_answers_for_airbyte_did_not_pass_the_request_on(status: int, body: bytes) -> None:
    assert not error_for(GET, reply(status, body)).maybe_processed


def test_a_401_of_something_before_airbyte_says_so() -> None:
    error = error_for(GET, reply(401, b"<html>no</html>", www_authenticate='Basic realm="nginx"'))
    assert "Something before Airbyte asks for HTTP authentication of its own" in str(error)


def test_a_401_without_a_token_says_that_none_was_sent() -> None:
    assert "No credentials were sent" in str(error_for(GET, reply(401), with_token=False))
    assert "No credentials were sent" not in str(error_for(GET, reply(401), with_token=True))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("Mon, 23 Nov 2026 10:00:30 GMT", 30.0), ("Mon, 23 Nov 2026 09:00:00 GMT", 0.0), ("soon", None)],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    error = error_for(GET, reply(429, {}, retry_after=value, date="Mon, 23 Nov 2026 10:00:00 GMT"))
    assert isinstance(error, errors.AirbyteRateLimitError)
    assert error.retry_after == seconds


@pytest.mark.parametrize("sent", [True, False])
def test_silence_may_have_been_heard_unless_nothing_was_sent(sent: bool) -> None:
    error = error_for(GET, silence(sent=sent))
    assert isinstance(error, errors.AirbyteUnreachableError)
    assert error.maybe_processed == sent
    assert error.transient


@pytest.mark.parametrize("body", [replies.WEB_APP.encode(), b"", b"Successful operation"])
def test_a_good_status_with_something_else_than_json_is_a_wrong_base_url(body: bytes) -> None:
    with pytest.raises(errors.AirbyteUnexpectedReplyError, match=r"Check Airbyte URL \(Host\)"):
        json_of(GET, reply(200, body))


def test_json_too_deep_to_read_is_no_json() -> None:
    deep = Response(f"{ROOT}/jobs/7", 200, {}, b"[" * 200_000)
    with pytest.raises(errors.AirbyteUnexpectedReplyError):
        json_of(GET, deep)


def test_the_servers_own_words_are_cut_short() -> None:
    assert len(str(error_for(GET, reply(422, {"message": "x" * 50_000})))) < 1_500


YEARS = "Tue, 14 Nov 99999999999999999999 22:13:20 GMT"


def test_headers_with_impossible_years_count_as_absent() -> None:
    response = reply(503, b"", date=YEARS, retry_after=YEARS)
    assert response.server_time is None
    error = error_for(GET, response)
    assert isinstance(error, errors.AirbyteServerError)
    assert error.retry_after is None


@pytest.mark.parametrize("value", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_retry_after_is_bounded(value: str) -> None:
    error = error_for(GET, reply(503, b"", retry_after=value))
    assert isinstance(error, errors.AirbyteServerError)
    assert error.retry_after == MAX_RETRY_AFTER


@pytest.mark.parametrize(
    "request_",
    [
        Credentials(TOKEN_URL, "me", "hunter2").token_request(),
        calls.instance_configuration("https://airbyte.example"),
        calls.get_workspace(WORKSPACE_ID),
        calls.get_job(7),
        calls.list_changed_jobs(None, 0.0),
    ],
    ids=lambda request: request.path,
)
def test_a_reply_about_something_small_may_be_small(request_: Request) -> None:
    assert request_.max_bytes <= 2**20 < calls.get_connection(STRIPE_TO_BIGQUERY).max_bytes == MAX_REPLY


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
    request, response = calls.get_connection(STRIPE_TO_BIGQUERY), reply(200, {"configurations": {"streams": streams}})
    assert len(response.body) < request.max_bytes
    assert json_of(request, response)["configurations"]["streams"] == streams
