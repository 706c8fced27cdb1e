"""One suite, both drivers, a real socket."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import jobs, resources, start_job
from airflow_provider_airbyte_api.api.flow import Checkpoint, Flow, Log, Step, YieldRows
from airflow_provider_airbyte_api.api.http import Request, Response, TransportErrorKind, TransportFailure
from airflow_provider_airbyte_api.api.job_record import JobRecord
from airflow_provider_airbyte_api.api.models import Source
from airflow_provider_airbyte_api.clients import sync_client
from airflow_provider_airbyte_api.clients.token_cache import TOKENS
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE, STRIPE, STRIPE_TO_BIGQUERY
from tests.helpers.drivers import GET_JOBS, LOG, POST_JOBS, AsyncDriver, Driver, SyncDriver, exchange

TOKEN_PATH = "/applications/token"


@pytest.fixture(params=[SyncDriver, AsyncDriver])
def driver(request: pytest.FixtureRequest, airbyte: LocalAirbyte) -> Driver:
    made: Driver = request.param(airbyte)
    return made


def sources() -> Flow[list[Source]]:
    """List the sources with what both drivers' ``run`` can do: here the rows come as the result."""
    found: list[Source] = []
    listing = resources.list_sources()
    outcome = None
    while True:
        try:
            step = listing.send(outcome)
        except StopIteration:
            return found
        if isinstance(step, YieldRows):
            found += step.rows
            outcome = None
        else:
            outcome = yield step


# -- the seed's rules ------------------------------------------------------------------------------------------


def only(step: Step) -> Flow[None]:
    yield step


@pytest.mark.parametrize("step", [YieldRows([1]), Checkpoint(None)])
def test_rows_and_records_that_nobody_takes_are_an_error(driver: Driver, step: Step) -> None:
    with pytest.raises(TypeError):
        driver.run(only(step))


def test_a_flow_goes_on_only_once_its_record_is_stored(airbyte: LocalAirbyte) -> None:
    seen: list[object] = []

    def flow() -> Flow[str]:
        seen.append((yield Checkpoint(None)))
        try:
            yield Checkpoint(JobRecord("c", 0, 0.0))
        finally:
            seen.append("closed")
        return "never"

    def store(checkpoint: Checkpoint) -> None:
        seen.append(checkpoint.record)
        if checkpoint.record is not None:
            raise OSError("full")

    with sync_client.Client(SyncDriver(airbyte).settings(), LOG) as client, pytest.raises(OSError, match="full"):
        client.run(flow(), store)
    assert seen == [None, None, JobRecord("c", 0, 0.0), "closed"]


def test_sources_are_listed_with_the_official_headers_and_a_bearer_token(driver: Driver) -> None:
    assert {source.source_id for source in driver.run(sources())} == {SNOWFLAKE, STRIPE}
    asked = driver.airbyte.requests_to("GET", "/sources")[0]
    assert asked.headers["authorization"].startswith("Bearer ey")
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["user-agent"].startswith("airflow-provider-airbyte-api/")


def test_a_token_is_asked_for_as_json(driver: Driver) -> None:
    driver.run(sources())
    asked = driver.airbyte.requests_to("POST", TOKEN_PATH)[0]
    assert asked.headers["content-type"] == "application/json"
    assert "authorization" not in asked.headers
    assert asked.json()["grant-type"] == "client_credentials"


def test_five_lists_in_one_process_use_one_token(driver: Driver) -> None:
    for _ in range(5):
        driver.run(sources())
    assert len(driver.airbyte.requests_to("POST", TOKEN_PATH)) == 1
    assert len({asked.token for asked in driver.airbyte.requests_to("GET", "/sources")}) == 1


def test_a_crowd_that_starts_together_makes_one_token_request(driver: Driver) -> None:
    driver.airbyte.latency = 0.1
    assert all(len(found) == 2 for found in driver.run_together([sources] * 30))
    assert len(driver.airbyte.requests_to("POST", TOKEN_PATH)) == 1


def test_threads_and_coroutines_share_one_token(airbyte: LocalAirbyte) -> None:
    SyncDriver(airbyte).run(sources())
    AsyncDriver(airbyte).run(sources())
    assert len(airbyte.requests_to("POST", TOKEN_PATH)) == 1


def test_an_expired_token_is_renewed_before_the_request_without_a_401(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.run(sources())
    later = TOKENS._clock() + 880.0  # of 900, so it is within the margin that counts as expired
    monkeypatch.setattr(TOKENS, "_clock", lambda: later)
    driver.run(sources())
    assert len(driver.airbyte.requests_to("POST", TOKEN_PATH)) == 2
    first, second = driver.airbyte.requests_to("GET", "/sources")
    assert first.token != second.token


def test_a_revoked_token_brings_exactly_one_new_token_and_one_replay(driver: Driver) -> None:
    driver.run(sources())
    driver.airbyte.revoke_tokens()
    assert len(driver.run(sources())) == 2
    assert len(driver.airbyte.requests_to("POST", TOKEN_PATH)) == 2
    assert len(driver.airbyte.requests_to("GET", "/sources")) == 1 + 2


def test_a_crowd_with_a_revoked_token_renews_it_once(driver: Driver) -> None:
    driver.run(sources())
    driver.airbyte.revoke_tokens()
    driver.airbyte.latency = 0.05
    assert all(len(found) == 2 for found in driver.run_together([sources] * 20))
    assert len(driver.airbyte.requests_to("POST", TOKEN_PATH)) == 2


def test_a_second_401_is_an_error_after_exactly_two_attempts(driver: Driver) -> None:
    driver.airbyte.respond_with(401, path="/sources", times=99)
    with pytest.raises(exceptions.AirbyteAuthenticationError):
        driver.run(sources())
    assert len(driver.airbyte.requests_to("GET", "/sources")) == 2
    assert len(driver.airbyte.requests_to("POST", TOKEN_PATH)) == 2


def test_a_401_on_starting_a_sync_starts_one_job(driver: Driver) -> None:
    driver.airbyte.respond_with(401, method="POST", path="/jobs")
    driver.run(start_job.start_job(STRIPE_TO_BIGQUERY))
    assert len(driver.airbyte.jobs) == 1


@pytest.mark.parametrize(("edition", "status"), [("community", 400), ("cloud", 401)])
def test_a_wrong_secret_is_one_request_and_one_clear_error(driver: Driver, edition: str, status: int) -> None:
    driver.airbyte._state.edition = edition  # type: ignore[assignment]
    settings = driver.settings()
    driver.airbyte.client_secret = "changed since"
    with pytest.raises(exceptions.AirbyteAuthenticationError, match=r"Check Client ID \(Login\)") as caught:
        driver.run(sources(), settings)
    assert caught.value.status == status
    assert len(driver.airbyte.requests) == 1
    assert driver.airbyte.client_secret not in str(caught.value)


def test_a_token_is_never_sent_to_another_host(driver: Driver) -> None:
    with LocalAirbyte() as other:
        driver.run(sources())
        driver.run(sources(), driver.settings(url=other.url))
        tokens = {asked.token for asked in driver.airbyte.requests}
        assert tokens.isdisjoint({asked.token for asked in other.requests_to("GET", "/sources")})


def test_without_credentials_no_token_is_asked_for(driver: Driver) -> None:
    driver.airbyte._state.auth = False
    assert len(driver.run(sources(), driver.settings(auth=False))) == 2
    assert not driver.airbyte.requests_to("POST", TOKEN_PATH)
    assert "authorization" not in driver.airbyte.requests[0].headers


def test_a_failed_early_renewal_does_no_harm_while_the_old_token_works(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.run(sources())
    stale = TOKENS._clock() + 800.0  # of 900
    monkeypatch.setattr(TOKENS, "_clock", lambda: stale)
    driver.airbyte.respond_with(400, method="POST", path=TOKEN_PATH, times=9)
    assert len(driver.run(sources())) == 2
    assert len(driver.run(sources())) == 2
    assert len(driver.airbyte.requests_to("POST", TOKEN_PATH)) == 2, (
        "the next renewal is tried a little later, not each time"
    )


# -- the socket ------------------------------------------------------------------------------------------------


def test_a_redirect_is_not_followed(driver: Driver) -> None:
    with LocalAirbyte() as other:
        driver.airbyte.respond_with(302, path="/sources", headers={"Location": f"{other.url}/api/public/v1/sources"})
        with pytest.raises(exceptions.AirbyteUnexpectedResponseError, match="a redirect to"):
            driver.run(sources())
        assert not other.requests


def test_a_proxys_502_is_retried(driver: Driver) -> None:
    driver.airbyte.respond_with(502, path="/jobs/.*")
    job = driver.airbyte.add_job(STRIPE_TO_BIGQUERY)
    assert driver.run(jobs.get_job(job.job_id)).job_id == job.job_id
    assert len(driver.airbyte.requests_to("GET", "/jobs/.*")) == 2


def test_the_outcome_of_a_lost_response_is_unknown(driver: Driver) -> None:
    driver.airbyte._state.auth = False
    driver.airbyte.drop_next_response("GET", "/jobs")
    outcome = driver.run(exchange(GET_JOBS))
    assert isinstance(outcome, TransportFailure)
    assert outcome.request_sent


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("is_reused", [False, True], ids=["a new connection", "a reused connection"])
def test_a_request_whose_reply_is_lost_is_sent_once(driver: Driver, method: str, is_reused: bool) -> None:
    """A second DELETE would cancel the next job of the same connection."""
    driver.airbyte._state.auth = False
    job = driver.airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    path = f"/jobs/{job.job_id}"
    driver.airbyte.drop_next_response(method, path)

    def flow() -> Flow[Response | TransportFailure]:
        if is_reused:
            yield from exchange(GET_JOBS)
        return (yield from exchange(Request(method, path, idempotent=method == "GET")))

    outcome = driver.run(flow())
    assert isinstance(outcome, TransportFailure)
    assert outcome.request_sent
    assert len(driver.airbyte.requests_to(method, path)) == 1
    assert driver.airbyte.cancelled == ([job.job_id] if method == "DELETE" else [])


def test_the_outcome_of_a_late_response_is_unknown(driver: Driver) -> None:
    driver.airbyte.respond_with(path="/jobs", delay=1.0)
    outcome = driver.run(exchange(GET_JOBS), driver.settings(read_timeout=0.1))
    assert outcome == TransportFailure(
        f"{driver.airbyte.api_url}/jobs", "timed out waiting for a response", request_sent=True
    )


def test_a_request_may_have_a_longer_timeout_than_the_client(driver: Driver) -> None:
    driver.airbyte._state.auth = False
    driver.airbyte.respond_with(path="/jobs", delay=0.3)
    patient = Request("GET", "/jobs", read_timeout=5.0)
    assert isinstance(driver.run(exchange(patient), driver.settings(read_timeout=0.1)), Response)


def test_a_refused_connection_was_surely_not_heard(driver: Driver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = driver.run(exchange(GET_JOBS), driver.settings(url=f"http://127.0.0.1:{port}"))
    assert isinstance(outcome, TransportFailure)
    assert not outcome.request_sent
    assert "refused" in outcome.reason.lower() or "cannot connect" in outcome.reason.lower()


def test_a_proxy_of_the_environment_is_used(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", driver.airbyte.url)
    driver.run(exchange(GET_JOBS), driver.settings(url="http://airbyte.example.com"))
    assert driver.airbyte.requests[0].headers["host"] == "airbyte.example.com"


def test_a_proxy_that_opens_no_tunnel_was_surely_before_airbyte(driver: Driver) -> None:
    settings = replace(driver.settings(url="https://airbyte.example.com"), proxy=driver.airbyte.url)
    outcome = driver.run(exchange(POST_JOBS), settings)
    assert isinstance(outcome, TransportFailure)
    assert (outcome.request_sent, outcome.kind) == (False, TransportErrorKind.PROXY)


def test_the_outcome_of_a_lost_response_behind_a_proxy_is_unknown(driver: Driver) -> None:
    driver.airbyte._state.auth = False
    driver.airbyte.drop_next_response("POST", ".*")
    settings = replace(driver.settings(url="http://airbyte.example.com"), proxy=driver.airbyte.url)
    outcome = driver.run(exchange(POST_JOBS), settings)
    assert isinstance(outcome, TransportFailure)
    assert outcome.request_sent


@pytest.mark.parametrize("exempt", ["127.0.0.0/8", "localhost,127.0.0.1", "*"])
def test_no_proxy_applies(driver: Driver, monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", exempt)
    monkeypatch.setenv("NO_PROXY", exempt)
    assert isinstance(driver.run(exchange(GET_JOBS)), Response)


def test_a_proxys_password_is_used_and_not_repeated(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    proxy = driver.airbyte.url.replace("http://", "http://me:hunter2@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("https_proxy", proxy)
    driver.run(exchange(GET_JOBS), driver.settings(url="http://airbyte.example.com"))
    assert driver.airbyte.requests[0].headers["proxy-authorization"] == "Basic bWU6aHVudGVyMg=="
    outcome = driver.run(exchange(GET_JOBS), driver.settings(url="https://airbyte.example.com"))
    assert isinstance(outcome, TransportFailure)
    assert "hunter2" not in outcome.reason


def test_a_netrc_of_the_user_does_not_replace_our_authorization(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    driver.run(sources())
    assert all("Basic" not in asked.headers.get("authorization", "") for asked in driver.airbyte.requests)


def test_cookies_are_not_kept(driver: Driver) -> None:
    driver.airbyte.respond_with(200, path="/sources", body='{"data": []}', headers={"Set-Cookie": "session=1"})

    def twice() -> Flow[None]:
        yield from sources()
        yield from sources()

    driver.run(twice(), driver.settings(url=driver.airbyte.url.replace("127.0.0.1", "localhost")))
    assert "cookie" not in driver.airbyte.requests[-1].headers


def test_a_log_step_goes_to_the_log(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    def flow() -> Flow[None]:
        yield Log("job %d is %s", (7, "fine"), logging.WARNING)

    with caplog.at_level(logging.INFO, LOG.name):
        driver.run(flow())
    assert ("tests.clients", logging.WARNING, "job 7 is fine") in caplog.record_tuples


def test_flow_is_closed_after_any_error(driver: Driver) -> None:
    closed = []

    def flow() -> Flow[None]:
        try:
            yield "no step"  # type: ignore[misc]
        finally:
            closed.append(True)

    with pytest.raises(TypeError):
        driver.run(flow())
    assert closed


def test_an_error_while_a_token_is_fetched_reaches_the_conversation(driver: Driver) -> None:
    """Waiting has to ride out a token endpoint that is away as it does a server that is."""
    driver.airbyte.respond_with(503, method="POST", path=TOKEN_PATH, times=1, headers={"Retry-After": "0"})
    job = driver.airbyte.add_job(STRIPE_TO_BIGQUERY)
    assert driver.run(jobs.get_job(job.job_id)).job_id == job.job_id


def test_a_list_is_read_only_as_far_as_it_is_asked_for(airbyte: LocalAirbyte) -> None:
    template = airbyte.sources[0]
    airbyte.sources[:] = [{**template, "sourceId": str(number)} for number in range(250)]
    driver = SyncDriver(airbyte)
    with sync_client.Client(driver.settings(), LOG) as client:
        listing: Iterator[Source] = client.iter_rows(resources.list_sources())
        assert next(listing).source_id == "0"
        assert len(airbyte.requests_to("GET", "/sources")) == 1
        assert len(list(listing)) == 249
    assert len(airbyte.requests_to("GET", "/sources")) == 3
