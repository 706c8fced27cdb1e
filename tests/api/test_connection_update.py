"""Only what is different is changed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api.connection_update import parse_update, update_connection
from airflow_provider_airbyte_api.api.models import Connection
from tests.helpers.scripted_driver import CONNECTION, ScriptedDriver, no_response, reply

MANUAL = {"scheduleType": "manual"}
CRON = {"scheduleType": "cron", "cronExpression": "0 0 5 * * ? UTC"}
BASIC = {"scheduleType": "basic", "basicTiming": "Every 24 HOURS"}


def connection(status: str = "active", schedule: dict[str, str] | None = None) -> dict[str, Any]:
    return {"connectionId": CONNECTION, "name": "Mine", "status": status, "schedule": schedule or MANUAL}


@pytest.mark.parametrize(
    ("now", "wanted", "body"),
    [
        (connection(), {"status": "inactive"}, {"status": "inactive"}),
        (connection("inactive"), {"status": "active", "schedule": "manual"}, {"status": "active"}),
        (connection(schedule=CRON), {"schedule": "manual"}, {"schedule": MANUAL}),
        (connection(schedule=BASIC), {"schedule": "manual"}, {"schedule": MANUAL}),
        (
            connection(schedule=CRON),
            {"schedule": "0 0 6 * * ?"},
            {"schedule": {"scheduleType": "cron", "cronExpression": "0 0 6 * * ?"}},
        ),
        (
            connection(schedule={"scheduleType": "cron", "cronExpression": "0 0 5 * * ? Europe/Berlin"}),
            {"schedule": "0 0 5 * * ?"},
            {"schedule": {"scheduleType": "cron", "cronExpression": "0 0 5 * * ?"}},
        ),
    ],
)
def test_only_changed_fields_are_sent(now: dict[str, Any], wanted: dict[str, str], body: dict[str, Any]) -> None:
    driver = ScriptedDriver([reply(200, {**now, **body})])
    change = parse_update(wanted.get("status"), wanted.get("schedule"))
    driver.run(update_connection(Connection.from_json(now), change))
    assert driver.calls == [f"PATCH /connections/{CONNECTION}"]
    assert driver.sent[0].json == body


@pytest.mark.parametrize(
    ("now", "status", "schedule"),
    [
        (connection(), "active", "manual"),
        (connection(schedule=CRON), None, "0 0 5 * * ?"),
        (connection(schedule=CRON), "active", " 0 0 5 * * ? UTC"),
    ],
)
def test_nothing_is_sent_if_it_is_like_that_already(now: dict[str, Any], status: str | None, schedule: str) -> None:
    driver = ScriptedDriver([])
    driver.run(update_connection(Connection.from_json(now), parse_update(status, schedule)))
    assert driver.logs == ["Airbyte connection 'Mine' is already up to date."]


def test_a_lost_reply_is_no_reason_to_give_up() -> None:
    driver = ScriptedDriver([no_response(), reply(200, connection("inactive"))])
    changed = driver.run(update_connection(Connection.from_json(connection()), parse_update("inactive", None)))
    assert changed.status == "inactive"


@pytest.mark.parametrize("status", ["locked", "deprecated"])
def test_unsupported_changes_are_rejected_before_any_request(status: str) -> None:
    with pytest.raises(exceptions.AirbyteConnectionInactiveError, match=f"is {status}, so it cannot be changed"):
        ScriptedDriver([]).run(
            update_connection(Connection.from_json(connection(status)), parse_update("active", None))
        )


@pytest.mark.parametrize(
    ("status", "schedule", "message"),
    [
        (None, None, "at least one of them"),
        ("paused", None, "status is 'paused', expected active, inactive"),
        (None, "0 5 * * *", "expected manual, or a Quartz cron expression"),
        (None, "0 5 * * MON UTC", "expected manual, or a Quartz cron expression"),
        (None, "0 0 5 * * *", "One of the two days is a question mark"),
        (None, "0 0 5 ? * ?", "One of the two days is a question mark"),
        (None, "@daily", "expected manual"),
        (None, "", "expected manual"),
        (None, "0 0 5 * * ? Europe/Berlin", "accepts only UTC"),
        (None, "every day", "expected manual"),
    ],
)
def test_what_airbyte_does_not_take_is_named(status: str | None, schedule: str | None, message: str) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=message):
        parse_update(status, schedule)
