"""A worker dies anywhere in a start, and anything becomes of its request: there is one job, and the task owns it."""

from __future__ import annotations

import itertools
import json
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

import pytest

from airflow_provider_airbyte_api.api import endpoints, resources
from airflow_provider_airbyte_api.api.backoff import RetryPolicy
from airflow_provider_airbyte_api.api.flow import Checkpoint, Flow, SendRequest
from airflow_provider_airbyte_api.api.http import Request, Response, TransportFailure
from airflow_provider_airbyte_api.api.models import Connection, Job, JobRecord
from airflow_provider_airbyte_api.api.run_job import Completed, Defer, History, RunOptions, resume_job, run_job
from airflow_provider_airbyte_api.testing import responses
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.testing.state import API, AirbyteState
from tests.helpers.scripted_driver import ScriptedDriver, no_response

T = TypeVar("T")
Fault = Literal["none", "reply lost", "500 after", "502 after", "refused", "slow"]
FAULTS: tuple[Fault, ...] = ("none", "reply lost", "500 after", "502 after", "refused", "slow")

SLOW = 100.0
"""Seconds after which Airbyte lists a job whose start has timed out."""


class Killed(BaseException):
    """The worker dies here."""


class World(ScriptedDriver):
    """An Airbyte without a socket, what Airflow stores of a task run, and one clock for both.

    ``fault`` is what becomes of the first request that starts a job.
    """

    def __init__(self, fault: Fault = "none", version: str = "2.2") -> None:
        super().__init__([], credentials=False)
        self.clock = 1.8e9
        self.airbyte = AirbyteState(
            client_id="", client_secret="", auth=False, edition="community", version=version, job_seconds=20.0,
            token_seconds=None, jwt_seconds=None,
        )  # fmt: skip
        self.old = self.airbyte.add_job(STRIPE_TO_BIGQUERY, at=self.clock - 86400, status="succeeded")
        self.fault = fault
        self.record: JobRecord | None = None
        self.slow_start: tuple[float, Request] | None = None
        self.steps = 0
        self.dies_after: int | None = None
        """The number of steps with an effect after which the worker dies; between two of them nothing changes."""

    @property
    def jobs(self) -> list[int]:
        return [job.job_id for job in self.airbyte.jobs.values() if job is not self.old]

    def attempt(self, options: RunOptions, dies_after: int | None = None) -> Completed | Defer:
        self.steps, self.dies_after = 0, dies_after
        outcome = self.run(run_job(options, find_connection, History(self.record)))
        assert isinstance(outcome, Completed | Defer)
        return outcome

    def wait_in_triggerer(self, options: RunOptions, deferred: Defer) -> Completed:
        """Return the outcome of a task that has deferred, and that is resumed once its job has finished."""
        self.clock += 1000.0
        job = Job.from_json(json.loads(self._handle(endpoints.get_job(deferred.job.job_id)).body))
        resumed = self.run(resume_job(options, job.job_id, job, None, owned=deferred.owned))
        return Completed(resumed, 1, deferred.owned)

    def _answer(self, step: object) -> Any:
        if not isinstance(step, SendRequest | Checkpoint):
            return super()._answer(step)
        if self.steps == self.dies_after:
            raise Killed
        assert self.steps < 1000, "an endless loop"
        self.steps += 1
        if isinstance(step, SendRequest):
            return self._exchange(step.request)
        self.record = step.record
        return None

    def _exchange(self, request: Request) -> Response | TransportFailure:
        self.sent.append(request)
        self.clock += 0.1
        if self.slow_start is not None and self.clock >= self.slow_start[0]:
            self._handle(self.slow_start[1])
            self.slow_start = None
        if request.method != "POST":
            return self._handle(request)
        if self.slow_start is not None and request.json == {**(request.json or {}), "jobType": "sync"}:
            return _response(responses.already_running(STRIPE_TO_BIGQUERY))
        fault, self.fault = self.fault, "none"
        return self._faulty(request, fault)

    def _faulty(self, request: Request, fault: Fault) -> Response | TransportFailure:
        match fault:
            case "refused":
                return no_response(sent=False)
            case "slow":
                self.clock += request.read_timeout or 0.0
                self.slow_start = (self.clock + SLOW, request)
                return no_response()
        answer = self._handle(request)
        match fault:
            case "none":
                return answer
            case "reply lost":
                return no_response()
        return _response(responses.of_status(int(fault[:3]), gateway="html" if fault == "502 after" else None))

    def _handle(self, request: Request) -> Response:
        body = b"" if request.json is None else json.dumps(request.json).encode()
        return _response(
            self.airbyte.answer(request.method, API + request.path, urlencode(request.query), {}, body, self.clock)
        )


def _response(made: responses.FakeResponse) -> Response:
    return Response("https://airbyte.example", made.status, {}, made.body)


def find_connection(retry: RetryPolicy) -> Flow[Connection]:
    return resources.get_connection(STRIPE_TO_BIGQUERY, retry)


def finish(world: World, options: RunOptions) -> Completed:
    """Run the task once more, to its end."""
    outcome = world.attempt(options)
    return world.wait_in_triggerer(options, outcome) if isinstance(outcome, Defer) else outcome


KINDS = [("sync", "attach"), ("sync", "wait"), ("sync", "fail"), ("sync", "restart"), ("clear", "fail")]


@pytest.mark.parametrize("pause", [0.0, 300.0], ids=["retried at once", "retried after 5 min"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
@pytest.mark.parametrize(("job_type", "on_running"), KINDS)
def test_a_worker_that_dies_at_any_step_of_a_start_leaves_one_job(
    job_type: str, on_running: str, deferrable: bool, fault: Fault, pause: float
) -> None:
    options = RunOptions(job_type, on_running, deferrable=deferrable)
    undisturbed = World(fault)
    undisturbed.attempt(options)
    for dies_after, version in itertools.product(range(undisturbed.steps), ("2.0", "2.2")):
        world = World(fault, version)
        with pytest.raises(Killed):
            world.attempt(options, dies_after)
        world.clock += pause
        outcome = finish(world, options)
        assert (world.jobs, outcome.job.job_id, outcome.owned) == ([2], 2, True), f"{version} died after {dies_after}"
