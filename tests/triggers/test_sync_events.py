"""Each finished sync is one event, whoever started it, whatever fails."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from typing import Any

import aiohttp
import pytest
from pytest_mock import MockerFixture

from airflow_provider_airbyte_api import _airflow_compat, exceptions
from airflow_provider_airbyte_api.api import backoff, resources
from airflow_provider_airbyte_api.api.cursor import Cursor
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import (
    NIGHTLY,
    SNOWFLAKE_TO_POSTGRES,
    STRIPE_TO_BIGQUERY,
    WORKSPACE_ID,
)
from airflow_provider_airbyte_api.triggers import _event_store, _settings_cache, _sync_events
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteSyncEventTrigger
from tests.helpers.clock import until
from tests.helpers.supervisor import FakeSupervisor
from tests.versions import AIRFLOW


def manager_of_shared_streams() -> Any:
    """Return what holds the streams of watchers in a triggerer, where Airflow keeps things for them."""
    if AIRFLOW < (3, 3):
        pytest.skip("needs Airflow 3.3: it keeps nothing for a watcher")
    import structlog
    from airflow.triggers.shared_stream import SharedStreamManager

    return SharedStreamManager(log=structlog.get_logger())


class FakeAssetStateStore:
    """What Airflow 3.3 gives a trigger to keep things with an asset."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.fails = 0

    async def aget(self, key: str) -> Any:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the database is away")
        return self.kept.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self.kept[key] = value


class WatcherHarness:
    """A watcher that runs, and what it has told.

    With a store it runs as in the triggerer of Airflow 3.3, whose own manager of streams says what is stored.
    """

    def __init__(self, trigger: AirbyteSyncEventTrigger) -> None:
        self.trigger = trigger
        self.events: list[dict[str, Any]] = []
        self.stores = True
        self.unstored: list[int | None] = []
        self.manager: Any = manager_of_shared_streams() if trigger.asset_state_store is not None else None
        self.task = asyncio.create_task(self._hear() if trigger.asset_state_store is None else self._hear_stream())

    async def _hear(self) -> None:
        async for event in self.trigger.run():
            self.events.append(event.payload)

    async def _hear_stream(self) -> None:
        key = self.trigger.shared_stream_key()
        assert key is not None
        stream = self.manager.subscribe(trigger_id=1, trigger=self.trigger, key=key)
        async for event in self.trigger.filter_shared_stream(stream):
            self.events.append(event.payload)
            self.unstored.append(self.manager.bind_pending_event(trigger_id=1, key=key))
            if self.stores:
                self.store_all()

    def store_all(self) -> None:
        """Let Airflow say that all events so far are stored."""
        self.manager.confirm_persisted([seq for seq in self.unstored if seq is not None])
        self.unstored.clear()

    @property
    def job_ids(self) -> list[int]:
        return [event["job_id"] for event in self.events]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        if self.manager is not None:
            await self.manager.stop_all()
        if not self.task.cancelled():
            self.task.result()


def watcher(store: FakeAssetStateStore | None = None, *, stores: bool = True, **which: Any) -> WatcherHarness:
    trigger = AirbyteSyncEventTrigger(**{"poll_interval": 0.05, **which})
    trigger.asset_state_store = store  # type: ignore[assignment]
    heard = WatcherHarness(trigger)
    heard.stores = stores
    return heard


async def settled(airbyte: LocalAirbyte, polls: int = 2) -> None:
    """Let some polls pass."""
    before = len(airbyte.requests_to("GET", "/jobs"))
    await until(lambda: len(airbyte.requests_to("GET", "/jobs")) >= before + polls)


async def first_cursor(store: FakeAssetStateStore, number: int = 1) -> None:
    """Let watchers store where they begin: what ends after that is theirs."""
    await until(lambda: len(store.kept) == number)


async def test_a_sync_that_anybody_ran_is_one_event_with_what_it_moved(airbyte: LocalAirbyte) -> None:
    heard = watcher()
    await settled(airbyte)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    await settled(airbyte)
    assert heard.events == []
    airbyte.finish_job(job.job_id)
    await settled(airbyte, 4)
    (event,) = heard.events
    page = f"{airbyte.url}/workspaces/{WORKSPACE_ID}/connections/{STRIPE_TO_BIGQUERY}"
    assert event["job_url"].startswith(page)
    assert event["start_time"] <= event["end_time"]
    expected = {
        "job_id": job.job_id,
        "status": "succeeded",
        "job_type": "sync",
        "connection_id": STRIPE_TO_BIGQUERY,
        "connection_name": "Stripe → BigQuery",
        "workspace_id": WORKSPACE_ID,
        "rows_synced": 250_000,
        "bytes_synced": 104_857_600,
    }
    assert {name: event[name] for name in expected} == expected
    await heard.stop()


async def test_jobs_finished_before_first_start_emit_nothing(airbyte: LocalAirbyte) -> None:
    for _ in range(250):
        airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    heard = watcher()
    await settled(airbyte, 8)
    assert heard.events == []
    new = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard.events))
    assert heard.job_ids == [new.job_id]
    await heard.stop()


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({}, ["stripe", "snowflake"]),
        ({"connection_id": STRIPE_TO_BIGQUERY.upper()}, ["stripe"]),
        ({"connection_name": "Snowflake → Postgres", "workspace_name": "Local"}, ["snowflake"]),
        ({"workspace_id": WORKSPACE_ID}, ["stripe", "snowflake"]),
        ({"workspace_name": "Local"}, ["stripe", "snowflake"]),
        ({"tags": "special"}, ["snowflake"]),
        ({"tags": ["special", NIGHTLY]}, ["stripe", "snowflake"]),
        ({"tags": ["nobody's"]}, []),
        ({"statuses": ["failed", "cancelled"]}, ["failed", "cancelled"]),
        ({"statuses": "failed"}, ["failed"]),
        ({"job_types": ["reset"]}, ["reset"]),
        ({"connection_id": STRIPE_TO_BIGQUERY, "job_types": ["sync", "reset"]}, ["stripe", "reset"]),
    ],
    ids=str,
)
async def test_filters_limit_events(airbyte: LocalAirbyte, which: dict[str, Any], expected: list[str]) -> None:
    row = next(each for each in airbyte.connections if each["connectionId"] == SNOWFLAKE_TO_POSTGRES)
    row["tags"] = [{"tagId": str(uuid.uuid4()), "name": "special", "workspaceId": WORKSPACE_ID}]
    heard = watcher(**which)
    await settled(airbyte)
    made = {
        "stripe": airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded"),
        "failed": airbyte.add_job(STRIPE_TO_BIGQUERY, "failed"),
        "cancelled": airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "cancelled"),
        "snowflake": airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "succeeded"),
        "reset": airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", job_type="reset"),
    }
    await settled(airbyte, 4)
    assert sorted(heard.job_ids) == sorted(made[name].job_id for name in expected)
    await heard.stop()


async def test_fifty_watchers_share_one_poll_one_session_and_one_token(
    airbyte: LocalAirbyte, mocker: MockerFixture
) -> None:
    opened = mocker.spy(aiohttp, "ClientSession")
    template = airbyte.connections[0]
    ids = [str(uuid.uuid4()) for _ in range(50)]
    airbyte.connections.extend({**template, "connectionId": each, "name": each} for each in ids)
    crowd = [watcher(connection_id=each, poll_interval=0.2) for each in ids]
    await until(lambda: len(airbyte.requests_to("GET", "/connections/.*")) == 50)
    await settled(airbyte, 5)
    began, before = time.monotonic(), len(airbyte.requests_to("GET", "/jobs"))
    await settled(airbyte, 10)
    polls = len(airbyte.requests_to("GET", "/jobs")) - before
    assert polls <= (time.monotonic() - began) / (0.2 * 0.85) + 1
    jobs = [airbyte.add_job(each, "succeeded") for each in ids]
    await until(lambda: all(heard.events for heard in crowd))
    await settled(airbyte, 3)
    assert [heard.job_ids for heard in crowd] == [[job.job_id] for job in jobs]
    assert opened.call_count == 1
    assert len(airbyte.requests_to("POST", "/applications/token")) == 1
    for heard in crowd:
        await heard.stop()


async def test_after_a_restart_it_goes_on_where_it_was(airbyte: LocalAirbyte) -> None:
    store = FakeAssetStateStore()
    first = watcher(store)
    await first_cursor(store)
    told = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(first.events))
    await settled(airbyte)
    await first.stop()
    missed = [airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded") for _ in range(150)]
    second = watcher(store)
    await until(lambda: len(second.events) >= 150)
    await settled(airbyte, 6)
    assert first.job_ids == [told.job_id]
    assert sorted(second.job_ids) == [job.job_id for job in missed]
    await second.stop()


async def test_job_finished_during_a_long_downtime_is_emitted(airbyte: LocalAirbyte) -> None:
    store = FakeAssetStateStore()
    first = watcher(store)
    await first_cursor(store)
    await first.stop()
    airbyte.clock_skew = 6 * 3600.0
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    airbyte.clock_skew = 12 * 3600.0
    second = watcher(store)
    await until(lambda: bool(second.events))
    assert second.job_ids == [job.job_id]
    await second.stop()


async def test_errors_lose_no_event_and_end_no_watcher(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "OUTAGE_WAIT_MAX", 0.01)
    heard = watcher()
    await settled(airbyte)
    airbyte.respond_with(503, path="/jobs", times=2)
    airbyte.respond_with(404, path="/jobs", body="<html>under construction</html>")
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    airbyte.respond_with(500, path="/connections/.*", times=1)
    airbyte.revoke_tokens()
    await until(lambda: bool(heard.events))
    await settled(airbyte, 3)
    assert heard.job_ids == [job.job_id]
    assert not heard.task.done()
    await heard.stop()


async def test_a_wrong_secret_is_waited_out_and_a_new_one_taken_up(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_settings_cache, "SETTINGS_TTL", 0.05)
    secret = airbyte.client_secret
    airbyte.client_secret = "another one"
    heard = watcher()
    await until(lambda: len(airbyte.requests_to("POST", "/applications/token")) >= 2)
    assert not heard.task.done()
    airbyte.client_secret = secret
    await settled(airbyte)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard.events))
    assert heard.job_ids == [job.job_id]
    await heard.stop()


async def test_an_airflow_connection_that_is_not_there_yet_is_waited_for(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    looked_up = mocker.spy(_settings_cache, "get_async_connection")
    heard = watcher(airbyte_conn_id="later")
    await until(lambda: looked_up.call_count >= 2)
    assert not heard.task.done()
    monkeypatch.setenv("AIRFLOW_CONN_LATER", airbyte.airflow_connection)
    await settled(airbyte)
    await heard.stop()


async def test_numbers_that_the_list_leaves_out_are_asked_for(airbyte: LocalAirbyte) -> None:
    airbyte._state.list_shows_stats = False
    heard = watcher()
    await settled(airbyte)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard.events))
    assert heard.events[0]["rows_synced"] == 250_000
    assert len(airbyte.requests_to("GET", f"/jobs/{job.job_id}")) == 1
    await heard.stop()


async def test_a_connection_that_was_deleted_since_is_no_reason_to_stop(airbyte: LocalAirbyte) -> None:
    heard = watcher()
    await settled(airbyte)
    airbyte.connections[:] = [each for each in airbyte.connections if each["connectionId"] != STRIPE_TO_BIGQUERY]
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard.events))
    assert heard.events[0]["job_id"] == job.job_id
    assert (heard.events[0]["connection_name"], heard.events[0]["job_url"]) == (None, None)
    await heard.stop()


# -- where it is kept ------------------------------------------------------------------------------------------------


async def test_a_store_that_cannot_be_read_is_waited_for(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FakeAssetStateStore()
    first = watcher(store)
    await first_cursor(store)
    await first.stop()
    missed = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    store.fails = 1
    second = watcher(store)
    await until(lambda: bool(second.events))
    assert second.job_ids == [missed.job_id]
    await second.stop()


async def test_two_watchers_of_one_asset_keep_apart(airbyte: LocalAirbyte) -> None:
    store = FakeAssetStateStore()
    both = [watcher(store, statuses=status) for status in ("succeeded", "failed")]
    await first_cursor(store, 2)
    for each in both:
        await each.stop()


async def test_one_trigger_of_several_assets_keeps_it_with_each(airbyte: LocalAirbyte) -> None:
    class Several:
        def __init__(self, *places: FakeAssetStateStore) -> None:
            self._by_name = {str(number): place for number, place in enumerate(places)}

        async def aget(self, key: str) -> Any:
            raise ValueError("Task has 2 concrete inlets and outlets")

    old, new = FakeAssetStateStore(), FakeAssetStateStore()
    first = watcher(old)
    await first_cursor(old)
    await first.stop()
    missed = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    second = watcher(Several(old, new))  # type: ignore[arg-type]
    await until(lambda: bool(second.events) and old.kept == new.kept != {})
    assert second.job_ids == [missed.job_id]
    await second.stop()


def test_a_cursor_is_json_and_forgets_what_is_long_ago() -> None:
    def ended(job_id: int, moment: str) -> Job:
        row = {"jobId": job_id, "status": "succeeded", "lastUpdatedAt": moment}
        return Job.from_json(row)

    early, late = ended(1, "1970-01-01T00:10:00Z"), ended(2, "1970-01-01T00:20:00Z")
    assert Cursor(700.0).is_new(late)
    assert not Cursor(700.0).is_new(ended(3, "1970-01-01T00:10:00Z"))
    cursor = Cursor(590.0).advance_past(early)
    assert not cursor.is_new(early)
    moved = cursor.advance_past(late).advance_to(1_210.0)
    assert moved.emitted == {2: 1_200.0}
    assert not moved.is_new(early), "it ended long before"
    assert Cursor.load(moved.dump()) == moved
    for nothing in (None, {}, {"position": "x", "emitted": {}}, "text", {"position": 1.0, "emitted": []}):
        assert Cursor.load(nothing) is None


# -- what is given ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"connection_id": "Stripe"}, "connection_id is 'Stripe', expected a UUID"),
        ({"connection_id": STRIPE_TO_BIGQUERY, "connection_name": "x"}, "expected only one of the two"),
        ({"statuses": ["running"]}, "expected some of cancelled, failed, succeeded"),
        ({"statuses": []}, "expected some of"),
        ({"job_types": []}, "expected some of clear, refresh, reset, sync"),
        ({"job_types": ["synk"]}, "expected some of clear, refresh, reset, sync"),
        ({"poll_interval": 0}, "poll_interval is 0"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named_when_the_dag_is_parsed(given: dict[str, Any], message: str) -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match=message):
        AirbyteSyncEventTrigger(**given)


def test_it_is_rebuilt_from_what_it_serializes() -> None:
    first = AirbyteSyncEventTrigger(
        connection_name="a", workspace_name="b", tags=("z", "y"), statuses="failed", job_types={"sync"}, poll_interval=5
    )
    path, arguments = first.serialize()
    assert path == "airflow_provider_airbyte_api.triggers.airbyte.AirbyteSyncEventTrigger"
    assert AirbyteSyncEventTrigger(**arguments).serialize() == first.serialize()
    assert arguments["tags"] == ["y", "z"]


# -- what Airflow 3.3 makes of it ------------------------------------------------------------------------------------


def kept(store: FakeAssetStateStore) -> dict[str, float]:
    (value,) = store.kept.values()
    told: dict[str, float] = value["emitted"]
    return told


async def test_the_cursor_moves_only_once_airflow_has_stored_the_event(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_event_store, "CHECKPOINT_INTERVAL", 0.0)
    store = FakeAssetStateStore()
    first = watcher(store, stores=False)
    await until(lambda: bool(store.kept))
    jobs = [airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded") for _ in range(3)]
    await until(lambda: len(first.events) == 3)
    await settled(airbyte, 4)
    assert kept(store) == {}, "a triggerer that dies now tells of them again"
    await first.stop()
    second = watcher(store, stores=False)
    await until(lambda: len(second.events) == 3)
    assert kept(store) == {}
    second.store_all()
    await until(lambda: len(kept(store)) == 3)
    assert sorted(map(int, kept(store))) == [job.job_id for job in jobs]
    await second.stop()
    third = watcher(store)
    await settled(airbyte, 4)
    assert third.events == []
    await third.stop()
    assert _sync_events._STORES == {}


async def test_what_airflow_could_not_store_moves_no_cursor(airbyte: LocalAirbyte) -> None:
    class Item:
        def __init__(self, cursor: Cursor, *, is_clean: bool) -> None:
            self.broker_payload = cursor
            self.outcome = type("Outcome", (), {"is_clean": is_clean})

    store = FakeAssetStateStore()
    producer = _event_store.Producer(AirbyteSyncEventTrigger(), _event_store.CursorStore([store], "key"))
    await producer.advance([Item(Cursor(1.0), is_clean=True), Item(Cursor(2.0), is_clean=True)])
    assert store.kept == {"key": Cursor(2.0).dump()}
    await producer.advance([Item(Cursor(3.0), is_clean=True), Item(Cursor(4.0), is_clean=False)])
    assert store.kept == {"key": Cursor(3.0).dump()}
    await producer.advance([Item(Cursor(5.0), is_clean=True)])
    assert store.kept == {"key": Cursor(3.0).dump()}, "the fourth is to be told of again"


async def test_pending_events_are_limited(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_event_store, "MAX_PENDING_EVENTS", 5)
    store = FakeAssetStateStore()
    heard = watcher(store, stores=False)
    await until(lambda: bool(store.kept))
    for _ in range(12):
        airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: len(heard.events) == 5)
    await settled(airbyte, 4)
    assert len(heard.events) == 5
    heard.stores = True
    heard.store_all()
    await until(lambda: len(heard.events) == 12)
    await heard.stop()


async def test_another_poll_interval_is_no_new_beginning(airbyte: LocalAirbyte) -> None:
    store = FakeAssetStateStore()
    first = watcher(store)
    await until(lambda: bool(store.kept))
    await first.stop()
    missed = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    second = watcher(store, poll_interval=0.07)
    await until(lambda: bool(second.events))
    assert second.job_ids == [missed.job_id]
    assert len(store.kept) == 1
    await second.stop()


async def test_an_asset_that_is_gone_keeps_no_other_from_being_kept(airbyte: LocalAirbyte) -> None:
    class Gone(FakeAssetStateStore):
        async def aset(self, key: str, value: Any) -> None:
            raise ConnectionError("404")

    class Both:
        def __init__(self, *places: FakeAssetStateStore) -> None:
            self._by_name = {str(number): place for number, place in enumerate(places)}

    there = FakeAssetStateStore()
    heard = watcher(Both(Gone(), there))  # type: ignore[arg-type]
    await until(lambda: bool(there.kept))
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: str(job.job_id) in kept(there))
    await heard.stop()


# -- before Airflow 3.3: a Variable ----------------------------------------------------------------------------------


def cursor_in_variable(supervisor: FakeSupervisor) -> dict[str, Any]:
    (text,) = supervisor.variables.values()
    cursor: dict[str, Any] = json.loads(text)
    return cursor


async def until_saved(supervisor: FakeSupervisor, *jobs: Any) -> None:
    """Wait until the Variable has the events of these jobs and no other."""
    job_ids = {str(job.job_id) for job in jobs}
    await until(lambda: bool(supervisor.variables) and set(cursor_in_variable(supervisor)["emitted"]) == job_ids)


async def test_a_variable_keeps_the_position_across_a_restart(
    airbyte: LocalAirbyte, supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_event_store, "STORE_DELAY", 0.01)
    first = watcher()
    await until_saved(supervisor)
    emitted = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until_saved(supervisor, emitted)
    await first.stop()
    missed = [airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded") for _ in range(150)]
    second = watcher(poll_interval=0.07)
    await until(lambda: len(second.events) >= 150)
    await until_saved(supervisor, emitted, *missed)
    await settled(airbyte, 4)
    assert first.job_ids == [emitted.job_id]
    assert sorted(second.job_ids) == [job.job_id for job in missed]
    await second.stop()
    (key,) = supervisor.variables
    assert re.fullmatch(r"airbyte_cursor\.[0-9a-f]{16}", key)
    assert supervisor.descriptions[key] == (
        "Position of a watcher of Airbyte syncs (statuses=['succeeded'], job_types=['sync'], "
        "airbyte_conn_id='airbyte_api_default'), written by the triggerer."
    )


async def test_an_event_that_airflow_may_not_have_stored_is_emitted_again(
    airbyte: LocalAirbyte, supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_event_store, "STORE_DELAY", 3600.0)
    first = watcher()
    await until_saved(supervisor)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(first.events))
    await settled(airbyte, 4)
    await first.stop()
    assert cursor_in_variable(supervisor)["emitted"] == {}
    monkeypatch.setattr(_event_store, "STORE_DELAY", 0.01)
    second = watcher()
    await until_saved(supervisor, job)
    assert second.job_ids == [job.job_id]
    await second.stop()


async def test_the_delay_starts_when_airflow_has_answered_what_was_sent_before_the_event(
    airbyte: LocalAirbyte, supervisor: FakeSupervisor, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_event_store, "STORE_DELAY", 0.0123)
    pauses = mocker.spy(CLOCK, "sleep_async")
    heard = watcher()
    await until_saved(supervisor)
    assert supervisor.messages == ["GetVariable", "PutVariable"]
    supervisor.answers.clear()
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard.events))
    await settled(airbyte, 4)
    assert mocker.call(0.0123) not in pauses.call_args_list
    supervisor.answers.set()
    await until_saved(supervisor, job)
    assert mocker.call(0.0123) in pauses.call_args_list
    assert supervisor.messages == ["GetVariable", "PutVariable"] * 2
    await heard.stop()


async def test_the_cursor_is_also_saved_without_an_event(
    airbyte: LocalAirbyte, supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_event_store, "CHECKPOINT_INTERVAL", 0.0)
    heard = watcher()
    await until_saved(supervisor)
    before = cursor_in_variable(supervisor)["position"]
    airbyte.clock_skew = 60.0
    await until(lambda: cursor_in_variable(supervisor)["position"] >= before + 60.0)
    await heard.stop()


async def test_watchers_of_different_syncs_have_different_variables(
    airbyte: LocalAirbyte, supervisor: FakeSupervisor
) -> None:
    both = [watcher(statuses=status) for status in ("succeeded", "failed")]
    await until(lambda: len(supervisor.variables) == 2)
    for each in both:
        await each.stop()


async def test_a_cancelled_watcher_leaves_no_unread_answer(airbyte: LocalAirbyte, supervisor: FakeSupervisor) -> None:
    supervisor.variables["other"] = "its value"
    supervisor.answers.clear()
    heard = watcher()
    await until(lambda: supervisor.messages == ["GetVariable"])
    await heard.stop()
    supervisor.answers.set()
    assert await _airflow_compat.aget_variable("other") == "its value"


async def test_a_variable_that_cannot_be_read_is_waited_for(airbyte: LocalAirbyte, supervisor: FakeSupervisor) -> None:
    first = watcher()
    await until_saved(supervisor)
    await first.stop()
    missed = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    supervisor.failing = {"GetVariable"}
    second = watcher()
    await until(lambda: supervisor.messages.count("GetVariable") >= 3)
    assert second.events == []
    supervisor.failing = set()
    await until(lambda: bool(second.events))
    assert second.job_ids == [missed.job_id]
    await second.stop()


async def test_a_variable_that_cannot_be_written_ends_no_watcher(
    airbyte: LocalAirbyte, supervisor: FakeSupervisor, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_event_store, "STORE_DELAY", 0.01)
    supervisor.failing = {"PutVariable"}
    heard = watcher()
    await settled(airbyte)
    jobs = []
    for number in range(1, 3):
        jobs.append(airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded"))
        await until(lambda number=number: len(heard.events) == number)  # type: ignore[misc]
    assert heard.job_ids == [job.job_id for job in jobs]
    log = mocker.Mock()
    await _event_store.CursorStore([_event_store.VariableAccessor("what it is")], "key").save(Cursor(1.0), log)
    assert log.warning.call_args.args[0].startswith("Could not store this watcher's cursor")
    supervisor.failing = set()
    jobs.append(airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded"))
    await until_saved(supervisor, *jobs)
    await heard.stop()


async def test_a_broken_variable_is_replaced(airbyte: LocalAirbyte, supervisor: FakeSupervisor) -> None:
    first = watcher()
    await until_saved(supervisor)
    await first.stop()
    (key,) = supervisor.variables
    supervisor.variables[key] = '{"position":'
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    second = watcher()
    await until(lambda: supervisor.variables[key].endswith("}"))
    await settled(airbyte)
    assert second.events == []
    await second.stop()


# -- what else may go wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "which"),
    [
        (r"/jobs/\d+", {}),
        (f"/connections/{STRIPE_TO_BIGQUERY}", {}),
        (f"/connections/{STRIPE_TO_BIGQUERY}", {"connection_id": STRIPE_TO_BIGQUERY}),
        ("/connections", {"connection_name": "Stripe → BigQuery"}),
        ("/workspaces", {"workspace_name": "Local"}),
    ],
)
async def test_a_request_that_fails_gives_its_slot_to_others_before_it_is_repeated(
    airbyte: LocalAirbyte, path: str, which: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, pause_after = [], backoff.RetryPolicy.next_delay

    def watched(self: backoff.RetryPolicy, *arguments: Any) -> float | None:
        pauses.append(pause_after(self, *arguments))
        return pauses[-1]

    monkeypatch.setattr(backoff.RetryPolicy, "next_delay", watched)
    airbyte._state.list_shows_stats = False
    airbyte.respond_with(502, path=path, times=2)
    heard = watcher(**which)
    await settled(airbyte)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard.events))
    assert heard.events[0]["job_id"] == job.job_id
    assert heard.events[0]["rows_synced"] == 250_000
    assert len(airbyte.requests_to("GET", path)) >= 3
    assert set(pauses) == {None}, "a request has a slot until its end, and so makes no pause"
    await heard.stop()


async def test_a_job_of_which_nobody_can_tell_more_holds_up_no_other(airbyte: LocalAirbyte) -> None:
    heard = watcher()
    await settled(airbyte)
    airbyte.respond_with(500, path=f"/connections/{STRIPE_TO_BIGQUERY}", times=99)
    poisoned = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    other = airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "succeeded")
    await until(lambda: len(heard.events) == 2)
    assert heard.job_ids == [poisoned.job_id, other.job_id]
    assert (heard.events[0]["connection_name"], heard.events[0]["rows_synced"]) == (None, 250_000)
    await heard.stop()


async def test_a_connection_recreated_under_the_same_name_is_watched(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sync_events, "RESOLUTION_TTL", 0.2)
    heard = watcher(connection_name="Stripe → BigQuery")
    await settled(airbyte)
    row = next(each for each in airbyte.connections if each["connectionId"] == STRIPE_TO_BIGQUERY)
    row["connectionId"] = str(uuid.uuid4())
    before = len(airbyte.requests_to("GET", "/connections"))
    await until(lambda: len(airbyte.requests_to("GET", "/connections")) >= before + 2)  # it has noticed, and resolved
    await settled(airbyte)
    job = airbyte.add_job(row["connectionId"], "succeeded")
    await until(lambda: bool(heard.events))
    assert heard.job_ids == [job.job_id]
    await heard.stop()


async def test_an_airflow_connection_that_leads_elsewhere_by_now_is_followed(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_settings_cache, "SETTINGS_TTL", 0.05)
    monkeypatch.setattr(_sync_events, "RESOLUTION_TTL", 0.2)
    heard = watcher()
    await settled(airbyte)
    with LocalAirbyte() as other:
        monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", other.airflow_connection)
        await settled(other)
        job = other.add_job(STRIPE_TO_BIGQUERY, "succeeded")
        await until(lambda: bool(heard.events))
        assert heard.job_ids == [job.job_id]
        await heard.stop()


async def test_a_host_that_was_wrong_is_left_once_it_is_corrected(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_settings_cache, "SETTINGS_TTL", 0.05)
    monkeypatch.setattr(backoff, "OUTAGE_WAIT_MAX", 0.01)
    with LocalAirbyte() as wrong:
        wrong.respond_with(200, path="/jobs", body="<html>welcome</html>", times=10_000)
        monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", wrong.airflow_connection)
        heard = watcher()
        await settled(wrong)
        monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", airbyte.airflow_connection)
        await settled(airbyte)
        job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
        await until(lambda: bool(heard.events))
        assert heard.job_ids == [job.job_id]
        await heard.stop()


@pytest.mark.parametrize("odd", [{"status": 404, "body": "<html>x</html>"}, {"status": 500}], ids=["odd", "500"])
async def test_tags_that_cannot_be_learnt_at_once_lose_no_event(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    monkeypatch.setattr(backoff.RetryPolicy, "next_delay", lambda *_: None)
    heard = watcher(tags="nightly")
    await settled(airbyte)
    airbyte.respond_with(path="/connections/.*", times=2, **odd)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard.events))
    assert heard.job_ids == [job.job_id]
    await heard.stop()


async def test_a_tag_that_was_given_since_counts(airbyte: LocalAirbyte) -> None:
    row = next(each for each in airbyte.connections if each["connectionId"] == STRIPE_TO_BIGQUERY)
    row["tags"] = []
    heard = watcher(tags="fresh")
    await settled(airbyte)
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await settled(airbyte, 3)
    row["tags"] = [{"tagId": str(uuid.uuid4()), "name": "fresh", "workspaceId": WORKSPACE_ID}]
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard.events))
    assert heard.job_ids == [job.job_id]
    await heard.stop()


class CannotBeCopiedError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


@pytest.mark.parametrize("mistake", [RuntimeError("a mistake"), CannotBeCopiedError(1, 2)], ids=repr)
async def test_a_mistake_of_ours_in_one_poll_ends_no_watcher(
    airbyte: LocalAirbyte, mocker: MockerFixture, mistake: Exception
) -> None:
    heard = [watcher(), watcher(statuses="failed")]
    await settled(airbyte)
    broken = mocker.patch.object(resources, "fetch_updated_jobs_page", side_effect=mistake)
    await until(lambda: broken.call_count >= 1)
    mocker.stop(broken)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard[0].events))
    assert heard[0].job_ids == [job.job_id]
    for each in heard:
        await each.stop()


async def test_fifty_watchers_share_the_retries_of_an_outage(airbyte: LocalAirbyte) -> None:
    crowd = [watcher(poll_interval=0.1 + number / 1000) for number in range(50)]
    await settled(airbyte, 3)
    airbyte.respond_with(429, path="/jobs", headers={"Retry-After": "2"})
    before = len(airbyte.requests_to("GET", "/jobs"))
    await settled(airbyte, 1)
    newcomers = [watcher(poll_interval=0.2) for _ in range(5)]
    await settled(airbyte, 2)
    polls = [request.at for request in airbyte.requests_to("GET", "/jobs")[before:]]
    assert max(polls[1] - polls[0], polls[2] - polls[1]) >= 1.5, "the server has asked for two seconds of peace"
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: all(heard.events for heard in crowd))
    assert {heard.job_ids[0] for heard in crowd} == {job.job_id}
    for heard in crowd + newcomers:
        await heard.stop()


@pytest.mark.parametrize("ahead", [-7200.0, 7200.0])
async def test_a_clock_that_differs_from_airbytes_makes_no_storm(airbyte: LocalAirbyte, ahead: float) -> None:
    airbyte.clock_skew = ahead
    for _ in range(3):
        airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    heard = watcher()
    await settled(airbyte, 4)
    assert heard.events == []
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    await until(lambda: bool(heard.events))
    assert heard.job_ids == [job.job_id]
    await heard.stop()


async def test_a_clear_matches_both_of_its_job_types(airbyte: LocalAirbyte) -> None:
    crowd = [watcher(job_types=job_type) for job_type in ("clear", "reset")]
    await settled(airbyte)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", job_type="reset")
    await until(lambda: all(heard.events for heard in crowd))
    assert [heard.job_ids for heard in crowd] == [[job.job_id]] * 2
    for heard in crowd:
        await heard.stop()
