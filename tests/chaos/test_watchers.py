"""The triggerer is killed while fifty watchers watch: is each finished sync told of exactly once?"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_airbyte_api.testing import LocalAirbyte
from dev.stack import AirflowStack

DAGS = Path(__file__).parent / "watchers"
WATCHERS = 50
POLL_INTERVAL = 3.0


class Watching:
    """A running Airflow with fifty watchers, each of a connection of its own."""

    def __init__(self, stack: AirflowStack, airbyte: LocalAirbyte, connection_ids: list[str]) -> None:
        self.stack = stack
        self.airbyte = airbyte
        self.connection_ids = connection_ids

    def polls(self) -> int:
        return len(self.airbyte.asked("GET", "/jobs"))

    def wait_for_polls(self, count: int) -> None:
        before = self.polls()
        self.until(lambda: self.polls() >= before + count, f"{count} polls")

    def told(self) -> Counter[int]:
        """Return how often each job was told of, over all assets, as Airflow has stored it."""
        found: list[int] = []
        while True:
            page = self.stack.get(f"/assets/events?limit=100&offset={len(found)}")
            found += [_job_id(event) for event in page["asset_events"]]
            if len(found) >= page["total_entries"]:
                return Counter(found)

    def arrived(self) -> Counter[int]:
        """Return how often a run was started by each job of the first connection."""
        runs = self.stack.get("/dags/watching/dagRuns?limit=100")["dag_runs"]
        done = [run["dag_run_id"] for run in runs if run["state"] == "success"]
        return Counter(job_id for run in done for job_id in self.stack.xcom("watching", run, "what_arrived"))

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"no {what} within {seconds:.0f} s\n{self.stack.log_tail()}"
            time.sleep(0.3)


def _job_id(event: dict[str, Any]) -> int:
    return int(event["extra"]["payload"]["job_id"])


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watching]:
    home: Path = tmp_path_factory.mktemp("airflow")
    with LocalAirbyte() as airbyte:
        template = airbyte.connections[0]
        ids = [str(uuid.uuid4()) for _ in range(WATCHERS)]
        airbyte.connections.extend({**template, "connectionId": each, "name": each} for each in ids)
        old = airbyte.add_job(ids[0], "succeeded")
        environment = {
            "AIRFLOW_CONN_AIRBYTE_API_DEFAULT": airbyte.airflow_connection,
            "WATCHED_CONNECTIONS": ",".join(ids),
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
        }
        with AirflowStack(home, DAGS, environment) as stack:
            made = Watching(stack, airbyte, ids)
            made.until(lambda: len(airbyte.asked("GET", "/connections/.*")) >= WATCHERS, "watcher for each", 180.0)
            made.wait_for_polls(3)
            yield made
            assert made.told()[old.job_id] == 0, "what had finished before anybody watched is no news"


def test_fifty_watchers_share_the_polling(watching: Watching) -> None:
    before, began = watching.polls(), time.monotonic()
    time.sleep(6 * POLL_INTERVAL)
    polls = watching.polls() - before
    assert 4 <= polls <= (time.monotonic() - began) / (0.85 * POLL_INTERVAL) + 1
    assert len(watching.airbyte.asked("POST", "/applications/token")) == 1


@pytest.mark.parametrize("rest", [0.0, 1.0, 8.0], ids=["at once", "a second later", "when all is told"])
def test_a_triggerer_that_is_killed_loses_and_repeats_nothing(watching: Watching, rest: float) -> None:
    """The job ends, and the triggerer is killed before, about, or after its next poll."""
    job = watching.airbyte.add_job(watching.connection_ids[0], "running")
    watching.wait_for_polls(1)
    watching.airbyte.end_job(job.job_id)
    others = [watching.airbyte.add_job(each, "succeeded") for each in watching.connection_ids[1:]]
    time.sleep(rest)
    watching.stack.kill_part("triggerer")
    while_nobody_watches = watching.airbyte.add_job(watching.connection_ids[1], "succeeded")
    watching.stack.start_part("triggerer")
    expected = {each.job_id: 1 for each in (job, while_nobody_watches, *others)}
    watching.until(lambda: expected.keys() <= watching.told().keys(), "event for each")
    watching.until(lambda: job.job_id in watching.arrived(), "run")
    watching.wait_for_polls(3)
    told = watching.told()
    assert {job_id: told[job_id] for job_id in expected} == expected
    assert watching.arrived()[job.job_id] == 1
