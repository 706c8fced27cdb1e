from __future__ import annotations

import json

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api.models import TERMINAL_STATUSES, Job
from airflow_provider_airbyte_api.api.outcome import (
    JobContext,
    build_result,
    may_be_a_false_success,
    raise_unless_succeeded,
    require_rows,
)
from airflow_provider_airbyte_api.types import JobStatus
from tests.helpers.scripted_driver import CONNECTION, job

URL = "https://airbyte.example/job"
SEEN = JobContext("Mine", URL, 17)
VERDICTS: dict[str, type[exceptions.AirbyteError] | None] = {
    "pending": exceptions.AirbyteJobError,
    "queued": exceptions.AirbyteJobError,
    "running": exceptions.AirbyteJobError,
    "incomplete": exceptions.AirbyteJobError,
    "succeeded": None,
    "failed": exceptions.AirbyteJobFailedError,
    "cancelled": exceptions.AirbyteJobCancelledError,
}


@pytest.mark.parametrize("status", [*JobStatus, "a word nobody knows"])
def test_every_status_has_a_verdict_and_only_one_is_success(status: str) -> None:
    word = status.value if isinstance(status, JobStatus) else status
    verdict = VERDICTS.get(word, exceptions.AirbyteJobError)
    finished = Job.from_json(job(7, word, rowsSynced=1200, bytesSynced=5000, duration="PT1M"))
    if verdict is None:
        raise_unless_succeeded(finished, SEEN)
        return
    with pytest.raises(exceptions.AirbyteJobError) as caught:
        raise_unless_succeeded(finished, SEEN)
    assert type(caught.value) is verdict
    text = str(caught.value)
    for words in ("job 7", CONNECTION, "1,200 rows", "5,000 bytes", "60 s", "'Mine'", "polled 17 times"):
        assert words in text
    assert text.startswith(
        f"Sync {word if word in TERMINAL_STATUSES else f'has not finished (status: {word})'}: job 7 of 'Mine'"
    ), "what happened first"
    assert text.splitlines()[-1] == URL, "a line of its own"


def test_a_result_is_json_with_none_for_missing_fields() -> None:
    result = build_result(Job.from_json(job(7, "succeeded")), URL)
    assert json.loads(json.dumps(result)) == {
        "job_id": 7,
        "status": "succeeded",
        "connection_id": CONNECTION,
        "job_type": "sync",
        "rows_synced": None,
        "bytes_synced": None,
        "duration_seconds": None,
        "start_time": None,
        "job_url": URL,
    }


@pytest.mark.parametrize(
    ("moved", "suspicious"),
    [
        ({"rowsSynced": 0, "bytesSynced": 0}, True),
        ({}, True),
        ({"rowsSynced": 1, "bytesSynced": 0}, False),
        ({"bytesSynced": 9}, False),
    ],
    ids=str,
)
def test_a_success_that_moved_nothing_may_be_none(moved: dict[str, int], suspicious: bool) -> None:
    assert may_be_a_false_success(Job.from_json(job(7, "succeeded", **moved))) is suspicious


@pytest.mark.parametrize(
    ("moved", "min_rows", "words"),
    [
        ({"rowsSynced": 9}, 10, "moved 9 rows, min_rows is 10"),
        ({}, 1, "moved an unknown number of rows, min_rows is 1"),
        ({"rowsSynced": 10}, 10, None),
        ({}, 0, None),
        ({}, None, None),
    ],
    ids=str,
)
def test_too_few_rows_are_an_error_that_says_that_the_sync_succeeded(
    moved: dict[str, int], min_rows: int | None, words: str | None
) -> None:
    finished = Job.from_json(job(7, "succeeded", **moved))
    if words is None:
        require_rows(finished, min_rows, SEEN)
        return
    with pytest.raises(exceptions.AirbyteJobError) as caught:
        require_rows(finished, min_rows, SEEN)
    text = str(caught.value)
    assert text.startswith("Too few rows: job 7 of 'Mine'")
    assert words in text
    assert "The sync itself succeeded" in text
    assert text.splitlines()[-1] == URL
