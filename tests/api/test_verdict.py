from __future__ import annotations

import json

import pytest

from airflow_provider_airbyte_api.api import errors
from airflow_provider_airbyte_api.api.models import Job, JobStatus
from airflow_provider_airbyte_api.api.verdict import Seen, require_success, result_of
from tests.api.talk import CONNECTION, job

URL = "https://airbyte.example/job"
SEEN = Seen("Mine", URL, 17)
VERDICTS: dict[str, type[errors.AirbyteError] | None] = {
    "pending": errors.AirbyteJobError,
    "queued": errors.AirbyteJobError,
    "running": errors.AirbyteJobError,
    "incomplete": errors.AirbyteJobError,
    "succeeded": None,
    "failed": errors.AirbyteJobFailedError,
    "cancelled": errors.AirbyteJobCancelledError,
}


@pytest.mark.parametrize("status", [*JobStatus, "a word nobody knows"])
def test_every_status_has_a_verdict_and_only_one_is_success(status: str) -> None:
    word = status.value if isinstance(status, JobStatus) else status
    verdict = VERDICTS.get(word, errors.AirbyteJobError)
    finished = Job.from_json(job(7, word, rowsSynced=1200, bytesSynced=5000, duration="PT1M"))
    if verdict is None:
        require_success(finished, SEEN)
        return
    with pytest.raises(errors.AirbyteJobError) as caught:
        require_success(finished, SEEN)
    assert type(caught.value) is verdict
    for words in ("Job 7", CONNECTION, "1,200 rows", "5,000 bytes", "60 s", URL, "'Mine'", "looked at 17 times"):
        assert words in str(caught.value)


def test_a_result_is_json_with_none_for_what_airbyte_does_not_say() -> None:
    result = result_of(Job.from_json(job(7, "succeeded")), URL)
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
