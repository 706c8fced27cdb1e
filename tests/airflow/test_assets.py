"""A finished sync is an event on the asset that stands for its connection."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_airbyte_api.api import errors
from airflow_provider_airbyte_api.assets import connection_asset, sanitize_uri
from airflow_provider_airbyte_api.operators.airbyte import (
    AirbyteClearOperator,
    AirbyteListConnectionsOperator,
    AirbyteSyncOperator,
)
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY, WORKSPACE_ID
from tests.airflow.conftest import run
from tests.versions import since

BOTH_MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


def sync(connection_id: str = STRIPE_TO_BIGQUERY, **more: Any) -> AirbyteSyncOperator:
    return AirbyteSyncOperator(task_id="sync", connection_id=connection_id, **{"poll_interval": 0.02, **more})


def kind_of_event() -> Any:
    """Return the class of Airflow's that an event is a row of."""
    try:
        from airflow.models.asset import AssetEvent
    except ImportError:  # Airflow 2
        from airflow.models.dataset import DatasetEvent as AssetEvent  # type: ignore[import-not-found, no-redef]
    return AssetEvent


def events() -> dict[str, list[dict[str, Any]]]:
    """Return what Airflow's database has of events, by the asset's URI; a test begins with none."""
    from airflow.utils.session import create_session

    kind = kind_of_event()
    found: dict[str, list[dict[str, Any]]] = {}
    with create_session() as session:
        for event in session.query(kind).order_by(kind.id):
            found.setdefault(event.uri, []).append(dict(event.extra))
    return found


@pytest.fixture(autouse=True)
def _no_events_yet(dag: DAG) -> None:
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(kind_of_event()).delete()


@BOTH_MODES
def test_a_finished_sync_is_one_event_with_what_it_moved(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
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
    sync(deferrable=deferrable, asset_events="streams")
    assert run(dag).succeeded
    base = connection_asset(airbyte.url, STRIPE_TO_BIGQUERY).uri
    assert set(events()) == {base, f"{base}/billing%2Feu/Rechnungen%201", f"{base}/customers"}
    assert connection_asset(airbyte.url, STRIPE_TO_BIGQUERY, "billing/eu", "Rechnungen 1").uri in events()


@since("3.0", "it takes longer names")
def test_a_stream_whose_name_is_too_long_fails_no_sync(dag: DAG, airbyte: LocalAirbyte) -> None:
    row = next(each for each in airbyte.connections if each["connectionId"] == STRIPE_TO_BIGQUERY)
    row["configurations"]["streams"][0]["name"] = "ü" * 400
    sync(asset_events="streams")
    assert run(dag).succeeded
    base = connection_asset(airbyte.url, STRIPE_TO_BIGQUERY).uri
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


def test_a_clear_is_no_news_of_data(dag: DAG, airbyte: LocalAirbyte) -> None:
    AirbyteClearOperator(task_id="clear", connection_id=STRIPE_TO_BIGQUERY, poll_interval=0.02)
    assert run(dag).succeeded
    assert events() == {}


def test_a_reset_that_runs_instead_of_the_sync_is_no_news_of_data(dag: DAG, airbyte: LocalAirbyte) -> None:
    reset = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", job_type="reset")
    said = json.dumps(reset.as_json(with_stats=False))
    airbyte.next_reply(200, method="POST", path="/jobs", body=said)
    sync()
    done = run(dag)
    assert done.xcom("sync")["job_type"] == "reset"
    assert events() == {}


@BOTH_MODES
def test_mapped_syncs_are_an_event_each(dag: DAG, airbyte: LocalAirbyte, deferrable: bool) -> None:
    found = AirbyteListConnectionsOperator(task_id="list")
    AirbyteSyncOperator.partial(task_id="sync", poll_interval=0.02, deferrable=deferrable).expand(
        connection_id=found.output.map(lambda each: each["connectionId"])
    )
    assert run(dag).succeeded
    expected = {connection_asset(airbyte.url, each).uri for each in (STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES)}
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
    ],
)
def test_an_asset_is_made_of_what_people_type_as_host(host: str, authority: str) -> None:
    asset = connection_asset(host, STRIPE_TO_BIGQUERY.upper(), "public", "users", extra={"team": "data"})
    assert asset.uri == f"airbyte://{authority}/{STRIPE_TO_BIGQUERY}/public/users"
    assert asset.extra == {"team": "data"}


def test_an_asset_of_nothing_is_an_error_that_says_so() -> None:
    with pytest.raises(errors.AirbyteConfigError, match="connection_id is 'Stripe', expected a UUID"):
        connection_asset("localhost:8000", "Stripe")
