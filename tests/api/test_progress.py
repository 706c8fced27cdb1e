"""What a wait logs of rows and bytes, and when it counts a job as stalled: numbers and times go in."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.progress import Progress, ReportSchedule, format_rate
from airflow_provider_airbyte_api.api.wait import JobWait, Poll, WaitOptions
from airflow_provider_airbyte_api.exceptions import AirbyteJobStalledError, AirbyteUnreachableError
from airflow_provider_airbyte_api.types import JobStatus

START = 1_700_000_000.0
DOWN = AirbyteUnreachableError("no reply")


def job(rows: int | None = 0, size: int | None = 0, status: str = JobStatus.RUNNING) -> Job:
    return Job.from_json(
        {
            "jobId": 7,
            "status": status,
            "jobType": "sync",
            "startTime": datetime.fromtimestamp(START, timezone.utc).isoformat(),
            "rowsSynced": rows,
            "bytesSynced": size,
        }
    )


def feed(*samples: tuple[float, Job]) -> list[str]:
    """Return the lines for jobs at the given seconds after the start; the first one is logged elsewhere."""
    progress = Progress(START)
    (at, first), *others = samples
    progress.restart(first, START + at)
    lines = (progress.feed(each, START + at) for at, each in others)
    return [line.message % line.arguments for line in lines if line is not None]


@pytest.mark.parametrize(
    ("samples", "lines"),
    [
        pytest.param([(0, job()), (30, job(5, 50)), (59, job(9, 90))], [], id="at most one line in a minute"),
        pytest.param(
            [(0, job()), (30, job(500, 1_000)), (60, job(1_200, 120_000))],
            ["Job 7 is still running, 1 min after its start: 1,200 rows, 120,000 bytes (20 rows/s, 2,000 bytes/s)."],
            id="with the rate",
        ),
        pytest.param(
            [(0, job(1_000_000, 5)), (60, job(1_000_060, 5))],
            ["Job 7 is still running, 1 min after its start: 1,000,060 rows, 5 bytes (1 rows/s, 0 bytes/s)."],
            id="the rate is that since the wait began",
        ),
        pytest.param(
            [(0, job(100, 100)), (120, job(10, 10))],
            ["Job 7 is still running, 2 min after its start: 10 rows, 10 bytes."],
            id="a new attempt begins again",
        ),
        pytest.param([(0, job(9, 9)), (300, job(9, 9)), (599, job(9, 9))], [], id="no line while they stand still"),
        pytest.param(
            [(0, job()), (60, job(9, 9)), (180, job(9, 9)), (660, job(9, 9))],
            [
                "Job 7 is still running, 1 min after its start: 9 rows, 9 bytes (0 rows/s, 0 bytes/s).",
                "Job 7 is still running, 11 min after its start: 9 rows, 9 bytes, unchanged for 10 min.",
            ],
            id="every ten minutes when they stand still",
        ),
        pytest.param(
            [(0, job()), (600, job())], ["Job 7 is still running, 10 min after its start."], id="nothing moved yet"
        ),
        pytest.param(
            [(0, job(9, 9)), (60, job(None, None)), (600, job(None, None))],
            ["Job 7 is still running, 10 min after its start: 9 rows, 9 bytes, unchanged for 10 min."],
            id="a list that omits them changes nothing",
        ),
        pytest.param(
            [(0, job(None, None)), (60, job(90, None))],
            ["Job 7 is still running, 1 min after its start: 90 rows."],
            id="no rate from an unknown number",
        ),
    ],
)
def test_the_lines_of_a_running_job(samples: list[tuple[float, Job]], lines: list[str]) -> None:
    assert feed(*samples) == lines


def test_a_rate_is_never_infinite() -> None:
    assert format_rate((0, 0), (5, 5), 0.0) == "5 rows/s, 5 bytes/s"


def test_a_report_is_due_on_a_change_and_at_most_every_15_seconds() -> None:
    reports = ReportSchedule()
    assert reports.is_due(job(), START)
    reports.on_report(job(), START)
    assert not reports.is_due(job(), START + 100)
    assert not reports.is_due(job(1, 1), START + 14)
    assert reports.is_due(job(1, 1), START + 15)
    assert reports.is_due(job(1, 1, JobStatus.FAILED), START + 1), "an end is always reported"


# -- stalled ---------------------------------------------------------------------------------------------------


def waiting(**options: Any) -> JobWait:
    return JobWait(7, WaitOptions(30.0, **{"stalled_timeout": 600.0, **options}), START)


def test_a_job_that_stands_still_is_polled_at_its_limit_and_has_stalled() -> None:
    wait = waiting()
    wait.on_poll(job(5, 5), START)
    step = wait.on_poll(job(5, 5), START + 590)
    assert isinstance(step, Poll)
    assert step.at == step.deadline == START + 600
    with pytest.raises(AirbyteJobStalledError, match=r"not changed for 600 s \(5 rows, 5 bytes\)") as caught:
        wait.on_poll(job(5, 5), START + 600)
    assert caught.value.job_id == 7


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([(300, job(6, 5)), (899, job(6, 5))], id="a row moved"),
        pytest.param([(300, job(5, 6)), (899, job(5, 6))], id="a byte moved"),
        pytest.param([(300, job(0, 0)), (899, job(0, 0))], id="a new attempt began again"),
        pytest.param([(300, job(5, 5, "incomplete")), (2_000, job(5, 5, "incomplete"))], id="between two attempts"),
        pytest.param([(590, job(5, 5, "incomplete")), (601, job(5, 5)), (1_200, job(5, 5))], id="the next attempt"),
    ],
)
def test_a_job_that_moves_has_not_stalled(others: list[tuple[float, Job]]) -> None:
    wait = waiting()
    wait.on_poll(job(5, 5), START)
    for at, each in others:
        assert isinstance(wait.on_poll(each, START + at), Poll)


@pytest.mark.parametrize("status", ["pending", "queued"])
def test_a_job_in_the_queue_has_not_stalled(status: str) -> None:
    wait = waiting()
    for at in (0, 600, 6_000):
        assert isinstance(wait.on_poll(job(0, 0, status), START + at), Poll)


def test_a_job_whose_numbers_are_unknown_has_not_stalled() -> None:
    wait = waiting()
    for at in (0, 600, 6_000):
        assert isinstance(wait.on_poll(job(None, None), START + at), Poll)


def test_an_outage_is_not_a_stall() -> None:
    wait = waiting(unreachable_timeout=7_200.0)
    wait.on_poll(job(5, 5), START)
    step = wait.on_poll(DOWN, START + 590)
    assert isinstance(step, Poll)
    assert step.at > START + 600
    assert isinstance(wait.on_poll(DOWN, START + 700), Poll)
    assert isinstance(wait.on_poll(job(6, 6), START + 3_600), Poll)


def test_numbers_from_before_the_limit_prove_no_stall() -> None:
    wait = waiting()
    wait.on_poll(job(5, 5), START)
    step = wait.on_poll(job(5, 5), START + 700, seen_at=START + 300)
    assert isinstance(step, Poll)
    assert step.at <= START + 700, "it is polled at once"
    assert isinstance(wait.on_poll(job(6, 5), START + 701, seen_at=START + 700), Poll)
    with pytest.raises(AirbyteJobStalledError):
        wait.on_poll(job(6, 5), START + 1_301, seen_at=START + 1_301)


def test_without_a_limit_no_job_stalls() -> None:
    wait = JobWait(7, WaitOptions(30.0), START)
    for at in (0, 600, 600_000):
        assert isinstance(wait.on_poll(job(5, 5), START + at), Poll)
