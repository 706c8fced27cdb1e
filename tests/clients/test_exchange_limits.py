"""Each exchange ends, in time and in size, whatever a server, a gateway or a proxy sends. Both drivers."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import jobs, resources, start_job
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.flow import Flow
from airflow_provider_airbyte_api.api.http import Request, Response, TransportErrorKind, TransportFailure
from airflow_provider_airbyte_api.api.safe import MAX_ITEMS
from airflow_provider_airbyte_api.clients import sync_client
from airflow_provider_airbyte_api.clients.async_client import MAX_PARSED_HERE
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import ClientSettings, TlsSettings
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from tests.helpers.certificates import Authority
from tests.helpers.drivers import GET_JOBS, LOG, AsyncDriver, Driver, SyncDriver, exchange
from tests.helpers.raw_socket_server import RawSocketServer, drip

DROPS = 60
"""So many that a reply takes 6 s, and ends at last, where the time that a test gives it is below 1 s."""

MIB = 2**20


@pytest.fixture(params=[SyncDriver, AsyncDriver])
def driver(request: pytest.FixtureRequest, airbyte: LocalAirbyte) -> Driver:
    made: Driver = request.param(airbyte)
    return made


def hasty(driver: Driver, url: str) -> ClientSettings:
    """Return settings whose total is 0.7 s."""
    return replace(driver.settings(url=url, auth=False), connect_timeout=0.3, read_timeout=0.2)


def in_drops(begin: bytes, drop: bytes, end: bytes) -> Callable[[socket.socket, bytes], None]:
    def answer(sock: socket.socket, _: bytes) -> None:
        drip(sock, iter([begin, *[drop] * DROPS, end]))

    return answer


DRIPPING = {
    "body": in_drops(b"HTTP/1.1 200 OK\r\nContent-Length: 62\r\n\r\n[", b" ", b"]"),
    "chunks": in_drops(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n1\r\n", b"0\r\n\r\n"),
    "status line": in_drops(b"HTTP/1.1 200 ", b"K", b"\r\nContent-Length: 0\r\n\r\n"),
    "a header": in_drops(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", b"\r\nContent-Length: 0\r\n\r\n"),
    "100 Continue": in_drops(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b""),
}


@pytest.mark.parametrize("where", DRIPPING)
def test_a_reply_that_drips_ends_at_the_total_time(driver: Driver, where: str) -> None:
    with RawSocketServer(DRIPPING[where]) as server:
        outcome = driver.run(exchange(GET_JOBS), hasty(driver, server.url))
    assert outcome == TransportFailure(
        f"{server.url}/api/public/v1/jobs", "no complete response within 0.7 s", request_sent=True
    )
    assert outcome.kind is TransportErrorKind.TIMEOUT


def test_a_flood_of_100_continue_ends_at_the_total_time(driver: Driver) -> None:
    def flood(sock: socket.socket, _: bytes) -> None:
        ends = time.monotonic() + 6
        while time.monotonic() < ends:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    with RawSocketServer(flood) as server:
        outcome = driver.run(exchange(GET_JOBS), hasty(driver, server.url))
    assert isinstance(outcome, TransportFailure)
    assert outcome.kind is TransportErrorKind.TIMEOUT


def test_a_reply_that_drips_through_tls_ends(driver: Driver, tmp_path: Path) -> None:
    authority = Authority.made_in(tmp_path)
    with RawSocketServer(DRIPPING["body"], authority.server_context("127.0.0.1")) as server:
        settings = replace(hasty(driver, server.url), tls=TlsSettings(ca_bundle=str(authority.path)))
        outcome = driver.run(exchange(GET_JOBS), settings)
    assert isinstance(outcome, TransportFailure)
    assert outcome.kind is TransportErrorKind.TIMEOUT
    assert server.requests


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_drips_ends(driver: Driver, scheme: str) -> None:
    with RawSocketServer(DRIPPING["a header"]) as proxy:
        settings = replace(hasty(driver, f"{scheme}://airbyte.example.com"), proxy=proxy.url)
        outcome = driver.run(exchange(GET_JOBS), settings)
    assert isinstance(outcome, TransportFailure)
    assert outcome.reason == "no complete response within 0.7 s"


def test_a_token_endpoint_that_drips_ends(driver: Driver) -> None:
    with RawSocketServer(DRIPPING["body"]) as server:
        settings = hasty(driver, driver.airbyte.url)
        credentials = driver.settings().credentials
        assert credentials is not None
        settings = replace(settings, credentials=replace(credentials, token_url=f"{server.url}/token"))
        with pytest.raises(exceptions.AirbyteUnreachableError, match=r"no complete response within 0\.7 s"):
            driver.run(jobs.get_job(1, NO_RETRY), settings)


def test_a_request_with_a_longer_time_of_its_own_has_a_longer_total(driver: Driver) -> None:
    patient = Request("GET", "/jobs", read_timeout=20.0)
    with RawSocketServer(DRIPPING["body"]) as server:
        assert isinstance(driver.run(exchange(patient), hasty(driver, server.url)), Response)


def test_the_time_of_one_exchange_is_not_taken_from_the_next(airbyte: LocalAirbyte) -> None:
    """Both go through one socket, whose timeout the deadline of the first one has shortened."""
    airbyte._state.auth = False
    driver = SyncDriver(airbyte)
    airbyte.respond_with(path="/jobs", delay=0.4, times=2)
    settings = replace(driver.settings(auth=False), connect_timeout=0.1, read_timeout=0.5)
    with sync_client.Client(settings, LOG) as client:
        for _ in range(3):
            assert isinstance(client.run(exchange(GET_JOBS)), Response)


# -- size ------------------------------------------------------------------------------------------------------


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Callable[[socket.socket, bytes], None]:
    head = b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers))

    def answer(sock: socket.socket, _: bytes) -> None:
        sock.sendall(head + b"\r\n\r\n" + body)

    return answer


def endless(sock: socket.socket, _: bytes) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _chunk in range(1000):
        sock.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


BOMB = gzip.compress(b" " * 256 * MIB)
TOO_LARGE = {
    "a length": whole(b" " * (MIB + 1)),
    "endless chunks": endless,
    "a gzip bomb": whole(BOMB, b"Content-Encoding: gzip"),
    "a deflate bomb": whole(zlib.compress(b" " * 256 * MIB), b"Content-Encoding: deflate"),
    "zeros after a gzip": whole(gzip.compress(b"{}") + bytes(MIB), b"Content-Encoding: gzip"),
}


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_a_reply_that_is_too_large_is_not_read_on(driver: Driver, kind: str) -> None:
    with RawSocketServer(TOO_LARGE[kind]) as server:
        tracemalloc.start()
        try:
            outcome = driver.run(exchange(replace(GET_JOBS, max_bytes=MIB)), driver.settings(url=server.url))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(outcome, TransportFailure)
    assert outcome.reason == "the response is larger than 1024 KiB"
    assert outcome.kind is TransportErrorKind.TOO_LARGE
    assert outcome.request_sent
    assert peak < 16 * MIB


def test_a_reply_of_too_many_items_is_too_large(driver: Driver) -> None:
    job = b'{"jobId": 1, "x": [' + b"{}," * MAX_ITEMS + b"{}]}"
    with RawSocketServer(whole(job)) as server:
        settings = driver.settings(url=server.url, auth=False)
        with pytest.raises(exceptions.AirbyteUnreachableError, match=r"has more than 500,000 JSON items") as caught:
            driver.run(resources.get_connection(STRIPE_TO_BIGQUERY), settings)
    assert caught.value.is_too_large
    assert len(server.requests) == 1, "the next reply would be as large"


@pytest.mark.parametrize("end", ["}", "x"])
def test_a_large_reply_is_parsed_in_a_thread_and_not_on_the_event_loop(
    airbyte: LocalAirbyte, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = AsyncDriver(airbyte)
    loads, threads = json.loads, list[int]()

    def watched(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.get_ident())
        return loads(*arguments, **options)

    body = b'{"workspaceId": "%s", "name": "%s"' % (WORKSPACE_ID.encode(), b"x" * MAX_PARSED_HERE) + end.encode()
    with RawSocketServer(whole(body)) as server:
        settings = driver.settings(url=server.url, auth=False)
        monkeypatch.setattr(json, "loads", watched)
        if end == "}":
            assert driver.run(resources.get_workspace(WORKSPACE_ID), settings).workspace_id == WORKSPACE_ID
        else:
            with pytest.raises(exceptions.AirbyteUnexpectedResponseError):
                driver.run(resources.get_workspace(WORKSPACE_ID), settings)
    assert threading.get_ident() != threads[0]
    # What is left for the loop is to look into the beginning of a reply that cannot be parsed.
    assert len(threads) == (1 if end == "}" else 2)


def test_of_an_error_that_is_too_large_the_beginning_is_kept(driver: Driver) -> None:
    with RawSocketServer(whole(b"<html><title>Bad Gateway</title>" + b" " * MIB, status=b"502 Bad Gateway")) as server:
        outcome = driver.run(exchange(GET_JOBS), driver.settings(url=server.url))
    assert isinstance(outcome, Response)
    assert outcome.status == 502
    assert outcome.body.startswith(b"<html><title>Bad Gateway")
    assert len(outcome.body) < MIB


def raw_deflate(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush()


TEXT = json.dumps({"data": [{"name": f"näme {number}"} for number in range(20_000)]}).encode()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("GZIP", gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:])),
        ("x-gzip", gzip.compress(TEXT) + bytes(100)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("identity", TEXT),
        ("", TEXT),
    ],
    ids=["gzip", "two members", "padding", "deflate", "raw deflate", "identity", "none"],
)
def test_what_is_compressed_comes_out_as_it_was(driver: Driver, encoding: str, body: bytes) -> None:
    with RawSocketServer(whole(body, b"Content-Encoding: " + encoding.encode())) as server:
        outcome = driver.run(exchange(GET_JOBS), driver.settings(url=server.url))
    assert isinstance(outcome, Response)
    assert outcome.body == TEXT


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("gzip", b"no gzip", "the compressed response cannot be decoded"),
        ("deflate", b"no deflate", "the compressed response cannot be decoded"),
        ("gzip", gzip.compress(TEXT)[:-10], "the compressed response is incomplete"),
        ("br", TEXT, "the response is encoded as 'br', which was not requested"),
        ("gzip, gzip", TEXT, "the response is encoded as 'gzip, gzip', which was not requested"),
    ],
    ids=["no gzip", "no deflate", "cut off", "brotli", "twice"],
)
def test_what_cannot_be_decoded_is_no_reply(driver: Driver, encoding: str, body: bytes, reason: str) -> None:
    with RawSocketServer(whole(body, b"Content-Encoding: " + encoding.encode())) as server:
        outcome = driver.run(exchange(GET_JOBS), driver.settings(url=server.url))
    assert outcome == TransportFailure(f"{server.url}/api/public/v1/jobs", reason, request_sent=True)


def test_an_empty_body_needs_no_gzip(driver: Driver) -> None:
    with RawSocketServer(whole(b"", b"Content-Encoding: gzip")) as server:
        outcome = driver.run(exchange(GET_JOBS), driver.settings(url=server.url))
    assert isinstance(outcome, Response)
    assert outcome.body == b""


# -- cut off ---------------------------------------------------------------------------------------------------

HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 04:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 12\r\n\r\n"
)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_a_reply_cut_at_any_byte_of_its_headers_is_no_reply(driver: Driver, method: str) -> None:
    lengths = iter(range(len(HEAD)))

    def cut(sock: socket.socket, _: bytes) -> None:
        sock.sendall(HEAD[: next(lengths)])
        sock.shutdown(socket.SHUT_RDWR)

    outcomes: list[Response | TransportFailure] = []

    def flow() -> Flow[None]:
        request = Request(method, "/jobs", json={} if method in ("POST", "PATCH") else None)
        for _ in HEAD:
            outcome = yield from exchange(request)
            outcomes.append(outcome)

    with RawSocketServer(cut) as server:
        driver.run(flow(), driver.settings(url=server.url))
    assert len(outcomes) == len(server.requests) == len(HEAD)
    assert [outcome for outcome in outcomes if not isinstance(outcome, TransportFailure)] == []
    assert all(isinstance(outcome, TransportFailure) and outcome.request_sent for outcome in outcomes)


class CuttingProxy:
    """Stands before an Airbyte, and cuts the reply to one request after so many bytes of its headers."""

    def __init__(self, airbyte: LocalAirbyte) -> None:
        self._port = int(airbyte.url.rsplit(":", 1)[1])
        self.cut_method, self.cut_at = b"", 0

    def answer(self, sock: socket.socket, asked: bytes) -> None:
        asked = asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        with socket.create_connection(("127.0.0.1", self._port)) as airbyte:
            airbyte.sendall(asked)
            reply = b"".join(iter(lambda: airbyte.recv(65536), b""))
        if asked.startswith(self.cut_method + b" ") and b"/applications/token" not in asked:
            reply, self.cut_method = reply[: self.cut_at], b"none"
        sock.sendall(reply)
        sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_wherever_the_headers_are_cut_there_is_one_job_and_it_is_found(
    driver: Driver, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CLOCK, "sleep", lambda _: time.sleep(0.001))
    monkeypatch.setattr(CLOCK, "sleep_async", lambda _: asyncio.sleep(0.001))
    proxy = CuttingProxy(driver.airbyte)
    driver.airbyte._state.job_seconds = 600.0

    def flow() -> Flow[str]:
        job = yield from start_job.start_job(STRIPE_TO_BIGQUERY)
        job = yield from jobs.cancel_job(job.job_id)
        return job.status

    with RawSocketServer(proxy.answer) as server:
        settings = driver.settings(url=server.url)
        for count, cut_at in enumerate(range(0, 140, 7), start=1):
            proxy.cut_method, proxy.cut_at = method.encode(), cut_at
            assert driver.run(flow(), settings) == "cancelled"
            assert proxy.cut_method == b"none"
            assert len(driver.airbyte.jobs) == count


# -- forks -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_that_were_forked_do_not_share_a_socket(airbyte: LocalAirbyte) -> None:
    driver = SyncDriver(airbyte)
    children = []
    with sync_client.Client(driver.settings(), LOG) as client:
        for _ in range(9):
            airbyte.add_job(STRIPE_TO_BIGQUERY)
        client.run(jobs.get_job(9))
        for job_id in range(1, 9):
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                right = [client.run(jobs.get_job(job_id)).job_id == job_id for _ in range(20)]
                os._exit(0 if all(right) else 1)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert codes == [0] * 8
        assert client.run(jobs.get_job(9)).job_id == 9, "the parent's own socket is as it was"
