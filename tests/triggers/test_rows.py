"""A trigger's row of any version, or written by hand, never ends the triggerer: Airflow survives a TypeError alone."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from pytest_mock import MockerFixture

from airflow_provider_airbyte_api import _defaults
from airflow_provider_airbyte_api.api.wait import WaitOptions
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError
from airflow_provider_airbyte_api.polling import service
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.triggers import airbyte as triggers
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteFreshnessTrigger, AirbyteJobTrigger
from tests.versions import AIRFLOW

ODD: list[Any] = [None, True, 0, -1, 1.5, 1e999, float("nan"), 10**400, "", "x", "\ud83d", [], ["x"], {}, {"x": [1]}]

MADE: list[Any] = [
    AirbyteJobTrigger(job_id=1, connection_id=STRIPE_TO_BIGQUERY, poll_interval=0.02, metadata={"name": "Mine"}),
    AirbyteFreshnessTrigger(STRIPE_TO_BIGQUERY, poll_interval=0.02, metadata={"name": "Mine"}),
]
if AIRFLOW >= (3, 0):
    from airflow_provider_airbyte_api.triggers._sync_events import AirbyteSyncEventTrigger

    MADE.append(AirbyteSyncEventTrigger(connection_id=STRIPE_TO_BIGQUERY))

each_trigger = pytest.mark.parametrize("made", MADE, ids=lambda made: type(made).__name__)


async def event_of(trigger: Any) -> dict[str, Any]:
    (event,) = [event.payload async for event in trigger.run()]
    assert json.loads(json.dumps(event, allow_nan=False).encode()) == event
    return dict(event)


@each_trigger
def test_a_row_of_a_newer_version_is_read_without_what_is_new(made: Any) -> None:
    row = {**made.serialize()[1], "colour": "blue", "retries": 5}
    assert type(made)(**row).serialize() == made.serialize()


@each_trigger
def test_a_row_of_an_older_version_is_read_with_the_defaults_of_what_is_missing(made: Any) -> None:
    for name in made.serialize()[1].keys() - {"from_row", "job_id"}:
        row = {key: value for key, value in made.serialize()[1].items() if key != name}
        if not (name == "connection_id" and isinstance(made, AirbyteFreshnessTrigger)):
            assert type(made)(**row)


@each_trigger
@pytest.mark.parametrize("value", ODD)
def test_no_value_in_a_row_is_an_exception(made: Any, value: Any) -> None:
    for name in made.serialize()[1].keys() - {"from_row"}:
        assert type(made)(**{**made.serialize()[1], name: value})


@pytest.mark.parametrize("made", MADE[:2], ids=lambda made: type(made).__name__)
@pytest.mark.parametrize("value", ODD)
async def test_no_value_in_a_row_makes_a_trigger_that_raises(
    made: Any, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", "airbyte-api://")  # without a host
    for name in made.serialize()[1].keys() - {"from_row", "airbyte_conn_id"}:
        event = await event_of(type(made)(**{**made.serialize()[1], name: value}))
        assert event["status"] == "error"


@each_trigger
def test_what_an_author_gives_wrongly_is_an_error_that_airflow_survives_too(made: Any) -> None:
    given = {name: value for name, value in made.serialize()[1].items() if name != "from_row"}
    for wrong in ({"colour": "blue"}, {"poll_interval": "x"}, {"poll_interval": 0}, {"airbyte_conn_id": 5}):
        with pytest.raises(TypeError, match=next(iter(wrong))) as caught:
            type(made)(**{**given, **wrong})
        assert isinstance(caught.value, AirbyteConfigError)
        assert isinstance(caught.value, AirflowException)


@pytest.mark.parametrize(
    ("name", "value"),
    [("job_id", "five"), ("poll_interval", "x"), ("deadline", "soon"), ("metadata", "x"), ("airbyte_conn_id", None)],
)
async def test_a_row_that_cannot_be_used_is_an_event_that_says_what_to_do(name: str, value: Any) -> None:
    event = await event_of(AirbyteJobTrigger(**{**MADE[0].serialize()[1], name: value}))
    assert (event["status"], event["error"]["type"]) == ("error", "AirbyteConfigError")
    assert f"{name} is {value!r}" in event["error"]["message"]
    assert "Install the same version on workers and triggerers" in event["error"]["message"]
    assert "continues in Airbyte, and a retry of the task follows it." in event["error"]["message"]
    assert event["metadata"] == ({} if name == "metadata" else {"name": "Mine"})


async def test_a_job_id_may_be_text(airbyte: LocalAirbyte) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    made: Any = str(job.job_id)
    event = await event_of(AirbyteJobTrigger(made, STRIPE_TO_BIGQUERY, poll_interval=0.02, deadline=time.time() + 5))
    assert (event["status"], event["job_id"]) == ("succeeded", job.job_id)


@pytest.mark.parametrize("poll_interval", [0, -1, 1e-9, float("nan")])
def test_a_poll_interval_has_a_floor(poll_interval: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_defaults, "MIN_POLL_INTERVAL", 1.0)
    assert WaitOptions(poll_interval).poll_interval == 1.0
    assert WaitOptions(1.5).poll_interval == 1.5


async def test_an_error_of_ours_is_an_event_that_says_what_becomes_of_the_job(
    mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A report of what was logged, with the lone surrogate in it, cannot be sent from one test process to another.
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    mocker.patch.object(service, "shared_polling_service", side_effect=ZeroDivisionError("a mistake \ud83d"))
    mocker.patch.object(triggers, "get_settings")
    event = await event_of(AirbyteJobTrigger(**MADE[0].serialize()[1]))
    assert (event["status"], event["job_id"]) == ("error", 1)
    assert "ZeroDivisionError: a mistake" in event["error"]["message"]
    assert f"Job 1 of Airbyte connection {STRIPE_TO_BIGQUERY} continues in Airbyte" in event["error"]["message"]


class Named(AirbyteJobTrigger):
    """A trigger of a user, with a parameter of its own."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.label = label


def test_a_trigger_of_a_user_is_recreated_as_itself() -> None:
    path, arguments = Named("mine", job_id=7, poll_interval=5).serialize()
    assert path == f"{__name__}.Named"
    again = Named(**arguments)
    assert (again.label, again.job_id, again.poll_interval) == ("mine", 7, 5)
    assert again.serialize() == (path, arguments)


def test_triggers_are_recreated_from_the_module_that_users_import() -> None:
    assert (
        AirbyteJobTrigger(job_id=7).serialize()[0] == "airflow_provider_airbyte_api.triggers.airbyte.AirbyteJobTrigger"
    )
