from __future__ import annotations

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import flow
from airflow_provider_airbyte_api.api.backoff import NO_RETRY, RetryPolicy, while_unreachable
from airflow_provider_airbyte_api.api.flow import (
    MAX_LIST_PASSES,
    collect,
    fetch_page,
    fetch_token,
    iter_pages,
    request_model,
    send_with_retry,
)
from airflow_provider_airbyte_api.api.http import Request, Response, TransportErrorKind, TransportFailure
from airflow_provider_airbyte_api.api.models import Job, Source
from airflow_provider_airbyte_api.api.resources import (
    fetch_updated_jobs_page,
    list_connections,
    list_jobs,
    list_sources,
)
from airflow_provider_airbyte_api.api.safe import MAX_ITEMS
from airflow_provider_airbyte_api.api.tokens import ClientCredentials
from airflow_provider_airbyte_api.testing import responses
from tests.helpers.scripted_driver import ROOT, ScriptedDriver, job, no_response, reply

GET = Request("GET", "/jobs/7", idempotent=True)
POST = Request("POST", "/jobs", json={})


def test_a_401_brings_one_new_token_and_one_replay() -> None:
    driver = ScriptedDriver([reply(401), reply(200)])
    assert driver.run(send_with_retry(GET)).status == 200
    assert driver.tokens_sent == ["token-1", "token-2"]


@pytest.mark.parametrize("request_", [GET, POST])
def test_a_second_401_is_an_error_after_exactly_two_attempts(request_: Request) -> None:
    driver = ScriptedDriver([reply(401), reply(401)])
    with pytest.raises(exceptions.AirbyteAuthenticationError):
        driver.run(send_with_retry(request_))
    assert (len(driver.sent), driver.tokens_fetched, driver.pauses) == (2, 2, [])


def test_a_second_401_is_an_error_also_after_other_errors() -> None:
    driver = ScriptedDriver([reply(401), reply(502), reply(401)])
    with pytest.raises(exceptions.AirbyteAuthenticationError):
        driver.run(send_with_retry(GET))
    assert len(driver.sent) == 3


def test_without_credentials_a_401_is_an_error_at_once() -> None:
    driver = ScriptedDriver([reply(401)], credentials=False)
    with pytest.raises(exceptions.AirbyteAuthenticationError, match="No credentials were sent"):
        driver.run(send_with_retry(GET))


@pytest.mark.parametrize("trouble", [reply(502), reply(500), reply(429), no_response(), no_response(sent=False)])
def test_a_get_is_retried_after_retryable_errors(trouble: Response | TransportFailure) -> None:
    driver = ScriptedDriver([trouble, reply(200)])
    assert driver.run(send_with_retry(GET)).ok
    assert len(driver.pauses) == 1


@pytest.mark.parametrize("trouble", [reply(429), no_response(sent=False)])
def test_a_post_is_repeated_only_if_airbyte_surely_did_nothing(trouble: Response | TransportFailure) -> None:
    driver = ScriptedDriver([trouble, reply(200)])
    assert driver.run(send_with_retry(POST)).ok


@pytest.mark.parametrize("trouble", [reply(500), reply(502), reply(504), reply(408), no_response()])
def test_post_with_unknown_outcome_is_not_retried(trouble: Response | TransportFailure) -> None:
    driver = ScriptedDriver([trouble])
    with pytest.raises(exceptions.AirbyteError) as caught:
        driver.run(send_with_retry(POST))
    assert caught.value.outcome_unknown
    assert len(driver.sent) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 501, 302])
def test_non_retryable_error_is_not_retried(status: int) -> None:
    driver = ScriptedDriver([reply(status)])
    with pytest.raises(exceptions.AirbyteResponseError):
        driver.run(send_with_retry(GET))


def test_attempts_are_limited_and_backoff_doubles() -> None:
    driver = ScriptedDriver([reply(503)] * 4)
    with pytest.raises(exceptions.AirbyteServerError):
        driver.run(send_with_retry(GET, RetryPolicy(attempts=4, timeout=1000, wait_initial=1, wait_max=3)))
    assert driver.pauses == [1, 2, 3]


def test_retries_end_at_timeout() -> None:
    driver = ScriptedDriver([reply(503)] * 4)
    with pytest.raises(exceptions.AirbyteServerError):
        driver.run(send_with_retry(GET, RetryPolicy(attempts=99, timeout=20, wait_initial=8, wait_max=8)))
    assert driver.pauses == [8, 8, 8]


def test_no_retry_sends_one_request() -> None:
    with pytest.raises(exceptions.AirbyteServerError):
        ScriptedDriver([reply(503)]).run(send_with_retry(GET, NO_RETRY))


def test_retry_after_is_capped() -> None:
    driver = ScriptedDriver([reply(429, retry_after="17"), reply(200)])
    driver.run(send_with_retry(GET))
    assert driver.pauses == [17]
    driver = ScriptedDriver([reply(503), reply(429, retry_after="86400"), reply(200)])
    driver.run(send_with_retry(GET))
    assert driver.pauses == [1, 120]


def test_retry_after_zero_keeps_the_minimum_delay() -> None:
    driver = ScriptedDriver([reply(429, retry_after="0"), reply(503, retry_after="0"), reply(200)])
    driver.run(send_with_retry(GET))
    assert all(pause >= 0.5 for pause in driver.pauses)
    assert len(driver.pauses) == 2


def test_429_without_retry_after_has_a_longer_delay() -> None:
    driver = ScriptedDriver([reply(429), reply(429), reply(200)])
    driver.run(send_with_retry(GET))
    assert driver.pauses == [5, 10]


def test_an_outage_is_retried_until_its_timeout_with_two_log_lines() -> None:
    driver = ScriptedDriver([*[reply(503)] * 30, reply(200)])
    driver.run(send_with_retry(GET, while_unreachable(1800)))
    assert driver.pauses[:6] == [2, 4, 8, 16, 32, 60]
    assert [line.split(";")[0] for line in driver.logs] == ["Airbyte is unreachable", "Airbyte is reachable again."]
    assert "retrying for up to 30 min" in driver.logs[0]


def test_a_short_limit_of_an_outage_is_logged_in_seconds() -> None:
    driver = ScriptedDriver([reply(503), reply(200)])
    driver.run(send_with_retry(GET, while_unreachable(90)))
    assert "retrying for up to 90 s" in driver.logs[0]


def test_an_outage_ends_with_a_last_attempt_when_its_time_is_over() -> None:
    driver = ScriptedDriver([reply(503)] * 7)
    with pytest.raises(
        exceptions.AirbyteUnreachableError, match=r"unreachable for 100 s\. GET .* returned 503"
    ) as caught:
        driver.run(send_with_retry(GET, while_unreachable(100)))
    assert isinstance(caught.value.__cause__, exceptions.AirbyteServerError)
    assert driver.pauses == [2, 4, 8, 16, 32, 38]


def test_what_a_gateway_refuses_for_too_long_is_an_outage_and_no_hopeless_error() -> None:
    challenge = reply(401, b"<html>no", www_authenticate='Basic realm="nginx"')
    with pytest.raises(exceptions.AirbyteUnreachableError, match=r'Basic realm="nginx"') as caught:
        ScriptedDriver([challenge] * 14).run(send_with_retry(GET, while_unreachable(100, airbyte_confirmed=True)))
    assert isinstance(caught.value.__cause__, exceptions.AirbyteAuthenticationError)


def failed(trouble: TransportErrorKind) -> TransportFailure:
    return TransportFailure("https://no.example", "no reply", request_sent=False, kind=trouble)


@pytest.mark.parametrize(
    "trouble",
    [each for each in TransportErrorKind if each not in (TransportErrorKind.CERTIFICATE, TransportErrorKind.TOO_LARGE)],
)
def test_network_errors_are_retried_from_the_first_request_on(trouble: TransportErrorKind) -> None:
    assert ScriptedDriver([*[failed(trouble)] * 30, reply(200)]).run(send_with_retry(GET, while_unreachable(1800))).ok


def test_a_certificate_that_cannot_be_verified_is_reported_soon() -> None:
    driver = ScriptedDriver([failed(TransportErrorKind.CERTIFICATE)] * 5)
    with pytest.raises(exceptions.AirbyteUnreachableError, match="ca_bundle"):
        driver.run(send_with_retry(GET, while_unreachable(1800)))
    assert sum(driver.pauses) < 60
    outcomes: list[Response | TransportFailure] = [*[failed(TransportErrorKind.CERTIFICATE)] * 30, reply(200)]
    assert ScriptedDriver(outcomes).run(send_with_retry(GET, while_unreachable(1800, airbyte_confirmed=True))).ok


def test_a_mistake_in_the_middle_does_not_end_a_long_outage() -> None:
    mistakes = [*[failed(TransportErrorKind.CERTIFICATE)] * 4, failed(TransportErrorKind.DNS)]
    outcomes: list[Response | TransportFailure] = [*[reply(503)] * 20, *mistakes, reply(503), reply(200)]
    assert ScriptedDriver(outcomes).run(send_with_retry(GET, while_unreachable(3600))).ok


def test_a_token_that_is_refused_after_an_outage_is_renewed_once_more() -> None:
    driver = ScriptedDriver([reply(401), *[reply(503)] * 9, reply(401), reply(200)])
    assert driver.run(send_with_retry(GET, while_unreachable(1800))).ok
    assert driver.tokens_sent == ["token-1", *["token-2"] * 10, "token-3"]


@pytest.mark.parametrize("before", [[], [reply(401), reply(503)]], ids=["at once", "after an outage"])
def test_a_second_401_in_a_row_is_an_error(before: list[Response]) -> None:
    driver = ScriptedDriver([*before, reply(401), reply(401)])
    with pytest.raises(exceptions.AirbyteAuthenticationError):
        driver.run(send_with_retry(GET, while_unreachable(1800)))
    assert len(driver.sent) == len(before) + 2


def test_without_until_timeout_there_is_one_replay_after_a_401() -> None:
    driver = ScriptedDriver([reply(401), reply(503), reply(401)])
    with pytest.raises(exceptions.AirbyteAuthenticationError):
        driver.run(send_with_retry(GET))
    assert len(driver.sent) == 3


@pytest.mark.parametrize("page", [reply(404, b"<html>"), reply(302)])
def test_a_page_is_an_outage_only_where_airbyte_has_answered_before(page: Response) -> None:
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError):
        ScriptedDriver([page]).run(send_with_retry(GET, while_unreachable(1800)))
    assert (
        ScriptedDriver([page, reply(200)]).run(send_with_retry(GET, while_unreachable(1800, airbyte_confirmed=True))).ok
    )


TOKEN_AWAY = [
    *(no_response(sent=False), no_response(), reply(429), reply(500, responses.error_id(500).body)),
    *(reply(502, b"<html>"), reply(503), reply(504)),
]


@pytest.mark.parametrize("away", TOKEN_AWAY, ids=["refused", "no reply", "429", "500", "502", "503", "504"])
@pytest.mark.parametrize("request_", [GET, POST])
def test_an_outage_of_the_token_endpoint_is_retried_as_any_other(
    away: Response | TransportFailure, request_: Request
) -> None:
    driver = ScriptedDriver([reply(200)])
    driver.token_replies = [away] * 12
    assert driver.run(send_with_retry(request_, while_unreachable(1800))).ok
    assert sum(driver.pauses) > 300
    assert len(driver.sent) == 1
    assert [line.split(";")[0] for line in driver.logs] == ["Airbyte is unreachable", "Airbyte is reachable again."]


def test_a_new_token_that_cannot_be_fetched_after_a_401_is_fetched_later() -> None:
    good = reply(200, {"access_token": "new", "expires_in": 900})
    driver = ScriptedDriver([reply(401), reply(200)])
    driver.token_replies = [good, reply(502, b"<html>"), good]
    assert driver.run(send_with_retry(GET)).ok
    assert (driver.tokens_sent, driver.pauses) == (["new", "new"], [1])


@pytest.mark.parametrize(
    "refusal", [responses.hateoas(400, "Bad Request", "", "Invalid client"), responses.error_id(401)]
)
def test_refused_credentials_are_an_error_at_once(refusal: responses.FakeResponse) -> None:
    driver = ScriptedDriver([])
    driver.token_replies = [reply(refusal.status, refusal.body)]
    with pytest.raises(exceptions.AirbyteAuthenticationError):
        driver.run(send_with_retry(GET, while_unreachable(1800)))
    assert driver.pauses == []


def test_a_poll_that_gets_no_token_leaves_the_next_attempt_to_who_polls() -> None:
    driver = ScriptedDriver([])
    driver.token_replies = [reply(503)]
    with pytest.raises(exceptions.AirbyteServerError):
        driver.run(send_with_retry(GET, NO_RETRY))
    assert driver.pauses == []


def test_every_retry_is_logged_with_its_reason() -> None:
    driver = ScriptedDriver([reply(502, b"<title>Bad Gateway</title><html>"), reply(200)])
    driver.run(send_with_retry(GET))
    assert "returned 502" in driver.logs[0]
    assert "Retrying in 1 s" in driver.logs[0]


@pytest.mark.parametrize("body", [[], {}, {"jobId": "x", "status": "running"}, None, "text"])
def test_json_of_another_shape_is_an_error_that_says_so(body: object) -> None:
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError, match="an unexpected shape"):
        ScriptedDriver([reply(200, b"null" if body is None else body)]).run(request_model(GET, Job.from_json))


CREDENTIALS = ClientCredentials("https://a.example/applications/token", "me", "hunter2")


def test_a_token_is_fetched_without_a_token() -> None:
    driver = ScriptedDriver([reply(200, {"access_token": "new", "expires_in": 900})])
    assert driver.run(fetch_token(CREDENTIALS)).value == "new"
    assert driver.tokens_sent == [None]


@pytest.mark.parametrize(
    "refusal",
    [
        responses.hateoas(400, "Bad Request", "", "Invalid client id or token"),
        responses.error_id(401),
        responses.forbidden("X"),
    ],
)
def test_wrong_credentials_are_one_error_however_airbyte_says_it(refusal: responses.FakeResponse) -> None:
    driver = ScriptedDriver([reply(refusal.status, refusal.body)])
    with pytest.raises(exceptions.AirbyteAuthenticationError, match=r"Check Client ID \(Login\)"):
        driver.run(fetch_token(CREDENTIALS))


def test_a_500_of_the_token_endpoint_says_that_it_may_be_the_secret() -> None:
    driver = ScriptedDriver([reply(500, responses.error_id(500).body)])
    with pytest.raises(exceptions.AirbyteServerError, match="wrong client id or secret"):
        driver.run(fetch_token(CREDENTIALS))


def test_a_token_error_has_a_known_outcome_of_the_request() -> None:
    for trouble in (reply(500), no_response(), reply(200, b"<html>")):
        driver = ScriptedDriver([trouble])
        with pytest.raises(exceptions.AirbyteError) as caught:
            driver.run(fetch_token(CREDENTIALS))
        assert not caught.value.outcome_unknown


def test_basic_authentication_before_the_token_endpoint_is_named() -> None:
    driver = ScriptedDriver([reply(401, b"<html>", www_authenticate='Basic realm="ingress"')])
    with pytest.raises(exceptions.AirbyteAuthenticationError, match="A server in front of Airbyte"):
        driver.run(fetch_token(CREDENTIALS))


def test_an_absent_token_endpoint_says_that_authentication_may_be_off() -> None:
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError, match=r"leave Client ID \(Login\) and"):
        ScriptedDriver([reply(404, responses.no_route().body)]).run(fetch_token(CREDENTIALS))


def rows(*numbers: int) -> Response:
    data = [{"sourceId": str(number), "name": f"s{number}"} for number in numbers]
    return reply(200, {"previous": "", "next": "http://internal:8001/v1/sources?offset=1", "data": data})


def test_all_pages_are_read_by_offset_and_a_short_one_is_the_last() -> None:
    driver = ScriptedDriver([rows(*range(100)), rows(*range(100, 200)), rows(*range(200, 250))])
    driver.run(list_sources())
    assert [source.source_id for source in driver.rows] == [str(number) for number in range(250)]
    assert [dict(request.query)["offset"] for request in driver.sent] == ["0", "100", "200"]
    assert all(request.path == "/sources" for request in driver.sent)


def test_where_pages_overlap_the_list_is_read_again_for_what_they_pushed_out() -> None:
    first = [rows(*range(100)), rows(*range(90, 190)), rows(*range(180, 230))]  # 250 shown, of which 230 differ
    second = [rows(*range(100, 200)), rows(*range(100)), rows(*range(200, 250))]
    driver = ScriptedDriver([*first, *second])
    driver.run(list_sources())
    assert sorted(int(source.source_id) for source in driver.rows) == list(range(250))


TOO_LARGE = TransportFailure(
    f"{ROOT}/list", "the response is larger than 16384 KiB", request_sent=True, kind=TransportErrorKind.TOO_LARGE
)


def test_a_list_whose_page_is_too_large_is_read_on_in_smaller_pages() -> None:
    too_many = reply(200, b"[" * (MAX_ITEMS + 1))
    driver = ScriptedDriver([rows(*range(100)), TOO_LARGE, rows(*range(100, 110)), too_many, rows(110), rows()])
    driver.run(list_sources())
    assert [source.source_id for source in driver.rows] == [str(number) for number in range(111)]
    asked = [dict(request.query) for request in driver.sent]
    limits = [(each["offset"], each["limit"]) for each in asked]
    assert limits == [("0", "100"), ("100", "100"), ("100", "10"), ("110", "10"), ("110", "1"), ("111", "1")]
    assert driver.pauses == [], "the same request would bring the same reply"


@pytest.mark.parametrize(
    "retry", [RetryPolicy(), while_unreachable(1800), while_unreachable(1800, airbyte_confirmed=True)]
)
def test_a_row_that_is_too_large_is_an_error(retry: RetryPolicy) -> None:
    driver = ScriptedDriver([TOO_LARGE] * 3)
    with pytest.raises(
        exceptions.AirbyteUnreachableError, match=r"larger than 16384 KiB\. Airbyte does not send such responses"
    ):
        driver.run(list_connections(retry=retry))
    assert [dict(request.query)["limit"] for request in driver.sent] == ["100", "10", "1"]


def test_a_list_that_never_shows_all_of_its_rows_is_warned_of() -> None:
    driver = ScriptedDriver(
        [reply for _ in range(MAX_LIST_PASSES) for reply in (rows(*range(100)), rows(*range(50, 100)))]
    )
    driver.run(list_sources())
    assert len(driver.rows) == 100
    assert driver.logs == ["/sources reports 150 rows, but returned only 100 different ones: some may be missing."]


def test_jobs_added_during_a_listing_do_not_restart_it() -> None:
    def jobs(*numbers: int) -> Response:
        return reply(200, {"data": [job(number) for number in numbers]})

    driver = ScriptedDriver([jobs(*range(200, 100, -1)), jobs(*range(101, 50, -1))])
    driver.run(list_jobs())
    assert [each.job_id for each in driver.rows] == list(range(200, 50, -1))


def test_a_server_that_repeats_itself_is_not_asked_for_ever() -> None:
    driver = ScriptedDriver([rows(*range(100))] * 2 * MAX_LIST_PASSES)
    driver.run(iter_pages(Request("GET", "/sources"), Source.from_json, lambda source: source.source_id))
    assert len(driver.rows) == 100
    assert "some may be missing" in driver.logs[0]


@pytest.mark.parametrize("body", [{}, [], {"data": None}, {"data": {}}, {"data": [{"name": "no id"}]}])
def test_a_list_of_another_shape_is_an_error(body: object) -> None:
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError):
        ScriptedDriver([reply(200, body)]).run(list_sources())


def test_a_workspace_that_is_no_uuid_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match="workspace_ids is 'mine'"):
        ScriptedDriver([]).run(list_sources("mine"))


def test_the_reply_to_a_good_call_is_read() -> None:
    assert ScriptedDriver([reply(200, job())]).run(request_model(GET, Job.from_json)).job_id == 7


def test_a_list_with_a_row_that_cannot_be_read_is_an_error() -> None:
    rows = {"data": [job(7), {"jobId": None, "status": "running"}]}
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError, match="jobId is None"):
        ScriptedDriver([reply(200, rows)]).run(fetch_page(GET, 0, Job.from_json))


def test_a_poll_for_many_skips_a_row_that_cannot_be_read_and_says_why() -> None:
    driver = ScriptedDriver(
        [reply(200, b'{"data": [{"jobId": 1e999, "status": "running"}, {"jobId": 8, "status": "running"}]}')]
    )
    page = driver.run(fetch_updated_jobs_page(None, 0.0, 0))
    assert [each.job_id for each in page.rows] == [8]
    assert "JSON of an unexpected shape" in str(page.unreadable[0])


def test_a_list_that_grows_for_ever_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "MAX_ROWS", 300)
    answers = [reply(200, {"data": [job(each) for each in range(start, start + 100)]}) for start in range(1, 401, 100)]
    with pytest.raises(exceptions.AirbyteError, match="GET /jobs lists more than 300 rows"):
        ScriptedDriver(answers).run(collect(list_jobs()))
