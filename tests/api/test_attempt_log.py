"""The end of an attempt's log, in both forms of Airbyte's internal API."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api.api.attempt_log import MAX_LOG_TAIL, parse_log_tail


def events(*lines: tuple[str, str]) -> dict[str, Any]:
    found = [{"level": level, "message": text, "logSource": "source", "timestamp": 1} for level, text in lines]
    return {"logType": "structured", "logs": {"events": found, "version": "1"}}


def lines(*texts: object) -> dict[str, Any]:
    return {"logType": "formatted", "logs": {"logLines": list(texts)}}


LOG = (("info", "a"), ("error", "b"), ("info", "c"), ("warn", "d"), ("info", "e"), ("info", "f"))


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, ""), (1, "d"), (2, "bd"), (3, "bdf"), (4, "bdef"), (6, "abcdef"), (99, "abcdef")],
)
def test_errors_and_warnings_come_before_other_lines(count: int, shown: str) -> None:
    found = parse_log_tail(events(*LOG), count)
    assert [line[-1] for line in found] == list(shown)
    text = lines(*(f"2026-08-21 10:15:30 \x1b[32m{level.upper()}\x1b[m i.a.Main:1 - {text}" for level, text in LOG))
    assert [line[-1] for line in parse_log_tail(text, count)] == list(shown)


def test_a_line_has_its_level_and_source() -> None:
    assert parse_log_tail(events(("error", "It broke.\nAnd more")), 5) == ["ERROR source: It broke. And more"]
    assert parse_log_tail(lines("12:00 \x1b[31mERROR\x1b[m x"), 5) == ["12:00 ERROR x"]


@pytest.mark.parametrize("body", [None, [], {}, {"logs": None}, {"logs": []}, {"logs": "text"}])
def test_a_body_without_a_log_is_refused(body: object) -> None:
    with pytest.raises(TypeError, match="no object named logs"):
        parse_log_tail(body, 5)


@pytest.mark.parametrize(
    "logs",
    [{}, {"events": None}, {"events": []}, {"logLines": None}, {"logLines": [None, 5, {}]}, {"events": {}}],
)
def test_an_empty_log_has_no_lines(logs: dict[str, Any]) -> None:
    assert parse_log_tail({"logs": logs}, 5) == []


def test_odd_events_are_lines() -> None:
    body = {"logs": {"events": [None, 5, {"level": 7, "message": None}, {"message": "x"}, {"level": "ERROR"}]}}
    assert parse_log_tail(body, 5) == ["", "", "", "x", "ERROR: "]


def test_what_is_shown_is_bounded_and_masked() -> None:
    found = parse_log_tail(
        events(*[("error", "secret" + "x" * 2**20)] * 5_000), 10**9, lambda text: text.replace("secret", "***")
    )
    assert len(found) == MAX_LOG_TAIL
    assert all(len(line) <= 1_001 and "secret" not in line and "***" in line for line in found)
