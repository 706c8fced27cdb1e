"""Many who wait for one Airbyte, on real sockets."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
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
from airflow_provider_airbyte_api.clients.config import ClientConfig
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.polling import service
from airflow_provider_airbyte_api.polling.service import shared_polling_service
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from airflow_provider_airbyte_api.testing.state import AirbyteState

LIST = "/jobs"
ONE = r"/jobs/\d+"
MANY = 20


@dataclass
class Lines:
    """A log that only one of those who wait writes to."""

    lines: list[str] = field(default_factory=list)

    def log(self, level: int, msg: str, /, *args: Any) -> None:
        self.lines.append(msg % args)


class WaiterPool:
    """Some who wait, each in a task of its own."""

    def __init__(self, airbyte: LocalAirbyte) -> None:
        self.airbyte = airbyte
        self.tasks: dict[int, asyncio.Task[WaitResult]] = {}
        self.logs: dict[int, Lines] = {}

    @property
    def settings(self) -> ClientConfig:
        root = parse_host(self.airbyte.url)
        token_url = f"{root.api_url}/applications/token"
        return ClientConfig(root, ClientCredentials(token_url, self.airbyte.client_id, self.airbyte.client_secret))

    def wait_for(
        self, job_id: int, poll_interval: float = 0.1, *, workspace_id: str | None = WORKSPACE_ID, **patience: Any
    ) -> asyncio.Task[WaitResult]:
        log = self.logs[job_id] = Lines()
        given = WaitOptions(poll_interval, initial_delay=poll_interval, is_seen=True, **patience)
        settings = self.settings

        async def wait() -> WaitResult:
            async with shared_polling_service(settings) as watch:
                return await watch.wait_for_job(job_id, given, workspace_id, log)

        self.tasks[job_id] = asyncio.create_task(wait())
        return self.tasks[job_id]

    def wait_for_many(self, count: int = MANY, *, age: float = 600.0, **more: Any) -> None:
        for _ in range(count):
            self.wait_for(self.airbyte.add_job(STRIPE_TO_BIGQUERY, "running", age=age).job_id, **more)

    async def results(self) -> dict[int, WaitResult]:
        done = await asyncio.wait_for(asyncio.gather(*self.tasks.values()), timeout=20)
        return dict(zip(self.tasks, done, strict=True))

    async def until(self, message: str) -> None:
        """Let time pass until each of them has logged ``message``."""
        ends = time.monotonic() + 20
        while not all(message in " ".join(log.lines) for log in self.logs.values()):
            assert time.monotonic() < ends, self.logs
            await asyncio.sleep(0.01)

    def asked(self, path: str) -> int:
        return len(self.airbyte.requests_to("GET", path))


@pytest.fixture
async def crowd(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WaiterPool]:
    monkeypatch.setattr(backoff, "OUTAGE_WAIT_MAX", 0.05)
    made = WaiterPool(airbyte)
    yield made
    for task in made.tasks.values():
        task.cancel()
    await asyncio.gather(*made.tasks.values(), return_exceptions=True)


async def test_two_hundred_share_one_token_and_a_handful_of_lists(crowd: WaiterPool) -> None:
    crowd.wait_for_many(200, poll_interval=1.0)
    await crowd.until("is running")
    tokens, lists = len(crowd.airbyte.requests_to("POST", "/applications/token")), crowd.asked(LIST)
    assert tokens == 1
    assert lists <= 6
    assert crowd.asked(ONE) <= poll_plan.LIST_THRESHOLD
    for job_id in crowd.tasks:
        crowd.airbyte.finish_job(job_id, "failed" if job_id % 2 else "succeeded")
    results = await crowd.results()
    assert {job_id: waited.job.status for job_id, waited in results.items()} == {
        job_id: "failed" if job_id % 2 else "succeeded" for job_id in crowd.tasks
    }
    assert all(waited.poll_count >= 2 for waited in results.values())
    assert crowd.asked(LIST) <= lists + 2 * 3, "two polls at the most, and 200 changes are three pages"


async def test_a_handful_is_asked_for_one_by_one(crowd: WaiterPool) -> None:
    crowd.wait_for_many(poll_plan.LIST_THRESHOLD)
    await crowd.until("is running")
    crowd.airbyte.finish_job(1)
    await crowd.tasks[1]
    assert crowd.asked(LIST) == 0
    assert crowd.asked("/jobs/1") >= 2


async def test_two_who_wait_for_the_same_job_ask_for_it_once(crowd: WaiterPool) -> None:
    job = crowd.airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    both = [crowd.wait_for(job.job_id), crowd.wait_for(job.job_id)]
    assert [(await each).job.status for each in both] == ["succeeded"] * 2
    assert crowd.asked(ONE) == 1


async def test_a_job_that_no_list_shows_ends_all_the_same(crowd: WaiterPool) -> None:
    """As a refresh on Airbyte 2.0: it is asked for by its id at each poll, and nothing else is."""
    crowd.wait_for_many()
    hidden = crowd.airbyte.add_job("c0ffee00-0000-4000-8000-000000000000", "running", job_type="refresh")
    crowd.wait_for(hidden.job_id)
    await crowd.until("is running")
    crowd.airbyte.finish_job(hidden.job_id)
    assert (await crowd.tasks[hidden.job_id]).job.status == "succeeded"


async def test_a_job_whose_end_was_never_listed_ends_by_the_sweep(crowd: WaiterPool) -> None:
    crowd.wait_for_many(poll_interval=0.05)
    await crowd.until("is running")
    job = crowd.airbyte._world.jobs[7]
    job.status = "succeeded"  # and updated_at stays long ago, so that no list of changes shows it
    assert (await asyncio.wait_for(crowd.tasks[7], timeout=20)).job.status == "succeeded"
    await asyncio.sleep(0.2)
    assert not any(task.done() for job_id, task in crowd.tasks.items() if job_id != 7)


async def test_the_sweep_itself_is_slow(crowd: WaiterPool) -> None:
    crowd.wait_for_many(250, poll_interval=0.1)
    await crowd.until("is running")
    before, began = crowd.asked(LIST) + crowd.asked(ONE), time.monotonic()
    await asyncio.sleep(4.0)
    intervals = (time.monotonic() - began) / 0.1
    assert crowd.asked(LIST) + crowd.asked(ONE) - before <= 2 * intervals


async def test_no_more_requests_are_under_way_than_agreed(crowd: WaiterPool) -> None:
    crowd.airbyte.latency = 0.05
    crowd.airbyte.respond_with(403, path=LIST, times=999)
    crowd.wait_for_many(40)
    await crowd.until("is running")
    assert crowd.airbyte.peak_in_flight == 4


async def test_where_lists_are_refused_each_job_is_asked_for(crowd: WaiterPool) -> None:
    crowd.airbyte.respond_with(403, path=LIST, times=999)
    crowd.wait_for_many()
    await crowd.until("is running")
    for job_id in crowd.tasks:
        crowd.airbyte.finish_job(job_id)
    assert len(await crowd.results()) == MANY
    assert crowd.asked(LIST) <= 2


async def test_the_trouble_of_one_job_is_not_that_of_others(crowd: WaiterPool) -> None:
    crowd.wait_for_many(3)
    crowd.airbyte.respond_with(500, path="/jobs/2", times=999)
    lost = crowd.wait_for(99)
    with pytest.raises(AirbyteNotFoundError):
        await lost
    crowd.airbyte.finish_job(1)
    crowd.airbyte.finish_job(3)
    assert [(await crowd.tasks[job_id]).job.status for job_id in (1, 3)] == ["succeeded"] * 2
    assert not crowd.tasks[2].done()
    assert "retrying for up to" in crowd.logs[2].lines[0]


@pytest.mark.parametrize("count", [3, MANY])
async def test_an_airbyte_that_is_away_is_waited_for_and_said_twice(crowd: WaiterPool, count: int) -> None:
    crowd.wait_for_many(count)
    await crowd.until("is running")
    crowd.airbyte.respond_with(503, path="/jobs.*", times=9999)
    await crowd.until("retrying for up to")
    await asyncio.sleep(0.5)
    crowd.airbyte._world.faults.clear()
    await crowd.until("answers again")
    for job_id in crowd.tasks:
        crowd.airbyte.finish_job(job_id)
    await crowd.results()
    for log in crowd.logs.values():
        said = [line.split()[0] for line in log.lines]
        assert said == ["Job", "Could", "Airbyte", "Job"], log.lines


@pytest.mark.parametrize("count", [3, MANY])
async def test_each_has_a_budget_of_its_own_for_an_airbyte_that_is_away(crowd: WaiterPool, count: int) -> None:
    crowd.wait_for_many(count)
    impatient = crowd.wait_for(
        crowd.airbyte.add_job(STRIPE_TO_BIGQUERY, "running", age=600).job_id, unreachable_timeout=0.3
    )
    await crowd.until("is running")
    crowd.airbyte.respond_with(503, path="/jobs.*", times=9999)
    with pytest.raises(AirbyteUnreachableError, match="may still be running"):
        await asyncio.wait_for(impatient, timeout=10)
    await asyncio.sleep(0.1)
    assert sum(task.done() for task in crowd.tasks.values()) == 1


@pytest.mark.parametrize("count", [3, MANY])
async def test_each_has_a_deadline_of_its_own(crowd: WaiterPool, count: int) -> None:
    crowd.wait_for_many(count, poll_interval=60)
    began = time.time()
    late = crowd.wait_for(crowd.airbyte.add_job(STRIPE_TO_BIGQUERY, "running").job_id, 60, deadline=began + 0.5)
    with pytest.raises(AirbyteJobTimeoutError, match="status: running"):
        await asyncio.wait_for(late, timeout=10)
    assert time.time() >= began + 0.5
    assert sum(task.done() for task in crowd.tasks.values()) == 1


@pytest.mark.parametrize("count", [3, MANY])
async def test_at_the_deadline_the_job_is_looked_at_before_the_clock(crowd: WaiterPool, count: int) -> None:
    crowd.wait_for_many(count, poll_interval=60)
    job = crowd.airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    just_in_time = crowd.wait_for(job.job_id, 60, deadline=time.time() + 0.5)
    crowd.airbyte.finish_job(job.job_id)
    assert (await asyncio.wait_for(just_in_time, timeout=10)).job.status == "succeeded"


@pytest.mark.parametrize("count", [1, MANY])
async def test_a_job_that_does_not_begin_in_time_ends_the_wait(crowd: WaiterPool, count: int) -> None:
    crowd.wait_for_many(count)
    job = crowd.airbyte.add_job(STRIPE_TO_BIGQUERY, "queued")
    with pytest.raises(AirbyteJobTimeoutError, match="to start"):
        await asyncio.wait_for(crowd.wait_for(job.job_id, queue_deadline=time.time() + 0.5), timeout=10)


async def test_each_has_a_poll_interval_of_its_own(crowd: WaiterPool) -> None:
    slow = crowd.airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    fast = crowd.airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    crowd.wait_for(slow.job_id, poll_interval=60)
    crowd.wait_for(fast.job_id, poll_interval=0.05)
    await asyncio.sleep(0.5)
    assert crowd.asked(f"/jobs/{fast.job_id}") >= 5
    assert crowd.asked(f"/jobs/{slow.job_id}") == 0


async def test_one_who_leaves_does_so_at_once_and_disturbs_nobody(crowd: WaiterPool) -> None:
    crowd.airbyte.latency = 1.0
    crowd.wait_for_many(5)
    await asyncio.sleep(0.3)
    crowd.tasks[2].cancel()
    began = time.monotonic()
    await asyncio.wait([crowd.tasks[2]])
    assert time.monotonic() - began < 0.5
    crowd.airbyte.latency = 0.0
    for job_id in (1, 3, 4, 5):
        crowd.airbyte.finish_job(job_id)
    del crowd.tasks[2]
    assert len(await crowd.results()) == 4


async def test_the_last_one_closes_the_session_and_the_next_one_opens_a_new_one(crowd: WaiterPool) -> None:
    for _ in range(2):
        job = crowd.airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
        await crowd.wait_for(job.job_id)
        assert not service._SERVICES[asyncio.get_running_loop()]
        await asyncio.sleep(0)
        sessions = [each for each in gc.get_objects() if type(each) is aiohttp.ClientSession]
        assert all(session.closed for session in sessions)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if not task.done()], "nothing is left behind"


async def test_what_all_share_belongs_to_nobody(crowd: WaiterPool) -> None:
    """The first one may leave: what it began for all goes on."""
    crowd.airbyte.latency = 0.3
    crowd.wait_for_many(MANY)
    await asyncio.sleep(0.2)
    crowd.tasks.pop(1).cancel()
    del crowd.logs[1]
    await crowd.until("is running")


async def test_wrong_credentials_end_the_wait_of_all(crowd: WaiterPool) -> None:
    crowd.wait_for_many()
    crowd.airbyte.client_secret = "changed"
    done, waiting = await asyncio.wait(crowd.tasks.values(), timeout=20)
    assert not waiting
    errors = [task.exception() for task in done]
    assert all(isinstance(error, AirbyteAuthenticationError) for error in errors)
    assert len({id(error) for error in errors}) == MANY, "each raises one of its own"


async def test_numbers_that_a_list_leaves_out_are_asked_for(crowd: WaiterPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AirbyteState, "list_shows_stats", False)
    crowd.wait_for_many()
    await crowd.until("is running")
    crowd.airbyte.finish_job(3)
    assert (await crowd.tasks[3]).job.rows_synced == 250_000
    assert crowd.asked("/jobs/3") >= 1


async def test_jobs_of_an_unknown_workspace_are_watched_too(crowd: WaiterPool) -> None:
    crowd.wait_for_many(MANY, workspace_id=None)
    await crowd.until("is running")
    assert crowd.asked(ONE) <= poll_plan.LIST_THRESHOLD
    assert not crowd.airbyte.requests_to("GET", LIST)[0].values("workspaceIds")


async def test_after_the_crowd_has_gone_the_few_that_stay_are_asked_for_again(crowd: WaiterPool) -> None:
    crowd.wait_for_many(8)
    await crowd.until("is running")
    for job_id in range(1, 6):
        crowd.airbyte.finish_job(job_id)
    await asyncio.wait([crowd.tasks[job_id] for job_id in range(1, 6)], timeout=20)
    crowd.airbyte.finish_job(8)
    assert (await asyncio.wait_for(crowd.tasks[8], timeout=20)).job.status == "succeeded"


async def test_a_mistake_of_ours_about_the_list_ends_nobodys_wait(
    crowd: WaiterPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def mistaken(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(resources, "fetch_updated_jobs_page", mistaken)
    crowd.wait_for_many()
    await crowd.until("is running")
    assert "an unexpected RuntimeError" in caplog.text
    for job_id in crowd.tasks:
        crowd.airbyte.finish_job(job_id)
    assert {waited.job.status for waited in (await crowd.results()).values()} == {"succeeded"}


@pytest.mark.parametrize("count", [3, MANY])
async def test_a_mistake_of_ours_about_one_job_ends_the_wait_for_that_one_alone(
    crowd: WaiterPool, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    right = jobs.get_job

    def mistaken(job_id: int, *more: Any) -> Any:
        if job_id == 2:
            raise RuntimeError("a mistake")
        return right(job_id, *more)

    monkeypatch.setattr(jobs, "get_job", mistaken)
    crowd.wait_for_many(count)
    crowd.airbyte.respond_with(403, path=LIST, times=999)  # so that each is asked for by its id
    with pytest.raises(AirbyteError, match="Polling job 2 failed with an unexpected RuntimeError"):
        await asyncio.wait_for(crowd.tasks.pop(2), timeout=20)
    del crowd.logs[2]
    await crowd.until("is running")
    for job_id in crowd.tasks:
        crowd.airbyte.finish_job(job_id)
    assert len(await crowd.results()) == count - 1


async def test_the_poll_loop_survives_a_mistake_of_its_own(crowd: WaiterPool, monkeypatch: pytest.MonkeyPatch) -> None:
    right = poll_plan.PollPlan.due
    mistakes = iter([RuntimeError("a mistake")] * 2)

    def mistaken(self: poll_plan.PollPlan, moment: float) -> list[poll_plan.Action]:
        for mistake in mistakes:
            raise mistake
        return right(self, moment)

    monkeypatch.setattr(poll_plan.PollPlan, "due", mistaken)
    crowd.wait_for_many(3)
    await crowd.until("is running")


async def test_a_row_that_cannot_be_parsed_hides_no_other(crowd: WaiterPool, caplog: pytest.LogCaptureFixture) -> None:
    crowd.wait_for_many(8)
    await crowd.until("is running")
    rows = [{**job.as_json(with_stats=True), "status": "succeeded", "rowsSynced": 1} for job in crowd.airbyte.jobs]
    rows[3] = {"jobId": None}
    by_id = crowd.asked(ONE)
    crowd.airbyte.respond_with(200, path=LIST, body=json.dumps({"data": rows}), times=3)
    crowd.airbyte.finish_job(4)
    results = await crowd.results()
    assert {waited.job.status for waited in results.values()} == {"succeeded"}
    assert crowd.asked(ONE) - by_id <= poll_plan.LIST_THRESHOLD, "only what no list shows"
    assert caplog.text.count("Skipped 1 rows of the list of jobs") == 1


async def test_the_lists_overlap_by_the_servers_clock(crowd: WaiterPool) -> None:
    crowd.wait_for_many(poll_interval=0.3)
    await asyncio.sleep(1.2)
    polls = [each for each in crowd.airbyte.requests_to("GET", LIST) if each.value("updatedAtStart")]
    assert len(polls) >= 3
    for poll in polls[1:]:
        since = parse_timestamp(poll.value("updatedAtStart"))
        assert since is not None
        assert 60 <= poll.at - since.timestamp() <= 63
        assert poll.value("orderBy") == "updatedAt|DESC"
        assert poll.values("workspaceIds") == [WORKSPACE_ID]


@pytest.mark.parametrize("status", [500, 200], ids=["500", "a web page"])
async def test_where_only_lists_fail_each_job_is_asked_for(crowd: WaiterPool, status: int) -> None:
    crowd.wait_for_many(poll_interval=0.2)
    await crowd.until("is running")
    crowd.airbyte.respond_with(status, path=LIST, times=999, body="<html>")
    await asyncio.sleep(0.5)
    crowd.airbyte.finish_job(7)
    began = time.monotonic()
    assert (await asyncio.wait_for(crowd.tasks[7], timeout=20)).job.status == "succeeded"
    assert time.monotonic() - began < 1.0
    assert not any("Airbyte" in line for log in crowd.logs.values() for line in log.lines), "nothing was away for them"


@pytest.mark.parametrize("reply", [{"status": 503}, {"status": 200, "body": "<html>"}], ids=["503", "a web page"])
async def test_an_airbyte_that_is_away_is_asked_little(crowd: WaiterPool, reply: dict[str, Any]) -> None:
    crowd.wait_for_many(60, poll_interval=0.2)
    await crowd.until("is running")
    before = len(crowd.airbyte.requests)
    crowd.airbyte.respond_with(path="/jobs.*", times=9999, **reply)
    await asyncio.sleep(2.0)
    assert len(crowd.airbyte.requests) - before <= 2 * 2.0 / 0.2 * 1.3


async def test_lists_are_tried_again_after_a_while(crowd: WaiterPool) -> None:
    for _ in range(3):
        crowd.airbyte.respond_with(403, path=LIST, times=1)
    crowd.wait_for_many(poll_interval=0.05)
    await asyncio.sleep(3.0)
    one_by_one = crowd.asked(ONE)
    await asyncio.sleep(1.0)
    assert crowd.asked(ONE) - one_by_one <= poll_plan.LIST_THRESHOLD, "covered by lists again"


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
async def test_a_server_whose_clock_is_wrong_is_watched_by_that_clock(crowd: WaiterPool, ahead: float) -> None:
    crowd.airbyte.clock_skew = ahead
    crowd.wait_for_many(poll_interval=0.2)
    await crowd.until("is running")
    await asyncio.sleep(0.5)
    before = crowd.asked(ONE)
    crowd.airbyte.finish_job(7)
    began = time.monotonic()
    await asyncio.wait_for(crowd.tasks[7], timeout=20)
    assert time.monotonic() - began < 1.0
    assert crowd.asked(ONE) == before, "a list showed it"


async def test_polls_go_on_while_jobs_are_being_cancelled(crowd: WaiterPool) -> None:
    """Airbyte answers a cancel only when the sync has stopped."""
    crowd.wait_for_many(3)
    await crowd.until("is running")
    crowd.airbyte.respond_with(method="DELETE", path=ONE, delay=1.0, times=99)
    doomed = [crowd.airbyte.add_job(STRIPE_TO_BIGQUERY, "running").job_id for _ in range(8)]
    async with shared_polling_service(crowd.settings) as watch:
        cancels = [asyncio.create_task(watch.cancel_job(job_id)) for job_id in doomed]
        await asyncio.sleep(0.2)
        crowd.airbyte.finish_job(1)
        began = time.monotonic()
        await asyncio.wait_for(crowd.tasks[1], timeout=20)
        assert time.monotonic() - began < 0.6
        assert not all(cancel.done() for cancel in cancels)
        await asyncio.gather(*cancels)
    assert crowd.airbyte.peak_in_flight <= 4


async def test_a_crowd_that_leaves_together_leaves_nothing_behind(crowd: WaiterPool) -> None:
    crowd.wait_for_many(MANY, deadline=time.time() + 60)
    await crowd.until("is running")
    for job_id in crowd.tasks:
        crowd.airbyte.finish_job(job_id)
    await crowd.results()
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_workspaces_and_airbytes_are_watched_apart(crowd: WaiterPool) -> None:
    """One that is away, or whose lists are refused, is no trouble of another."""
    other = "11111111-2222-4333-8444-555555555555"
    crowd.airbyte.connections.append({**crowd.airbyte.connections[0], "workspaceId": other, "connectionId": other})
    crowd.wait_for_many(8)
    for _ in range(8):
        crowd.wait_for(crowd.airbyte.add_job(other, "running", age=600).job_id, workspace_id=other)
    with LocalAirbyte() as away:
        away.respond_with(503, path=".*", times=9999)
        far = WaiterPool(away)
        far.wait_for_many(8)
        await crowd.until("is running")
        await far.until("retrying for up to")
        assert {tuple(each.values("workspaceIds")) for each in crowd.airbyte.requests_to("GET", LIST)} == {
            (WORKSPACE_ID,),
            (other,),
        }
        assert len(crowd.airbyte.requests_to("POST", "/applications/token")) == 1
        for task in far.tasks.values():
            task.cancel()
        await asyncio.gather(*far.tasks.values(), return_exceptions=True)


async def test_an_end_is_told_within_a_poll_interval(crowd: WaiterPool) -> None:
    crowd.wait_for_many(100, poll_interval=1.0)
    await crowd.until("is running")
    ended, told = {}, {}

    async def note(job_id: int) -> None:
        await crowd.tasks[job_id]
        told[job_id] = time.monotonic()

    notes = [asyncio.create_task(note(job_id)) for job_id in crowd.tasks]
    for job_id in crowd.tasks:
        crowd.airbyte.finish_job(job_id)
        ended[job_id] = time.monotonic()
        await asyncio.sleep(0.02)
    await asyncio.gather(*notes)
    assert max(told[job_id] - ended[job_id] for job_id in told) <= 1.0 + 2.0


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted there")
def test_event_loops_that_are_closed_with_a_trigger_under_way_leave_nothing_behind(airbyte: LocalAirbyte) -> None:
    job_id = airbyte.add_job(STRIPE_TO_BIGQUERY, "running").job_id

    def one() -> None:
        loop = asyncio.new_event_loop()
        crowd = WaiterPool(airbyte)

        async def begin() -> None:
            crowd.wait_for(job_id)
            await crowd.until("is running")

        loop.run_until_complete(begin())
        loop.close()

    def left() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(3):
        one()
    files, loops = left(), len(service._SERVICES)
    for _ in range(20):
        one()
    ends = time.monotonic() + 10
    while left() > files + 10 and time.monotonic() < ends:
        time.sleep(0.1)  # the server closes its end a moment later
    assert len(service._SERVICES) <= loops
    assert left() <= files + 10, "of about 40"
