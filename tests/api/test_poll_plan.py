"""Which jobs are requested when: the plan is driven by hand, without a clock or a socket."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_airbyte_api.api import poll_plan
from airflow_provider_airbyte_api.api.flow import Log, Page
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.poll_plan import (
    LIST_THRESHOLD,
    Action,
    ListByStatus,
    ListProgress,
    ListUpdated,
    PollById,
    PollPlan,
    PollRequest,
    TrackedJob,
    Update,
)
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteError,
    AirbytePermissionError,
    AirbyteServerError,
    AirbyteUnreachableError,
)

T0 = 1_700_000_000.0
INTERVAL = 10.0
MANY = 20
ABOUT: dict[str, Any] = {"method": "GET", "url": "https://a/jobs", "detail": "x"}
UNREACHABLE = AirbyteUnreachableError("no reply", outcome_unknown=False)
FORBIDDEN = AirbytePermissionError(status=403, **ABOUT)


def job(job_id: int, status: str = "running", rows: int | None = 1, updated_at: float | None = None) -> Job:
    found = Job.from_json({"jobId": job_id, "status": status, "jobType": "sync", "rowsSynced": rows})
    if updated_at is not None:
        found.__dict__["last_updated_at"] = datetime.fromtimestamp(updated_at, timezone.utc)
    return found


def page(rows: Iterable[Job] = (), *, is_last: bool = True, server_time: float | None = None) -> Page[Job]:
    return Page(list(rows), is_last, server_time)


class Driver:
    """A plan with jobs 1 to ``count``, which are due at ``T0``, and the lines that it has logged.

    ``progress`` has the requests for their rows and bytes, which have no answer unless a test gives one.
    """

    def __init__(self, count: int = 0, interval: float = INTERVAL, jitter: float = 1.0) -> None:
        self.plan = PollPlan(lambda: jitter)
        self.tracked = {job_id: self.plan.add(job_id, interval, T0) for job_id in range(1, count + 1)}
        self.logs: list[str] = []
        self.progress: list[ListProgress] = []

    def due(self, now: float) -> list[Any]:
        """Return the requests at ``now``; all of them, although each call returns only some."""
        requests: list[PollRequest] = []
        while actions := self.plan.due(now):
            self.logs += [action.message % action.arguments for action in actions if isinstance(action, Log)]
            self.progress += [action for action in actions if isinstance(action, ListProgress)]
            requests += [action for action in actions if not isinstance(action, Log | ListProgress)]
        return requests

    def cover(self, at: float = T0) -> None:
        """Let a list contain all jobs."""
        read_pages(self, [job(each) for each in self.tracked], at)

    def apply(self, request: PollRequest, found: Job | Page[Job], now: float) -> list[Update]:
        return list(self.plan.apply(request, found, now))

    def fail(self, request: PollRequest, error: AirbyteError, now: float) -> list[Update]:
        return list(self.plan.fail(request, error, now))


def read_pages(driver: Driver, rows: list[Job], now: float) -> tuple[list[int], list[Update]]:
    """Answer a round from ``rows``; return how many pages were in flight at each moment, and the updates."""
    in_flight, updates = [], []
    requests = driver.due(now)
    while requests:
        in_flight.append(len(requests))
        request = requests.pop(0)
        found = rows[request.offset : request.offset + 100]
        updates += driver.apply(request, page(found, is_last=len(found) < 100, server_time=now), now)
        requests += driver.due(now)
    return in_flight, updates


def ids(actions: Iterable[Action]) -> list[int]:
    return [action.job_id for action in actions if isinstance(action, PollById)]


# -- by ID -----------------------------------------------------------------------------------------------------


def test_a_few_jobs_are_polled_by_id_each_when_it_is_due() -> None:
    plan = PollPlan(lambda: 1.0)
    for job_id in range(1, LIST_THRESHOLD + 1):
        plan.add(job_id, INTERVAL * job_id, T0 + job_id)
    assert plan.next_at == T0 + 1
    assert plan.due(T0) == []
    assert plan.due(T0 + 2) == [PollById(1, T0 + 2), PollById(2, T0 + 2)]
    assert plan.due(T0 + 2) == [], "both are in flight"
    assert plan.next_at == T0 + 3
    plan.apply(PollById(2, T0 + 2), job(2), T0 + 2.5)
    assert ids(plan.due(T0 + 22)) == [3, 4, 5]
    assert plan.next_at == T0 + 22.5, "job 2 has an interval of 20 s; job 1 is still in flight"


def test_the_jitter_shortens_the_delay() -> None:
    driver = Driver(1, jitter=0.9)
    (request,) = driver.due(T0)
    driver.apply(request, job(1), T0)
    assert driver.plan.next_at == T0 + 9


def test_a_second_waiter_may_bring_a_poll_forward_and_shorten_the_interval() -> None:
    driver = Driver()
    tracked = driver.plan.add(1, 60.0, T0 + 60)
    assert driver.plan.add(1, INTERVAL, T0 + 5) is tracked
    for now, interval in ((T0 + 5, INTERVAL), (T0 + 15, 60.0)):
        assert driver.plan.next_at == now
        (request,) = driver.due(now)
        driver.plan.change(tracked, interval, None)
        driver.apply(request, job(1), now)
    assert driver.plan.next_at == T0 + 75


def test_a_second_waiter_may_bring_the_next_list_forward() -> None:
    driver = Driver(MANY)
    driver.cover()
    driver.plan.add(1, INTERVAL, T0 + 3)
    assert driver.plan.next_at == T0 + 3


def test_the_result_for_a_job_that_was_removed_is_ignored() -> None:
    driver = Driver(1)
    (request,) = driver.due(T0)
    driver.plan.remove(1)
    assert driver.apply(request, job(1), T0) == []
    assert driver.fail(request, UNREACHABLE, T0) == []
    assert driver.plan.next_at == float("inf")


def test_an_error_concerns_its_job_alone_and_backs_off() -> None:
    driver = Driver(2)
    first, second = driver.due(T0)
    assert driver.fail(first, UNREACHABLE, T0) == [(driver.tracked[1], UNREACHABLE, T0)]
    driver.apply(second, job(2), T0)
    assert [driver.plan.is_unreachable(tracked) for tracked in driver.tracked.values()] == [True, False]
    assert driver.plan.next_at == T0 + INTERVAL
    slow_down = AirbyteServerError(status=503, retry_after=90.0, **ABOUT)
    first, second = driver.due(T0 + INTERVAL)
    driver.fail(first, slow_down, T0 + 10)
    driver.apply(second, job(2), T0 + 10)
    assert ids(driver.due(T0 + 99)) == [2]
    assert ids(driver.due(T0 + 100)) == [1], "after as long as Airbyte asked for"


def test_many_polls_by_id_are_handed_out_in_slices() -> None:
    driver = Driver(500)
    driver.plan._lists_disabled_until = T0 + 100
    sizes = []
    while actions := driver.plan.due(T0):
        sizes.append(len(actions))
        assert driver.plan.next_at <= T0 or sum(sizes) == 500
    assert sum(sizes) == 500
    assert max(sizes) == poll_plan.MAX_ACTIONS


def test_a_job_that_was_removed_and_added_again_has_a_new_first_poll() -> None:
    driver = Driver(2 * poll_plan.MAX_ACTIONS)
    for tracked in driver.tracked.values():
        tracked.sweeps = poll_plan.MAX_SWEEPS
    (request,) = driver.due(T0)
    driver.apply(request, page(), T0)
    assert len(driver.plan.due(T0)) == poll_plan.MAX_ACTIONS, "half of the polls by ID"
    last = 2 * poll_plan.MAX_ACTIONS
    driver.plan.remove(last)
    driver.plan.add(last, INTERVAL, T0 + INTERVAL)
    assert ids(driver.due(T0)) == list(range(poll_plan.MAX_ACTIONS + 1, last))


# -- deadlines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, MANY])
def test_at_its_deadline_a_job_is_polled_by_id(count: int) -> None:
    driver = Driver(count)
    if count == MANY:
        driver.cover()
    else:
        for request in driver.due(T0):
            driver.apply(request, job(request.job_id), T0)
    driver.plan.change(driver.tracked[2], INTERVAL, T0 + 5)
    assert driver.plan.next_at == T0 + 5
    assert driver.due(T0 + 5) == [PollById(2, T0 + 5)]
    assert driver.apply(PollById(2, T0 + 5), job(2), T0 + 6) == [(driver.tracked[2], job(2), T0 + 5)]
    assert driver.plan.next_at > T0 + 5, "the waiter has its update, so the deadline is past"


def test_a_poll_from_before_the_deadline_is_not_the_one_at_the_deadline() -> None:
    driver = Driver(1)
    (request,) = driver.due(T0)
    driver.plan.change(driver.tracked[1], INTERVAL, T0 + 5)
    assert driver.due(T0 + 5) == [], "it is in flight"
    driver.apply(request, job(1), T0 + 6)
    assert driver.due(T0 + 6) == [PollById(1, T0 + 6)]


def test_a_poll_that_hangs_keeps_no_other_job_from_its_deadline() -> None:
    driver = Driver(2)
    assert len(driver.due(T0)) == 2
    driver.apply(PollById(2, T0), job(2), T0)
    driver.plan.change(driver.tracked[2], INTERVAL, T0 + 5)
    assert ids(driver.due(T0 + 5)) == [2]


# -- lists -----------------------------------------------------------------------------------------------------


def test_many_jobs_are_covered_by_one_list_in_each_interval() -> None:
    driver = Driver(1_000)
    (request,) = driver.due(T0)
    assert request == ListUpdated(T0 - INTERVAL - 60, 0, T0)
    driver.apply(request, page(), T0)
    requests = driver.due(T0)
    while requests:  # the sweep finds all of them
        for each in requests:
            assert isinstance(each, ListByStatus)
            assert each.status == "running"
            found = range(each.offset + 1, min(each.offset + 101, 1_001))
            driver.apply(each, page(map(job, found), is_last=each.offset == 1_000), T0 + 1)
        requests = driver.due(T0 + 1)
    now = T0
    for number in range(1, 9):
        assert driver.plan.next_at == now + INTERVAL
        now = driver.plan.next_at
        (request,) = driver.due(now)
        assert isinstance(request, ListUpdated)
        assert driver.apply(request, page(), now) == []
        assert driver.plan.poll_count(driver.tracked[7]) == number + 1


def test_an_update_in_a_list_is_for_its_job_alone() -> None:
    driver = Driver(MANY)
    driver.cover()
    (request,) = driver.due(T0 + 10)
    rows = [job(7, "succeeded"), job(999, "succeeded")]
    assert driver.apply(request, page(rows), T0 + 11) == [(driver.tracked[7], rows[0], T0 + 10)]


def test_lists_overlap_by_the_servers_clock() -> None:
    driver = Driver(MANY)
    (request,) = driver.due(T0)
    driver.apply(request, page(map(job, driver.tracked), server_time=T0 - 3600), T0)
    (request,) = driver.due(T0 + 10)
    assert request.since == T0 - 3600 - 60


def test_a_server_time_that_no_clock_can_show_is_ignored() -> None:
    driver = Driver(MANY)
    (request,) = driver.due(T0)
    driver.apply(request, page(map(job, driver.tracked), server_time=T0 - 30 * 86400), T0)
    (request,) = driver.due(T0 + 10)
    assert request.since == T0 - 60


def test_a_new_job_is_listed_at_its_first_poll_and_polled_by_id_if_no_list_contains_it() -> None:
    driver = Driver(MANY)
    driver.cover()
    driver.plan.add(99, INTERVAL, T0 + 4)
    (request,) = driver.due(T0 + 4)
    assert isinstance(request, ListUpdated)
    driver.apply(request, page(), T0 + 4)
    assert driver.due(T0 + 4) == [PollById(99, T0 + 4)]
    driver.apply(PollById(99, T0 + 4), job(99), T0 + 5)
    assert driver.plan.next_at == T0 + 14, "all of them are due then"


def test_jobs_that_no_list_contains_are_swept_for_twice_and_then_polled_by_id() -> None:
    driver = Driver(MANY)
    for number in range(4):
        now = driver.plan.next_at if number else T0
        (request,) = driver.due(now)
        driver.apply(request, page(), now)
        swept: list[str] = []
        requests = driver.due(now)
        while isinstance(requests[0], ListByStatus):
            swept.append(requests[0].status)
            driver.apply(requests[0], page(), now)
            requests = driver.due(now)
        assert swept == (["running", "incomplete", "pending"] if number < poll_plan.MAX_SWEEPS else [])
        assert sorted(ids(requests)) == list(driver.tracked)
        for each in requests:
            driver.apply(each, job(each.job_id), now)


def test_a_sweep_includes_the_last_known_status() -> None:
    driver = Driver(MANY)
    driver.plan._lists_disabled_until = T0 + 1
    for each in driver.due(T0):
        driver.apply(each, job(each.job_id, "queued"), T0)
    (request,) = driver.due(T0 + 10)
    driver.apply(request, page(), T0 + 10)
    swept = []
    while isinstance((request := driver.due(T0 + 10)[0]), ListByStatus):
        swept.append(request.status)
        rows = map(job, driver.tracked) if request.status == "queued" else ()
        driver.apply(request, page(rows), T0 + 10)
        if request.status == "queued":
            break
    assert swept == ["running", "incomplete", "pending", "queued"]
    assert driver.due(T0 + 10) == []


def test_a_job_that_ended_without_row_counts_in_the_list_is_polled_by_id() -> None:
    driver = Driver(MANY)
    driver.cover()
    (request,) = driver.due(T0 + 10)
    assert driver.apply(request, page([job(3, "succeeded", rows=None)]), T0 + 10) == []
    assert driver.due(T0 + 10) == [PollById(3, T0 + 10)]
    (update,) = driver.apply(PollById(3, T0 + 10), job(3, "succeeded", rows=5), T0 + 11)
    assert update.outcome == job(3, "succeeded", rows=5)


def test_no_later_response_takes_an_end_back() -> None:
    driver = Driver(1)
    (request,) = driver.due(T0)
    driver.apply(request, job(1, "failed"), T0)
    (request,) = driver.due(T0 + 10)
    (update,) = driver.apply(request, job(1, "running"), T0 + 10)
    assert update.outcome == job(1, "failed")


def test_when_few_jobs_are_left_they_are_polled_by_id_again() -> None:
    driver = Driver(8)
    driver.cover()
    for job_id in range(1, 4):
        driver.plan.remove(job_id)
    assert driver.due(T0 + 5) == []
    assert driver.plan.next_at == T0 + 10
    assert ids(driver.due(T0 + 10)) == [4, 5, 6, 7, 8]


def test_a_round_is_read_to_its_end_though_few_jobs_are_left() -> None:
    driver = Driver(101)
    (request,) = driver.due(T0)
    driver.apply(request, page((job(each, "succeeded") for each in range(1, 101)), is_last=False), T0)
    for job_id in range(1, 101):
        driver.plan.remove(job_id)
    (request,) = driver.due(T0)
    assert request == ListUpdated(T0 - INTERVAL - 60, 100, T0)
    (update,) = driver.apply(request, page([job(101, "succeeded")]), T0)
    assert update.tracked is driver.tracked[101]


# -- pages -----------------------------------------------------------------------------------------------------


def test_when_many_jobs_end_at_once_the_list_is_read_in_pages_four_at_a_time_and_none_by_id() -> None:
    driver = Driver(10_000)
    driver.cover()
    in_flight, updates = read_pages(driver, [job(each, "succeeded") for each in driver.tracked], T0 + 10)
    assert {update.tracked.job_id for update in updates} == set(driver.tracked)
    assert in_flight[:6] == [1, 1, 2, 3, 4, 4]
    assert max(in_flight) == 4
    assert len(in_flight) <= 100 + 4


def test_a_list_that_was_read_in_several_pages_at_once_is_overlapped_by_the_next_one() -> None:
    """A row that moves up between two pages that are read at the same time may be on neither."""
    driver = Driver(400)
    rows = [job(each) for each in driver.tracked]
    read_pages(driver, rows, T0)
    for now, since in ((T0 + 10, T0 - 70), (T0 + 20, T0 - 60), (T0 + 30, T0 + 20 - 60)):
        assert driver.plan.next_at == now
        (request,) = driver.plan.due(now)
        assert isinstance(request, ListUpdated)
        assert request.since == since
        if now == T0 + 10:
            driver.apply(request, page(rows[:100], is_last=False, server_time=now), now)
            read_pages(driver, rows, now)
        else:
            driver.apply(request, page(server_time=now), now)


def test_a_server_that_ignores_the_offset_is_asked_for_two_pages() -> None:
    driver = Driver(101)
    rows = [job(each) for each in range(1, 101)]
    for _ in range(2):
        (request,) = driver.due(T0)
        driver.apply(request, page(rows, is_last=False), T0)
    assert driver.due(T0) == [PollById(101, T0)]


def test_a_page_without_a_row_that_can_be_parsed_is_not_the_end_and_is_logged_once() -> None:
    driver = Driver(MANY)
    for offset in (0, 100):
        request = driver.due(T0)[0]
        assert request.offset == offset
        unreadable = Page[Job]([], False, None, (AirbyteError("no id"),))
        driver.apply(request, unreadable, T0)
    driver.due(T0)
    assert driver.logs == [
        "Skipped 1 rows of the list of jobs, which cannot be parsed; their jobs are polled by id. no id"
    ]


@pytest.mark.parametrize(
    ("updated_at", "is_given_up"), [(T0 + 5, True), (None, True), (T0 - 1, False)], ids=["new", "unknown", "known"]
)
def test_a_list_may_be_too_long_as_long_as_all_that_is_new_was_read(
    updated_at: float | None, is_given_up: bool
) -> None:
    driver = Driver(MANY)
    driver.cover()
    rows = [job(each, updated_at=updated_at) for each in range(1, 9_999)]
    read_pages(driver, rows, T0 + 10)
    assert bool(driver.logs) is is_given_up
    if is_given_up:
        assert "It lists more than 5000 jobs that were updated since the last poll." in driver.logs[0]
    later = driver.due(T0 + 20)
    assert isinstance(later[0], PollById if is_given_up else ListUpdated)


# -- the slow sweep --------------------------------------------------------------------------------------------


def test_a_slow_sweep_finds_an_end_that_no_list_has_contained() -> None:
    driver = Driver(250)
    driver.cover()
    shown = [job(each) for each in driver.tracked if each not in (6, 7)]
    pages: list[float] = []
    end = None
    now = T0
    while end is None:
        now = driver.plan.next_at
        for request in driver.due(now):
            if isinstance(request, ListUpdated):
                driver.apply(request, page(), now)
            elif isinstance(request, ListByStatus):
                pages.append(now)
                if len(pages) == 1:
                    driver.plan.remove(6)
                rows = shown[request.offset : request.offset + 100] if request.status == "running" else []
                driver.apply(request, page(rows, is_last=len(rows) < 100), now)
            else:
                assert request.job_id == 7
                end = now
        assert now < T0 + 1000
    assert pages == [T0 + 100, T0 + 120, T0 + 140], "a page in two intervals"
    assert end == T0 + 160


# -- progress --------------------------------------------------------------------------------------------------


def run_with_progress(
    driver: Driver, end: float, answer: Callable[[ListProgress, float], object]
) -> list[ListProgress]:
    """Run the plan until ``end``, with empty lists of updates, and return the requests for progress."""
    found: list[ListProgress] = []
    while (now := driver.plan.next_at) <= end:
        for request in driver.due(now):
            if isinstance(request, PollById):
                driver.apply(request, driver.tracked[request.job_id].job or job(request.job_id), now)
            else:
                driver.apply(request, page(), now)
        for progress in driver.progress:
            found.append(progress)
            answer(progress, now)
        driver.progress.clear()
    return found


@pytest.mark.parametrize("interval", [1.0, 10.0, 30.0, 90.0])
@pytest.mark.parametrize("count", [20, 100, 250, 1_000])
def test_progress_costs_one_list_in_a_minute_for_100_running_jobs(count: int, interval: float) -> None:
    driver = Driver(count, interval)
    driver.cover()
    seen: dict[int, int] = {}

    def answer(request: ListProgress, now: float) -> None:
        rows = [job(each, rows=int(now)) for each in range(request.offset + 1, min(request.offset + 100, count) + 1)]
        for update in driver.apply(request, page(rows, is_last=len(rows) < 100), now):
            assert isinstance(update.outcome, Job)
            assert update.tracked.seen_at == request.at
            seen[update.tracked.job_id] = seen.get(update.tracked.job_id, 0) + 1

    found = run_with_progress(driver, T0 + 1_800, answer)
    pages = -(-count // 100)
    assert 0 < len(found) <= 30 * pages
    assert len(seen) == count, "each job is shown"
    at = [each.at for each in found]
    assert all(later - earlier >= min(interval, 15) for earlier, later in pairwise(at))


@pytest.mark.parametrize("status", ["pending", "queued", "incomplete"])
def test_no_list_asks_for_the_progress_of_jobs_that_do_not_run(status: str) -> None:
    driver = Driver(MANY)
    read_pages(driver, [job(each, status) for each in driver.tracked], T0)
    assert run_with_progress(driver, T0 + 600, lambda *_: None) == []


def test_no_list_asks_for_the_progress_of_jobs_that_are_polled_by_id() -> None:
    driver = Driver(LIST_THRESHOLD)
    assert run_with_progress(driver, T0 + 600, lambda *_: None) == []


def test_a_failed_list_of_progress_is_no_outage() -> None:
    driver = Driver(MANY)
    driver.cover()
    updates: list[Update] = []

    def answer(request: ListProgress, now: float) -> None:
        updates.extend(driver.fail(request, UNREACHABLE, now))

    assert len(run_with_progress(driver, T0 + 600, answer)) in (9, 10)
    assert updates == []
    assert not any(map(driver.plan.is_unreachable, driver.tracked.values()))


# -- failures of lists -----------------------------------------------------------------------------------------


def test_where_only_lists_fail_jobs_are_polled_by_id_for_a_while() -> None:
    driver = Driver(MANY)
    driver.cover()
    (request,) = driver.due(T0 + 10)
    assert driver.fail(request, FORBIDDEN, T0 + 10) == []
    (probe,) = driver.due(T0 + 10)
    assert isinstance(probe, PollById)
    driver.apply(probe, job(probe.job_id), T0 + 11)
    assert sorted(ids(driver.due(T0 + 11))) == list(driver.tracked)
    assert "Airbyte does not list the jobs as expected; polling each by its id for a while." in driver.logs[0]
    for job_id in driver.tracked:
        driver.apply(PollById(job_id, T0 + 11), job(job_id), T0 + 11)
    while driver.plan.next_at < T0 + 111:
        now = driver.plan.next_at
        for each in driver.due(now):
            driver.apply(each, job(each.job_id), now)
    (request,) = driver.due(driver.plan.next_at)
    assert isinstance(request, ListUpdated), "lists are tried again after ten intervals"


def test_when_a_probe_fails_too_all_waiters_get_the_error_and_only_lists_are_tried_until_they_work() -> None:
    driver = Driver(MANY)
    driver.cover()
    now, delays = T0 + 10, []
    for _ in range(5):
        (request,) = driver.due(now)
        assert isinstance(request, ListUpdated)
        assert driver.fail(request, UNREACHABLE, now) == []
        (probe,) = driver.due(now)
        updates = driver.fail(probe, UNREACHABLE, now)
        assert {update.tracked.job_id for update in updates} == set(driver.tracked)
        assert all(map(driver.plan.is_unreachable, driver.tracked.values()))
        delays.append(driver.plan.next_at - now)
        now = driver.plan.next_at
    assert delays == [10, 10, 10, 16, 32]
    (request,) = driver.due(now)
    updates = driver.apply(request, page(map(job, driver.tracked)), now)
    assert {update.tracked.job_id for update in updates} == set(driver.tracked)
    assert not any(map(driver.plan.is_unreachable, driver.tracked.values()))


def test_waiters_of_unchanged_jobs_are_notified_that_airbyte_is_reachable_again() -> None:
    driver = Driver(MANY)
    driver.cover()
    (request,) = driver.due(T0 + 10)
    driver.fail(request, UNREACHABLE, T0 + 10)
    (probe,) = driver.due(T0 + 10)
    driver.fail(probe, UNREACHABLE, T0 + 10)
    (request,) = driver.due(T0 + 20)
    told = {update.tracked.job_id for update in driver.apply(request, page(), T0 + 20)}
    assert told == set(driver.tracked) - {probe.job_id}, "the probe's job has to be polled first"


def test_rejected_credentials_end_the_waits_of_all_at_once() -> None:
    driver = Driver(MANY)
    (request,) = driver.due(T0)
    error = AirbyteAuthenticationError(status=401, **ABOUT)
    assert len(driver.fail(request, error, T0)) == MANY
    assert driver.due(T0) == []


def test_a_non_retryable_list_error_disables_lists_even_if_the_probe_fails() -> None:
    driver = Driver(MANY)
    (request,) = driver.due(T0)
    driver.fail(request, FORBIDDEN, T0)
    (probe,) = driver.due(T0)
    (update,) = driver.fail(probe, UNREACHABLE, T0)
    assert update.tracked.job_id == probe.job_id
    assert len(ids(driver.due(T0))) == MANY - 1


def test_another_job_is_probed_if_the_first_one_leaves() -> None:
    driver = Driver(MANY)
    (request,) = driver.due(T0)
    driver.fail(request, UNREACHABLE, T0)
    (first,) = driver.due(T0)
    driver.plan.remove(first.job_id)
    (second,) = driver.due(T0)
    assert second.job_id != first.job_id
    assert len(driver.fail(second, UNREACHABLE, T0)) == 1 + MANY - 1


def test_a_page_that_arrives_after_its_round_was_given_up_is_ignored() -> None:
    driver = Driver(300)
    rows = [job(each) for each in driver.tracked]
    (request,) = driver.due(T0)
    driver.apply(request, page(rows[:100], is_last=False), T0)
    (request,) = driver.due(T0)
    driver.apply(request, page(rows[100:200], is_last=False), T0)
    third, fourth = driver.due(T0)
    driver.fail(third, UNREACHABLE, T0)
    assert driver.apply(fourth, page(rows[200:]), T0) == []
    assert len(ids(driver.due(T0))) == 1, "the probe"


# -- time and size ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, MANY])
def test_a_clock_that_was_set_back_delays_no_poll(count: int) -> None:
    driver = Driver(count, interval=600.0)
    for request in driver.due(T0):
        found = page(map(job, driver.tracked)) if isinstance(request, ListUpdated) else job(request.job_id)
        driver.apply(request, found, T0)
    assert driver.due(T0 + 1) == []
    assert driver.due(T0 - 3600) != []


def test_the_heaps_keep_no_more_than_a_few_entries_of_jobs_that_have_gone() -> None:
    plan = PollPlan(lambda: 1.0)
    for job_id in range(1, 5_000):
        plan.change(plan.add(job_id, INTERVAL, T0 + job_id), INTERVAL, T0 + 86400 + job_id)
        if job_id > 10:
            plan.remove(job_id - 10)
    assert len(plan._deadlines._heap) + len(plan._due._heap) <= 2 * (2 * 11 + 64)
    assert len(plan._intervals) == 1


# -- a property ------------------------------------------------------------------------------------------------

LATENCY = 0.1
SLOTS = 4
HORIZON = 400.0

plans = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.floats(0, 60),
            "interval": st.sampled_from([10.0, 10.0, 30.0]),
            "delay": st.floats(0, 1),
            "ends_at": st.floats(0, 200),
            "age": st.sampled_from([0.0, 0.0, 600.0]),
            "is_listed": st.sampled_from([True, True, True, False]),
        }
    ),
    min_size=1,
    max_size=40,
)


class World:
    """An Airbyte with its jobs, a poller with ``SLOTS`` requests in flight at most, and a clock, as an event queue."""

    def __init__(self, jobs: list[dict[str, Any]], failing: set[int]) -> None:
        self.jobs = dict(enumerate(jobs, 1))
        self.failing = failing
        self.plan = PollPlan(lambda: 0.9)
        self.waiting: dict[int, TrackedJob] = {}
        self.told: dict[int, list[float]] = {job_id: [] for job_id in self.jobs}
        self.asked: dict[int, list[float]] = {job_id: [] for job_id in self.jobs}
        self.requests: list[PollRequest] = []

    def show(self, job_id: int, now: float) -> Job:
        return job(job_id, "succeeded" if now >= self.jobs[job_id]["ends_at"] else "running")

    def updated_at(self, job_id: int, now: float) -> float:
        found = self.jobs[job_id]
        ends_at = found["ends_at"]
        return float(ends_at if now >= ends_at else min(found["at"], ends_at) - found["age"])

    def answer(self, request: PollRequest, now: float) -> Job | Page[Job]:
        if isinstance(request, PollById):
            self.asked[request.job_id].append(now)
            return self.show(request.job_id, now)
        listed = [job_id for job_id, each in self.jobs.items() if each["is_listed"] and each["at"] <= now]
        if isinstance(request, ListUpdated):
            for job_id, tracked in self.waiting.items():
                if tracked.is_covered:
                    self.asked[job_id].append(now)
            listed = [job_id for job_id in listed if self.updated_at(job_id, now) >= request.since]
            listed.sort(key=lambda job_id: self.updated_at(job_id, now), reverse=True)
        else:
            listed = [job_id for job_id in listed if self.show(job_id, now).status == request.status]
        found = listed[request.offset : request.offset + 100]
        for job_id in found:
            self.asked[job_id].append(now)
        return page((self.show(job_id, now) for job_id in found), is_last=len(found) < 100, server_time=now)

    def run(self) -> None:
        order = itertools.count()
        events: list[tuple[float, int, Any]] = [(each["at"], next(order), job_id) for job_id, each in self.jobs.items()]
        heapq.heapify(events)
        queue: list[PollRequest] = []
        in_flight = 0
        while events:
            now, _, event = heapq.heappop(events)
            if now > HORIZON:
                return
            if isinstance(event, int):
                each = self.jobs[event]
                first_poll_at = now + each["delay"] * each["interval"]
                self.waiting[event] = self.plan.add(event, each["interval"], first_poll_at)
            elif event is not None:
                in_flight -= 1
                if len(self.requests) in self.failing:
                    list(self.plan.fail(event, UNREACHABLE, now))
                else:
                    for update in self.plan.apply(event, self.answer(event, now), now):
                        job_id = update.tracked.job_id
                        if job_id in self.waiting and isinstance(update.outcome, Job) and update.outcome.is_terminal:
                            self.told[job_id].append(now)
                            del self.waiting[job_id]
                            self.plan.remove(job_id)
            queue += [action for action in self.plan.due(now) if not isinstance(action, Log)]
            while queue and in_flight < SLOTS:
                in_flight += 1
                self.requests.append(queue[0])
                heapq.heappush(events, (now + LATENCY, next(order), queue.pop(0)))
            if self.plan.next_at < HORIZON and self.waiting:
                heapq.heappush(events, (max(self.plan.next_at, now), next(order), None))


@settings(max_examples=150, deadline=None)
@given(plans)
def test_each_job_is_polled_within_its_interval_and_its_end_is_one_update(jobs: list[dict[str, Any]]) -> None:
    world = World(jobs, set())
    world.run()
    slack = LATENCY * (len(jobs) + 20)
    for job_id, each in world.jobs.items():
        (told,) = world.told[job_id]
        assert told - max(each["ends_at"], each["at"]) <= each["interval"] + slack
        first = each["at"] + each["delay"] * each["interval"]
        asked = [first, *(at for at in world.asked[job_id] if at <= told)]
        gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert max(gaps) <= each["interval"] + slack
    intervals = max(told[0] for told in world.told.values()) / 9 + 1
    hidden = sum(not each["is_listed"] for each in jobs)
    by_id = (LIST_THRESHOLD + hidden) * intervals
    assert len(world.requests) <= 2 * intervals + by_id + 8 * len(jobs)


@settings(max_examples=150, deadline=None)
@given(plans, st.sets(st.integers(1, 200), max_size=60))
def test_no_job_is_forgotten_whichever_requests_fail(jobs: list[dict[str, Any]], failing: set[int]) -> None:
    world = World(jobs, failing)
    world.run()
    assert {job_id: len(told) for job_id, told in world.told.items()} == dict.fromkeys(world.jobs, 1)
