"""Waiters for an Airbyte that answers as badly as it can: each wait still ends in time."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from airflow_provider_airbyte_api.api import backoff, freshness, poll_plan
from airflow_provider_airbyte_api.api.base_url import parse_host
from airflow_provider_airbyte_api.api.jobs import WaitResult
from airflow_provider_airbyte_api.api.poll_plan import TrackedJob
from airflow_provider_airbyte_api.api.wait import Poll, WaitOptions
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.exceptions import (
    AirbyteJobTimeoutError,
    AirbytePermissionError,
    AirbyteServerError,
    AirbyteUnexpectedResponseError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.polling import completed_jobs, waiters
from airflow_provider_airbyte_api.polling import service as polling_service
from airflow_provider_airbyte_api.polling.service import shared_polling_service
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from tests.helpers.raw_socket_server import RawSocketServer, drip
from tests.polling.test_polling import ListLogger

Answer = Callable[[socket.socket, bytes], None]


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "OUTAGE_WAIT_MAX", 0.05)


def dripping(sock: socket.socket, _: bytes) -> None:
    drip(sock, iter([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b" "] * 100]))


def answering(reply: Callable[[str], Any]) -> Answer:
    """Answer the JSON that ``reply`` makes of a path with its query."""

    def answer(sock: socket.socket, asked: bytes) -> None:
        body = json.dumps(reply(asked.split()[1].decode().removeprefix("/api/public/v1"))).encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return answer


async def wait(url: str, count: int, settings: dict[str, float] | None = None, **limits: Any) -> list[Any]:
    """Return the results of waiting for ``count`` jobs, within 20 s."""
    known = replace(ClientSettings(parse_host(url), connect_timeout=1.0), **(settings or {}))  # type: ignore[arg-type]

    async def wait_for(job_id: int) -> WaitResult:
        async with shared_polling_service(known) as service:
            return await service.wait_for_job(
                job_id, WaitOptions(0.1, initial_delay=0.1, known_to_exist=True, **limits), WORKSPACE_ID, ListLogger()
            )

    waits = [wait_for(job_id) for job_id in range(1, count + 1)]
    return await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), timeout=20)


@pytest.mark.parametrize("count", [5, 20])
async def test_a_deadline_holds_though_every_request_hangs(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Four dripping responses take all slots, and none of them times out soon."""
    monkeypatch.setattr(waiters, "LAST_POLL_TIMEOUT", 0.3)
    with RawSocketServer(dripping) as server:
        outcomes = await wait(server.url, count, deadline=CLOCK.time() + 1.0)
    assert {type(outcome) for outcome in outcomes} == {AirbyteJobTimeoutError}
    assert len(server.requests) <= 4


async def test_a_poll_that_hangs_does_not_delay_the_deadlines_of_other_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "LAST_POLL_TIMEOUT", 0.3)
    released = threading.Event()

    def reply(path: str) -> Any:
        if path == "/jobs/1":
            released.wait(20)
        return job(int(path.rsplit("/", 1)[1]))

    deadline = CLOCK.time() + 1.0
    with RawSocketServer(answering(reply)) as server:
        outcomes = await wait(server.url, 3, deadline=deadline)
        took = CLOCK.time() - deadline
        released.set()
    assert took < 5.0
    statuses = ["unknown", "running", "running"]
    assert [str(each) for each in outcomes] == [
        f"Timed out waiting for job {number} to finish (status: {status})." for number, status in enumerate(statuses, 1)
    ]


async def test_a_deadline_that_passes_while_a_poll_is_in_flight_holds() -> None:
    """The job beside it is polled next long after that deadline, and before the one with the deadline is."""
    asked: list[str] = []
    in_flight, released = threading.Event(), threading.Event()

    def reply(path: str) -> Any:
        asked.append(path)
        if asked.count("/jobs/1") == 2 and path == "/jobs/1":
            in_flight.set()
            released.wait(20)
        return job(int(path.rsplit("/", 1)[1]))

    with RawSocketServer(answering(reply)) as server:
        settings = ClientSettings(parse_host(server.url))

        async def wait_for(job_id: int, poll_interval: float, deadline: float | None = None) -> WaitResult:
            async with shared_polling_service(settings) as service:
                options = WaitOptions(poll_interval, deadline, initial_delay=0.1, known_to_exist=True)
                return await service.wait_for_job(job_id, options, WORKSPACE_ID, ListLogger())

        slow = asyncio.create_task(wait_for(1, 60.0, CLOCK.time() + 1.0))
        others = [asyncio.create_task(wait_for(1, 0.3)), asyncio.create_task(wait_for(2, 30.0))]
        await asyncio.to_thread(in_flight.wait, 10)
        others[0].cancel()
        released.set()
        with pytest.raises(AirbyteJobTimeoutError, match="status: running"):
            await asyncio.wait_for(slow, timeout=10)
        others[1].cancel()
        await asyncio.wait(others)


async def test_a_replica_that_lags_behind_at_the_end_takes_no_end_back() -> None:
    """The list shows the end without row counts, the poll by ID still shows the job running, and so does the list."""
    asked: list[str] = []

    def reply(path: str) -> Any:
        asked.append(path)
        if path.startswith("/jobs?"):
            lists = sum(each.startswith("/jobs?") for each in asked)
            others = [job(number, "succeeded" if lists > 2 else "running", rowsSynced=5) for number in range(2, 21)]
            return {"data": [job(1, "running" if lists in (1, 3) else "succeeded"), *others]}
        assert path == "/jobs/1"
        return job(1, "succeeded", rowsSynced=5) if asked.count(path) > 1 else job(1)

    with RawSocketServer(answering(reply)) as server:
        outcomes = await wait(server.url, 20)
    assert [(each.job.status, each.job.rows_synced) for each in outcomes] == [("succeeded", 5)] * 20


async def test_a_job_that_has_finished_stays_finished_for_all_waiters() -> None:
    ends = itertools.chain([job(1), job(1, "failed")], itertools.repeat(job(1)))
    with RawSocketServer(answering(lambda _: next(ends))) as server:
        settings = ClientSettings(parse_host(server.url))

        async def wait_for_it() -> WaitResult:
            async with shared_polling_service(settings) as service:
                return await service.wait_for_job(
                    1, WaitOptions(0.1, initial_delay=0.1, known_to_exist=True), WORKSPACE_ID, ListLogger()
                )

        outcomes = await asyncio.wait_for(asyncio.gather(*(wait_for_it() for _ in range(3))), timeout=20)
    assert [each.job.status for each in outcomes] == ["failed"] * 3


class IdlePollLoop:
    """A poll loop that never polls."""

    def refresh(self, tracked: TrackedJob) -> None:
        pass

    def is_unreachable(self, tracked: TrackedJob) -> bool:
        return True

    def poll_count(self, tracked: TrackedJob) -> int:
        return 0


async def test_during_an_outage_a_waiter_wakes_only_for_an_error_that_is_not_recoverable() -> None:
    waiter = waiters.Waiter(IdlePollLoop(), TrackedJob(1), 1.0)
    waiting = asyncio.create_task(waiter.wait(Poll(at=0.0, deadline=None, last_status=None)))
    await asyncio.sleep(0)
    about = {"method": "GET", "url": "https://a/jobs/1", "detail": "x"}
    waiter.notify(AirbyteServerError(status=502, **about))  # type: ignore[arg-type]
    waiter.notify(AirbyteUnexpectedResponseError(status=403, **about))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not waiting.done()
    waiter.notify(AirbytePermissionError(status=403, **about))  # type: ignore[arg-type]
    assert isinstance(await waiting, AirbytePermissionError)


@pytest.mark.parametrize("count", [5, 20])
async def test_unreachable_timeout_holds_though_every_request_hangs(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(waiters, "LAST_POLL_TIMEOUT", 0.3)
    monkeypatch.setattr(polling_service, "SLOT_TIMEOUT", 0.5)
    with RawSocketServer(dripping) as server:
        outcomes = await wait(server.url, count, {"connect_timeout": 0.3, "read_timeout": 0.5}, unreachable_timeout=1.0)
    assert {type(outcome) for outcome in outcomes} == {AirbyteUnreachableError}


async def test_a_request_that_gets_no_slot_counts_as_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling_service, "SLOT_TIMEOUT", 0.2)
    with RawSocketServer(dripping) as server:
        outcomes = await wait(server.url, 5, {"read_timeout": 1.5}, unreachable_timeout=1.0)
    rejected = [outcome for outcome in outcomes if "max_concurrent_requests" in str(outcome)]
    assert len(rejected) == 1
    assert isinstance(rejected[0], AirbyteUnreachableError)


async def test_a_deadline_holds_for_a_freshness_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "LAST_POLL_TIMEOUT", 0.3)
    deadline = CLOCK.time() + 1.0
    waiting = freshness.wait_until_fresh(
        STRIPE_TO_BIGQUERY, freshness.FreshnessCriteria(60.0), WaitOptions(0.1, deadline)
    )
    with RawSocketServer(dripping) as server:
        async with shared_polling_service(ClientSettings(parse_host(server.url))) as service:
            with pytest.raises(AirbyteJobTimeoutError, match="no response within"):
                await asyncio.wait_for(service.run_waiting(waiting, ListLogger(), deadline=deadline), timeout=20)


def job(job_id: int, status: str = "running", **more: Any) -> dict[str, Any]:
    return {"jobId": job_id, "status": status, "jobType": "sync", **more}


async def test_a_list_without_an_end_delays_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_plan, "MAX_LIST_PAGES", 3)
    ids = itertools.count(1000)
    lists: list[str] = []
    polls: dict[str, int] = {}

    def reply(path: str) -> Any:
        if path.startswith("/jobs?"):
            lists.append(path)
            return {"data": [job(next(ids)) for _ in range(100)]}
        polls[path] = polls.get(path, 0) + 1
        return job(int(path.rsplit("/", 1)[1]), "succeeded" if polls[path] > 5 else "running")

    with RawSocketServer(answering(reply)) as server:
        outcomes = await wait(server.url, 8)
    assert [outcome.job.status for outcome in outcomes] == ["succeeded"] * 8
    assert len(lists) <= 2 * 2 * 3, "a poll, its scan, and perhaps one more after a while"


async def test_a_stream_reads_a_list_without_an_end_up_to_its_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(completed_jobs, "MAX_BATCH_PAGES", 3)
    ids = itertools.count(1)

    def reply(_: str) -> Any:
        return {"data": [job(next(ids), "succeeded") for _ in range(100)]}

    with RawSocketServer(answering(reply)) as server:
        async with shared_polling_service(ClientSettings(parse_host(server.url))) as service:
            with service.subscribe_completed_jobs(None, 0.0, 60.0) as listener:
                batch = await asyncio.wait_for(listener.next(), timeout=20)
    assert len(batch.jobs) == 300
    assert "More than 300 jobs have changed" in caplog.text


def row_by_row(path: str) -> Any:
    """Return pages of which the first has no row that can be parsed, and the third the jobs of the second one."""
    number = int(parse_qs(path)["offset"][0]) // 100
    shown = [job(each, "succeeded", rowsSynced=1) for each in range(1, 101)]
    pages = [[{"jobId": None}] * 100, shown, shown[::-1], [job(101, "succeeded", rowsSynced=1)]]
    return {"data": pages[number] if number < len(pages) else []}


async def test_a_stream_reads_on_after_a_page_of_known_jobs() -> None:
    with RawSocketServer(answering(row_by_row)) as server:
        async with shared_polling_service(ClientSettings(parse_host(server.url))) as service:
            with service.subscribe_completed_jobs(None, 0.0, 60.0) as listener:
                batch = await asyncio.wait_for(listener.next(), timeout=20)
    assert [each.job_id for each in batch.jobs] == list(range(1, 102))


async def test_a_round_reads_on_after_a_page_of_known_jobs() -> None:
    asked: list[str] = []

    def reply(path: str) -> Any:
        asked.append(path)
        return row_by_row(path) if path.startswith("/jobs?") else job(101)

    with RawSocketServer(answering(reply)) as server:
        outcomes = await wait(server.url, 101)
    assert {outcome.job.status for outcome in outcomes} == {"succeeded"}
    assert "/jobs/101" not in asked


async def test_a_server_that_ignores_the_offset_is_asked_for_two_pages() -> None:
    asked: list[str] = []

    def reply(path: str) -> Any:
        asked.append(path)
        return {"data": [job(each, "succeeded") for each in range(1, 101)]}

    with RawSocketServer(answering(reply)) as server:
        async with shared_polling_service(ClientSettings(parse_host(server.url))) as service:
            with service.subscribe_completed_jobs(None, 0.0, 60.0) as listener:
                batch = await asyncio.wait_for(listener.next(), timeout=20)
    assert len(batch.jobs) == 100
    assert len(asked) == 2


async def test_a_stream_omits_rows_that_cannot_be_parsed(caplog: pytest.LogCaptureFixture) -> None:
    def reply(_: str) -> Any:
        return {"data": [job(1, "succeeded"), {"jobId": None}, "no job", job(4, "failed")]}

    with RawSocketServer(answering(reply)) as server:
        async with shared_polling_service(ClientSettings(parse_host(server.url))) as service:
            with service.subscribe_completed_jobs(None, 0.0, 0.05) as listener:
                for _ in range(3):
                    batch = await asyncio.wait_for(listener.next(), timeout=20)
    assert [each.job_id for each in batch.jobs] == [1, 4]
    assert caplog.text.count("Skipped 2 rows of the list of jobs") == 1


@pytest.mark.parametrize("count", [3, 20])
async def test_a_response_that_cannot_be_parsed_affects_only_its_job(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Its waiters see an outage, with a backoff and an end."""
    monkeypatch.setattr(waiters, "LAST_POLL_TIMEOUT", 0.3)
    asked: list[str] = []

    def reply(path: str) -> Any:
        asked.append(path)
        if path.startswith("/jobs?"):
            return {
                "data": [{"jobId": 2}, *(job(each, "succeeded", rowsSynced=1) for each in (1, *range(3, count + 1)))]
            }
        job_id = int(path.rsplit("/", 1)[1])
        return {"jobId": 2} if job_id == 2 else job(job_id, "succeeded", rowsSynced=1)

    with RawSocketServer(answering(reply)) as server:
        first, second, *others = await wait(server.url, count, unreachable_timeout=1.0)
    assert isinstance(second, AirbyteUnreachableError)
    assert {each.job.status for each in (first, *others)} == {"succeeded"}
    assert asked.count("/jobs/2") <= 1.0 / 0.05 + 3
