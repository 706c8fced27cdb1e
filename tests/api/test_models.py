from __future__ import annotations

import pytest

from airflow_provider_airbyte_api.api.errors import AirbyteConfigError
from airflow_provider_airbyte_api.api.models import Connection, Job, JobStatus, Source, valid_job_id, valid_uuid

UUID = "9924bcd0-99be-453d-ba47-c2c9766f7da5"


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_job_is_finished_exactly_when_it_cannot_change(status: JobStatus) -> None:
    job = Job.from_json({"jobId": 1, "status": status.value})
    assert job.is_finished == (status in {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


def test_a_status_nobody_knows_passes_through_and_means_not_finished() -> None:
    job = Job.from_json({"jobId": 1, "status": "rebalancing"})
    assert (job.status, job.is_finished) == ("rebalancing", False)


def test_absent_and_null_are_the_same() -> None:
    assert Job.from_json({"jobId": 1, "status": "pending"}) == Job.from_json(
        {"jobId": 1, "status": "pending", "rowsSynced": None, "duration": None, "connectionId": None}
    )


def test_unknown_fields_are_kept_in_raw() -> None:
    source = Source.from_json({"sourceId": UUID, "name": "Mine", "sourceType": "", "flavour": {"new": True}})
    assert source.source_type == ""
    assert source.raw["flavour"] == {"new": True}


def test_a_configuration_is_in_no_repr() -> None:
    source = Source.from_json({"sourceId": UUID, "name": "Mine", "configuration": {"password": "hunter2"}})
    assert "hunter2" not in repr(source)


def test_a_connection_keeps_a_status_nobody_knows() -> None:
    assert Connection.from_json({"connectionId": UUID, "status": "frozen"}).status == "frozen"


@pytest.mark.parametrize("typed", [UUID, UUID.upper(), f" {UUID} ", UUID.replace("-", "")])
def test_a_uuid_in_any_spelling_is_written_as_airbyte_does(typed: str) -> None:
    assert valid_uuid(typed, "connection_id") == UUID


@pytest.mark.parametrize("value", ["", "None", "my connection", UUID[:-1], 12, None])
def test_what_is_no_uuid_is_refused_by_name_and_value(value: object) -> None:
    with pytest.raises(AirbyteConfigError) as caught:
        valid_uuid(value, "connection_id")
    assert f"connection_id is {value!r}, expected a UUID" in str(caught.value)


@pytest.mark.parametrize(("value", "job_id"), [(7, 7), ("7", 7), (" 12345 ", 12345)])
def test_a_job_id_may_be_what_a_template_renders_to(value: object, job_id: int) -> None:
    assert valid_job_id(value) == job_id


@pytest.mark.parametrize("value", ["None", "", "7.0", 7.5, 0, -3, True, None, "١٢", [7]])
def test_what_is_no_job_id_is_refused_by_value(value: object) -> None:
    with pytest.raises(AirbyteConfigError, match="expected a whole number"):
        valid_job_id(value)
