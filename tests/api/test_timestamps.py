from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_airbyte_api.api.timestamps import (
    format_timestamp,
    parse_duration,
    parse_http_date,
    parse_timestamp,
    plausible,
)


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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_000.0), ("Tue, 14 Nov 2023 22:13:20 -0000", 1_700_000_000.0)],
)
def test_a_date_of_http_is_read_in_utc(text: str, seconds: float) -> None:
    assert parse_http_date(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "Tue, 14 Nov 99999999999999999999 22:13:20 GMT",
        "Tue, 14 Nov 2023 22:13:20 +9999999999",
        "Tue, 14 Nov 2023 99:13:20 GMT",
        "\x00",
        ",",
        "Tue, 14 Nov",
    ],
)
def test_a_garbled_date_is_none(text: str) -> None:
    assert parse_http_date(text) is None


def test_a_clock_that_is_years_ahead_is_no_clock() -> None:
    assert plausible(1_700_000_000.0, 1_700_000_000.0 + 3 * 86_400) == 1_700_000_000.0
    assert plausible(1_700_000_000.0, 1_800_000_000.0) is None
    assert plausible(None, 0.0) is None


@pytest.mark.parametrize("moment", [-1e30, 1e30])
def test_any_moment_can_be_written(moment: float) -> None:
    assert format_timestamp(moment)[4] == "-"
