from __future__ import annotations

import base64
import json

import pytest

from airflow_provider_airbyte_api.api.http import Response
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, Token, TokenState, parse_token_response
from airflow_provider_airbyte_api.exceptions import AirbyteUnexpectedResponseError
from tests.helpers.scripted_driver import reply

CREDENTIALS = ClientCredentials("https://a.example/applications/token", "me", "hunter2")
NOW = 1_700_000_000.0
NOW_HEADER = "Tue, 14 Nov 2023 22:13:20 GMT"


def jwt(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part(claims)}.signature"


def token_reply(value: str, expires_in: object = None, date: str = NOW_HEADER) -> Response:
    body = {"access_token": value, "token_type": "Bearer"}
    return reply(200, body if expires_in is None else {**body, "expires_in": expires_in}, date=date)


def lifetime(response: Response, now: float = NOW) -> float:
    """The lifetime that is believed, told by where the margin of 5 % (30 s at most) begins."""
    trusted = parse_token_response(CREDENTIALS.token_request(), response, now).expires_at - now
    return trusted / 0.95 if trusted / 0.95 <= 600 else trusted + 30


@pytest.mark.parametrize(
    ("value", "expires_in", "believed"),
    [
        (jwt(exp=NOW + 900), 900, 900),
        (jwt(exp=NOW + 86_400), 180, 180),  # 0.63.9 to 1.5
        (jwt(exp=NOW + 180), 900, 180),  # an application made under an older server
        (jwt(exp=NOW + 180), None, 180),  # the endpoint of the configuration API
        ("opaque", 900, 900),
        ("opaque", None, 150),
        (jwt(sub="nobody"), None, 150),
        (jwt(exp="tomorrow"), 300, 300),
        (jwt(exp=NOW + 300), "900", 300),
        (jwt(exp=NOW + 300), -1, 300),
    ],
)
def test_a_token_expires_at_the_shorter_of_its_lifetimes(value: str, expires_in: object, believed: float) -> None:
    assert lifetime(token_reply(value, expires_in)) == pytest.approx(believed)


@pytest.mark.parametrize("our_clock_is_off_by", [-7200.0, 7200.0])
def test_a_wrong_clock_of_ours_does_not_change_how_long_a_token_lives(our_clock_is_off_by: float) -> None:
    response = token_reply(jwt(exp=NOW + 900), 900)
    assert lifetime(response, NOW + our_clock_is_off_by) == pytest.approx(900)


def test_a_token_is_fresh_then_stale_then_expired_and_the_margins_are_a_share_of_its_life() -> None:
    short = parse_token_response(CREDENTIALS.token_request(), token_reply("t", 180), 0.0)
    assert [short.state(at) for at in (0, 143, 145, 170, 172)] == [
        TokenState.FRESH,
        TokenState.FRESH,
        TokenState.STALE,
        TokenState.STALE,
        TokenState.EXPIRED,
    ]
    long = parse_token_response(CREDENTIALS.token_request(), token_reply("t", 86_400), 0.0)
    assert (long.stale_at, long.expires_at) == (86_400 - 120, 86_400 - 30)


@pytest.mark.parametrize("body", [{}, [], {"access_token": ""}, {"access_token": 5}, b"<html>"])
def test_a_reply_without_a_token_is_an_error(body: object) -> None:
    with pytest.raises(AirbyteUnexpectedResponseError):
        parse_token_response(CREDENTIALS.token_request(), reply(200, body), NOW)


@pytest.mark.parametrize("body", [b"access_token=opaque-token&token_type=bearer", b"opaque-token"])
def test_a_token_that_comes_as_no_json_is_not_repeated_in_the_error(body: bytes) -> None:
    with pytest.raises(AirbyteUnexpectedResponseError, match=rf"text that is not JSON \({len(body)} bytes\)") as raised:
        parse_token_response(CREDENTIALS.token_request(), reply(200, body), NOW)
    assert "opaque-token" not in str(raised.value)


def test_the_request_is_json_without_authorization() -> None:
    request = CREDENTIALS.token_request()
    assert request.json == {"client_id": "me", "client_secret": "hunter2", "grant-type": "client_credentials"}
    assert request.anonymous


def test_no_secret_is_in_any_repr() -> None:
    shown = repr([CREDENTIALS, CREDENTIALS.cache_key("a"), CREDENTIALS.token_request(), Token("jwt-value", 0, 0)])
    assert "hunter2" not in shown
    assert "jwt-value" not in shown
    assert CREDENTIALS.cache_key("a").secret_digest not in shown


def test_the_cache_key_differs_by_host_and_secret() -> None:
    other_secret = ClientCredentials(CREDENTIALS.token_url, "me", "changed")
    assert (
        len(
            {
                CREDENTIALS.cache_key("https://a"),
                CREDENTIALS.cache_key("https://b"),
                other_secret.cache_key("https://a"),
            }
        )
        == 3
    )


@pytest.mark.parametrize("value", ["a\nb", "\u2026", "\ud83d", "a\x00", "é", "\x7f"])
def test_a_token_that_no_header_can_carry_is_refused(value: str) -> None:
    with pytest.raises(AirbyteUnexpectedResponseError, match="characters that an HTTP header cannot carry"):
        parse_token_response(CREDENTIALS.token_request(), token_reply(value), NOW)


@pytest.mark.parametrize(
    "expires_in", [b"1e999", b"NaN", b"Infinity", b"1" + b"0" * 400, b"9" * 5000, b"true", b"[]", b"-1", b'"900"']
)
def test_an_odd_lifetime_counts_as_absent(expires_in: bytes) -> None:
    response = reply(200, b'{"access_token": "t", "expires_in": %s}' % expires_in)
    assert lifetime(response) == pytest.approx(150)


@pytest.mark.parametrize("exp", [b"1e999", b"NaN", b"1" + b"0" * 400, b"[" * 100_000, b"true", b"[]", b"null"])
def test_an_odd_end_of_a_jwt_counts_as_absent(exp: bytes) -> None:
    payload = base64.urlsafe_b64encode(b'{"exp": %s}' % exp).rstrip(b"=").decode()
    assert lifetime(token_reply(f"x.{payload}.x")) == pytest.approx(150)
