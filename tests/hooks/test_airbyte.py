from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.clients.token_cache import TOKENS
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY, WORKSPACE_ID
from tests.versions import not_on


def test_nothing_is_looked_up_or_sent_before_the_first_call() -> None:
    AirbyteHook("no such connection").list_sources()


def test_a_missing_airflow_connection_is_an_error_that_says_where_to_create_it() -> None:
    with pytest.raises(AirflowNotFoundException, match=r"'nobody' was not found\. Create it .* AIRFLOW_CONN_NOBODY"):
        AirbyteHook("nobody").get_job(1)


def test_a_variable_that_airflow_cannot_parse_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", '{"host": "http://localhost:8000" "password": "hidden"}')
    with pytest.raises(
        AirflowNotFoundException, match="cannot parse the environment variable AIRFLOW_CONN_BROKEN"
    ) as caught:
        AirbyteHook("broken").get_job(1)
    assert "hidden" not in str(caught.value)


def test_what_there_is_can_be_listed_and_looked_up(airbyte: LocalAirbyte) -> None:
    hook = AirbyteHook()
    assert [source.name for source in hook.list_sources()] == ["Snowflake", "Stripe"]
    assert [workspace.workspace_id for workspace in hook.list_workspaces()] == [WORKSPACE_ID]
    assert len(list(hook.list_connections(WORKSPACE_ID))) == 3
    assert hook.get_airbyte_connection(STRIPE_TO_BIGQUERY).name == "Stripe → BigQuery"


def test_jobs_are_listed_newest_first_and_filtered(airbyte: LocalAirbyte) -> None:
    for age, connection in ((30, STRIPE_TO_BIGQUERY), (20, SNOWFLAKE_TO_POSTGRES), (10, STRIPE_TO_BIGQUERY)):
        airbyte.add_job(connection, "succeeded" if age > 10 else "running", age=age)
    hook = AirbyteHook()
    assert [job.job_id for job in hook.list_jobs()] == [3, 2, 1]
    assert [job.job_id for job in hook.list_jobs(STRIPE_TO_BIGQUERY)] == [3, 1]
    assert [job.job_id for job in hook.list_jobs(STRIPE_TO_BIGQUERY, status="running")] == [3]
    assert [job.job_id for job in hook.list_jobs(workspace_ids=[WORKSPACE_ID], job_type="reset")] == []


def test_a_sync_is_started_waited_for_and_cancelled(airbyte: LocalAirbyte) -> None:
    hook = AirbyteHook()
    job = hook.start_sync(STRIPE_TO_BIGQUERY)
    assert hook.wait_for_job(job.job_id, poll_interval=0.02).status == "succeeded"
    airbyte.script_jobs("running")
    second = hook.start_sync(STRIPE_TO_BIGQUERY)
    assert hook.cancel_job(second.job_id).status == "cancelled"


def test_a_wait_may_end_in_an_error(airbyte: LocalAirbyte) -> None:
    hook = AirbyteHook()
    failed, running = airbyte.add_job(STRIPE_TO_BIGQUERY, "failed"), airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "running")
    assert hook.wait_for_job(failed.job_id).status == "failed"
    with pytest.raises(exceptions.AirbyteJobFailedError):
        hook.wait_for_job(failed.job_id, check=True)
    with pytest.raises(exceptions.AirbyteJobTimeoutError):
        hook.wait_for_job(running.job_id, timeout=0.2, poll_interval=0.05)
    assert running.status == "running"


async def test_a_trigger_may_get_a_job_and_wait_for_it(airbyte: LocalAirbyte) -> None:
    hook = AirbyteHook.from_connection(AirbyteHook.get_connection(AirbyteHook.default_conn_name))
    failed = airbyte.add_job(STRIPE_TO_BIGQUERY, "failed")
    airbyte.script_jobs("running", "succeeded")
    started = await asyncio.to_thread(hook.start_sync, STRIPE_TO_BIGQUERY)
    assert (await hook.await_job(started.job_id, poll_interval=0.02, timeout=20)).status == "succeeded"
    assert (await hook.aget_job(failed.job_id)).status == "failed"
    with pytest.raises(exceptions.AirbyteJobFailedError):
        await hook.await_job(failed.job_id, check=True)


def test_an_endpoint_without_a_method_may_be_requested(airbyte: LocalAirbyte) -> None:
    hook = AirbyteHook()
    jobs = hook.request("GET", "/jobs", params={"limit": 1, "connectionId": STRIPE_TO_BIGQUERY})
    assert jobs["data"] == []
    assert ("limit", "1") in airbyte.requests_to("GET", "/jobs")[-1].query
    airbyte.respond_with(204, method="DELETE", path="/permissions/7", body="")
    assert hook.request("DELETE", "/permissions/7") is None
    airbyte.respond_with(502, path="/jobs")
    assert hook.request("get", "/jobs")["data"] == []
    airbyte.respond_with(502, method="POST", path="/tags")
    with pytest.raises(exceptions.AirbyteServerError):
        hook.request("POST", "/tags", json={"name": "x"})
    assert len(airbyte.requests_to("POST", "/tags")) == 1
    for elsewhere in ("https://elsewhere.example/jobs", "jobs", "//elsewhere.example/jobs"):
        with pytest.raises(exceptions.AirbyteConfigError, match=r"^path is '.*', expected a path below the API root"):
            hook.request("GET", elsewhere)


def test_a_cancel_of_a_finished_job_spares_the_newer_one(airbyte: LocalAirbyte) -> None:
    old = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    new = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    assert AirbyteHook().cancel_job(old.job_id).status == "succeeded"
    assert new.status == "running"
    assert not airbyte.requests_to("DELETE", ".*")


def test_every_error_is_ours_and_airflows(airbyte: LocalAirbyte) -> None:
    with pytest.raises(exceptions.AirbyteNotFoundError) as caught:
        AirbyteHook().get_job(999)
    assert isinstance(caught.value, AirflowException)
    assert caught.value.status == 409
    with pytest.raises(AirflowException):
        next(AirbyteHook().list_sources("no uuid"))


def connection(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> AirbyteHook:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "airbyte_api", **fields}))
    return AirbyteHook("other")


@pytest.mark.parametrize(("given", "missing"), [("login", "Password"), ("password", "Login")])
def test_half_of_the_credentials_is_refused(monkeypatch: pytest.MonkeyPatch, given: str, missing: str) -> None:
    hook = connection(monkeypatch, host="http://localhost:8000", **{given: "x"})
    with pytest.raises(exceptions.AirbyteConfigError, match=rf"but no Client (ID|secret) \({missing}\)"):
        list(hook.list_sources())


def test_no_credentials_mean_an_airbyte_without_authentication(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalAirbyte(auth=False) as airbyte:
        assert len(list(connection(monkeypatch, host=airbyte.url).list_sources())) == 2


def test_a_connection_may_be_a_uri(monkeypatch: pytest.MonkeyPatch, airbyte: LocalAirbyte) -> None:
    where = airbyte.url.removeprefix("http://")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", f"airbyte-api://{airbyte.client_id}:{airbyte.client_secret}@{where}")
    assert len(list(AirbyteHook("other").list_sources())) == 2


def with_extra(airbyte: LocalAirbyte, extra: Any) -> str:
    """Return the local Airbyte's Airflow connection with an extra, written as it is typed into a form."""
    return json.dumps({**json.loads(airbyte.airflow_connection), "extra": extra})


def test_processes_share_a_token_if_the_connection_says_so(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", with_extra(airbyte, {"token_cache": "disk"}))
    for _ in range(2):
        TOKENS.clear()  # as in a new process
        assert AirbyteHook().get_airbyte_connection(STRIPE_TO_BIGQUERY)
    assert len(airbyte.requests_to("POST", "/applications/token")) == 1


NO_OBJECT = not_on("3.0", "Airflow itself refuses the variable, and calls the connection undefined")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"token_cache": "ram"}, "Extra token_cache of .* is 'ram', expected one of memory, disk"),
        pytest.param("no json", "is not a JSON object", marks=NO_OBJECT),
        pytest.param("[1]", "is not a JSON object", marks=NO_OBJECT),
    ],
)
def test_an_extra_that_cannot_be_used_is_named(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, extra: Any, message: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", with_extra(airbyte, extra))
    with pytest.raises(exceptions.AirbyteConfigError, match=message):
        AirbyteHook().get_job(1)
