"""All the ways to write an Airflow connection, and what is sent because of it, by both drivers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import BaseHook, redact

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.hooks._settings import parse_settings
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger
from tests.helpers.certificates import Authority
from tests.versions import not_on

Fields = dict[str, Any]


@pytest.fixture
def open_airbyte() -> Iterator[LocalAirbyte]:
    """An Airbyte that looks at no token."""
    with LocalAirbyte(auth=False) as local:
        yield local


def declare(monkeypatch: pytest.MonkeyPatch, airbyte: LocalAirbyte, **fields: Any) -> None:
    given = {"conn_type": "airbyte_api", "host": airbyte.url, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(given))


def settings(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> ClientSettings:
    given = {"conn_type": "airbyte_api", "host": "https://airbyte.example.com", **fields}
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(given))
    return parse_settings(BaseHook.get_connection("MINE"))


def ask(airbyte: LocalAirbyte, kind: str) -> None:
    """Ask for a job, in a worker or in a triggerer."""
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    if kind == "worker":
        AirbyteHook("mine").get_job(job.job_id)
    else:
        trigger = AirbyteJobTrigger(job.job_id, STRIPE_TO_BIGQUERY, "mine", 0.01)

        async def wait() -> str:
            (event,) = [event async for event in trigger.run()]
            return str(event.payload["status"])

        assert asyncio.run(wait()) == "succeeded"


both = pytest.mark.parametrize("kind", ["worker", "triggerer"])


# -- who we are ------------------------------------------------------------------------------------------------


@both
def test_a_static_token_is_sent_as_it_is(
    open_airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    declare(monkeypatch, open_airbyte, extra={"api_token": "mine"})
    ask(open_airbyte, kind)
    assert {asked.headers["authorization"] for asked in open_airbyte.requests} == {"Bearer mine"}


@both
def test_basic_is_user_and_password(open_airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    declare(monkeypatch, open_airbyte, login="airbyte", password="pass:wörd", extra={"auth_type": "basic"})
    ask(open_airbyte, kind)
    expected = "Basic " + base64.b64encode("airbyte:pass:wörd".encode()).decode()
    assert {asked.headers["authorization"] for asked in open_airbyte.requests} == {expected}


@both
def test_none_sends_nothing(open_airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    declare(monkeypatch, open_airbyte, login="left", password="over", extra={"auth_type": "none"})
    ask(open_airbyte, kind)
    assert not any("authorization" in asked.headers for asked in open_airbyte.requests)


def test_a_static_token_that_is_refused_is_not_tried_again(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, airbyte, extra={"api_token": "expired"})
    with pytest.raises(exceptions.AirbyteAuthenticationError, match="Check the extra api_token"):
        AirbyteHook("mine").get_job(1)
    assert len(airbyte.requests) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"extra": {"auth_type": "oauth"}},
            "auth_type .* is 'oauth', expected one of client_credentials, bearer, basic",
        ),
        ({"extra": {"auth_type": "bearer"}}, "auth_type .* is bearer, but api_token is missing"),
        ({"extra": {"auth_type": "basic"}}, r"has neither Client secret \(Password\) nor Client ID \(Login\)"),
        (
            {"extra": {"auth_type": "client_credentials"}, "login": "me"},
            r"has a Client ID \(Login\) but no Client secret \(Password\)",
        ),
        (
            {"extra": {"api_token": "t"}, "login": "me", "password": "a-phrase"},
            r"api_token and a Client ID \(Login\) or Client secret \(Password\)",
        ),
        ({"extra": {"api_token": 7}}, "Extra api_token .* is invalid, expected text"),
        ({"extra": {"verify": "perhaps"}}, "verify .* is 'perhaps', expected true or false"),
        (
            {"extra": {"ca_bundle": "/no/such/file"}},
            "ca_bundle .* is invalid, expected the path of a file or folder",
        ),
        ({"extra": {"client_key": "-----BEGIN hidden" * 300}}, "client_key .* is invalid, expected the path"),
        ({"extra": {"client_key": __file__}}, "client_key .* is invalid, expected the extra client_cert as well"),
        ({"extra": {"api_token": "hidden\ntoken"}}, "Extra api_token .* is invalid, expected one line"),
        ({"extra": {"secret_headers": {"X": "hidden wörd"}}}, "Extra secret_headers .* is invalid"),
        ({"extra": {"headers": {"Content-Length": "1"}}}, "Extra headers .* is invalid"),
        ({"extra": {"read_timeout": 10**320}}, "Extra read_timeout"),
        ({"port": 99_999}, "Port is 99999, expected a number from 1 to 65535"),
        ({"extra": {"connect_timeout": 0}}, "connect_timeout .* is 0, expected a number of seconds above 0"),
        ({"extra": {"read_timeout": True}}, "read_timeout .* is True, expected a number of seconds"),
        ({"extra": {"timeout": "NaN"}}, "timeout .* is 'NaN', expected a number of seconds"),
        ({"extra": {"max_concurrent_requests": 0}}, "max_concurrent_requests .* is 0, expected a whole number above 0"),
        (
            {"extra": {"max_concurrent_requests": 2.5}},
            "max_concurrent_requests .* is 2.5, expected a whole number above 0",
        ),
        ({"extra": {"headers": "X: 1"}}, "Extra headers .* is invalid, expected a JSON object"),
        ({"extra": {"headers": {"X": "1\r\nY: 2"}}}, "Extra headers .* is invalid"),
        ({"extra": {"secret_headers": {"a b": "1"}}}, "Extra secret_headers .* is invalid"),
        (
            {"login": "me", "password": "a-phrase", "extra": {"headers": {"authorization": "Bearer x"}}},
            "is reserved for Airbyte's token",
        ),
        ({"extra": {"proxy": "socks5://me:hidden@proxy"}}, "Extra proxy .* is invalid, expected a URL"),
        ({"extra": {"proxy": "http://"}}, "Extra proxy"),
        (
            {"login": "me", "password": "a-phrase", "extra": {"auth_url": "ftp://login.example.com/token"}},
            "Extra auth_url .* is invalid",
        ),
        ({"extra": {"config_api": "https://me:hidden@airbyte.example.com"}}, "Extra config_api .* expected auto, off"),
        ({"extra": {"config_api": "airbyte.example.com/api/v1"}}, "Extra config_api"),
        ({"extra": {"config_api": "http://airbyte:99999/api/v1"}}, "Extra config_api"),
        ({"extra": {"config_api": "http://airbyte/api/v1?a=b"}}, "Extra config_api"),
        ({"extra": {"config_api": False}}, "Extra config_api .* is invalid"),
    ],
)
def test_what_cannot_be_used_is_named_and_no_secret_is_repeated(
    monkeypatch: pytest.MonkeyPatch, fields: Fields, message: str
) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=message) as raised:
        settings(monkeypatch, **fields)
    assert "hidden" not in str(raised.value)


@both
def test_gateway_headers_are_not_sent_to_another_token_endpoint(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with LocalAirbyte() as elsewhere:
        elsewhere._state.tokens.key = airbyte._state.tokens.key
        extra = {"auth_url": f"{elsewhere.api_url}/applications/token", "secret_headers": {"X-Gate": " hidden "}}
        declare(monkeypatch, airbyte, login=airbyte.client_id, password=airbyte.client_secret, extra=extra)
        ask(airbyte, kind)
        assert [asked.headers.get("x-gate") for asked in elsewhere.requests] == [None]
        assert [asked.headers.get("x-gate") for asked in airbyte.requests] == ["hidden"]


@both
@pytest.mark.parametrize("broken", ["ca_bundle", "client_key", "REQUESTS_CA_BUNDLE"])
def test_files_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, broken: str
) -> None:
    authority = Authority.made_in(tmp_path)
    certificate, key = authority.sign("client")
    extra = {"ca_bundle": str(authority.path), "client_cert": str(certificate), "client_key": str(key)}
    if broken == "REQUESTS_CA_BUNDLE":
        del extra["ca_bundle"]
        monkeypatch.setenv(broken, str(tmp_path / "nowhere.pem"))
    else:
        Path(extra[broken]).write_text("no PEM at all")
    with LocalAirbyte(tls=authority.server_context("127.0.0.1"), auth=False) as airbyte:
        declare(monkeypatch, airbyte, extra=extra)
        job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
        if kind == "worker":
            with pytest.raises(exceptions.AirbyteConfigError, match=broken):
                AirbyteHook("mine").get_job(job.job_id)
        else:
            trigger = AirbyteJobTrigger(job.job_id, STRIPE_TO_BIGQUERY, "mine", 0.01)

            async def wait() -> dict[str, Any]:
                (event,) = [event async for event in trigger.run()]
                return dict(event.payload)

            event = asyncio.run(wait())
            assert event["error"]["type"] == "AirbyteConfigError"
            assert broken in event["error"]["message"]


# -- the way there ---------------------------------------------------------------------------------------------


@both
def test_more_headers_go_with_each_request(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    extra = {"headers": {"X-Tenant": "data"}, "secret_headers": '{"CF-Access-Client-Secret": "hidden"}'}
    declare(monkeypatch, airbyte, login=airbyte.client_id, password=airbyte.client_secret, extra=extra)
    ask(airbyte, kind)
    assert len(airbyte.requests) == 2
    for asked in airbyte.requests:
        assert asked.headers["x-tenant"] == "data"
        assert asked.headers["cf-access-client-secret"] == "hidden"


@pytest.mark.parametrize(
    "kind", ["worker", pytest.param("triggerer", marks=not_on("3.0", "its aiohttp sends a proxy's password but once"))]
)
def test_a_proxy_of_the_connections_own_goes_before_that_of_the_environment(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    extra = {"proxy": airbyte.url.replace("http://", "http://me:hidden@")}
    fields = {"host": "http://airbyte.example.com", "login": airbyte.client_id, "password": airbyte.client_secret}
    declare(monkeypatch, airbyte, **fields, extra=extra)
    ask(airbyte, kind)
    for asked in airbyte.requests:
        assert asked.headers["host"] == "airbyte.example.com"
        assert asked.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"me:hidden").decode()


@both
def test_a_ca_of_our_own_and_a_certificate_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    authority = Authority.made_in(tmp_path)
    certificate, key = authority.sign("client")
    extra = {"ca_bundle": str(authority.path), "client_cert": str(certificate), "client_key": str(key)}
    with LocalAirbyte(tls=authority.server_context("127.0.0.1", asks_for_client=True), auth=False) as airbyte:
        declare(monkeypatch, airbyte, extra=extra)
        ask(airbyte, kind)


@both
def test_verification_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    with LocalAirbyte(tls=Authority.made_in(tmp_path).server_context(), auth=False) as airbyte:
        declare(monkeypatch, airbyte, extra={"verify": "false"})
        ask(airbyte, kind)


def test_time_outs_and_limits_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"connect_timeout": "2.5", "read_timeout": 7, "max_concurrent_requests": "2", "disk_cache": True}
    made = settings(monkeypatch, extra=extra)
    assert (made.connect_timeout, made.read_timeout, made.max_concurrent_requests, made.use_disk_cache) == (
        2.5,
        7.0,
        2,
        True,
    )


def test_what_a_form_leaves_empty_counts_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_airbyte_api.connection_form import CONN_FIELDS

    assert settings(monkeypatch, extra=dict.fromkeys(CONN_FIELDS, "")) == settings(monkeypatch)
    assert settings(monkeypatch, extra=dict.fromkeys(CONN_FIELDS)) == settings(monkeypatch)


@pytest.mark.parametrize("conn_type", ["postgres", "ssh", "airbyte_cloud"])
@both
def test_a_connection_of_another_type_is_refused_and_nothing_is_sent(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, kind: str, conn_type: str
) -> None:
    declare(monkeypatch, airbyte, conn_type=conn_type, login=airbyte.client_id, password=airbyte.client_secret)
    expected = f"Airflow connection 'mine' is of type '{conn_type}', expected 'airbyte_api'. No request was sent."
    if kind == "worker":
        with pytest.raises(exceptions.AirbyteConfigError, match=expected):
            AirbyteHook("mine").get_job(1)
    else:

        async def wait() -> str:
            (event,) = [each async for each in AirbyteJobTrigger(1, STRIPE_TO_BIGQUERY, "mine", 0.01).run()]
            return str(event.payload["error"]["message"])

        assert expected in asyncio.run(wait())
    assert airbyte.requests == []


@pytest.mark.parametrize("conn_type", ["airbyte_api", "airbyte", "http", "generic", ""])
def test_types_that_may_hold_an_airbyte(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, conn_type: str) -> None:
    declare(monkeypatch, airbyte, conn_type=conn_type, login=airbyte.client_id, password=airbyte.client_secret)
    ask(airbyte, "worker")


@both
def test_white_space_around_login_and_password_is_not_sent(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    declare(monkeypatch, airbyte, login=f" {airbyte.client_id}\n", password=f"\t{airbyte.client_secret} \r\n")
    ask(airbyte, kind)


def test_credentials_of_white_space_are_none(open_airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, open_airbyte, login=" ", password="\n")
    ask(open_airbyte, "worker")


def test_a_uri_with_an_underscore_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "airbyte_api://me:hidden-phrase@localhost:8000/http")
    ok, text = AirbyteHook("mine").test_connection()
    assert not ok
    assert "has no Airbyte URL (Host). If it is a URI, its scheme must be airbyte-api://, with a hyphen." in text
    assert "hidden" not in text


# -- other ways to write it ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "schema"),
    [
        ("{url}/api/public/v1/", "/api/public/v1/applications/token"),
        ("{url}/api/public/v1", "v1/applications/token"),
        ("{url}/api/v1/", None),
        ("{url}", "/api/public/v1/applications/token"),
    ],
)
def test_a_connection_of_the_official_provider_works_unchanged(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, host: str, schema: str | None
) -> None:
    fields = {"conn_type": "airbyte", "host": host.format(url=airbyte.url), "schema": schema}
    extra = {"timeout": 20, "proxies": None}
    declare(monkeypatch, airbyte, **fields, login=airbyte.client_id, password=airbyte.client_secret, extra=extra)
    assert AirbyteHook("mine").get_conn().settings.read_timeout == 20
    ask(airbyte, "worker")
    ask(airbyte, "triggerer")


@pytest.mark.parametrize("proxies", ["http://p:3128", {"https": "http://p:3128"}, {"https://": "http://p:3128"}])
def test_the_official_providers_proxies_are_understood(monkeypatch: pytest.MonkeyPatch, proxies: Any) -> None:
    assert settings(monkeypatch, extra={"proxies": proxies}).proxy == "http://p:3128"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://login.example.com/realms/airbyte/token", "https://login.example.com/realms/airbyte/token"),
        ("/auth/realms/airbyte/token", "https://airbyte.example.com/auth/realms/airbyte/token"),
        ("v1/applications/token", "https://airbyte.example.com/api/public/v1/applications/token"),
    ],
)
def test_tokens_may_come_from_elsewhere(monkeypatch: pytest.MonkeyPatch, given: str, expected: str) -> None:
    made = settings(monkeypatch, login="me", password="of-mine-alone", extra={"auth_url": given})
    assert made.credentials is not None
    assert made.credentials.token_url == expected


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("https://airbyte.example.com", None, "https://airbyte.example.com/api/v1"),
        ("https://airbyte.example.com/etl/api/public/v1", "auto", "https://airbyte.example.com/etl/api/v1"),
        ("https://api.airbyte.com/v1", "", "https://cloud.airbyte.com/api/v1"),
        ("http://localhost:8006/v1", None, "http://localhost:8000/api/v1"),
        ("https://airbyte.example.com", "off", None),
        ("https://airbyte.example.com", "http://server:8001/api/v1/", "http://server:8001/api/v1"),
    ],
)
def test_the_internal_api_is_derived_given_or_off(
    monkeypatch: pytest.MonkeyPatch, host: str, given: str | None, expected: str | None
) -> None:
    assert settings(monkeypatch, host=host, extra={"config_api": given}).config_url == expected


def test_gateway_headers_are_sent_to_the_internal_api_too(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"config_api": "http://server:8001/api/v1", "headers": {"X-Gate": "1"}}
    made = settings(monkeypatch, host="https://airbyte.example.com", extra=extra)
    assert made.headers("http://server:8001/api/v1/jobs/get_without_logs", None)["x-gate"] == "1"
    assert "x-gate" not in made.headers("http://server:8002/api/v1/jobs/get_without_logs", None)


@pytest.mark.parametrize("form", ["airbyte-api://{user}@{host}/http", "airbyte-api://{user}@{quoted}"])
def test_a_connection_may_be_a_uri(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    user = f"{airbyte.client_id}:{quote(airbyte.client_secret)}"
    uri = form.format(user=user, host=airbyte.url.removeprefix("http://"), quoted=quote(airbyte.url, safe=""))
    monkeypatch.setenv("AIRFLOW_CONN_MINE", f"{uri}?connect_timeout=3&verify=true")
    assert AirbyteHook("mine").get_conn().settings.connect_timeout == 3
    ask(airbyte, "worker")


# -- secrets ---------------------------------------------------------------------------------------------------


@both
def test_airflow_masks_all_secrets(open_airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    extra = {
        "api_token": f"static-token-{kind}",
        "secret_headers": {"X-Gateway": f"gateway-key-{kind}"},
        "proxy": open_airbyte.url.replace("http://", f"http://me:proxy-password-{kind}@"),
    }
    declare(monkeypatch, open_airbyte, extra=extra)
    ask(open_airbyte, kind)
    for secret in ("static-token", "gateway-key", "proxy-password"):
        assert redact(f"<{secret}-{kind}>") == "<***>"


def test_no_secret_is_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"secret_headers": {"X-Gateway": "hidden-1"}, "proxy": "http://me:hidden-2@proxy:3128"}
    made = repr(settings(monkeypatch, login="me", password="hidden-3", extra=extra))
    made += repr(settings(monkeypatch, extra={"api_token": "hidden-4"}))
    assert "hidden" not in made
