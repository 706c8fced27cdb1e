"""The parser of a job's failures, over the shapes that Airbyte's internal API has had."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_airbyte_api.api.failure_reason import (
    MAX_ATTEMPTS,
    MAX_MESSAGE,
    attempt_lines,
    internal_lines,
    parse_failure_reason,
    reason_from_dict,
    reason_to_dict,
)
from airflow_provider_airbyte_api.types import Failure, FailureReason, JobAttempt

ENDED_AT = datetime(2026, 3, 1, 2, 13, 10, tzinfo=timezone.utc)
SECONDS = int(ENDED_AT.timestamp())


def failure(origin: str | None = "source", kind: str | None = "system_error", message: str | None = "It broke") -> Any:
    return {
        "failureOrigin": origin,
        "failureType": kind,
        "externalMessage": message,
        "internalMessage": "POST https://internal returned hunter2",
        "stacktrace": "java.lang.RuntimeException: hunter2\n\tat io.airbyte.Main",
        "timestamp": SECONDS * 1000,
    }


def attempt(number: int, *failures: Any, status: str = "failed", **more: Any) -> dict[str, Any]:
    summary = {"failureSummary": {"failures": list(failures), "partialSuccess": False}} if failures else {}
    return {"attempt": {"id": number, "status": status, "endedAt": SECONDS, **summary, **more}}


def body(*attempts: Any) -> dict[str, Any]:
    return {"job": {"id": 7, "status": "failed"}, "attempts": list(attempts)}


CANCELLATION = failure(None, "manual_cancellation", "This attempt was cancelled")
WRONG_PASSWORD = failure("source", "config_error", "The password is wrong.")

REASONS: dict[str, tuple[Any, str]] = {
    "one failure": (body(attempt(0, WRONG_PASSWORD)), "source, config_error: The password is wrong."),
    "several in one attempt, the first with a message": (
        body(
            attempt(
                0,
                failure("replication", None, None),
                WRONG_PASSWORD,
                failure("destination", "system_error", "Broken pipe"),
            )
        ),
        "source, config_error: The password is wrong.",
    ),
    "several attempts, the last one": (
        body(attempt(0, failure("source", "transient_error", "Reset")), attempt(1, WRONG_PASSWORD)),
        "source, config_error: The password is wrong.",
    ),
    "attempts in another order": (
        body(attempt(1, WRONG_PASSWORD), attempt(0, failure("source", "transient_error", "Reset"))),
        "source, config_error: The password is wrong.",
    ),
    "a last attempt that is only the cancellation": (
        body(attempt(0, WRONG_PASSWORD), attempt(1, CANCELLATION)),
        "source, config_error: The password is wrong.",
    ),
    "a last attempt without failures": (
        body(attempt(0, WRONG_PASSWORD), attempt(1)),
        "source, config_error: The password is wrong.",
    ),
    "only a cancellation": (body(attempt(0, CANCELLATION)), "manual_cancellation: This attempt was cancelled"),
    "no message": (body(attempt(0, failure("source", "heartbeat_timeout", None))), "source, heartbeat_timeout"),
    "no type": (body(attempt(0, failure("destination", None, "Full"))), "destination: Full"),
    "no origin": (body(attempt(0, failure(None, "system_error", "Out of memory"))), "system_error: Out of memory"),
    "only a message": (body(attempt(0, failure(None, None, "Out of memory"))), "Out of memory"),
    "an empty failure": (body(attempt(0, {})), ""),
    "no failures in the summary": (body(attempt(0, failureSummary={"failures": [], "partialSuccess": True})), ""),
    "a summary that is null": (body(attempt(0, failureSummary=None)), ""),
    "no summary": (body(attempt(0)), ""),
    "no attempt": (body(), ""),
    "bare attempts, as in jobs/list": (
        body(attempt(0, WRONG_PASSWORD)["attempt"]),
        "source, config_error: The password is wrong.",
    ),
    "values of other types": (
        body(
            {
                "attempt": {
                    "id": "x",
                    "status": 1,
                    "endedAt": [],
                    "failureSummary": {"failures": [7, None, WRONG_PASSWORD]},
                }
            }
        ),
        "source, config_error: The password is wrong.",
    ),
    "attempts of other types": (body(None, 7, "x", []), ""),
    "a message of several lines with control characters": (
        body(attempt(0, failure(message="Line one\nline\ttwo\x1b[31m\u202e"))),
        "source, system_error: Line one line two [31m ",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_each_shape_has_a_reason_or_none(case: str) -> None:
    value, expected = REASONS[case]
    reason = parse_failure_reason(json.loads(json.dumps(value)))
    assert str(reason) == expected
    assert len(reason.attempts) == len(value["attempts"])


@pytest.mark.parametrize(
    "attempts", [[attempt(0, WRONG_PASSWORD), attempt(1, WRONG_PASSWORD, CANCELLATION)], [attempt(0, CANCELLATION)]]
)
def test_the_reason_of_a_cancelled_job_is_its_cancellation(attempts: list[Any]) -> None:
    assert parse_failure_reason(body(*attempts), cancelled=True).kind == "manual_cancellation"


def test_a_cancelled_job_without_a_recorded_cancellation_has_its_last_failure() -> None:
    assert parse_failure_reason(body(attempt(0, WRONG_PASSWORD)), cancelled=True).kind == "config_error"


@pytest.mark.parametrize("value", [None, 7, "text", [], {}, {"attempts": None}, {"attempts": {}}, {"job": {}}])
def test_json_without_attempts_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no list named attempts"):
        parse_failure_reason(value)


@pytest.mark.parametrize("ended_at", [SECONDS, SECONDS * 1000, float(SECONDS)])
def test_times_in_seconds_and_in_milliseconds_are_the_same(ended_at: float) -> None:
    (found,) = parse_failure_reason(body(attempt(0, WRONG_PASSWORD, endedAt=ended_at))).attempts
    assert found.ended_at == ENDED_AT


@pytest.mark.parametrize("ended_at", [None, "soon", -1, True, 1e300, float("nan")])
def test_a_time_that_is_none_is_left_out(ended_at: object) -> None:
    (found,) = parse_failure_reason(body(attempt(0, WRONG_PASSWORD, endedAt=ended_at))).attempts
    assert found.ended_at is None


def test_a_message_of_a_megabyte_is_cut() -> None:
    reason = parse_failure_reason(body(attempt(0, failure(message="x" * 2**20))))
    assert len(reason.message or "") == MAX_MESSAGE
    assert len(json.dumps(reason_to_dict(reason))) < 3 * MAX_MESSAGE


def test_many_attempts_and_failures_are_cut_to_the_last_ones() -> None:
    reason = parse_failure_reason(body(*(attempt(each, *[WRONG_PASSWORD] * 100) for each in range(1000))))
    assert [each.number for each in reason.attempts] == list(range(1001 - MAX_ATTEMPTS, 1001))
    assert len(json.dumps(reason_to_dict(reason))) < 32 * 1024


@pytest.mark.parametrize("number", [-1, 2**63 - 1, 2**70, "0", None, True])
def test_a_number_that_is_none_is_the_place_in_the_list(number: object) -> None:
    (found,) = parse_failure_reason(body({"attempt": {"id": number}})).attempts
    assert found.number == 1


def test_a_secret_is_masked_before_the_message_is_cut() -> None:
    text = "x" * (MAX_MESSAGE - 3) + "hunter2"
    reason = parse_failure_reason(
        body(attempt(0, failure(message=text))), mask=lambda each: each.replace("hunter2", "***")
    )
    assert "hun" not in (reason.message or "")


def test_a_reason_has_nothing_internal() -> None:
    reason = parse_failure_reason(body(attempt(0, WRONG_PASSWORD)))
    assert "hunter2" not in repr(reason) + "".join(attempt_lines(reason))


def test_the_log_has_a_line_for_each_failure_of_each_attempt() -> None:
    reason = parse_failure_reason(
        body(attempt(0, failure("source", "transient_error", "Reset"), failure("destination", None, None)), attempt(1))
    )
    assert list(attempt_lines(reason)) == [
        "Attempt 1 of 2 (failed, 2026-03-01 02:13:10 UTC): source, transient_error: Reset",
        "Attempt 1 of 2 (failed, 2026-03-01 02:13:10 UTC): destination",
        "Attempt 2 of 2 (failed, 2026-03-01 02:13:10 UTC): Airbyte recorded no reason.",
    ]


def test_an_attempt_that_still_runs_or_succeeded_has_a_line() -> None:
    attempts = (JobAttempt(1, "succeeded"), JobAttempt(2, "running"))
    assert list(attempt_lines(FailureReason(attempts=attempts))) == [
        "Attempt 1 of 2 (succeeded).",
        "Attempt 2 of 2 (running): Airbyte recorded no reason.",
    ]


def test_internal_messages_are_lines_of_their_own() -> None:
    lines = list(internal_lines(body(attempt(0, WRONG_PASSWORD)), lambda each: each.replace("hunter2", "***")))
    assert lines == [
        "Attempt 1, internal message: POST https://internal returned ***",
        "java.lang.RuntimeException: ***",
        " at io.airbyte.Main",
    ]


def test_a_reason_survives_json() -> None:
    reason = parse_failure_reason(body(attempt(0, WRONG_PASSWORD), attempt(1, failure(message=None), endedAt=None)))
    assert reason_from_dict(json.loads(json.dumps(reason_to_dict(reason)))) == reason


@pytest.mark.parametrize("value", [None, 7, "x", [], {}])
def test_json_that_is_no_reason_gives_none(value: object) -> None:
    assert reason_from_dict(value) is None


def test_a_reason_of_another_version_is_read_as_far_as_it_goes() -> None:
    assert reason_from_dict({"kind": "config_error", "attempts": [{"failures": [{"kind": 7}]}, 8], "new": 1}) == (
        FailureReason(
            None, "config_error", None, (JobAttempt(1, "unknown", None, (Failure(),)), JobAttempt(2, "unknown"))
        )
    )
