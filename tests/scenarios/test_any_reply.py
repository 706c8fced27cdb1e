"""Whatever a server answers, the outcome is a value or an AirbyteError, and Airflow can encode what is made of it.

The replies are made up of Airbyte's own fields with a value of any type in each, over a real socket, through both
drivers and through the watch of a triggerer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from airflow_provider_airbyte_api.api import diagnostics, freshness, jobs, openlineage, resources, start_job
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.base_url import parse_host
from airflow_provider_airbyte_api.api.flow import Flow, Page, collect, fetch_token
from airflow_provider_airbyte_api.api.jobs import WaitResult
from airflow_provider_airbyte_api.api.models import Connection, Destination, Job, Source
from airflow_provider_airbyte_api.api.outcome import build_asset_event_extra, build_result
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, Token, static_token
from airflow_provider_airbyte_api.clients.async_client import AsyncClient
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.clients.sync_client import Client
from airflow_provider_airbyte_api.exceptions import AirbyteError, error_to_dict
from airflow_provider_airbyte_api.triggers import _payloads
from airflow_provider_airbyte_api.triggers import airbyte as triggers
from tests.helpers.scripted_http_server import TOKEN, Answer, ScriptedHttpServer

LOG = logging.getLogger("tests.hostile")
CONNECTION = "9924bcd0-99be-453d-ba47-c2c9766f7da5"
# The same replies at each run: what fails here fails everywhere. With another seed and more of them it finds more.
QUICKLY = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))

ODD = some.sampled_from(
    [2**63, 2**70, -(2**70), 10**400, float("inf"), float("nan"), 1.9, True, None, "", "5", "\ud83d", "\x00", "\x1b[2J"]
)
TEXT = some.text(some.characters(categories=None), max_size=8)
VALUES = some.recursive(
    ODD | TEXT | some.integers() | some.floats() | some.sampled_from(["sync", "succeeded", "running", CONNECTION]),
    lambda inner: (
        some.lists(inner, max_size=3) | some.dictionaries(TEXT | some.just("__classname__"), inner, max_size=3)
    ),
    max_leaves=5,
)


def of(**usual: Any) -> some.SearchStrategy[dict[str, Any]]:
    """Objects with these fields, most of them as usual, some of them odd, some not there."""
    fields = {name: some.just(value) | some.just(value) | VALUES for name, value in usual.items()}
    return some.fixed_dictionaries({}, optional=fields) | some.fixed_dictionaries(fields)


MOMENT = "2026-11-23T10:00:00Z"
JOB = of(
    jobId=1,
    status="succeeded",
    jobType="sync",
    connectionId=CONNECTION,
    startTime=MOMENT,
    lastUpdatedAt=MOMENT,
    duration="PT5M",
    rowsSynced=5,
    bytesSynced=500,
)
CONNECTIONS = of(
    connectionId=CONNECTION,
    name="Mine",
    status="active",
    workspaceId=CONNECTION,
    sourceId=CONNECTION,
    destinationId=CONNECTION,
    schedule={"scheduleType": "cron"},
    tags=[{"tagId": CONNECTION, "name": "x"}],
    configurations={"streams": [{"name": "users", "namespace": "crm"}]},
    prefix="x",
    namespaceDefinition="custom_format",
    namespaceFormat="y",
)
ERROR = of(
    message="no", detail="no", title="try-again-later", type="error:x", status=403, errorId="x", data={"message": "no"}
)
ROWS = some.lists(JOB | CONNECTIONS, max_size=3).map(lambda rows: {"data": rows}) | of(data=[])
DATES = [
    "Tue, 14 Nov 99999999999999999999 22:13:20 GMT",
    "Tue, 14 Nov 2023 22:13:20 -0000",
    *("Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 +1400", "9" * 400, "-1", "1e9", "", "\xe9", "x"),
]
HEADERS = some.fixed_dictionaries(
    {},
    optional={
        "Date": some.sampled_from(DATES),
        "Retry-After": some.sampled_from(DATES),
        "Content-Type": some.sampled_from(["application/json", "text/html"]),
        "WWW-Authenticate": some.sampled_from(["Basic realm=\x9b2J", "Bearer"]),
    },
)


def encoded(value: Any) -> bytes:
    return json.dumps(value).replace("Infinity", "1e999").encode()


BODIES = (
    (JOB | CONNECTIONS | ERROR | ROWS | VALUES).map(encoded)
    | some.binary(max_size=20)
    | some.sampled_from([b"[" * 100_000, b'{"data":' * 50_000, b'{"jobId": %s, "status": "running"}' % (b"9" * 5000)])
)
ANSWERS = some.builds(
    Answer, BODIES, some.sampled_from([200, 200, 200, 200, 201, 400, 401, 403, 404, 409, 422, 429, 500, 503]), HEADERS
)
LIVES: list[Any] = [900, 0, -1, 2**70, 10**400, float("inf"), float("nan"), True, None, "900", [], {}]
TOKENS = some.fixed_dictionaries({"access_token": some.just("x.eyJleHAiOiAxZTk5OX0.x") | VALUES}).flatmap(
    lambda made: some.sampled_from(LIVES).map(lambda life: Answer(encoded({**made, "expires_in": life})))
) | some.builds(Answer, BODIES, some.sampled_from([200, 400, 403]), HEADERS)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer(lambda _method, _path: TOKEN) as running:
        yield running


STARTABLE = {"connectionId": CONNECTION, "name": "x", "status": "active"}
RESTART = start_job.JobRequest(on_running="restart")


@pytest.fixture
def _time_passes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = 0.0

    def sleep(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    async def sleep_async(seconds: float) -> None:
        sleep(seconds)

    monkeypatch.setattr(CLOCK, "time", lambda: time.time() + ahead)
    monkeypatch.setattr(CLOCK, "monotonic", lambda: time.monotonic() + ahead)
    monkeypatch.setattr(CLOCK, "sleep", sleep)
    monkeypatch.setattr(CLOCK, "sleep_async", sleep_async)


def settings_of(server: ScriptedHttpServer) -> ClientSettings:
    return ClientSettings(parse_host(server.url), static_token=static_token("x", ""))


def flows(server: ScriptedHttpServer) -> list[Callable[[], Flow[Any]]]:
    credentials = ClientCredentials(f"{parse_host(server.url).api_url}/applications/token", "id", "a-secret")
    return [
        lambda: jobs.get_job(1, NO_RETRY),
        lambda: jobs.cancel_job(1, NO_RETRY),
        lambda: resources.fetch_updated_jobs_page(None, 0.0, 0),
        lambda: resources.fetch_jobs_page(None, "running", 0),
        lambda: resources.get_connection(CONNECTION, NO_RETRY),
        lambda: fetch_token(credentials, NO_RETRY),
        lambda: freshness.check_freshness(CONNECTION, freshness.FreshnessCriteria(max_age=1e9, fail_on_failure=True)),
        lambda: freshness.check_freshness(CONNECTION, freshness.FreshnessCriteria(max_age=1e9, min_rows=1)),
        lambda: start_job.start_or_attach(Connection.from_json(STARTABLE), 1, retry=NO_RETRY),
        lambda: start_job.start_or_attach(Connection.from_json(STARTABLE), 1, RESTART, NO_RETRY),
        lambda: jobs.cancel_and_wait(1),
        lambda: collect(resources.list_connections()),
        lambda: diagnostics.diagnose(parse_host(server.url), credentials, None),
        lambda: diagnostics.diagnose(parse_host(server.url), None, static_token("x", "")),
    ]


def claim_is_encodable(value: Any) -> None:
    """Encode ``value`` as a triggerer, a task and the database do."""
    msgspec, serde = pytest.importorskip("msgspec"), pytest.importorskip("airflow.sdk.serde")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value)) == value
    assert "\\u0000" not in json.dumps(serde.serialize(value), allow_nan=False)


def claim_a_connection_is_well(outcome: Connection) -> None:
    """Make of it what lineage does as well, and encode that."""
    claim_is_encodable([dict(outcome.raw), outcome.name, outcome.schedule_type, [tag.name for tag in outcome.tags]])
    for stream in outcome.streams:
        configuration = {"configuration": outcome.raw, "sourceType": "postgres", "destinationType": "s3"}
        source = Source.from_json({"sourceId": "s", **configuration})
        destination = Destination.from_json({"destinationId": "d", **configuration})
        root = parse_host("http://localhost")
        for name in (
            openlineage.input_dataset(root, source, stream),
            openlineage.output_dataset(root, outcome, destination, stream),
        ):
            claim_is_encodable([name.namespace, name.name])


def claim_all_is_well(outcome: Any) -> None:
    """Make of ``outcome`` all that the package makes of it for Airflow, and encode that."""
    if isinstance(outcome, Page | list):
        for row in outcome.rows if isinstance(outcome, Page) else outcome:
            claim_all_is_well(row)
    elif isinstance(outcome, start_job.Started | start_job.Blocked):
        claim_all_is_well(outcome.job)
    elif isinstance(outcome, Job):
        claim_is_encodable(_payloads.job_payload(WaitResult(outcome, 1), {}))
        claim_is_encodable(build_asset_event_extra(outcome, None, "", None))
        claim_is_encodable(build_result(outcome, None))
        claim_is_encodable(dict(outcome.raw))
    elif isinstance(outcome, Connection):
        claim_a_connection_is_well(outcome)
    elif isinstance(outcome, freshness.FreshnessCheck):
        claim_is_encodable(outcome.explain())
        for job in filter(None, (outcome.match, outcome.latest_success)):
            claim_all_is_well(job)
    elif isinstance(outcome, diagnostics.Diagnosis):
        claim_is_encodable([outcome.ok, outcome.message])
    elif isinstance(outcome, AirbyteError):
        claim_is_encodable(error_to_dict(outcome))
        claim_is_encodable(_payloads.error_payload(1, outcome, {}))
        str(outcome).encode()
    else:
        assert isinstance(outcome, Token)
        outcome.authorization.encode("ascii")


@pytest.mark.usefixtures("_time_passes_at_once")
@pytest.mark.parametrize("driver", ["requests", "aiohttp"])
def test_any_reply_is_a_value_or_an_error_of_ours(server: ScriptedHttpServer, driver: str) -> None:
    def in_a_worker() -> list[Any]:
        outcomes: list[Any] = []
        with Client(settings_of(server), LOG) as client:
            for make in flows(server):
                try:
                    outcomes.append(client.run(make()))
                except AirbyteError as error:
                    outcomes.append(error)
        return outcomes

    async def in_a_triggerer() -> list[Any]:
        outcomes: list[Any] = []
        async with AsyncClient(settings_of(server), LOG) as client:
            for make in flows(server):
                try:
                    outcomes.append(await client.run(make()))
                except AirbyteError as error:
                    outcomes.append(error)
        return outcomes

    @settings(QUICKLY, max_examples=60)
    @given(ANSWERS, TOKENS)
    def claim(answer: Answer, token: Answer) -> None:
        server.answer = lambda _method, path: token if path == "/applications/token" else answer
        for outcome in in_a_worker() if driver == "requests" else asyncio.run(in_a_triggerer()):
            claim_all_is_well(outcome)

    claim()


def test_any_reply_to_a_trigger_is_an_event_that_airflow_can_encode(
    server: ScriptedHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HOSTILE", server.airflow_connection)

    async def wait_for_seven() -> list[dict[str, Any]]:
        """As many as the watch looks for by a list, too."""
        deadline = time.time() + 0.15
        made = [
            triggers.AirbyteJobTrigger(job_id, CONNECTION, "hostile", 0.02, deadline, unreachable_timeout=0.1)
            for job_id in range(1, 8)
        ]
        return await asyncio.gather(*(_event_of(each) for each in made))

    @settings(QUICKLY, max_examples=25)
    @given(ANSWERS)
    def claim(answer: Answer) -> None:
        server.answer = lambda _method, path: TOKEN if path == "/applications/token" else answer
        for event in asyncio.run(wait_for_seven()):
            claim_is_encodable(event)
            assert not str((event["error"] or {}).get("message")).startswith("The trigger failed")
            _payloads.parse(event)

    claim()


async def _event_of(trigger: triggers.AirbyteJobTrigger) -> dict[str, Any]:
    (event,) = [event.payload async for event in trigger.run()]
    return dict(event)
