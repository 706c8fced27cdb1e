"""A finished sync is an event on the asset that stands for its connection."""

from __future__ import annotations

import json
import logging
import time
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, TaskDeferred

from airflow_provider_airbyte_api import _airflow_compat, exceptions
from airflow_provider_airbyte_api._defaults import SYNCS_ASSET
from airflow_provider_airbyte_api.api import jobs, start_job
from airflow_provider_airbyte_api.assets import connection_asset, sanitize_uri
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators import _asset_events
from airflow_provider_airbyte_api.operators.airbyte import (
    AirbyteClearOperator,
    AirbyteListConnectionsOperator,
    AirbyteSyncOperator,
)
from airflow_provider_airbyte_api.sensors.airbyte import AirbyteFreshnessSensor, AirbyteJobSensor
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY, WORKSPACE_ID
from tests.helpers.assets import asset_event_model, deactivate_asset, events, is_known, register_assets
from tests.helpers.dags import run
from tests.helpers.tasks import CallbackOperator, FakeTaskInstance
from tests.versions import since

BOTH_MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


def sync(connection_id: str = STRIPE_TO_BIGQUERY, **more: Any) -> AirbyteSyncOperator:
    return AirbyteSyncOperator(**{"task_id": "sync", "connection_id": connection_id, "poll_interval": 0.02, **more})


@pytest.fixture(autouse=True)
def _no_events_yet(dag: DAG) -> None:
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(asset_event_model()).delete()
    deactivate_asset(SYNCS_ASSET)


@pytest.fixture(autouse=True)
def _no_owner_head_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (
        ("OWNER_HEAD_START", 0.05),
        ("MAX_JITTER", 0.0),
        ("POLL_INTERVAL", 0.02),
        ("CLAIM_SETTLE_TIME", 0.05),
    ):
        monkeypatch.setattr(_asset_events, name, seconds)


def asset_of(airbyte: LocalAirbyte, connection_id: str = STRIPE_TO_BIGQUERY, *stream: str) -> str:
    return connection_asset(airbyte.url, connection_id, *stream).uri


@BOTH_MODES
def test_a_finished_sync_is_one_event_with_what_it_moved(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    register_assets(asset_of(airbyte))
    sync(deferrable=deferrable)
    done = run(dag)
    assert done.succeeded
    uri = f"airbyte://{urlsplit(airbyte.url).netloc}/{STRIPE_TO_BIGQUERY}"
    ((found_uri, (facts,)),) = events().items()
    assert found_uri == uri == connection_asset(airbyte.url, STRIPE_TO_BIGQUERY).uri
    result = done.xcom("sync")
    assert {name: facts[name] for name in result} == result
    assert facts["end_time"] >= facts["start_time"]
    assert (facts["connection_name"], facts["workspace_id"]) == ("Stripe → BigQuery", WORKSPACE_ID)


@since("3.1", "DAG.test does not make assets active")
@BOTH_MODES
def test_the_users_own_outlets_get_the_same_facts_and_no_event_twice(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool
) -> None:
    own, same = Asset("s3://lake/stripe"), connection_asset(airbyte.url, STRIPE_TO_BIGQUERY)
    sync(deferrable=deferrable, outlets=[own, same])
    assert run(dag).succeeded
    found = events()
    assert set(found) == {own.uri, same.uri}
    assert found[own.uri] == found[same.uri]
    assert len(found[own.uri]) == 1
    assert found[own.uri][0]["rows_synced"] == 250_000


@BOTH_MODES
def test_each_stream_is_an_asset_if_asked_for(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    row = next(each for each in airbyte.connections if each["connectionId"] == STRIPE_TO_BIGQUERY)
    row["configurations"]["streams"][0].update(namespace="billing/eu", name="Rechnungen 1")
    base = asset_of(airbyte)
    expected = {base, f"{base}/billing%2Feu/Rechnungen%201", f"{base}/customers"}
    register_assets(*expected)
    sync(deferrable=deferrable, asset_events="streams")
    assert run(dag).succeeded
    assert set(events()) == expected
    assert asset_of(airbyte, STRIPE_TO_BIGQUERY, "billing/eu", "Rechnungen 1") in events()


@BOTH_MODES
def test_streams_that_cannot_be_listed_fail_no_sync(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    register_assets(asset_of(airbyte))
    before = AirbyteHook.get_airbyte_connection
    with pytest.MonkeyPatch.context() as patch:

        def refuse(hook: AirbyteHook, connection_id: str) -> Any:
            airbyte.respond_with(403, method="GET", path="/connections/")
            return before(hook, connection_id)

        patch.setattr(AirbyteHook, "get_airbyte_connection", refuse)
        sync(deferrable=deferrable, asset_events="streams")
        assert run(dag).succeeded
    assert set(events()) == {asset_of(airbyte)}


@pytest.mark.parametrize(
    "make",
    [
        lambda _: sync(asset_events="streams", deferrable=True),
        lambda job_id: AirbyteJobSensor(task_id="wait", job_id=job_id, deferrable=True),
        lambda _: AirbyteFreshnessSensor(task_id="wait", connection_id=STRIPE_TO_BIGQUERY, max_age=60, deferrable=True),
    ],
    ids=["sync", "job sensor", "freshness sensor"],
)
def test_the_row_of_a_trigger_holds_none_of_a_thousand_streams(airbyte: LocalAirbyte, make: Any) -> None:
    """MySQL keeps it in a column of 64 KB."""
    row = next(each for each in airbyte.connections if each["connectionId"] == STRIPE_TO_BIGQUERY)
    stream = row["configurations"]["streams"][0]
    row["configurations"]["streams"] = [{**stream, "name": f"stream_{number:04d}"} for number in range(1000)]
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    with pytest.raises(TaskDeferred) as deferred:
        make(job.job_id).execute({"ti": FakeTaskInstance()})
    kept = json.dumps([deferred.value.trigger.serialize(), deferred.value.kwargs])
    assert "stream_" not in kept
    assert len(kept) < 2000


@BOTH_MODES
def test_an_asset_that_no_dag_names_costs_no_event_and_is_not_created(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool
) -> None:
    """To create it, in the transaction that sets the task's state, is what fails one of two tasks that end together."""
    sync(deferrable=deferrable, asset_events="streams")
    assert run(dag).succeeded
    assert events() == {}
    assert not is_known(asset_of(airbyte))


@BOTH_MODES
def test_a_dag_may_wait_for_any_sync(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    register_assets(SYNCS_ASSET)
    sync(deferrable=deferrable)
    assert run(dag).succeeded
    ((uri, (facts,)),) = events().items()
    assert (uri, facts["connection_id"]) == (SYNCS_ASSET, STRIPE_TO_BIGQUERY)


@BOTH_MODES
def test_tasks_that_attached_to_a_sync_of_nobody_here_are_one_event(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airbyte's own schedule started it, say. The DAGs that wait for it are to start, once."""
    register_assets(asset_of(airbyte), SYNCS_ASSET)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    monkeypatch.setattr(start_job, "start_or_attach", lambda *_, **__: adopted(job.job_id))
    first, second = sync(deferrable=deferrable), sync(deferrable=deferrable, task_id="second")
    first >> second
    assert run(dag).succeeded
    assert {uri: len(found) for uri, found in events().items()} == {asset_of(airbyte): 1, SYNCS_ASSET: 1}
    assert len(airbyte.jobs) == 1


@BOTH_MODES
def test_a_task_that_attached_leaves_the_event_of_its_own_outlet_too_to_who_emitted_it(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Asset("s3://lake/stripe")
    register_assets(own.uri)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    monkeypatch.setattr(start_job, "start_or_attach", lambda *_, **__: adopted(job.job_id))
    first = sync(deferrable=deferrable, outlets=[own])
    first >> sync(deferrable=deferrable, task_id="second", outlets=[own])
    assert run(dag).succeeded
    assert {uri: len(found) for uri, found in events().items()} == {own.uri: 1}


@BOTH_MODES
def test_each_sync_is_an_event(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    register_assets(asset_of(airbyte))
    sync(deferrable=deferrable) >> sync(deferrable=deferrable, task_id="second")
    assert run(dag).succeeded
    assert [facts["job_id"] for facts in events()[asset_of(airbyte)]] == [1, 2]


def adopted(job_id: int, *, owned: bool = False) -> Any:
    """What ``start_or_attach`` comes to where a job of somebody else runs, which here has ended by now."""
    job = yield from jobs.get_job(job_id)
    return start_job.Started(job, owned=owned)


@BOTH_MODES
@pytest.mark.parametrize("owner", [0, 2], ids=["the owner first", "the owner last"])
def test_a_task_that_started_a_sync_and_two_that_attached_are_one_event(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool, owner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_assets(asset_of(airbyte), SYNCS_ASSET)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    starts = iter([adopted(job.job_id, owned=index == owner) for index in range(3)])
    monkeypatch.setattr(start_job, "start_or_attach", lambda *_, **__: next(starts))
    first, second, third = (sync(deferrable=deferrable, task_id=f"sync_{index}") for index in range(3))
    first >> second >> third
    assert run(dag).succeeded
    assert {uri: len(found) for uri, found in events().items()} == {asset_of(airbyte): 1, SYNCS_ASSET: 1}


@BOTH_MODES
def test_a_task_that_attached_emits_the_streams_that_the_task_that_started_the_sync_did_not(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = asset_of(airbyte, STRIPE_TO_BIGQUERY, "customers")
    register_assets(asset_of(airbyte), SYNCS_ASSET, stream)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    starts = iter([adopted(job.job_id, owned=index == 0) for index in range(3)])
    monkeypatch.setattr(start_job, "start_or_attach", lambda *_, **__: next(starts))
    owner = sync(deferrable=deferrable)
    second, third = (
        sync(deferrable=deferrable, task_id=f"attached_{index}", asset_events="streams") for index in range(2)
    )
    owner >> second >> third
    assert run(dag).succeeded
    assert {uri: len(found) for uri, found in events().items()} == {asset_of(airbyte): 1, SYNCS_ASSET: 1, stream: 1}


class Ending:
    """Tasks that end with one job at the same moment: none of them has its event stored yet. For use in a task."""

    def __init__(self, context: Any, uri: str) -> None:
        self.context = context
        self.uri = uri

    def emits(self, task_id: str, *, owned: bool, job_id: int = 7) -> bool:
        """Tell whether the task that bears this name would emit the event."""
        real = self.context["ti"]
        ti = SimpleNamespace(dag_id=real.dag_id, run_id=real.run_id, task_id=task_id, map_index=-1)
        task = SimpleNamespace(outlets=[], log=logging.getLogger("test"))
        facts = {"job_id": job_id, "connection_id": STRIPE_TO_BIGQUERY, "start_time": f"at {job_id}", "end_time": None}
        context: Any = {**self.context, "ti": ti}
        ending = _asset_events.AssetEventEmitter(cast("Any", task), context, facts, owned=owned)
        ending.emit(self.uri)
        return [asset.uri for asset in task.outlets] == [self.uri]


KEPT_FOR_AN_ASSET = since("3.3", "it keeps nothing for an asset")


@KEPT_FOR_AN_ASSET
@pytest.mark.parametrize("owned", [True, False], ids=["started it", "attached"])
def test_who_comes_after_a_task_that_has_claimed_the_event_leaves_it_to_that_one(dag: DAG, owned: bool) -> None:
    uri = f"airbyte://{'owner' if owned else 'attached'}.example/{STRIPE_TO_BIGQUERY}"
    register_assets(uri)
    emitted: list[bool] = []

    def callback(context: Any) -> None:
        ending = Ending(context, uri)
        emitted.extend(
            [
                ending.emits("first", owned=owned),
                ending.emits("second", owned=False),
                ending.emits("owner", owned=True),
                ending.emits("first", owned=owned),  # another try of it
                ending.emits("second", owned=False, job_id=8),
            ]
        )

    CallbackOperator(task_id="ask", callback=callback)
    assert run(dag).succeeded
    assert emitted == [True, False, False, True, True]


@KEPT_FOR_AN_ASSET
@pytest.mark.parametrize("same_job", [True, False], ids=["one job", "two jobs"])
@pytest.mark.parametrize("owned", [True, False], ids=["started it", "attached"])
def test_of_two_tasks_that_claim_the_event_of_a_job_at_once_the_last_to_write_emits_it(
    dag: DAG, monkeypatch: pytest.MonkeyPatch, owned: bool, same_job: bool
) -> None:
    """Two may both seem to have started a job: Airbyte answers a request for a sync with the one that is pending.

    The events of two jobs are both emitted.
    """
    uri = f"airbyte://at-once-{owned}-{same_job}.example/{STRIPE_TO_BIGQUERY}".lower()
    register_assets(uri)
    emitted: list[tuple[str, bool]] = []

    def callback(context: Any) -> None:
        ending = Ending(context, uri)
        store = _airflow_compat.asset_state(Asset(uri=uri))
        key = f"airbyte_events_{STRIPE_TO_BIGQUERY}"
        settle = time.sleep

        def second_writes(seconds: float) -> None:
            """It had read that nobody has claimed the event before the first one wrote its claim."""
            if seconds == _asset_events.CLAIM_SETTLE_TIME:
                job = store.get(key)["job"] if same_job else [8, "at 8"]
                store.set(key, {"job": job, "task": f"{context['ti'].dag_id}/{context['ti'].run_id}/second/-1"})
            settle(seconds)

        with monkeypatch.context() as patch:
            patch.setattr(time, "sleep", second_writes)
            emitted.append(("first", ending.emits("first", owned=owned)))
        emitted.append(("second", ending.emits("second", owned=owned, job_id=7 if same_job else 8)))

    CallbackOperator(task_id="ask", callback=callback)
    assert run(dag).succeeded
    assert emitted == [("first", not same_job), ("second", True)]


@BOTH_MODES
def test_an_airflow_that_cannot_be_asked_fails_no_sync(
    dag: DAG, airbyte: LocalAirbyte, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise OSError("no reply")

    monkeypatch.setattr(_airflow_compat, "active_asset", broken)
    sync(deferrable=deferrable)
    assert run(dag).succeeded


@since("3.0", "it takes longer names")
def test_a_stream_whose_name_is_too_long_fails_no_sync(dag: DAG, airbyte: LocalAirbyte) -> None:
    row = next(each for each in airbyte.connections if each["connectionId"] == STRIPE_TO_BIGQUERY)
    row["configurations"]["streams"][0]["name"] = "ü" * 400
    base = asset_of(airbyte)
    register_assets(base, f"{base}/customers")
    sync(asset_events="streams")
    assert run(dag).succeeded
    assert set(events()) == {base, f"{base}/customers"}


@pytest.mark.parametrize(
    "arrange",
    [
        lambda airbyte: airbyte.script_jobs("failed"),
        lambda airbyte: airbyte.script_jobs("cancelled"),
    ],
    ids=["failed", "cancelled"],
)
def test_a_sync_that_does_not_succeed_is_no_event(dag: DAG, airbyte: LocalAirbyte, arrange: Any) -> None:
    arrange(airbyte)
    sync(outlets=[Asset("s3://lake/stripe")])
    assert not run(dag).succeeded
    assert events() == {}


@pytest.mark.parametrize("more", [{"asset_events": "none"}, {"wait_for_completion": False}], ids=str)
def test_there_is_no_event_where_none_is_wanted_or_nothing_is_known(
    dag: DAG, airbyte: LocalAirbyte, more: dict[str, Any]
) -> None:
    sync(**more)
    assert run(dag).succeeded
    assert events() == {}


def test_a_clear_emits_no_asset_event(dag: DAG, airbyte: LocalAirbyte) -> None:
    AirbyteClearOperator(task_id="clear", connection_id=STRIPE_TO_BIGQUERY, poll_interval=0.02)
    assert run(dag).succeeded
    assert events() == {}


def test_a_reset_that_ran_first_emits_no_event_and_the_sync_after_it_one(dag: DAG, airbyte: LocalAirbyte) -> None:
    expected = connection_asset(airbyte.url, STRIPE_TO_BIGQUERY).uri
    register_assets(expected)
    reset = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", job_type="reset")
    airbyte.respond_with(200, method="POST", path="/jobs", body=json.dumps(reset.as_json(with_stats=False)))
    sync()
    done = run(dag)
    assert done.xcom("sync")["job_type"] == "sync"
    assert [each["job_id"] for each in events()[expected]] == [done.xcom("sync")["job_id"]]


@BOTH_MODES
def test_mapped_syncs_are_an_event_each(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    expected = {connection_asset(airbyte.url, each).uri for each in (STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES)}
    register_assets(*expected)
    found = AirbyteListConnectionsOperator(task_id="list")
    AirbyteSyncOperator.partial(task_id="sync", poll_interval=0.02, deferrable=deferrable).expand(
        connection_id=found.output.map(lambda each: each["connectionId"])
    )
    assert run(dag).succeeded
    assert set(events()) == expected


# -- the URI -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "uri"),
    [
        (
            "airbyte://LOCALHOST:8000/9924BCD0-99be-453d-ba47-c2c9766f7da5/",
            "localhost:8000/9924bcd0-99be-453d-ba47-c2c9766f7da5",
        ),
        (
            "airbyte://cloud.airbyte.com/9924bcd0-99be-453d-ba47-c2c9766f7da5",
            "api.airbyte.com/9924bcd0-99be-453d-ba47-c2c9766f7da5",
        ),
        (
            "airbyte://a.example:443/9924bcd0-99be-453d-ba47-c2c9766f7da5/public/users",
            "a.example/9924bcd0-99be-453d-ba47-c2c9766f7da5/public/users",
        ),
        (
            "airbyte://[::1]:8000/9924bcd0-99be-453d-ba47-c2c9766f7da5/a%2Fb",
            "[::1]:8000/9924bcd0-99be-453d-ba47-c2c9766f7da5/a%2Fb",
        ),
        (
            "airbyte://A.example//eu/airbyte/9924BCD0-99be-453d-ba47-c2c9766f7da5/public/users",
            "a.example/eu/airbyte/9924bcd0-99be-453d-ba47-c2c9766f7da5/public/users",
        ),
        (
            "airbyte://a.example/api/public/v1/9924bcd0-99be-453d-ba47-c2c9766f7da5",
            "a.example/9924bcd0-99be-453d-ba47-c2c9766f7da5",
        ),
    ],
)
def test_a_uri_has_one_spelling(typed: str, uri: str) -> None:
    assert sanitize_uri(urlsplit(typed)).geturl() == f"airbyte://{uri}"
    assert Asset(uri=typed).uri == f"airbyte://{uri}", "Airflow finds it by the scheme"


@pytest.mark.parametrize(
    "typed",
    ["airbyte://localhost:8000/", "airbyte://localhost/stripe", "airbyte:///9924bcd0-99be-453d-ba47-c2c9766f7da5"],
)
def test_what_is_no_uri_of_a_connection_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match=r"expected airbyte://<host>/<UUID of a connection>"):
        sanitize_uri(urlsplit(typed))


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("https://api.airbyte.com/v1", "api.airbyte.com"),
        ("localhost:8000", "localhost:8000"),
        ("http://localhost:8000/api/public/v1/", "localhost:8000"),
        ("https://airbyte.example.com/workspaces/1", "airbyte.example.com"),
        ("https://example.com/eu/api/public/v1", "example.com/eu"),
        ("https://example.com/us", "example.com/us"),
        ("http://airbyte.example.com:8006/v1", "airbyte.example.com:8006"),
    ],
)
def test_an_asset_is_made_of_what_people_type_as_host(host: str, authority: str) -> None:
    asset = connection_asset(host, STRIPE_TO_BIGQUERY.upper(), "public", "users", extra={"team": "data"})
    assert asset.uri == f"airbyte://{authority}/{STRIPE_TO_BIGQUERY}/public/users"
    assert asset.extra == {"team": "data"}


def test_an_asset_of_nothing_is_an_error_that_says_so() -> None:
    with pytest.raises(exceptions.AirbyteConfigError, match="connection_id is 'Stripe', expected a UUID"):
        connection_asset("localhost:8000", "Stripe")
