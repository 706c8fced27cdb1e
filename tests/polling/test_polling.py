"""Many waiters for one Airbyte, on real sockets."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from airflow_provider_airbyte_api.api import backoff, jobs, poll_plan, resources
from airflow_provider_airbyte_api.api.base_url import parse_host
from airflow_provider_airbyte_api.api.jobs import WaitResult
from airflow_provider_airbyte_api.api.timestamps import parse_timestamp
from airflow_provider_airbyte_api.api.tokens import ClientCredentials
from airflow_provider_airbyte_api.api.wait import WaitOptions
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.polling import service as polling_service
from airflow_provider_airbyte_api.polling.service import shared_polling_service
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from airflow_provider_airbyte_api.testing.state import AirbyteState
from tests.helpers.clock import wait_until

LIST = "/jobs"
ONE = r"/jobs/\d+"
MANY = 20


@dataclass
class ListLogger:
    """The log of one waiter."""

    lines: list[str] = field(default_factory=list)

    def log(self, level: int, msg: str, /, *args: Any) -> None:
        self.lines.append(msg % args)


class WaiterPool:
    """Some waiters, each in a separate task."""

    def __init__(self, airbyte: LocalAirbyte) -> None:
        self.airbyte = airbyte
        self.tasks: dict[int, asyncio.Task[WaitResult]] = {}
        self.logs: dict[int, ListLogger] = {}

    @property
    def settings(self) -> ClientSettings:
        root = parse_host(self.airbyte.url)
        token_url = f"{root.api_url}/applications/token"
        return ClientSettings(root, ClientCredentials(token_url, self.airbyte.client_id, self.airbyte.client_secret))

    def wait_for(
        self, job_id: int, poll_interval: float = 0.1, *, workspace_id: str | None = WORKSPACE_ID, **limits: Any
    ) -> asyncio.Task[WaitResult]:
        log = self.logs[job_id] = ListLogger()
        given = WaitOptions(poll_interval, initial_delay=poll_interval, known_to_exist=True, **limits)
        settings = self.settings

        async def wait() -> WaitResult:
            async with shared_polling_service(settings) as service:
                return await service.wait_for_job(job_id, given, workspace_id, log)

        self.tasks[job_id] = asyncio.create_task(wait())
        return self.tasks[job_id]

    def wait_for_many(self, count: int = MANY, *, age: float = 600.0, **limits: Any) -> None:
        for _ in range(count):
            self.wait_for(self.airbyte.add_job(STRIPE_TO_BIGQUERY, "running", age=age).job_id, **limits)

    async def results(self) -> dict[int, WaitResult]:
        done = await asyncio.wait_for(asyncio.gather(*self.tasks.values()), timeout=20)
        return dict(zip(self.tasks, done, strict=True))

    async def until(self, message: str) -> None:
        """Wait until each waiter has logged ``message``."""
        await self.wait_until(lambda: all(message in " ".join(log.lines) for log in self.logs.values()))

    async def wait_for_requests(self, path: str, count: int, method: str = "GET") -> None:
        """Wait until ``count`` more requests have arrived."""
        before = len(self.airbyte.requests_to(method, path))
        await self.wait_until(lambda: len(self.airbyte.requests_to(method, path)) >= before + count)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < ends, self.logs
            await asyncio.sleep(0.01)

    def request_count(self, path: str) -> int:
        return len(self.airbyte.requests_to("GET", path))


@pytest.fixture
async def waiters(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WaiterPool]:
    monkeypatch.setattr(backoff, "OUTAGE_WAIT_MAX", 0.05)
    made = WaiterPool(airbyte)
    yield made
    for task in made.tasks.values():
        task.cancel()
    await asyncio.gather(*made.tasks.values(), return_exceptions=True)


async def test_200_waiters_share_one_token_and_few_lists(waiters: WaiterPool) -> None:
    waiters.wait_for_many(200, poll_interval=1.0)
    await waiters.until("is running")
    tokens, lists = len(waiters.airbyte.requests_to("POST", "/applications/token")), waiters.request_count(LIST)
    assert tokens == 1
    assert lists <= 6
    assert waiters.request_count(ONE) <= poll_plan.LIST_THRESHOLD
    for job_id in waiters.tasks:
        waiters.airbyte.finish_job(job_id, "failed" if job_id % 2 else "succeeded")
    results = await waiters.results()
    assert {job_id: waited.job.status for job_id, waited in results.items()} == {
        job_id: "failed" if job_id % 2 else "succeeded" for job_id in waiters.tasks
    }
    assert all(waited.poll_count >= 2 for waited in results.values())
    assert waiters.request_count(LIST) <= lists + 2 * 3, "two polls at most, and 200 changes are three pages"


async def test_two_waiters_for_the_same_job_share_its_polls(waiters: WaiterPool) -> None:
    job = waiters.airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    both = [waiters.wait_for(job.job_id), waiters.wait_for(job.job_id)]
    assert [(await each).job.status for each in both] == ["succeeded"] * 2
    assert waiters.request_count(ONE) == 1


async def test_a_job_that_no_list_contains_is_polled_by_its_id(waiters: WaiterPool) -> None:
    """As a refresh on Airbyte 2.0."""
    waiters.wait_for_many()
    hidden = waiters.airbyte.add_job("c0ffee00-0000-4000-8000-000000000000", "running", job_type="refresh")
    waiters.wait_for(hidden.job_id)
    await waiters.until("is running")
    waiters.airbyte.finish_job(hidden.job_id)
    assert (await waiters.tasks[hidden.job_id]).job.status == "succeeded"


async def test_a_sweep_finds_a_job_whose_end_was_never_listed(waiters: WaiterPool) -> None:
    waiters.wait_for_many(poll_interval=0.05)
    await waiters.until("is running")
    job = waiters.airbyte._state.jobs[7]
    job.status = "succeeded"  # and updated_at stays long ago, so that no list of changes shows it
    assert (await asyncio.wait_for(waiters.tasks[7], timeout=20)).job.status == "succeeded"
    await waiters.wait_for_requests(LIST, 2)
    assert not any(task.done() for job_id, task in waiters.tasks.items() if job_id != 7)


async def test_no_more_requests_are_in_flight_than_the_limit(waiters: WaiterPool) -> None:
    waiters.airbyte.latency = 0.05
    waiters.airbyte.respond_with(403, path=LIST, times=999)
    waiters.wait_for_many(40)
    await waiters.until("is running")
    assert waiters.airbyte.peak_in_flight == 4


async def test_where_lists_are_refused_each_job_is_polled_by_its_id(waiters: WaiterPool) -> None:
    waiters.airbyte.respond_with(403, path=LIST, times=999)
    waiters.wait_for_many()
    await waiters.until("is running")
    for job_id in waiters.tasks:
        waiters.airbyte.finish_job(job_id)
    assert len(await waiters.results()) == MANY
    assert waiters.request_count(LIST) <= 2


async def test_an_error_of_one_job_does_not_affect_others(waiters: WaiterPool) -> None:
    waiters.wait_for_many(3)
    waiters.airbyte.respond_with(500, path="/jobs/2", times=999)
    lost = waiters.wait_for(99)
    with pytest.raises(AirbyteNotFoundError):
        await lost
    waiters.airbyte.finish_job(1)
    waiters.airbyte.finish_job(3)
    assert [(await waiters.tasks[job_id]).job.status for job_id in (1, 3)] == ["succeeded"] * 2
    assert not waiters.tasks[2].done()
    assert "retrying for up to" in waiters.logs[2].lines[0]


@pytest.mark.parametrize("count", [3, MANY])
async def test_an_outage_is_logged_at_its_start_and_at_its_end(waiters: WaiterPool, count: int) -> None:
    waiters.wait_for_many(count)
    await waiters.until("is running")
    waiters.airbyte.respond_with(503, path="/jobs.*", times=9999)
    await waiters.until("retrying for up to")
    await waiters.wait_for_requests("/jobs.*", 6)
    waiters.airbyte._state.faults.clear()
    await waiters.until("reachable again")
    for job_id in waiters.tasks:
        waiters.airbyte.finish_job(job_id)
    await waiters.results()
    for log in waiters.logs.values():
        said = [line.split()[0] for line in log.lines]
        assert said == ["Job", "Could", "Airbyte", "Job"], log.lines


@pytest.mark.parametrize("count", [3, MANY])
async def test_each_waiter_has_a_separate_unreachable_timeout(waiters: WaiterPool, count: int) -> None:
    waiters.wait_for_many(count)
    impatient = waiters.wait_for(
        waiters.airbyte.add_job(STRIPE_TO_BIGQUERY, "running", age=600).job_id, unreachable_timeout=0.3
    )
    await waiters.until("is running")
    waiters.airbyte.respond_with(503, path="/jobs.*", times=9999)
    with pytest.raises(AirbyteUnreachableError, match="may still be running"):
        await asyncio.wait_for(impatient, timeout=10)
    await waiters.wait_for_requests("/jobs.*", 3)
    assert sum(task.done() for task in waiters.tasks.values()) == 1


@pytest.mark.parametrize("count", [3, MANY])
async def test_each_waiter_has_a_separate_deadline(waiters: WaiterPool, count: int) -> None:
    waiters.wait_for_many(count, poll_interval=60)
    began = time.time()
    late = waiters.wait_for(waiters.airbyte.add_job(STRIPE_TO_BIGQUERY, "running").job_id, 60, deadline=began + 0.5)
    with pytest.raises(AirbyteJobTimeoutError, match="status: running"):
        await asyncio.wait_for(late, timeout=10)
    assert time.time() >= began + 0.5
    assert sum(task.done() for task in waiters.tasks.values()) == 1


@pytest.mark.parametrize("count", [3, MANY])
async def test_at_the_deadline_the_job_is_polled_before_the_deadline_is_enforced(
    waiters: WaiterPool, count: int
) -> None:
    waiters.wait_for_many(count, poll_interval=60)
    job = waiters.airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    just_in_time = waiters.wait_for(job.job_id, 60, deadline=time.time() + 0.5)
    waiters.airbyte.finish_job(job.job_id)
    assert (await asyncio.wait_for(just_in_time, timeout=10)).job.status == "succeeded"


@pytest.mark.parametrize("count", [1, MANY])
async def test_a_job_that_does_not_start_in_time_ends_the_wait(waiters: WaiterPool, count: int) -> None:
    waiters.wait_for_many(count)
    job = waiters.airbyte.add_job(STRIPE_TO_BIGQUERY, "queued")
    with pytest.raises(AirbyteJobTimeoutError, match="to start"):
        await asyncio.wait_for(waiters.wait_for(job.job_id, queue_deadline=time.time() + 0.5), timeout=10)


async def test_a_cancelled_waiter_ends_at_once_and_does_not_affect_others(waiters: WaiterPool) -> None:
    waiters.airbyte.latency = 1.0
    waiters.wait_for_many(5)
    await waiters.wait_for_requests(ONE, 4)
    waiters.tasks[2].cancel()
    began = time.monotonic()
    await asyncio.wait([waiters.tasks[2]])
    assert time.monotonic() - began < 0.5
    waiters.airbyte.latency = 0.0
    for job_id in (1, 3, 4, 5):
        waiters.airbyte.finish_job(job_id)
    del waiters.tasks[2]
    assert len(await waiters.results()) == 4


async def test_the_last_waiter_closes_the_session_and_the_next_one_opens_a_new_one(waiters: WaiterPool) -> None:
    for _ in range(2):
        job = waiters.airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
        await waiters.wait_for(job.job_id)
        assert not polling_service._SERVICES[asyncio.get_running_loop()]
        await asyncio.sleep(0)
        sessions = [each for each in gc.get_objects() if type(each) is aiohttp.ClientSession]
        assert all(session.closed for session in sessions)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if not task.done()], "no task is left"


async def test_a_shared_request_outlives_the_waiter_that_started_it(waiters: WaiterPool) -> None:
    waiters.airbyte.latency = 0.3
    waiters.wait_for_many(MANY)
    await waiters.wait_for_requests(LIST, 1)
    waiters.tasks.pop(1).cancel()
    del waiters.logs[1]
    await waiters.until("is running")


async def test_wrong_credentials_end_the_wait_of_all(waiters: WaiterPool) -> None:
    waiters.wait_for_many()
    waiters.airbyte.client_secret = "changed"
    done, waiting = await asyncio.wait(waiters.tasks.values(), timeout=20)
    assert not waiting
    errors = [task.exception() for task in done]
    assert all(isinstance(error, AirbyteAuthenticationError) for error in errors)
    assert len({id(error) for error in errors}) == MANY, "each raises a separate copy"


async def test_row_counts_that_a_list_omits_are_requested(waiters: WaiterPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AirbyteState, "list_shows_stats", False)
    waiters.wait_for_many()
    await waiters.until("is running")
    waiters.airbyte.finish_job(3)
    assert (await waiters.tasks[3]).job.rows_synced == 250_000
    assert waiters.request_count("/jobs/3") >= 1


async def test_jobs_of_an_unknown_workspace_are_polled_too(waiters: WaiterPool) -> None:
    waiters.wait_for_many(MANY, workspace_id=None)
    await waiters.until("is running")
    assert waiters.request_count(ONE) <= poll_plan.LIST_THRESHOLD
    assert not waiters.airbyte.requests_to("GET", LIST)[0].values("workspaceIds")


async def test_a_bug_in_listing_ends_no_wait(
    waiters: WaiterPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def buggy(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(resources, "fetch_updated_jobs_page", buggy)
    waiters.wait_for_many()
    await waiters.until("is running")
    assert "an unexpected RuntimeError" in caplog.text
    for job_id in waiters.tasks:
        waiters.airbyte.finish_job(job_id)
    assert {waited.job.status for waited in (await waiters.results()).values()} == {"succeeded"}


@pytest.mark.parametrize("count", [3, MANY])
async def test_a_bug_in_polling_one_job_ends_only_the_wait_for_that_job(
    waiters: WaiterPool, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    right = jobs.get_job

    def buggy(job_id: int, *rest: Any) -> Any:
        if job_id == 2:
            raise RuntimeError("a bug")
        return right(job_id, *rest)

    monkeypatch.setattr(jobs, "get_job", buggy)
    waiters.wait_for_many(count)
    waiters.airbyte.respond_with(403, path=LIST, times=999)  # so that each is polled by its ID
    with pytest.raises(AirbyteError, match="Polling job 2 failed with an unexpected RuntimeError"):
        await asyncio.wait_for(waiters.tasks.pop(2), timeout=20)
    del waiters.logs[2]
    await waiters.until("is running")
    for job_id in waiters.tasks:
        waiters.airbyte.finish_job(job_id)
    assert len(await waiters.results()) == count - 1


async def test_the_poll_loop_survives_a_bug_in_the_plan(waiters: WaiterPool, monkeypatch: pytest.MonkeyPatch) -> None:
    right = poll_plan.PollPlan.due
    mistakes = iter([RuntimeError("a bug")] * 2)

    def buggy(self: poll_plan.PollPlan, moment: float) -> list[poll_plan.Action]:
        for mistake in mistakes:
            raise mistake
        return right(self, moment)

    monkeypatch.setattr(poll_plan.PollPlan, "due", buggy)
    waiters.wait_for_many(3)
    await waiters.until("is running")


async def test_a_row_that_cannot_be_parsed_hides_no_other(
    waiters: WaiterPool, caplog: pytest.LogCaptureFixture
) -> None:
    waiters.wait_for_many(8)
    await waiters.until("is running")
    rows = [{**job.as_json(with_stats=True), "status": "succeeded", "rowsSynced": 1} for job in waiters.airbyte.jobs]
    rows[3] = {"jobId": None}
    by_id = waiters.request_count(ONE)
    waiters.airbyte.respond_with(200, path=LIST, body=json.dumps({"data": rows}), times=3)
    waiters.airbyte.finish_job(4)
    results = await waiters.results()
    assert {waited.job.status for waited in results.values()} == {"succeeded"}
    assert waiters.request_count(ONE) - by_id <= poll_plan.LIST_THRESHOLD, "only what no list shows"
    assert caplog.text.count("Skipped 1 rows of the list of jobs") == 1


async def test_the_lists_overlap_by_the_servers_clock(waiters: WaiterPool) -> None:
    waiters.wait_for_many()
    await waiters.until("is running")
    await waiters.wait_for_requests(LIST, 3)
    polls = [each for each in waiters.airbyte.requests_to("GET", LIST) if each.value("updatedAtStart")]
    for poll in polls[1:]:
        since = parse_timestamp(poll.value("updatedAtStart"))
        assert since is not None
        assert 60 <= poll.at - since.timestamp() <= 63
        assert poll.value("orderBy") == "updatedAt|DESC"
        assert poll.values("workspaceIds") == [WORKSPACE_ID]


@pytest.mark.parametrize("status", [500, 200], ids=["500", "a web page"])
async def test_where_only_lists_fail_each_job_is_polled_by_its_id(waiters: WaiterPool, status: int) -> None:
    waiters.wait_for_many(poll_interval=0.2)
    await waiters.until("is running")
    waiters.airbyte.respond_with(status, path=LIST, times=999, body="<html>")
    await waiters.wait_for_requests(ONE, MANY)
    waiters.airbyte.finish_job(7)
    began = time.monotonic()
    assert (await asyncio.wait_for(waiters.tasks[7], timeout=20)).job.status == "succeeded"
    assert time.monotonic() - began < 1.0
    assert not any("Airbyte" in line for log in waiters.logs.values() for line in log.lines), "they saw no outage"


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
async def test_a_server_with_a_wrong_clock_is_polled_by_that_clock(waiters: WaiterPool, ahead: float) -> None:
    waiters.airbyte.clock_skew = ahead
    waiters.wait_for_many(poll_interval=0.2)
    await waiters.until("is running")
    await waiters.wait_for_requests(LIST, 2)
    before = waiters.request_count(ONE)
    waiters.airbyte.finish_job(7)
    began = time.monotonic()
    await asyncio.wait_for(waiters.tasks[7], timeout=20)
    assert time.monotonic() - began < 1.0
    assert waiters.request_count(ONE) == before, "a list showed it"


async def test_polls_go_on_while_jobs_are_being_cancelled(waiters: WaiterPool) -> None:
    """Airbyte answers a cancel only when the sync has stopped."""
    waiters.wait_for_many(3)
    await waiters.until("is running")
    waiters.airbyte.respond_with(method="DELETE", path=ONE, delay=1.0, times=99)
    doomed = [waiters.airbyte.add_job(STRIPE_TO_BIGQUERY, "running").job_id for _ in range(8)]
    async with shared_polling_service(waiters.settings) as service:
        cancels = [asyncio.create_task(service.cancel_job(job_id)) for job_id in doomed]
        await waiters.wait_for_requests(ONE, 2, "DELETE")
        waiters.airbyte.finish_job(1)
        began = time.monotonic()
        await asyncio.wait_for(waiters.tasks[1], timeout=20)
        assert time.monotonic() - began < 0.6
        assert not all(cancel.done() for cancel in cancels)
        await asyncio.gather(*cancels)
    assert waiters.airbyte.peak_in_flight <= 4


async def test_waiters_that_end_together_leave_no_task_behind(waiters: WaiterPool) -> None:
    waiters.wait_for_many(MANY, deadline=time.time() + 60)
    await waiters.until("is running")
    for job_id in waiters.tasks:
        waiters.airbyte.finish_job(job_id)
    await waiters.results()
    await waiters.wait_until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_workspaces_and_airbytes_are_polled_separately(waiters: WaiterPool) -> None:
    """An outage of one does not affect another."""
    other = "11111111-2222-4333-8444-555555555555"
    waiters.airbyte.connections.append({**waiters.airbyte.connections[0], "workspaceId": other, "connectionId": other})
    waiters.wait_for_many(8)
    for _ in range(8):
        waiters.wait_for(waiters.airbyte.add_job(other, "running", age=600).job_id, workspace_id=other)
    with LocalAirbyte() as away:
        away.respond_with(503, path=".*", times=9999)
        far = WaiterPool(away)
        far.wait_for_many(8)
        await waiters.until("is running")
        await far.until("retrying for up to")
        assert {tuple(each.values("workspaceIds")) for each in waiters.airbyte.requests_to("GET", LIST)} == {
            (WORKSPACE_ID,),
            (other,),
        }
        assert len(waiters.airbyte.requests_to("POST", "/applications/token")) == 1
        for task in far.tasks.values():
            task.cancel()
        await asyncio.gather(*far.tasks.values(), return_exceptions=True)


@pytest.fixture
def _collected() -> Iterator[None]:
    """Collect what a test has left open, which would raise a ResourceWarning in a later test."""
    yield
    polling_service._forget_closed_loops()
    for _ in range(3):
        gc.collect()


@pytest.mark.usefixtures("_collected")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted there")
def test_event_loops_that_are_closed_with_a_running_trigger_leave_nothing_behind(airbyte: LocalAirbyte) -> None:
    job_id = airbyte.add_job(STRIPE_TO_BIGQUERY, "running").job_id

    def one() -> None:
        loop = asyncio.new_event_loop()
        waiters = WaiterPool(airbyte)

        async def begin() -> None:
            waiters.wait_for(job_id)
            await waiters.until("is running")

        loop.run_until_complete(begin())
        loop.close()

    def left() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(3):
        one()
    files, loops = left(), len(polling_service._SERVICES)
    for _ in range(20):
        one()
    wait_until(lambda: left() <= files + 10)  # of about 40; the server closes its end a moment later
    assert len(polling_service._SERVICES) <= loops
