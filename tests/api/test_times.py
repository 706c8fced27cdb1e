from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_airbyte_api.api.times import parse_duration, parse_timestamp


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-08-21T10:15:30Z", datetime(2026, 8, 21, 10, 15, 30, tzinfo=timezone.utc)),
        ("2026-08-21T10:15Z", datetime(2026, 8, 21, 10, 15, tzinfo=timezone.utc)),
        ("2026-08-21T10:15:30.5Z", datetime(2026, 8, 21, 10, 15, 30, 500_000, tzinfo=timezone.utc)),
        ("2026-08-21T10:15:30.123456789Z", datetime(2026, 8, 21, 10, 15, 30, 123_456, tzinfo=timezone.utc)),
        ("2026-08-21T12:15:30+02:00", datetime(2026, 8, 21, 10, 15, 30, tzinfo=timezone.utc)),
        ("2026-08-21T10:15:30", datetime(2026, 8, 21, 10, 15, 30, tzinfo=timezone.utc)),
    ],
)
def test_timestamps_are_read_with_and_without_seconds(text: str, moment: datetime) -> None:
    assert parse_timestamp(text) == moment


@pytest.mark.parametrize("value", [None, 5, "", "yesterday", "2026-13-45T99:99Z", "0001-01-01T00:00+14:00"])
def test_what_is_no_timestamp_is_none(value: object) -> None:
    assert parse_timestamp(value) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT0S", 0), ("PT5M30S", 330), ("PT25H", 90_000), ("PT8H6M12S", 29_172), ("PT1.5S", 1.5), ("P1DT1S", 86_401)],
)
def test_durations_are_read_as_java_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [None, 5, "", "5 minutes", "P999999999999D"])
def test_what_is_no_duration_is_none(value: object) -> None:
    assert parse_duration(value) is None
