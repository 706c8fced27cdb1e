"""A hostile Airbyte beside a good one on one Airflow: the triggerer lives on, and the good one's tasks succeed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_airbyte_api.testing import LocalAirbyte
from dev.stack import AirflowStack
from tests.helpers.scripted_http_server import TOKEN, Answer, ScriptedHttpServer, json_answer
from tests.versions import since

pytestmark = since("3.0", "its REST API is another one")
DAGS = Path(__file__).parent / "hostile"
FINISHED = ("success", "failed")
CONNECTION = "9924bcd0-99be-453d-ba47-c2c9766f7da5"
ENDED: dict[str, Any] = {"status": "succeeded", "jobType": "sync", "connectionId": CONNECTION}
# What each job becomes, and how its task ends.
POISON: dict[int, tuple[Answer, str]] = {
    1: (json_answer({**ENDED, "jobId": 1, "bytesSynced": 2**70, "rowsSynced": 5}), "success"),
    2: (Answer(b'{"jobId": 1e999, "status": "succeeded"}'), "failed"),
    3: (Answer(rb'{"message": "no \ud83d\u0000\u001b[2J", "status": 403}', 403), "failed"),
    4: (
        json_answer({**ENDED, "jobId": 4, "startTime": "9" * 30, "lastUpdatedAt": "x", "duration": "P" * 9}),
        "success",
    ),
    5: (
        json_answer({**ENDED, "jobId": 5, "__classname__": "x", "jobType": "\ud83d", "more": ["x" * 300_000]}),
        "success",
    ),
    6: (json_answer({**ENDED, "jobId": 999}), "failed"),
    7: (Answer(b"[" * 100_000, headers={"Date": "Tue, 14 Nov 99999999999999999999 22:13:20 GMT"}), "failed"),
}


class Hostility:
    """Lets each job run until it is told to be hostile."""

    def __init__(self) -> None:
        self.begun = False

    def answer(self, method: str, path: str) -> Answer:
        if path == "/applications/token":
            return TOKEN
        if path == "/jobs":
            rows = [answer.body for answer, _ in POISON.values() if answer.status == 200 and answer.body[:1] == b"{"]
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            rows = [row.replace(b'{"', b'{"lastUpdatedAt": "%s", "' % moment.encode(), 1) for row in rows]
            return Answer(b'{"data": [%s]}' % b",".join(rows if self.begun else []))
        kind, _, which = path.removeprefix("/").partition("/")
        if kind == "jobs" and int(which) in POISON:
            job_id = int(which)
            return POISON[job_id][0] if self.begun else json_answer({**ENDED, "jobId": job_id, "status": "running"})
        if kind == "connections":
            return json_answer(
                {"connectionId": which, "name": "\ud83d", "workspaceId": 2**70, "tags": 5, "schedule": 5}
            )
        return json_answer({"status": 404}, 404)


class Running:
    def __init__(self, stack: AirflowStack, hostility: Hostility) -> None:
        self.stack = stack
        self.hostility = hostility

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 150.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"no {what} within {seconds:.0f} s\n{self.stack.log_tail(60)}"
            time.sleep(0.5)

    def wait_for(self, dag_id: str, run_id: str, *states: str) -> dict[str, str]:
        self.until(lambda: set(self.stack.states(dag_id, run_id).values()) <= set(states), f"end of {dag_id}")
        return self.stack.states(dag_id, run_id)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    hostility = Hostility()
    with LocalAirbyte(job_seconds=25.0) as good, ScriptedHttpServer(hostility.answer) as hostile:
        environment = {
            "AIRFLOW_CONN_AIRBYTE_API_DEFAULT": good.airflow_connection,
            "AIRFLOW_CONN_HOSTILE": hostile.airflow_connection,
            "HOSTILE_JOBS": str(len(POISON)),
        }
        with AirflowStack(tmp_path_factory.mktemp("airflow"), DAGS, environment) as stack:
            yield Running(stack, hostility)


def test_a_hostile_airbyte_and_odd_rows_cost_neither_the_triggerer_nor_the_good_ones_tasks(running: Running) -> None:
    stack = running.stack
    hostile = stack.trigger("hostile")
    running.wait_for("hostile", hostile, "deferred")
    triggerer = [process.pid for process in stack.component("triggerer")]
    assert triggerer
    good, rows = stack.trigger("good"), stack.trigger("rows")
    running.until(lambda: stack.states("good", good)["sync"] == "deferred", "deferred sync of the good one")
    running.hostility.begun = True
    assert running.wait_for("hostile", hostile, *FINISHED) == {
        f"job_{job_id}": state for job_id, (_, state) in POISON.items()
    }
    assert running.wait_for("rows", rows, *FINISHED) == dict.fromkeys(("newer", "odd", "missing"), "success")
    assert running.wait_for("good", good, *FINISHED) == {"sync": "success"}
    assert [process.pid for process in stack.component("triggerer")] == triggerer, "the triggerer has died"

    assert stack.xcom("rows", rows, "newer")["status"] == "succeeded"
    assert "poll_interval is 'often'" in stack.xcom("rows", rows, "odd")["error"]["message"]
    assert "was not found in the triggerer" in stack.xcom("rows", rows, "missing")["error"]["message"]
    result = stack.xcom("hostile", hostile, "job_1")
    assert (result["rows_synced"], result["bytes_synced"]) == (5, None)


def test_what_a_hostile_airbyte_has_finished_is_an_asset_event_all_the_same(running: Running) -> None:
    def told() -> dict[int, Any]:
        found = running.stack.get("/assets/events?limit=100")["asset_events"]
        payloads = [event["extra"]["payload"] for event in found if "payload" in event["extra"]]
        return {payload["job_id"]: payload for payload in payloads}

    running.hostility.begun = True
    running.until(lambda: {1, 999} <= told().keys(), "events of the jobs that can be read")
    assert (told()[1]["rows_synced"], told()[1]["bytes_synced"]) == (5, None)
