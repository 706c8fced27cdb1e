"""A server that repeats all that it is sent gets no secret into an error, over a real socket. Both drivers."""

from __future__ import annotations

import base64
import json
import logging
import socket
from dataclasses import replace
from urllib.parse import quote

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import jobs
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.base_url import parse_host
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, static_token
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.testing import LocalAirbyte
from tests.helpers.drivers import AsyncDriver, Driver, SyncDriver
from tests.helpers.raw_socket_server import RawSocketServer

CLIENT_SECRET = "the/client&secret"
HEADER = "the-gateways-key"
PASSWORD = "the-password"
PROXY_PASSWORD = "the-proxys-password"
PAIR = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
PROXY_PAIR = base64.b64encode(f"me:{PROXY_PASSWORD}".encode()).decode()
SECRETS = (CLIENT_SECRET, quote(CLIENT_SECRET, safe=""), HEADER, PASSWORD, PROXY_PASSWORD, PAIR, PROXY_PAIR)


@pytest.fixture(params=[SyncDriver, AsyncDriver])
def driver(request: pytest.FixtureRequest, airbyte: LocalAirbyte) -> Driver:
    made: Driver = request.param(airbyte)
    return made


def answer_with(status: str, body: str) -> object:
    def answer(sock: socket.socket, asked: bytes) -> None:
        said = body.replace("ECHO", json.dumps(asked.decode())[1:-1]).encode()
        sock.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(said)}\r\n\r\n".encode() + said)

    return answer


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("400 Bad Request", '{"errorId": "1", "message": "ECHO"}'),
        ("403 Forbidden", "ECHO"),
        ("502 Bad Gateway", "<html><title>ECHO</title>"),
        ("200 OK", "ECHO"),
    ],
)
@pytest.mark.parametrize("way", ["credentials", "basic", "proxy"])
def test_nothing_that_a_server_echoes_is_in_an_error_or_a_log(
    driver: Driver, status: str, body: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    with RawSocketServer(answer_with(status, body)) as server:  # type: ignore[arg-type]
        root = parse_host(server.url)
        settings = ClientSettings(root, extra_headers=(("X-Gateway", HEADER),), read_timeout=5.0)
        if way == "credentials":
            settings = replace(settings, credentials=ClientCredentials(f"{root.api_url}/token", "me", CLIENT_SECRET))
        else:
            settings = replace(settings, static_token=static_token(PAIR, "Check it.", "Basic"))
        if way == "proxy":
            proxy = server.url.replace("http://", f"http://me:{PROXY_PASSWORD}@")
            settings = replace(settings, urls=parse_host("http://airbyte.example.com"), proxy=proxy)
        with caplog.at_level(logging.DEBUG, "tests.clients"), pytest.raises(exceptions.AirbyteError) as caught:
            driver.run(jobs.get_job(7, NO_RETRY), settings)
        assert server.requests
    shown = json.dumps(exceptions.error_to_dict(caught.value)) + caplog.text
    assert [secret for secret in SECRETS if secret in shown] == []
