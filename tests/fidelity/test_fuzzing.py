"""Whatever is sent to a local Airbyte, it answers in Airbyte's words, and goes on answering."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from jsonschema import Draft202012Validator

from airflow_provider_airbyte_api.testing.seed import (
    NIGHTLY,
    SNOWFLAKE_TO_POSTGRES,
    STRIPE,
    STRIPE_TO_BIGQUERY,
    STRIPE_TO_POSTGRES,
    WORKSPACE_ID,
)
from tests.fidelity import schemas

# The same requests at each run: what fails here fails everywhere. With another seed and more of them it finds more.
QUICKLY = settings(
    max_examples=1000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
PATIENCE = 5.0


class Server(NamedTuple):
    url: str
    port: int
    token: str


@pytest.fixture(scope="module", params=["community", "cloud"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A local Airbyte as a program of its own, whose standard error stays empty to the end."""
    options = ["--port", "0", "--job-seconds", "0", "--edition", request.param]
    command = [sys.executable, "-m", "airflow_provider_airbyte_api.testing", *options]
    errors = tmp_path_factory.mktemp("server") / "stderr"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            url = re.findall(r"http://\S+", process.stdout.readline())[0]
            credentials = {"client_id": "local-client-id", "client_secret": "local-client-secret"}
            reply = requests.post(f"{url}/applications/token", json=credentials, timeout=PATIENCE)
            yield Server(url, int(url.split(":")[2].split("/")[0]), reply.json()["access_token"])
        finally:
            process.terminate()
        assert process.wait(timeout=PATIENCE) == 0
    assert errors.read_text() == ""


IDS = some.sampled_from([STRIPE_TO_BIGQUERY, STRIPE_TO_POSTGRES, STRIPE, WORKSPACE_ID, NIGHTLY, "1", "2"])
"""Some that are known. SNOWFLAKE_TO_POSTGRES is left alone: it is synced at the end."""
WORDS = some.one_of(
    IDS,
    some.sampled_from(
        [
            "",
            "-1",
            "0",
            "101",
            "1" * 5000,
            "9" * 19,
            "1e9",
            "\N{ARABIC-INDIC DIGIT ONE}",
            "\N{SUPERSCRIPT TWO}",
            "NaN",
            "true",
            "null",
            "%00",
            "%zz",
        ]
    ),
    some.sampled_from(
        ["sync", "refresh", "done", "createdAt|DESC", "createdAt|", "|", "2026-01-31T12:00Z", "-0001-01"]
    ),
    some.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "Tue, 31 Feb 2026 00:00:00 GMT"]),
    some.text(max_size=12),
)
PATHS = some.one_of(
    some.sampled_from(
        ["jobs", "sources", "destinations", "connections", "workspaces", "streams", "tags", "health"]
    ).map(lambda name: f"/api/public/v1/{name}"),
    some.tuples(some.sampled_from(["jobs", "sources", "destinations", "connections", "workspaces"]), WORDS).map(
        lambda pair: f"/api/public/v1/{pair[0]}/{quote(pair[1])}"
    ),
    some.just("/api/public/v1/applications/token"),
    some.just("/api/v1/instance_configuration"),
    some.text(max_size=20).map(lambda text: "/" + quote(text)),
    some.sampled_from(["*", "//", "/api/public/v1", "/api/public/v1//jobs", "http://127.0.0.1/api/public/v1/jobs"]),
)
PARAMETERS = [
    *("limit", "offset", "status", "jobType", "orderBy", "connectionId", "workspaceIds", "tagIds", "sourceId"),
    *("destinationId", "includeDeleted", "createdAtStart", "createdAtEnd", "updatedAtStart", "updatedAtEnd", "x"),
]
QUERIES = some.one_of(
    some.lists(some.tuples(some.sampled_from(PARAMETERS), WORDS), max_size=4).map(
        lambda pairs: "&".join(f"{name}={quote(value)}" for name, value in pairs)
    ),
    some.text(max_size=20).map(lambda text: quote(text, safe="&=;%+")),
)
FIELDS = [
    *("connectionId", "jobType", "name", "status", "schedule", "scheduleType", "cronExpression", "configurations"),
    *("streams", "tags", "prefix", "workspaceId", "tagId", "mappers", "primaryKey", "client_id", "client_secret"),
]
CRONS = ["0 0 5 * * ?", "0 0 5 * * ? UTC", "* * * * * ?", "0 0 5 * * *", "@daily", "0 0 0 L * ?", "0 0 0 ? * 2#1 2030"]
VALUES = some.recursive(
    some.one_of(
        some.none(),
        some.booleans(),
        some.integers(),
        some.just(10**400),
        some.floats(allow_nan=True),
        WORDS,
        some.sampled_from(["active", "inactive", "manual", "cron", "sync", "clear", *CRONS]),
    ),
    lambda inner: some.one_of(
        some.lists(inner, max_size=3), some.dictionaries(some.sampled_from(FIELDS) | some.text(max_size=4), inner)
    ),
    max_leaves=8,
)
SCHEDULES = some.fixed_dictionaries(
    {"scheduleType": some.sampled_from(["manual", "cron"]) | VALUES},
    optional={"cronExpression": some.sampled_from(CRONS)},
)
CHANGES = some.fixed_dictionaries(
    {},
    optional={
        "name": VALUES,
        "schedule": SCHEDULES,
        "configurations": some.fixed_dictionaries(
            {}, optional={"streams": some.lists(some.fixed_dictionaries({"name": WORDS}, optional={"mappers": VALUES}))}
        ),
        "tags": VALUES,
        "status": VALUES,
        "jobType": some.sampled_from(["sync", "reset", "clear", "refresh"]),
        "connectionId": IDS,
    },
)
BODIES = some.one_of(
    some.just(b""),
    VALUES.map(json.dumps).map(str.encode),
    CHANGES.map(json.dumps).map(str.encode),
    some.binary(max_size=40),
    some.sampled_from([b"{", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b'"\\ud800"', b"NaN", b"1" * 5000]),
)
CALLED_JSON = (b"Object not found.", b"Successful operation")
"""Text that the real server calls JSON, too."""
METHODS = some.one_of(some.sampled_from(["GET", "POST", "PATCH", "DELETE"]), some.sampled_from(["PUT", "HEAD", "BREW"]))
AUTHORIZATIONS = ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer \xe9.\xe9.\xe9", "bearer"]


class Sent(NamedTuple):
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def names_no_id(self) -> bool:
        """True if it has an id that is none: what Airbyte says of it to an administrator is 500."""
        ids = re.findall(r"/api/public/v1/(?:sources|destinations|connections|workspaces)/([^?]+)", self.target)
        with contextlib.suppress(ValueError, RecursionError, AttributeError):
            ids.append(json.loads(self.body).get("connectionId"))
        return any(not re.fullmatch(r"\{?[0-9a-f-]{32,36}\}?", str(each)) for each in ids)


def request_of(token: str, *, odd: bool) -> some.SearchStrategy[Sent]:
    def sent(method: str, path: str, query: str, authorization: str | None, body: bytes, more: list[Any]) -> Sent:
        headers = [("Authorization", f"Bearer {token}" if authorization is None else authorization), *more]
        if not odd:
            headers.append(("Content-Length", str(len(body))))
        return Sent(method, f"{path}?{query}" if query else path, headers, body)

    strange = [
        *(("Content-Length", value) for value in ("0", "-1", "x", "1e3", "+5", "5, 6", "9" * 30, "4")),
        *(("Transfer-Encoding", value) for value in ("chunked", "gzip", "x, chunked")),
        *(("Host", ""), ("Expect", "100-continue"), ("Connection", "upgrade"), ("Upgrade", "websocket")),
        ("Content-Encoding", "gzip"),
        ("X" * 9000, "x"),
    ]
    usual = [
        ("Content-Type", "application/json"),
        ("Content-Type", "text/csv"),
        ("Accept", "text/html"),
        ("X-A", "\xe9"),
    ]
    return some.builds(
        sent,
        METHODS,
        PATHS,
        some.just("") | QUERIES,
        some.none() | some.none() | some.sampled_from(AUTHORIZATIONS),
        BODIES,
        some.lists(some.sampled_from(strange if odd else usual), max_size=3),
    )


def send(server: Server, request: Sent) -> tuple[int, bytes, str] | None:
    """Return status, body and content type of the answer; None if the connection was closed without one."""
    lines = [f"{request.method} {request.target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + request.body)
        with contextlib.closing(HTTPResponse(connection, method=request.method)) as reply:
            try:
                reply.begin()
                return reply.status, reply.read(), reply.headers.get("Content-Type", "")
            except (HTTPException, ConnectionError):
                return None


def test_any_request_is_answered_in_airbytes_words(server: Server) -> None:
    @QUICKLY
    @given(request_of(server.token, odd=False))
    def claim(request: Sent) -> None:
        answer = send(server, request)
        assert answer is not None, "no answer"
        status, body, content_type = answer
        if status >= 500:
            assert status == 500, body
            assert request.names_no_id, body
            assert list(json.loads(body)) == ["errorId"]
        elif content_type.startswith("application/json") and body and body not in CALLED_JSON:
            json.loads(body, parse_constant=pytest.fail)

    claim()
    claim_all_is_well(server)


def test_odd_framing_neither_breaks_nor_blocks_the_server(server: Server) -> None:
    @QUICKLY
    @given(request_of(server.token, odd=True))
    def claim(request: Sent) -> None:
        promised = any(name == "Content-Length" and value.isdecimal() for name, value in request.headers)
        chunked = any(name == "Transfer-Encoding" for name, _ in request.headers)
        if promised or chunked:  # it may rightly wait for more; so hang up on it
            hang_up(server, request)
            return
        answer = send(server, request)
        assert answer is None or answer[0] < 500 or request.names_no_id, answer

    claim()
    claim_all_is_well(server)


def hang_up(server: Server, request: Sent) -> None:
    lines = [f"{request.method} {request.target} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
        contextlib.suppress(ConnectionError, TimeoutError),
    ):
        connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + request.body)
        connection.settimeout(0.005)
        connection.recv(4096)


def claim_all_is_well(server: Server) -> None:
    """What it holds still has its shape, and a sync runs to its end."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {server.token}"
    for name, schema in (("connections", schemas.CONNECTION), ("jobs", schemas.JOB), ("sources", schemas.SOURCE)):
        found = session.get(f"{server.url}/{name}", params={"limit": 100}, timeout=PATIENCE).json()
        errors = Draft202012Validator(schemas.page(schema)).iter_errors(found)
        assert [f"{error.json_path}: {error.message}" for error in errors] == []
    wanted = {"connectionId": SNOWFLAKE_TO_POSTGRES, "jobType": "sync"}
    job = session.post(f"{server.url}/jobs", json=wanted, timeout=PATIENCE).json()
    assert session.get(f"{server.url}/jobs/{job['jobId']}", timeout=PATIENCE).json()["status"] == "succeeded"
    session.close()
