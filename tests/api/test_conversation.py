from __future__ import annotations

import pytest

from airflow_provider_airbyte_api.api import conversation, errors
from airflow_provider_airbyte_api.api.conversation import (
    MOST_READINGS,
    call,
    call_for,
    fetch_token,
    gathered,
    pages,
    read_page,
)
from airflow_provider_airbyte_api.api.models import Job, Source
from airflow_provider_airbyte_api.api.resources import list_connections, list_jobs, list_sources, page_of_changes
from airflow_provider_airbyte_api.api.retry import ONCE, Retry, while_unreachable
from airflow_provider_airbyte_api.api.safe import MAX_ITEMS
from airflow_provider_airbyte_api.api.tokens import Credentials
from airflow_provider_airbyte_api.api.wire import NoResponse, Request, Response, Trouble
from airflow_provider_airbyte_api.testing import replies
from tests.api.talk import ROOT, Talk, job, reply, silence

GET = Request("GET", "/jobs/7", repeatable=True)
POST = Request("POST", "/jobs", json={})


def test_a_401_brings_one_new_token_and_one_replay() -> None:
    talk = Talk([reply(401), reply(200)])
    assert talk.perform(call(GET)).status == 200
    assert talk.tokens_sent == ["token-1", "token-2"]


@pytest.mark.parametrize("request_", [GET, POST])
def test_a_second_401_is_an_error_after_exactly_two_attempts(request_: Request) -> None:
    talk = Talk([reply(401), reply(401)])
    with pytest.raises(errors.AirbyteAuthenticationError):
        talk.perform(call(request_))
    assert (len(talk.sent), talk.tokens_fetched, talk.pauses) == (2, 2, [])


def test_a_second_401_is_an_error_also_after_other_trouble() -> None:
    talk = Talk([reply(401), reply(502), reply(401)])
    with pytest.raises(errors.AirbyteAuthenticationError):
        talk.perform(call(GET))
    assert len(talk.sent) == 3


def test_without_credentials_a_401_is_an_error_at_once() -> None:
    talk = Talk([reply(401)], credentials=False)
    with pytest.raises(errors.AirbyteAuthenticationError, match="No credentials were sent"):
        talk.perform(call(GET))


@pytest.mark.parametrize("trouble", [reply(502), reply(500), reply(429), silence(), silence(sent=False)])
def test_a_get_is_repeated_after_what_may_heal(trouble: Response | NoResponse) -> None:
    talk = Talk([trouble, reply(200)])
    assert talk.perform(call(GET)).ok
    assert len(talk.pauses) == 1


@pytest.mark.parametrize("trouble", [reply(429), silence(sent=False)])
def test_a_post_is_repeated_only_if_airbyte_surely_did_nothing(trouble: Response | NoResponse) -> None:
    talk = Talk([trouble, reply(200)])
    assert talk.perform(call(POST)).ok


@pytest.mark.parametrize("trouble", [reply(500), reply(502), reply(504), reply(408), silence()])
def test_a_post_that_may_have_been_obeyed_is_never_repeated(trouble: Response | NoResponse) -> None:
    talk = Talk([trouble])
    with pytest.raises(errors.AirbyteError) as caught:
        talk.perform(call(POST))
    assert caught.value.maybe_processed
    assert len(talk.sent) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 501, 302])
def test_what_cannot_heal_is_not_repeated(status: int) -> None:
    talk = Talk([reply(status)])
    with pytest.raises(errors.AirbyteResponseError):
        talk.perform(call(GET))


def test_tries_end_after_so_many_and_the_pauses_double() -> None:
    talk = Talk([reply(503)] * 4)
    with pytest.raises(errors.AirbyteServerError):
        talk.perform(call(GET, Retry(attempts=4, patience=1000, first_pause=1, longest_pause=3)))
    assert talk.pauses == [1, 2, 3]


def test_tries_end_after_so_long() -> None:
    talk = Talk([reply(503)] * 4)
    with pytest.raises(errors.AirbyteServerError):
        talk.perform(call(GET, Retry(attempts=99, patience=20, first_pause=8, longest_pause=8)))
    assert talk.pauses == [8, 8, 8]


def test_once_is_once() -> None:
    with pytest.raises(errors.AirbyteServerError):
        Talk([reply(503)]).perform(call(GET, ONCE))


def test_retry_after_is_heeded_and_capped() -> None:
    talk = Talk([reply(429, retry_after="17"), reply(200)])
    talk.perform(call(GET))
    assert talk.pauses == [17]
    talk = Talk([reply(503), reply(429, retry_after="86400"), reply(200)])
    talk.perform(call(GET))
    assert talk.pauses == [1, 120]


def test_a_server_that_asks_for_no_pause_is_given_one() -> None:
    talk = Talk([reply(429, retry_after="0"), reply(503, retry_after="0"), reply(200)])
    talk.perform(call(GET))
    assert all(pause >= 0.5 for pause in talk.pauses)
    assert len(talk.pauses) == 2


def test_a_429_without_retry_after_is_waited_for_longer_than_other_trouble() -> None:
    talk = Talk([reply(429), reply(429), reply(200)])
    talk.perform(call(GET))
    assert talk.pauses == [5, 10]


def test_an_outage_is_ridden_out_for_its_time_alone_with_two_lines_in_the_log() -> None:
    talk = Talk([*[reply(503)] * 30, reply(200)])
    talk.perform(call(GET, while_unreachable(1800)))
    assert talk.pauses[:6] == [2, 4, 8, 16, 32, 60]
    assert [line.split(";")[0] for line in talk.said] == ["Airbyte is unreachable", "Airbyte answers again."]
    assert "retrying for up to 30 min" in talk.said[0]


def test_an_outage_ends_with_a_last_attempt_when_its_time_is_over() -> None:
    talk = Talk([reply(503)] * 7)
    with pytest.raises(errors.AirbyteUnreachableError, match=r"unreachable for 100 s\. GET .* answered 503") as caught:
        talk.perform(call(GET, while_unreachable(100)))
    assert isinstance(caught.value.__cause__, errors.AirbyteServerError)
    assert talk.pauses == [2, 4, 8, 16, 32, 38]
    assert talk.said[-1] == "Airbyte was unreachable for 100 s; giving up."


def test_what_a_gateway_refuses_for_too_long_is_an_outage_and_no_hopeless_error() -> None:
    challenge = reply(401, b"<html>no", www_authenticate='Basic realm="nginx"')
    with pytest.raises(errors.AirbyteUnreachableError, match=r'Basic realm="nginx"') as caught:
        Talk([challenge] * 14).perform(call(GET, while_unreachable(100, is_known=True)))
    assert isinstance(caught.value.__cause__, errors.AirbyteAuthenticationError)


def failed(trouble: Trouble) -> NoResponse:
    return NoResponse("https://no.example", "no reply", sent=False, trouble=trouble)


@pytest.mark.parametrize("trouble", [each for each in Trouble if each not in (Trouble.CERTIFICATE, Trouble.TOO_LARGE)])
def test_trouble_on_the_way_is_ridden_out_from_the_first_request_on(trouble: Trouble) -> None:
    assert Talk([*[failed(trouble)] * 30, reply(200)]).perform(call(GET, while_unreachable(1800))).ok


def test_a_certificate_that_cannot_be_verified_is_reported_soon() -> None:
    talk = Talk([failed(Trouble.CERTIFICATE)] * 5)
    with pytest.raises(errors.AirbyteUnreachableError, match="ca_bundle"):
        talk.perform(call(GET, while_unreachable(1800)))
    assert sum(talk.pauses) < 60
    outcomes: list[Response | NoResponse] = [*[failed(Trouble.CERTIFICATE)] * 30, reply(200)]
    assert Talk(outcomes).perform(call(GET, while_unreachable(1800, is_known=True))).ok


def test_a_mistake_in_the_middle_does_not_end_a_long_outage() -> None:
    mistakes = [*[failed(Trouble.CERTIFICATE)] * 4, failed(Trouble.DNS)]
    outcomes: list[Response | NoResponse] = [*[reply(503)] * 20, *mistakes, reply(503), reply(200)]
    assert Talk(outcomes).perform(call(GET, while_unreachable(3600))).ok


def test_a_token_that_is_refused_after_an_outage_is_renewed_once_more() -> None:
    talk = Talk([reply(401), *[reply(503)] * 9, reply(401), reply(200)])
    assert talk.perform(call(GET, while_unreachable(1800))).ok
    assert talk.tokens_sent == ["token-1", *["token-2"] * 10, "token-3"]


@pytest.mark.parametrize("before", [[], [reply(401), reply(503)]], ids=["at once", "after an outage"])
def test_a_second_401_in_a_row_is_an_error(before: list[Response]) -> None:
    talk = Talk([*before, reply(401), reply(401)])
    with pytest.raises(errors.AirbyteAuthenticationError):
        talk.perform(call(GET, while_unreachable(1800)))
    assert len(talk.sent) == len(before) + 2


def test_without_an_outage_to_ride_out_there_is_one_replay() -> None:
    talk = Talk([reply(401), reply(503), reply(401)])
    with pytest.raises(errors.AirbyteAuthenticationError):
        talk.perform(call(GET))
    assert len(talk.sent) == 3


@pytest.mark.parametrize("page", [reply(404, b"<html>"), reply(302)])
def test_a_page_is_an_outage_only_where_airbyte_has_answered_before(page: Response) -> None:
    with pytest.raises(errors.AirbyteUnexpectedReplyError):
        Talk([page]).perform(call(GET, while_unreachable(1800)))
    assert Talk([page, reply(200)]).perform(call(GET, while_unreachable(1800, is_known=True))).ok


TOKEN_AWAY = [
    *(silence(sent=False), silence(), reply(429), reply(500, replies.error_id(500).body)),
    *(reply(502, b"<html>"), reply(503), reply(504)),
]


@pytest.mark.parametrize("away", TOKEN_AWAY, ids=["refused", "no reply", "429", "500", "502", "503", "504"])
@pytest.mark.parametrize("request_", [GET, POST])
def test_an_outage_of_the_token_endpoint_is_ridden_out_as_any_other(
    away: Response | NoResponse, request_: Request
) -> None:
    talk = Talk([reply(200)])
    talk.token_replies = [away] * 12
    assert talk.perform(call(request_, while_unreachable(1800))).ok
    assert sum(talk.pauses) > 300
    assert len(talk.sent) == 1
    assert [line.split(";")[0] for line in talk.said] == ["Airbyte is unreachable", "Airbyte answers again."]


def test_a_new_token_that_cannot_be_fetched_after_a_401_is_fetched_later() -> None:
    good = reply(200, {"access_token": "new", "expires_in": 900})
    talk = Talk([reply(401), reply(200)])
    talk.token_replies = [good, reply(502, b"<html>"), good]
    assert talk.perform(call(GET)).ok
    assert (talk.tokens_sent, talk.pauses) == (["new", "new"], [1])


@pytest.mark.parametrize("refusal", [replies.hateoas(400, "Bad Request", "", "Invalid client"), replies.error_id(401)])
def test_refused_credentials_are_an_error_at_once(refusal: replies.Reply) -> None:
    talk = Talk([])
    talk.token_replies = [reply(refusal.status, refusal.body)]
    with pytest.raises(errors.AirbyteAuthenticationError):
        talk.perform(call(GET, while_unreachable(1800)))
    assert talk.pauses == []


def test_a_poll_that_gets_no_token_leaves_the_next_attempt_to_who_polls() -> None:
    talk = Talk([])
    talk.token_replies = [reply(503)]
    with pytest.raises(errors.AirbyteServerError):
        talk.perform(call(GET, ONCE))
    assert talk.pauses == []


def test_every_repetition_is_said_with_its_reason() -> None:
    talk = Talk([reply(502, b"<title>Bad Gateway</title><html>"), reply(200)])
    talk.perform(call(GET))
    assert "answered 502" in talk.said[0]
    assert "Next try in 1 s" in talk.said[0]


@pytest.mark.parametrize("body", [[], {}, {"jobId": "x", "status": "running"}, None, "text"])
def test_json_of_another_shape_is_an_error_that_says_so(body: object) -> None:
    with pytest.raises(errors.AirbyteUnexpectedReplyError, match="another shape"):
        Talk([reply(200, b"null" if body is None else body)]).perform(call_for(GET, Job.from_json))


CREDENTIALS = Credentials("https://a.example/applications/token", "me", "hunter2")


def test_a_token_is_fetched_without_a_token() -> None:
    talk = Talk([reply(200, {"access_token": "new", "expires_in": 900})])
    assert talk.perform(fetch_token(CREDENTIALS)).value == "new"
    assert talk.tokens_sent == [None]


@pytest.mark.parametrize(
    "refusal",
    [
        replies.hateoas(400, "Bad Request", "", "Invalid client id or token"),
        replies.error_id(401),
        replies.forbidden("X"),
    ],
)
def test_wrong_credentials_are_one_error_however_airbyte_says_it(refusal: replies.Reply) -> None:
    talk = Talk([reply(refusal.status, refusal.body)])
    with pytest.raises(errors.AirbyteAuthenticationError, match=r"Check Client ID \(Login\)"):
        talk.perform(fetch_token(CREDENTIALS))


def test_a_500_of_the_token_endpoint_says_that_it_may_be_the_secret() -> None:
    talk = Talk([reply(500, replies.error_id(500).body)])
    with pytest.raises(errors.AirbyteServerError, match="wrong client id or secret"):
        talk.perform(fetch_token(CREDENTIALS))


def test_trouble_with_the_token_says_that_the_request_itself_was_not_sent() -> None:
    for trouble in (reply(500), silence(), reply(200, b"<html>")):
        talk = Talk([trouble])
        with pytest.raises(errors.AirbyteError) as caught:
            talk.perform(fetch_token(CREDENTIALS))
        assert not caught.value.maybe_processed


def test_basic_authentication_before_the_token_endpoint_is_named() -> None:
    talk = Talk([reply(401, b"<html>", www_authenticate='Basic realm="ingress"')])
    with pytest.raises(errors.AirbyteAuthenticationError, match="Something before Airbyte"):
        talk.perform(fetch_token(CREDENTIALS))


def test_an_absent_token_endpoint_says_that_authentication_may_be_off() -> None:
    with pytest.raises(errors.AirbyteUnexpectedReplyError, match=r"leave Client ID \(Login\) and"):
        Talk([reply(404, replies.no_route().body)]).perform(fetch_token(CREDENTIALS))


def rows(*numbers: int) -> Response:
    data = [{"sourceId": str(number), "name": f"s{number}"} for number in numbers]
    return reply(200, {"previous": "", "next": "http://internal:8001/v1/sources?offset=1", "data": data})


def test_all_pages_are_read_by_offset_and_a_short_one_is_the_last() -> None:
    talk = Talk([rows(*range(100)), rows(*range(100, 200)), rows(*range(200, 250))])
    talk.perform(list_sources())
    assert [source.source_id for source in talk.rows] == [str(number) for number in range(250)]
    assert [dict(request.query)["offset"] for request in talk.sent] == ["0", "100", "200"]
    assert all(request.path == "/sources" for request in talk.sent)


def test_where_pages_overlap_the_list_is_read_again_for_what_they_pushed_out() -> None:
    first = [rows(*range(100)), rows(*range(90, 190)), rows(*range(180, 230))]  # 250 shown, of which 230 differ
    second = [rows(*range(100, 200)), rows(*range(100)), rows(*range(200, 250))]
    talk = Talk([*first, *second])
    talk.perform(list_sources())
    assert sorted(int(source.source_id) for source in talk.rows) == list(range(250))


TOO_LARGE = NoResponse(f"{ROOT}/list", "the reply is larger than 16384 KiB", sent=True, trouble=Trouble.TOO_LARGE)


def test_a_list_whose_page_is_too_large_is_read_on_in_smaller_pages() -> None:
    too_many = reply(200, b"[" * (MAX_ITEMS + 1))
    talk = Talk([rows(*range(100)), TOO_LARGE, rows(*range(100, 110)), too_many, rows(110), rows()])
    talk.perform(list_sources())
    assert [source.source_id for source in talk.rows] == [str(number) for number in range(111)]
    asked = [dict(request.query) for request in talk.sent]
    limits = [(each["offset"], each["limit"]) for each in asked]
    assert limits == [("0", "100"), ("100", "100"), ("100", "10"), ("110", "10"), ("110", "1"), ("111", "1")]
    assert talk.pauses == [], "the same request would bring the same reply"


@pytest.mark.parametrize("retry", [Retry(), while_unreachable(1800), while_unreachable(1800, is_known=True)])
def test_a_row_that_is_too_large_is_an_error(retry: Retry) -> None:
    talk = Talk([TOO_LARGE] * 3)
    with pytest.raises(errors.AirbyteUnreachableError, match=r"larger than 16384 KiB\. Airbyte sends no such reply"):
        talk.perform(list_connections(retry=retry))
    assert [dict(request.query)["limit"] for request in talk.sent] == ["100", "10", "1"]


def test_a_list_that_never_shows_all_of_its_rows_is_warned_of() -> None:
    talk = Talk([reply for _ in range(MOST_READINGS) for reply in (rows(*range(100)), rows(*range(50, 100)))])
    talk.perform(list_sources())
    assert len(talk.rows) == 100
    assert talk.said == ["/sources shows 150 rows, but never more than 100 different ones: some may be missing."]


def test_jobs_that_are_added_while_they_are_listed_do_not_make_it_begin_anew() -> None:
    def jobs(*numbers: int) -> Response:
        return reply(200, {"data": [job(number) for number in numbers]})

    talk = Talk([jobs(*range(200, 100, -1)), jobs(*range(101, 50, -1))])
    talk.perform(list_jobs())
    assert [each.job_id for each in talk.rows] == list(range(200, 50, -1))


def test_a_server_that_repeats_itself_is_not_asked_for_ever() -> None:
    talk = Talk([rows(*range(100))] * 2 * MOST_READINGS)
    talk.perform(pages(Request("GET", "/sources"), Source.from_json, lambda source: source.source_id))
    assert len(talk.rows) == 100
    assert "some may be missing" in talk.said[0]


@pytest.mark.parametrize("body", [{}, [], {"data": None}, {"data": {}}, {"data": [{"name": "no id"}]}])
def test_a_list_of_another_shape_is_an_error(body: object) -> None:
    with pytest.raises(errors.AirbyteUnexpectedReplyError):
        Talk([reply(200, body)]).perform(list_sources())


def test_a_workspace_that_is_no_uuid_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(errors.AirbyteConfigError, match="workspace_ids is 'mine'"):
        Talk([]).perform(list_sources("mine"))


def test_the_reply_to_a_good_call_is_read() -> None:
    assert Talk([reply(200, job())]).perform(call_for(GET, Job.from_json)).job_id == 7


def test_a_list_with_a_row_that_cannot_be_read_is_an_error() -> None:
    rows = {"data": [job(7), {"jobId": None, "status": "running"}]}
    with pytest.raises(errors.AirbyteUnexpectedReplyError, match="jobId is None"):
        Talk([reply(200, rows)]).perform(read_page(GET, 0, Job.from_json))


def test_a_poll_for_many_skips_a_row_that_cannot_be_read_and_says_why() -> None:
    talk = Talk([reply(200, b'{"data": [{"jobId": 1e999, "status": "running"}, {"jobId": 8, "status": "running"}]}')])
    page = talk.perform(page_of_changes(None, 0.0, 0))
    assert [each.job_id for each in page.rows] == [8]
    assert "JSON of another shape" in str(page.unreadable[0])


def test_a_list_that_grows_for_ever_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "MAX_ROWS", 300)
    replies = [reply(200, {"data": [job(each) for each in range(start, start + 100)]}) for start in range(1, 401, 100)]
    with pytest.raises(errors.AirbyteError, match="GET /jobs lists more than 300 rows"):
        Talk(replies).perform(gathered(list_jobs()))
