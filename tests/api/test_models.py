from __future__ import annotations

import contextlib
from typing import Any

import pytest

from airflow_provider_airbyte_api.api.models import (
    Connection,
    Destination,
    Job,
    Source,
    Tag,
    Workspace,
    expecting,
    parse_job_id,
    parse_uuid,
)
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError
from airflow_provider_airbyte_api.types import ConnectionStatus, JobStatus, JobType

ODD: list[Any] = [None, True, 0, -1, 1.5, 1e999, 2**70, "", "x", "\ud83d", [], ["x"], [None], {}, {"x": 1}, [[[]]]]
UUID = "9924bcd0-99be-453d-ba47-c2c9766f7da5"


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_job_is_finished_exactly_when_it_cannot_change(status: JobStatus) -> None:
    job = Job.from_json({"jobId": 1, "status": status.value})
    assert job.is_terminal == (status in {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


def test_a_status_nobody_knows_passes_through_and_means_not_finished() -> None:
    job = Job.from_json({"jobId": 1, "status": "rebalancing"})
    assert (job.status, job.is_terminal) == ("rebalancing", False)


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
    assert parse_uuid(typed, "connection_id") == UUID


@pytest.mark.parametrize("value", ["", "None", "my connection", UUID[:-1], 12, None])
def test_what_is_no_uuid_is_refused_by_name_and_value(value: object) -> None:
    with pytest.raises(AirbyteConfigError) as caught:
        parse_uuid(value, "connection_id")
    assert f"connection_id is {value!r}, expected a UUID" in str(caught.value)


@pytest.mark.parametrize(("value", "job_id"), [(7, 7), ("7", 7), (" 12345 ", 12345)])
def test_a_job_id_may_be_what_a_template_renders_to(value: object, job_id: int) -> None:
    assert parse_job_id(value) == job_id


@pytest.mark.parametrize("value", ["None", "", "7.0", 7.5, 0, -3, True, None, "١٢", [7], 2**63])
def test_what_is_no_job_id_is_refused_by_value(value: object) -> None:
    with pytest.raises(AirbyteConfigError, match="expected a whole number"):
        parse_job_id(value)


def test_a_job_id_of_5000_digits_is_refused_too() -> None:
    with pytest.raises(AirbyteConfigError, match="job_id is a value of type int"):
        parse_job_id(10**5000)


@pytest.mark.parametrize("job_id", [2**63, "9" * 5000, True, 1.9, 1e999, 0, -1, "", "x", None, [], {}])
def test_a_job_whose_id_is_no_positive_64_bit_integer_cannot_be_read(job_id: object) -> None:
    with pytest.raises(ValueError, match="jobId is"):
        Job.from_json({"jobId": job_id, "status": "running"})


def test_a_jobs_id_may_be_written_as_text() -> None:
    assert Job.from_json({"jobId": "5", "status": "running"}).job_id == 5


@pytest.mark.parametrize("read", [Job, Connection, Source, Destination, Tag, Workspace])
@pytest.mark.parametrize("value", ODD)
def test_any_json_is_read_or_refused_with_a_documented_error(read: Any, value: Any) -> None:
    fields = (
        "jobId",
        "status",
        "connectionId",
        "sourceId",
        "destinationId",
        "tagId",
        "workspaceId",
        "name",
        "rowsSynced",
    )
    rows = [value, dict.fromkeys(fields, value), {**dict.fromkeys(fields, "1"), "duration": value, "startTime": value}]
    for row in rows:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            read.from_json(row)


@pytest.mark.parametrize("count", [2**63, -1, True, 1.5, "5", [], None])
def test_a_count_that_is_no_64_bit_integer_is_absent(count: object) -> None:
    job = Job.from_json({"jobId": 1, "status": "succeeded", "rowsSynced": count, "bytesSynced": count})
    assert (job.rows_synced, job.bytes_synced) == (None, None)


def test_what_is_shown_of_a_job_or_a_connection_is_one_bounded_line_of_utf_8() -> None:
    odd = "a\x1b[2J\nb\ud83d" + "x" * 2000
    job = Job.from_json({"jobId": 1, "status": odd, "jobType": odd, "connectionId": odd})
    connection = Connection.from_json({"connectionId": odd, "name": odd})
    for text in (job.status, job.job_type, job.connection_id, connection.name):
        assert text.isprintable()
        assert len(text.encode()) < 1100


@pytest.mark.parametrize("value", ODD)
def test_a_schedule_tags_or_streams_of_another_type_count_as_absent(value: Any) -> None:
    for raw in (
        {"schedule": value, "tags": value, "configurations": value},
        {"tags": [value], "configurations": {"streams": value}},
        {"tags": [{"tagId": value}], "configurations": {"streams": [value]}},
    ):
        connection = Connection.from_json({"connectionId": UUID, **raw})
        assert (connection.schedule_type, connection.streams) == ("manual", ())
        assert all(isinstance(tag.tag_id, str) for tag in connection.tags)


def test_a_reply_about_something_else_cannot_be_read() -> None:
    parse = expecting(Job.from_json, job_id=1, connection_id=UUID)
    assert parse({"jobId": 1, "status": "running", "connectionId": UUID.upper()}).job_id == 1
    assert parse({"jobId": 1, "status": "running"}).job_id == 1
    with pytest.raises(ValueError, match="its job_id is 999, expected 1"):
        parse({"jobId": 999, "status": "succeeded"})
    with pytest.raises(ValueError, match="its connection_id is x, expected"):
        parse({"jobId": 1, "status": "succeeded", "connectionId": "x"})


@pytest.mark.parametrize("spelling", [" {} \n", "{{{}}}", "urn:uuid:{}"])
def test_an_id_is_expected_in_whatever_spelling_it_is_asked_for(spelling: str) -> None:
    read = expecting(Connection.from_json, connection_id=spelling.format(UUID.upper()))
    assert read({"connectionId": UUID}).connection_id == UUID
    with pytest.raises(ValueError, match="expected"):
        read({"connectionId": UUID[:-1] + "6"})


@pytest.mark.parametrize("word", [*JobStatus, *JobType, *ConnectionStatus])
def test_a_member_is_its_text_wherever_text_is_made(word: JobStatus | JobType | ConnectionStatus) -> None:
    assert (str(word), f"{word}", hash(word)) == (word.value, word.value, hash(word.value))
