"""One row for each thing that may be wrong with a connection, and the sentence that a user reads."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_airbyte_api.api import diagnostics
from airflow_provider_airbyte_api.api.diagnostics import Problem
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.hooks import airbyte as hooks
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.testing import LocalAirbyte
from tests.helpers.certificates import Authority
from tests.helpers.raw_socket_server import RawSocketServer, drip

TOKEN = "/applications/token"
SECRET = "a-secret-that-nobody-may-read"
Fields = dict[str, Any]


@dataclass
class Row:
    """What is arranged, and what the doctor finds. ``says`` are words that have to be in its text."""

    name: str
    diagnosis: Problem | None
    says: tuple[str, ...] = ()
    fields: Callable[[LocalAirbyte], Fields] = field(default=lambda _: {})
    arrange: Callable[[LocalAirbyte], object] = field(default=lambda _: None)
    airbyte: Fields = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def reply(status: int, path: str, **more: Any) -> Callable[[LocalAirbyte], object]:
    return lambda airbyte: airbyte.respond_with(status, path=path, times=9, **more)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


HTML = {"body": "<html><title>Airbyte</title></html>", "headers": {"Content-Type": "text/html"}}
BASIC = {"headers": {"WWW-Authenticate": 'Basic realm="ingress"'}, "body": "<html>401</html>"}
WRONG = {"password": SECRET}

ROWS = [
    # What works
    Row(
        "all well", None, ("Connected to Airbyte 2.1.0 (community) at", "1 workspace: ", "Tokens are valid for 15 min.")
    ),
    Row("the internal API's address", None, ("Connected",), lambda airbyte: {"host": f"{airbyte.url}/api/v1/"}),
    Row("no /api/public/v1", None, ("/api/public/v1",), lambda airbyte: {"host": airbyte.url}),
    Row("a page of the web app", None, ("Connected",), lambda airbyte: {"host": f"{airbyte.url}/workspaces/1/source"}),
    Row(
        "authentication off, and none sent",
        None,
        ("Authentication is switched off",),
        lambda _: {"login": "", "password": ""},
        airbyte={"auth": False},
    ),
    Row(
        "a name of an extra that nobody reads",
        None,
        ("Unknown extras: verfy (did you mean verify?)",),
        lambda _: {"extra": {"verfy": False}},
    ),
    # Who we are
    Row("a wrong secret", Problem.INVALID_CREDENTIALS, ("Invalid client id or token",), lambda _: WRONG),
    Row(
        "a wrong secret, Keycloak", Problem.INVALID_CREDENTIALS, ("401",), lambda _: WRONG, airbyte={"edition": "cloud"}
    ),
    Row(
        "a wrong secret, 500", Problem.INVALID_CREDENTIALS, ("as it does in some versions",), arrange=reply(500, TOKEN)
    ),
    Row(
        "authentication off, and credentials sent",
        Problem.AUTH_DISABLED,
        ("Leave Client ID (Login) and Client secret (Password) empty",),
        airbyte={"auth": False},
    ),
    Row(
        "no credentials",
        Problem.CREDENTIALS_MISSING,
        ("Set Client ID (Login) and Client secret (Password)",),
        lambda _: {"login": "", "password": ""},
    ),
    Row("half of the credentials", Problem.INVALID_FIELD, ("no Client secret (Password)",), lambda _: {"password": ""}),
    Row("a gateway that wants Basic", Problem.GATEWAY, ("auth_type to basic",), arrange=reply(401, TOKEN, **BASIC)),
    Row(
        "a gateway before an Airbyte without authentication",
        Problem.GATEWAY,
        ("auth_type to basic",),
        lambda _: {"login": "", "password": ""},
        reply(401, "/workspaces", **BASIC),
        {"auth": False},
    ),
    Row("a fresh token that is refused", Problem.TOKEN_REJECTED, ("clocks",), arrange=reply(401, "/workspaces")),
    Row(
        "a static token that is refused",
        Problem.STATIC_TOKEN_REJECTED,
        ("Check the extra api_token", "15 minutes"),
        lambda _: {"login": "", "password": "", "extra": {"api_token": SECRET}},
    ),
    Row("no access", Problem.NO_ACCESS, ("a role in a workspace",), arrange=reply(403, "/workspaces|/connections")),
    Row("no access to workspaces alone", None, ("may list connections",), arrange=reply(403, "/workspaces")),
    Row("no workspace", Problem.NO_WORKSPACE, ("a role",), arrange=lambda airbyte: airbyte.workspaces.clear()),
    Row(
        "a wrong password for HTTP Basic",
        Problem.STATIC_TOKEN_REJECTED,
        ("Check Client ID (Login) and Client secret (Password), which are sent as HTTP Basic",),
        lambda _: {"extra": {"auth_type": "basic"}},
        reply(401, "/workspaces", **BASIC),
        {"auth": False},
    ),
    # Where it is
    Row(
        "a connection of another type",
        Problem.INVALID_FIELD,
        ("is of type 'postgres', expected 'airbyte_api'. No request was sent.",),
        lambda _: {"conn_type": "postgres"},
    ),
    Row(
        "no host",
        Problem.INVALID_FIELD,
        ("has no Airbyte URL (Host)", "http://localhost:8000 for a local Airbyte"),
        lambda _: {"host": ""},
    ),
    Row("a host that does not exist", Problem.UNKNOWN_HOST, ("DNS",), lambda _: {"host": "http://nobody.invalid"}),
    Row(
        "a port where nothing listens",
        Problem.REFUSED,
        ("localhost",),
        lambda _: {"host": f"http://127.0.0.1:{closed_port()}"},
    ),
    Row("a web page at the token endpoint", Problem.WEB_PAGE, ("titled 'Airbyte'",), arrange=reply(200, TOKEN, **HTML)),
    Row(
        "a web page",
        Problem.WEB_PAGE,
        ("titled 'Airbyte'",),
        lambda _: {"login": "", "password": ""},
        reply(200, "/workspaces", **HTML),
        {"auth": False},
    ),
    Row("no JSON of Airbyte's", Problem.WEB_PAGE, ("JSON without",), arrange=reply(200, "/workspaces", body="[]")),
    Row("no such path", Problem.WEB_PAGE, (), arrange=reply(404, TOKEN, body="Object not found.")),
    Row("a gateway's 404", Problem.WEB_PAGE, ("0.64",), arrange=reply(404, TOKEN, body='{"message": "no such path"}')),
    Row(
        "403 of an Airbyte that does not know the path",
        Problem.WEB_PAGE,
        ("check Airbyte URL (Host)",),
        arrange=reply(403, "/workspaces|/connections|/api/v1/instance_configuration"),
    ),
    Row(
        "an identity proxy",
        Problem.REDIRECT,
        ("https://login.example.com/start", "secret_headers"),
        arrange=reply(302, TOKEN, headers={"Location": "https://login.example.com/start?state=1"}),
    ),
    Row(
        "http to a port that speaks https",
        Problem.HTTP_ON_HTTPS_PORT,
        ("Use https:// in Airbyte URL (Host)",),
        arrange=reply(400, TOKEN, body="<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>"),
    ),
    Row(
        "a firewall's 403", Problem.BLOCKED, ("The 403 does not come from Airbyte",), arrange=reply(403, TOKEN, **HTML)
    ),
    Row(
        "a service mesh's 403",
        Problem.BLOCKED,
        ("RBAC: access denied", "secret_headers"),
        arrange=reply(403, "/workspaces", body="RBAC: access denied"),
    ),
    Row(
        "an identity proxy's 401 at the token endpoint",
        Problem.GATEWAY,
        ("Invalid IAP credentials", "secret_headers"),
        arrange=reply(401, TOKEN, body="Invalid IAP credentials: empty token"),
    ),
    Row(
        "an identity proxy's 401 after the token",
        Problem.GATEWAY,
        ("Invalid IAP credentials", "secret_headers"),
        arrange=reply(401, "/workspaces", body="Invalid IAP credentials: empty token"),
    ),
    Row(
        "an identity proxy's 401 where no credentials are sent",
        Problem.GATEWAY,
        ("secret_headers",),
        lambda _: {"login": "", "password": ""},
        reply(401, "/workspaces", body="Invalid IAP credentials: empty token"),
    ),
    Row(
        "a typo in the path",
        Problem.WEB_PAGE,
        ("not below /api/publik. Set Airbyte URL (Host) to http://127.0.0.1",),
        lambda airbyte: {"host": f"{airbyte.url}/api/publik/v1"},
    ),
    Row(
        "a typo in the path of an Airbyte that hides what it is",
        Problem.WEB_PAGE,
        ("Check the path in Airbyte URL (Host)", "400 for a wrong client secret"),
        lambda airbyte: {"host": f"{airbyte.url}/api/publik/v1"},
        reply(404, ".*instance_configuration"),
    ),
    Row(
        "Keycloak's own endpoint",
        Problem.WEB_PAGE,
        ("expects a form", "Remove the extra auth_url"),
        lambda airbyte: {"extra": {"auth_url": f"{airbyte.api_url}/realms/token"}},
        reply(
            400,
            "/realms/token",
            body='{"error":"invalid_request","error_description":"Missing form parameter: grant_type"}',
        ),
    ),
    Row(
        "a typo in the token URL",
        Problem.INVALID_CREDENTIALS,
        ("check the path in the extra auth_url",),
        lambda airbyte: {"extra": {"auth_url": f"{airbyte.api_url}/applikations/token"}},
    ),
    Row(
        "a gateway that does not know the path",
        Problem.WEB_PAGE,
        ("Check Airbyte URL (Host)",),
        arrange=reply(404, "/workspaces", body='{"message": "no Route matched with those values"}'),
    ),
    Row(
        "a token URL whose host does not exist",
        Problem.UNKNOWN_HOST,
        ("Check the extra auth_url",),
        lambda _: {"extra": {"auth_url": "http://nobody.invalid/token"}},
    ),
    # How it is doing
    Row("rate limited", Problem.RATE_LIMITED, ("in a minute",), arrange=reply(429, TOKEN)),
    Row("in trouble", Problem.SERVER, ("Retry later",), arrange=reply(503, ".*")),
    Row(
        "a gateway's 502 at the token endpoint",
        Problem.SERVER,
        ("titled 'Airbyte'",),
        arrange=reply(502, TOKEN, **HTML),
    ),
    Row("a gateway's 500 at the token endpoint", Problem.SERVER, (), arrange=reply(500, TOKEN, **HTML)),
    Row("a request that is refused", Problem.OTHER, ("422",), arrange=reply(422, "/workspaces")),
    # The way to it
    Row(
        "https to a port that speaks http",
        Problem.HTTPS_ON_HTTP_PORT,
        ("Use http:// in Airbyte URL (Host)",),
        lambda airbyte: {"host": airbyte.url.replace("http:", "https:")},
    ),
    Row(
        "a proxy that is not there",
        Problem.PROXY,
        ("extra proxy",),
        lambda _: {"extra": {"proxy": f"http://me:{SECRET}@127.0.0.1:{closed_port()}"}},
    ),
    Row(
        "a proxy that wants a password",
        Problem.PROXY,
        ("407",),
        lambda airbyte: {"host": "http://airbyte.example.com", "extra": {"proxy": airbyte.url}},
        reply(407, ".*"),
    ),
    Row(
        "an extra that cannot be used",
        Problem.INVALID_FIELD,
        ("read_timeout",),
        lambda _: {"extra": {"read_timeout": "soon"}},
    ),
]


def connect(monkeypatch: pytest.MonkeyPatch, airbyte: LocalAirbyte, fields: Fields) -> AirbyteHook:
    given = {**json.loads(airbyte.airflow_connection), "login": airbyte.client_id, "password": airbyte.client_secret}
    monkeypatch.setenv("AIRFLOW_CONN_PATIENT", json.dumps({**given, **fields}))
    return AirbyteHook("patient")


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_doctor_finds_what_is_wrong_and_says_what_to_change(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalAirbyte(**row.airbyte) as airbyte:
        row.arrange(airbyte)
        hook = connect(monkeypatch, airbyte, row.fields(airbyte))
        ok, text = hook.test_connection()
        assert ok == (row.diagnosis is None), text
        if row.diagnosis is not None:
            assert text.startswith(f"{row.diagnosis.value}. "), text
        for words in row.says:
            assert words in text
        tokens = {asked.token for asked in airbyte.requests if asked.token}
        for secret in {airbyte.client_secret, SECRET, *tokens}:
            assert secret not in text
        assert len(airbyte.requests) <= 6


def test_every_diagnosis_has_a_row() -> None:
    elsewhere = {Problem.TLS_VERIFICATION, Problem.TIMEOUT, Problem.CONNECTION_RESET}
    assert {row.diagnosis for row in ROWS if row.diagnosis} | elsewhere == set(Problem)


@contextmanager
def silent_server(*, hangs_up: bool) -> Iterator[str]:
    """Listen, and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []

        def accept() -> None:
            while True:
                try:
                    taken, _ = listener.accept()
                except OSError:
                    return
                if hangs_up:
                    taken.close()
                held.append(taken)

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("hangs_up", "diagnosis"), [(False, Problem.TIMEOUT), (True, Problem.CONNECTION_RESET)], ids=["silent", "hangs up"]
)
def test_a_server_that_does_not_speak(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, hangs_up: bool, diagnosis: Problem
) -> None:
    monkeypatch.setattr(hooks, "TEST_REQUEST_TIMEOUT", 0.3)
    with silent_server(hangs_up=hangs_up) as url:
        finding = connect(monkeypatch, airbyte, {"host": url}).diagnose()
    assert finding.problem is diagnosis, finding.message


def test_it_takes_15_seconds_at_the_most_whatever_hangs(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up of a name has no time-out of its own."""
    monkeypatch.setattr(hooks, "TEST_CONNECTION_TIMEOUT", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    began = time.monotonic()
    finding = connect(monkeypatch, airbyte, {"host": "http://slow.example.com"}).diagnose()
    assert time.monotonic() - began < 2.5
    assert finding.problem is Problem.TIMEOUT
    assert hooks.TEST_REQUEST_TIMEOUT * 3 < 14, "three requests in their time"


def test_the_time_of_the_doctor_counts_from_the_call(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Airflow that is slow to tell its connection takes it from the time of a server that drips."""
    monkeypatch.setattr(hooks, "TEST_CONNECTION_TIMEOUT", 4.0)
    with RawSocketServer(lambda sock, _: drip(sock, itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n", 100))) as server:
        hook = connect(monkeypatch, airbyte, {"host": server.url})
        found = hook.get_connection("patient")

        def slow(_: str) -> object:
            time.sleep(3.0)
            return found

        monkeypatch.setattr(hook, "get_connection", slow)
        began = time.monotonic()
        finding = hook.diagnose()
    assert time.monotonic() - began < 3.0 + 4.0 - 1.0
    assert finding.problem is Problem.TIMEOUT


@pytest.mark.parametrize(("shift", "way"), [(300.0, "ahead of"), (-300.0, "behind")])
def test_a_clock_that_is_wrong_is_named_and_does_no_harm(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, shift: float, way: str
) -> None:
    monkeypatch.setattr(CLOCK, "time", lambda: time.time() + shift)
    ok, text = connect(monkeypatch, airbyte, {}).test_connection()
    assert ok
    assert f"This machine's clock is 5 min {way} Airbyte's" in text
    assert "Tokens are valid for 15 min" in text


class TestTls:
    """A real TLS socket, with a CA of our own."""

    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority.made_in(tmp_path)

    @pytest.fixture
    def airbyte(self, authority: Authority) -> Iterator[LocalAirbyte]:
        with LocalAirbyte(tls=authority.server_context("127.0.0.1")) as local:
            yield local

    def test_a_ca_that_nobody_knows(self, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
        finding = connect(monkeypatch, airbyte, {}).diagnose()
        assert finding.problem is Problem.TLS_VERIFICATION
        assert "ca_bundle" in finding.message
        assert "certificate verify failed" in finding.message

    def test_a_ca_that_is_named(
        self, airbyte: LocalAirbyte, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finding = connect(monkeypatch, airbyte, {"extra": {"ca_bundle": str(authority.path)}}).diagnose()
        assert finding.ok, finding.message

    def test_a_certificate_for_another_name(
        self, airbyte: LocalAirbyte, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host = airbyte.url.replace("127.0.0.1", "localhost")
        finding = connect(monkeypatch, airbyte, {"host": host, "extra": {"ca_bundle": str(authority.path)}}).diagnose()
        assert finding.problem is Problem.TLS_VERIFICATION
        assert "Check the host name in Airbyte URL (Host)" in finding.message

    def test_no_verification_is_warned_of(
        self, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
    ) -> None:
        hook = connect(monkeypatch, airbyte, {"extra": {"verify": False}})
        log = mocker.patch.object(hook, "_log")
        assert hook.diagnose().ok
        (said,) = log.warning.call_args.args
        assert "TLS certificate verification is disabled" in said

    def test_a_server_that_wants_a_certificate_of_ours(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate, key = authority.sign("client")
        extra = {"ca_bundle": str(authority.path)}
        with LocalAirbyte(tls=authority.server_context("127.0.0.1", asks_for_client=True)) as airbyte:
            assert not connect(monkeypatch, airbyte, {"extra": extra}).diagnose().ok
            more = {"client_cert": str(certificate), "client_key": str(key)}
            finding = connect(monkeypatch, airbyte, {"extra": {**extra, **more}}).diagnose()
            assert finding.ok, finding.message


# -- the reasons of failed jobs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "config_api", "expected"),
    [
        ("failed", None, "Reasons of failed jobs are available."),
        ("running", "auto", "Reasons of failed jobs are available."),
        (None, None, "Reasons of failed jobs could not be tested: there is no job yet."),
        ("failed", "off", "Reasons of failed jobs are switched off (extra config_api)."),
        ("failed", "{url}/wrong", "Reasons of failed jobs are not available (405: "),
    ],
)
def test_the_doctor_says_whether_reasons_are_available(
    monkeypatch: pytest.MonkeyPatch, status: str | None, config_api: str | None, expected: str
) -> None:
    with LocalAirbyte() as airbyte:
        if status is not None:
            airbyte.add_job(airbyte.connections[0]["connectionId"], status)
        given = None if config_api is None else config_api.format(url=airbyte.url)
        fields = {"login": airbyte.client_id, "password": airbyte.client_secret, "extra": {"config_api": given}}
        ok, text = connect(monkeypatch, airbyte, fields).test_connection()
        assert ok
        assert text.startswith("Connected to ")
        assert expected in text


def test_reasons_that_hang_do_not_fail_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "REASON_TIMEOUT", 0.3)
    with LocalAirbyte() as airbyte:
        airbyte.add_job(airbyte.connections[0]["connectionId"], "failed")
        airbyte.respond_with(path="/api/v1/jobs/get_without_logs", delay=5.0)
        fields = {"login": airbyte.client_id, "password": airbyte.client_secret}
        ok, text = connect(monkeypatch, airbyte, fields).test_connection()
    assert ok
    assert "Reasons of failed jobs are not available (no response: timeout)" in text
