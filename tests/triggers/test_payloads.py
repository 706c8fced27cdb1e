"""An event of a trigger can be encoded as Airflow encodes it, and anything that is none is refused."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api.jobs import WaitResult
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.outcome import build_asset_event_extra, build_result
from airflow_provider_airbyte_api.triggers import _payloads

ODD: list[Any] = [None, True, 0, -1, 1.5, 1e999, 2**70, 10**400, "", "x", "\ud83d", [], ["x"], {}, {"x": 1}, set()]


def encode(value: Any) -> None:
    """Encode as a triggerer, a task and the database do."""
    msgspec = pytest.importorskip("msgspec")
    serde = pytest.importorskip("airflow.sdk.serde")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value)) == value
    assert "\\u0000" not in json.dumps(serde.serialize(value), allow_nan=False)


@pytest.mark.parametrize("odd", [2**70, 1e999, "\ud83d", "\x00", "x" * 100_000, [[]], {"__classname__": "x"}])
def test_whatever_a_job_holds_its_event_and_its_result_can_be_encoded(odd: Any) -> None:
    fields = ("jobType", "connectionId", "startTime", "lastUpdatedAt", "duration", "rowsSynced", "bytesSynced", "more")
    job = Job.from_json({"jobId": 1, "status": "succeeded", **dict.fromkeys(fields, odd)})
    event = _payloads.job_payload(WaitResult(job, 2), {"name": odd})
    encode(event)
    encode(build_asset_event_extra(job, str(odd), str(odd), str(odd)))
    encode(build_result(job, None))
    assert len(json.dumps({**event, "metadata": None})) < 20_000
    assert _payloads.parse(event).job is not None


@pytest.mark.parametrize("odd", ["\ud83d", "\x00", "x" * 100_000])
def test_whatever_a_server_says_the_event_of_its_error_can_be_encoded(odd: str) -> None:
    error = exceptions.AirbytePermissionError(method="GET", url=odd, status=403, detail=odd, retry_after=1e999)
    event = _payloads.error_payload(2**70, error, {})
    encode(event)
    assert len(json.dumps(event)) < 50_000
    again = _payloads.parse(event).error
    assert isinstance(again, exceptions.AirbytePermissionError)
    assert again.status == 403


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_whatever_an_event_holds_it_is_refused_or_read_and_never_success(odd: Any) -> None:
    job = {"jobId": 1, "status": "succeeded"}
    good = {"status": "succeeded", "job_id": 1, "job": job, "poll_count": 1, "error": None, "metadata": {}}
    bad = {**good, "status": "error"}
    tries: list[Any] = [
        odd,
        {"status": odd},
        *({**good, name: odd} for name in ("status", "job_id", "job")),
        *({**bad, name: odd} for name in ("job_id", "error", "metadata", "poll_count", "job")),
        {**good, "job": {**job, "jobId": odd if odd is not True else 2}},
        {**good, "job": {**job, "status": odd}},
        {**bad, "error": {"type": odd, "message": odd, "fields": odd}},
    ]
    refusals: list[str] = []
    for event in tries:
        try:
            told = _payloads.parse(event)
        except exceptions.AirbyteTriggerEventError as error:
            refusals.append(str(error))
        else:
            assert told.error is not None or told.job is None or told.job == Job.from_json(job)
    assert max(map(len, refusals)) < 1500


@pytest.mark.parametrize("name", ["poll_count", "metadata"])
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_only_goes_with_an_event_may_be_odd(name: str, odd: Any) -> None:
    told = _payloads.parse({"status": "failed", "job_id": 1, name: odd})
    assert isinstance(told.poll_count, int)
    assert isinstance(told.metadata, dict)


def test_an_error_of_another_version_has_all_fields_of_its_class() -> None:
    for kind in (exceptions.AirbyteServerError, exceptions.AirbyteJobFailedError, exceptions.AirbyteUnreachableError):
        error = exceptions.error_from_dict(
            {"type": kind.__name__, "message": "x", "fields": {"status": "x", "job_id": [], "url": 5}}
        )
        assert type(error) is kind
        assert str(error) == "x"
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == "x"
    assert exceptions.error_from_dict(5).args == ("",)
    told: Any = exceptions.error_from_dict(
        {"type": "AirbyteServerError", "fields": {"status": "x", "retry_after": "x"}}
    )
    assert (told.status, told.retry_after, told.detail) == (0, None, "")
