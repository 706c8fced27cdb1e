"""The XCom ``airbyte_sync`` of a deferred task, which its trigger keeps up to date."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_airbyte_api.api import wait
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from airflow_provider_airbyte_api.triggers import _sync_info
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger
from tests.helpers.clock import until
from tests.helpers.supervisor import FakeSupervisor
from tests.versions import since

pytestmark = since("3.1", "before 3.0.5 a triggerer has another channel")

KEY = ("a_dag", "sync", "a_run", 3, "airbyte_sync")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (wait, _sync_info):
        monkeypatch.setattr(module, "REPORT_INTERVAL", 0.1)


def trigger(job_id: int, *, report_progress: bool = True, **more: Any) -> AirbyteJobTrigger:
    made = AirbyteJobTrigger(
        job_id=job_id,
        connection_id=STRIPE_TO_BIGQUERY,
        poll_interval=0.02,
        workspace_id=WORKSPACE_ID,
        metadata={"name": "Mine"},
        report_progress=report_progress,
        **more,
    )
    ti: Any = SimpleNamespace(dag_id=KEY[0], task_id=KEY[1], run_id=KEY[2], map_index=KEY[3])
    made.task_instance = ti
    return made


async def events(waiting: AirbyteJobTrigger) -> list[dict[str, Any]]:
    return [event.payload async for event in waiting.run()]


async def test_a_trigger_keeps_the_xcom_up_to_date(airbyte: LocalAirbyte, supervisor: FakeSupervisor) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    waiting = asyncio.create_task(events(trigger(job.job_id)))
    for share in (0.25, 0.5, 0.75):
        job.share = share
        rows = int((job.rows or 0) * share)
        await until(lambda rows=rows: supervisor.xcoms.get(KEY, {}).get("rows") == rows)  # type: ignore[misc]
    info = supervisor.xcoms[KEY]
    assert (info["status"], info["connection_name"], info["reason"]) == ("running", "Mine", None)
    assert info["job_url"].endswith(f"jobId={job.job_id}&openLogs=true")
    airbyte.finish_job(job.job_id)
    assert (await waiting)[0]["status"] == "succeeded"
    assert supervisor.xcoms[KEY]["status"] == "running", "the resumed task writes the end"


async def test_an_xcom_is_written_on_a_change_alone_and_not_too_often(
    airbyte: LocalAirbyte, supervisor: FakeSupervisor
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    waiting = asyncio.create_task(events(trigger(job.job_id)))
    await until(lambda: supervisor.messages.count("SetXCom") == 1)
    started_at = time.monotonic()
    await until(lambda: len(airbyte.requests_to("GET", "/jobs/.*")) >= 10)
    assert supervisor.messages.count("SetXCom") == 1
    while time.monotonic() < started_at + 1.0:
        job.share = (time.monotonic() - started_at) / 2
        await asyncio.sleep(0.01)
    assert 2 <= supervisor.messages.count("SetXCom") <= 11
    airbyte.finish_job(job.job_id)
    await waiting


async def test_an_airflow_that_does_not_answer_holds_up_no_wait(
    airbyte: LocalAirbyte, supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sync_info, "FLUSH_TIMEOUT", 0.1)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    waiting = asyncio.create_task(events(trigger(job.job_id)))
    await until(lambda: KEY in supervisor.xcoms)
    supervisor.answers.clear()
    job.share = 0.9
    await until(lambda: supervisor.messages.count("SetXCom") == 2)
    polled = len(airbyte.requests_to("GET", "/jobs/.*"))
    await until(lambda: len(airbyte.requests_to("GET", "/jobs/.*")) >= polled + 5)
    airbyte.finish_job(job.job_id)
    assert (await asyncio.wait_for(waiting, 5))[0]["status"] == "succeeded"
    supervisor.answers.set()


async def test_an_error_of_airflow_ends_no_wait(airbyte: LocalAirbyte, supervisor: FakeSupervisor) -> None:
    supervisor.failing = {"SetXCom"}
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    waiting = asyncio.create_task(events(trigger(job.job_id)))
    await until(lambda: "SetXCom" in supervisor.messages)
    airbyte.finish_job(job.job_id)
    assert (await waiting)[0]["status"] == "succeeded"


@pytest.mark.parametrize("why", ["not wanted", "no task instance", "a custom XCom backend"])
async def test_a_trigger_writes_no_xcom(
    airbyte: LocalAirbyte, supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    made = trigger(job.job_id, report_progress=why != "not wanted")
    if why == "no task instance":
        made.task_instance = None
    if why == "a custom XCom backend":
        from airflow.sdk.execution_time import xcom

        monkeypatch.setattr(xcom, "XCom", type("Custom", (xcom.XCom,), {}))
    waiting = asyncio.create_task(events(made))
    await until(lambda: len(airbyte.requests_to("GET", "/jobs/.*")) >= 3)
    airbyte.finish_job(job.job_id)
    await waiting
    assert "SetXCom" not in supervisor.messages
