"""Only what is different is changed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api.api import errors
from airflow_provider_airbyte_api.api.models import Connection
from airflow_provider_airbyte_api.api.updating import update_connection, valid_change
from tests.api.talk import CONNECTION, Talk, reply, silence

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
def test_airbyte_is_told_what_is_different(now: dict[str, Any], wanted: dict[str, str], body: dict[str, Any]) -> None:
    talk = Talk([reply(200, {**now, **body})])
    change = valid_change(wanted.get("status"), wanted.get("schedule"))
    talk.perform(update_connection(Connection.from_json(now), change))
    assert talk.asked == [f"PATCH /connections/{CONNECTION}"]
    assert talk.sent[0].json == body


@pytest.mark.parametrize(
    ("now", "status", "schedule"),
    [
        (connection(), "active", "manual"),
        (connection(schedule=CRON), None, "0 0 5 * * ?"),
        (connection(schedule=CRON), "active", " 0 0 5 * * ? UTC"),
    ],
)
def test_nothing_is_sent_if_it_is_like_that_already(now: dict[str, Any], status: str | None, schedule: str) -> None:
    talk = Talk([])
    talk.perform(update_connection(Connection.from_json(now), valid_change(status, schedule)))
    assert talk.said == ["Airbyte connection 'Mine' is like that already."]


def test_a_lost_reply_is_no_reason_to_give_up() -> None:
    talk = Talk([silence(), reply(200, connection("inactive"))])
    changed = talk.perform(update_connection(Connection.from_json(connection()), valid_change("inactive", None)))
    assert changed.status == "inactive"


@pytest.mark.parametrize("status", ["locked", "deprecated"])
def test_what_cannot_be_changed_is_said_before_anything_is_sent(status: str) -> None:
    with pytest.raises(errors.AirbyteConnectionInactiveError, match=f"is {status}, so it cannot be changed"):
        Talk([]).perform(update_connection(Connection.from_json(connection(status)), valid_change("active", None)))


@pytest.mark.parametrize(
    ("status", "schedule", "message"),
    [
        (None, None, "nothing to do"),
        ("paused", None, "status is 'paused', expected active, inactive"),
        (None, "0 5 * * *", "expected manual, or a cron expression of Quartz"),
        (None, "0 5 * * MON UTC", "expected manual, or a cron expression of Quartz"),
        (None, "0 0 5 * * *", "one of the two days being a question mark"),
        (None, "0 0 5 ? * ?", "one of the two days being a question mark"),
        (None, "@daily", "expected manual"),
        (None, "", "expected manual"),
        (None, "0 0 5 * * ? Europe/Berlin", "no zone but UTC"),
        (None, "every day", "expected manual"),
    ],
)
def test_what_airbyte_does_not_take_is_named(status: str | None, schedule: str | None, message: str) -> None:
    with pytest.raises(errors.AirbyteConfigError, match=message):
        valid_change(status, schedule)
