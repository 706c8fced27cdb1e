"""The webhook: one asset event for each successful sync that Airbyte notifies of, and nothing else."""

from __future__ import annotations

import json
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_airbyte_api.exceptions import AirbyteConfigError
from airflow_provider_airbyte_api.ui.plugin import AirbyteUiPlugin
from tests.helpers.assets import deactivate_asset, events, register_assets
from tests.versions import AIRFLOW

if AIRFLOW < (3, 1):
    pytest.skip("needs Airflow 3.1: older ones have no page and no webhook", allow_module_level=True)

from starlette.testclient import TestClient

from airflow_provider_airbyte_api.ui.app import create_app

TOKEN = "0123456789abcdef"
URL = f"/webhook/airbyte_api_default?token={TOKEN}"


class Receiver:
    """The web application, and an asset of a connection that no other test uses."""

    def __init__(self) -> None:
        self.client = TestClient(create_app(TOKEN))
        self.connection_id = str(uuid.uuid4())
        self.uri = f"airbyte://airbyte.example.com/{self.connection_id}"
        register_assets(self.uri)

    def body(self, **changes: Any) -> bytes:
        return json.dumps(notification(self.connection_id, **changes)).encode()

    def post(self, body: bytes, url: str = URL) -> tuple[int, Any]:
        reply = self.client.post(url, content=body, headers={"Content-Type": "application/json"})
        return reply.status_code, reply.json()

    @property
    def events(self) -> list[dict[str, Any]]:
        return events().get(self.uri, [])


@pytest.fixture
def receiver(database: None) -> Receiver:
    return Receiver()


def notification(connection_id: str, **changes: Any) -> dict[str, Any]:
    """Return what Airbyte sends for a sync, as its server's source has it."""
    web = "https://airbyte.example.com/workspaces/6b0f2c1e-0000-4000-8000-000000000001"
    return {
        "text": "Your connection Stripe from S to D succeeded",
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "Sync completed"}}],
        "data": {
            "workspace": {"id": "6b0f2c1e-0000-4000-8000-000000000001", "name": "Local", "url": web},
            "connection": {
                "id": connection_id,
                "name": "Stripe → BigQuery",
                "url": f"{web}/connections/{connection_id}",
            },
            "source": {"id": str(uuid.uuid4()), "name": "S", "url": web},
            "destination": {"id": str(uuid.uuid4()), "name": "D", "url": web},
            "jobId": 9988,
            "startedAt": "2024-01-01T00:00:00Z",
            "finishedAt": "2024-01-01T01:00:00Z",
            "bytesEmitted": 1000,
            "bytesCommitted": 90,
            "recordsEmitted": 89,
            "recordsCommitted": 45,
            "errorMessage": None,
            "errorType": None,
            "errorOrigin": None,
            "success": True,
            "durationInSeconds": 3600,
            "durationFormatted": "1 hours 0 min",
            **changes,
        },
    }


def test_a_success_is_the_event_that_the_operator_writes(receiver: Receiver) -> None:
    register_assets("airbyte_syncs")
    status, reply = receiver.post(receiver.body())
    assert (status, sorted(reply["assets"])) == (200, sorted(["airbyte_syncs", receiver.uri]))
    web = "https://airbyte.example.com/workspaces/6b0f2c1e-0000-4000-8000-000000000001"
    assert receiver.events == [
        {
            "job_id": 9988,
            "status": "succeeded",
            "connection_id": receiver.connection_id,
            "job_type": "sync",
            "rows_synced": 45,
            "bytes_synced": 90,
            "duration_seconds": 3600.0,
            "start_time": "2024-01-01T00:00:00+00:00",
            "end_time": "2024-01-01T01:00:00+00:00",
            "job_url": f"{web}/connections/{receiver.connection_id}/timeline?jobId=9988&openLogs=true",
            "connection_name": "Stripe → BigQuery",
            "workspace_id": "6b0f2c1e-0000-4000-8000-000000000001",
        }
    ]
    deactivate_asset("airbyte_syncs")


def test_the_same_job_is_one_event(receiver: Receiver) -> None:
    for _ in range(3):
        assert receiver.post(receiver.body())[0] == 200
    assert receiver.post(receiver.body(jobId=9989))[0] == 200
    assert [event["job_id"] for event in receiver.events] == [9988, 9989]


def test_fifty_notifications_at_once_are_one_event_for_each_job(receiver: Receiver) -> None:
    bodies = [receiver.body(jobId=number // 2 + 1) for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        assert {status for status, _ in pool.map(receiver.post, bodies)} == {200}
    assert sorted(event["job_id"] for event in receiver.events) == list(range(1, 26))


def test_a_failure_is_no_event(receiver: Receiver) -> None:
    status, reply = receiver.post(receiver.body(success=False, errorMessage="The password is wrong."))
    assert (status, receiver.events) == (200, [])
    assert reply["ignored"].endswith("failed: The password is wrong.")


def test_a_test_notification_is_no_event(receiver: Receiver) -> None:
    register_assets("airbyte_syncs")
    test = notification(str(uuid.uuid4()), jobId=10)
    test["blocks"][0]["text"]["text"] = "[THIS IS A TEST NOTIFICATION] Sync completed"
    assert receiver.post(json.dumps(test).encode()) == (200, {"ignored": "It is a test, and it has arrived."})
    assert receiver.events == []
    deactivate_asset("airbyte_syncs")


def test_a_connection_that_no_dag_names_gets_no_event(receiver: Receiver) -> None:
    body = json.dumps(notification(str(uuid.uuid4()))).encode()
    assert receiver.post(body) == (200, {"job_id": 9988, "assets": []})
    assert receiver.events == []


def test_an_asset_that_no_dag_names_gets_no_event(receiver: Receiver) -> None:
    deactivate_asset(receiver.uri)
    assert receiver.post(receiver.body()) == (200, {"job_id": 9988, "assets": []})
    assert receiver.events == []


def test_an_asset_with_a_watcher_gets_no_event(receiver: Receiver) -> None:
    from airflow.models.asset import AssetModel
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    with create_session() as session:
        asset = session.query(AssetModel).filter(AssetModel.uri == receiver.uri).one()
        trigger = Trigger(classpath="tests.Watcher", kwargs={})
        session.add(trigger)
        session.flush()
        if hasattr(asset, "add_trigger"):
            asset.add_trigger(trigger, "watcher")
        else:
            asset.triggers.append(trigger)
    assert receiver.post(receiver.body()) == (200, {"job_id": 9988, "assets": []})
    assert receiver.events == []


def test_a_notification_of_another_kind_is_ignored(receiver: Receiver) -> None:
    disabled = json.dumps({"text": "Your connection was disabled", "blocks": []}).encode()
    assert receiver.post(disabled) == (200, {"ignored": "The notification is not about a sync."})


def test_an_empty_body_is_logged_with_what_to_do(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        status, _ = receiver.post(b"")
    assert status == 200
    assert "Use an https:// URL in Airbyte, or a proxy that removes the Upgrade header." in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"data": []}',
        b'{"data": {"success": true}}',
        b'{"data": {"success": true, "jobId": 1, "connection": {"id": "%"}}}',
        b'{"data": {"success": true, "jobId": 1, "connection": "x"}}',
        b"[" * 20_000,
    ],
)
def test_what_cannot_be_read_is_ignored(receiver: Receiver, body: bytes) -> None:
    status, reply = receiver.post(body)
    assert (status, list(reply)) == (200, ["ignored"])


@pytest.mark.parametrize(
    "changes",
    [
        {"jobId": None},
        {"jobId": -1},
        {"jobId": 2**70},
        {"jobId": "one"},
        {"jobId": {}},
        {"success": "true"},
        {"success": 1},
        {"connection": {"id": None}},
    ],
)
def test_an_event_needs_a_job_a_connection_and_a_success(receiver: Receiver, changes: dict[str, Any]) -> None:
    status, reply = receiver.post(receiver.body(**changes))
    assert (status, list(reply), receiver.events) == (200, ["ignored"], [])


def test_values_that_no_event_may_hold_are_left_out(receiver: Receiver) -> None:
    odd = {"recordsCommitted": 2**80, "bytesCommitted": "many", "startedAt": 5, "durationInSeconds": -1}
    assert receiver.post(receiver.body(**odd, workspace={"id": "no"}))[0] == 200
    (event,) = receiver.events
    unknown = ("rows_synced", "bytes_synced", "start_time", "duration_seconds", "workspace_id")
    assert [event[name] for name in unknown] == [None] * 5


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://example.com/", "", None, 5])
def test_an_address_that_is_not_of_the_connection_is_no_link(receiver: Receiver, url: Any) -> None:
    connection = {"id": receiver.connection_id, "name": "Stripe", "url": url}
    assert receiver.post(receiver.body(connection=connection))[0] == 200
    assert receiver.events[0]["job_url"] is None


def test_a_body_of_a_megabyte_is_rejected(receiver: Receiver) -> None:
    status, _ = receiver.post(receiver.body(errorMessage="x" * 1_000_000))
    assert (status, receiver.events) == (413, [])


@pytest.mark.parametrize(
    "url", ["/webhook/a?token=wrong", "/webhook/a", "/webhook/a?token=", "/webhook/a?token=%C3%A9"]
)
def test_a_wrong_token_is_rejected(receiver: Receiver, url: str) -> None:
    status, _ = receiver.post(receiver.body(), url)
    assert (status, receiver.events) == (401, [])


def test_only_a_post_is_accepted(receiver: Receiver) -> None:
    assert receiver.client.get(URL).status_code == 405


def test_there_is_no_webhook_unless_it_is_switched_on(receiver: Receiver) -> None:
    assert TestClient(create_app()).post(URL, content=receiver.body()).status_code == 404


def test_the_options_switch_it_on_without_the_page(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    for name, value in (("UI", "False"), ("WEBHOOK", "True"), ("WEBHOOK_TOKEN", TOKEN)):
        monkeypatch.setenv(f"AIRFLOW__AIRBYTE_API__{name}", value)
    ((app,)) = AirbyteUiPlugin().fastapi_apps
    assert AirbyteUiPlugin().react_apps == []
    assert TestClient(app["app"]).post(URL, content=receiver.body()).status_code == 200


@pytest.mark.parametrize("token", ["", "short"])
def test_a_token_that_can_be_guessed_leaves_it_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, token: str
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRBYTE_API__WEBHOOK", "True")
    monkeypatch.setenv("AIRFLOW__AIRBYTE_API__WEBHOOK_TOKEN", token)
    (app,) = AirbyteUiPlugin().fastapi_apps
    assert TestClient(app["app"]).post(f"/webhook/a?token={token}").status_code == 404
    assert "The webhook is off." in caplog.text
    assert AirbyteConfigError.__name__ not in caplog.text
