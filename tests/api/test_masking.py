from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api.http import (
    Request,
    Response,
    TransportFailure,
    parse_response,
    to_error,
    unexpected_response,
)
from airflow_provider_airbyte_api.api.masking import basic_secrets, mask

SECRET = 'p&ss w/"ö+1'
GET = Request("GET", "/jobs/7")
URL = "https://a.example/jobs/7"
BASIC = base64.b64encode(f"me:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        html.escape(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_masked_however_it_is_spelled(spelling: str) -> None:
    masked = mask(f"you sent {spelling}, which is wrong", [SECRET])
    assert masked.replace('"', "") == "you sent ***, which is wrong"


def test_of_http_basic_the_value_the_pair_and_the_password_are_masked() -> None:
    assert mask(f"{BASIC} me:{SECRET} {SECRET} me", basic_secrets(BASIC)) == "*** *** *** me"
    assert basic_secrets("no base64") == ["no base64"]


def test_a_text_too_short_to_be_a_secret_is_left_alone() -> None:
    assert mask("a b c", ["a", ""]) == "a b c"


TOKEN = "eyJhbGciOi.payload.signature"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (400, {}, json.dumps({"message": f"bad {TOKEN}", "errorId": "1"})),
        (400, {}, json.dumps({"error": "invalid_client", "error_description": TOKEN})),
        (404, {}, json.dumps({"type": "error:x", "title": "t", "data": {"sent": TOKEN}})),
        (403, {}, f"<html><title>{TOKEN}</title>"),
        (403, {"server": TOKEN}, "text"),
        (502, {}, f"Authorization: Bearer {TOKEN}"),
        (502, {}, "x" * 190 + TOKEN),
        (302, {"location": f"https://login.example/{TOKEN}"}, ""),
        (401, {"www-authenticate": f'Basic realm="{TOKEN}"'}, ""),
        (407, {}, TOKEN),
    ],
)
def test_what_a_server_echoes_is_in_no_error(status: int, headers: dict[str, str], body: str) -> None:
    error = to_error(GET, Response(URL, status, headers, body.encode(), (TOKEN,)))
    assert TOKEN[:9] not in json.dumps(exceptions.error_to_dict(error))
    assert "***" in str(error) or len(body) > 200


def test_what_a_server_echoes_with_a_good_status_is_in_no_error() -> None:
    page = Response(URL, 200, {}, f"<html><title>{TOKEN}</title>".encode(), (TOKEN,))
    with pytest.raises(exceptions.AirbyteUnexpectedResponseError, match=r"\*\*\*"):
        parse_response(GET, page)
    assert TOKEN not in str(unexpected_response(GET, page, f"JSON of an unexpected shape ({TOKEN})."))


def test_what_a_broken_reply_echoes_is_in_no_error() -> None:
    error = to_error(
        GET, TransportFailure(URL, f"no reply (bad status line {TOKEN!r})", request_sent=True, secrets=(TOKEN,))
    )
    assert "bad status line '***'" in str(error)
