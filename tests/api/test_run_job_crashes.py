"""A worker dies anywhere in a start, and anything becomes of its request: there is one job, and the task owns it."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_airbyte_api.api import endpoints, resources
from airflow_provider_airbyte_api.api.backoff import RetryPolicy
from airflow_provider_airbyte_api.api.flow import Checkpoint, Flow, SendRequest
from airflow_provider_airbyte_api.api.http import Request, Response, TransportFailure
from airflow_provider_airbyte_api.api.job_record import JobRecord
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.api.run_job import Completed, Defer, RunHistory, RunOptions, resume_job, run_job
from airflow_provider_airbyte_api.exceptions import AirbyteError
from airflow_provider_airbyte_api.testing import responses
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.testing.state import API, AirbyteState
from tests.helpers.scripted_driver import ScriptedDriver, no_response

T = TypeVar("T")
Fault = Literal["none", "reply lost", "5xx after", "refused", "slow"]
FAULTS: tuple[Fault, ...] = ("none", "reply lost", "5xx after", "refused", "slow")
"""What becomes of a request that starts a job. It is obeyed, except if it is refused."""

SLOW = 100.0
"""Seconds after which Airbyte lists a job whose start has timed out."""


class Killed(BaseException):
    """The worker dies here."""


class World(ScriptedDriver):
    """An Airbyte without a socket, what Airflow stores of a task run, and one clock for both.

    :param faults: What becomes of the requests that start a job, one after the other.
    :param job_seconds: How long a job takes.
    """

    def __init__(self, *faults: Fault, version: str = "2.2", job_seconds: float = 20.0) -> None:
        super().__init__([], credentials=False)
        self.clock = 1.8e9
        self.airbyte = AirbyteState(
            client_id="", client_secret="", auth=False, edition="community", version=version, job_seconds=job_seconds,
            token_seconds=None, jwt_seconds=None,
        )  # fmt: skip
        self.old = self.airbyte.add_job(STRIPE_TO_BIGQUERY, at=self.clock - 86400, status="succeeded")
        self.faults = list(faults)
        self.record: JobRecord | None = None
        self.slow_start: tuple[float, Request] | None = None
        self.steps = 0
        """The number of steps so far that have an effect: between two of them nothing changes."""
        self.dies_after: int | None = None
        """The number of steps after which the worker dies."""
        self.refuses_after: int | None = None
        """The number of steps after which Airbyte refuses a request, unless it starts a job."""

    @property
    def jobs(self) -> list[int]:
        return [job.job_id for job in self.airbyte.jobs.values() if job is not self.old]

    def attempt(
        self, options: RunOptions, dies_after: int | None = None, created_since: float | None = None
    ) -> Completed | Defer:
        self.steps, self.dies_after = 0, dies_after
        outcome = self.run(run_job(options, find_connection, RunHistory(self.record, created_since=created_since)))
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
            is_refused = self.steps - 1 == self.refuses_after and step.request.method == "GET"
            return _response(responses.of_status(400)) if is_refused else self._exchange(step.request)
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
        return self._start(request, self.faults.pop(0) if self.faults else "none")

    def _start(self, request: Request, fault: Fault) -> Response | TransportFailure:
        if fault == "refused":
            return no_response(sent=False)
        if fault == "slow":
            self.clock += request.read_timeout or 0.0
            self.slow_start = (self.clock + SLOW, request)
            return no_response()
        answer = self._handle(request)
        if fault == "5xx after":
            return _response(responses.of_status(502, gateway="html"))
        return no_response() if fault == "reply lost" else answer

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
BOTH_MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])


def deaths(fault: Fault, options: RunOptions, **more: Any) -> Iterator[World]:
    """Yield a world for each step of a start, in which a worker has died after that step.

    After the last one, a worker dies that has not deferred yet, or has not polled yet.
    """
    for dies_after in itertools.count():
        world = World(fault, **more)
        with contextlib.suppress(Killed):
            world.attempt(options, dies_after)
        is_started = world.record is not None and world.record.job_id is not None
        yield world
        if is_started:
            return


@pytest.mark.parametrize("pause", [0.0, 300.0], ids=["retried at once", "retried after 5 min"])
@pytest.mark.parametrize("fault", FAULTS)
@BOTH_MODES
@pytest.mark.parametrize(("job_type", "on_running"), KINDS)
def test_a_worker_that_dies_at_any_step_of_a_start_leaves_one_job(
    job_type: str, on_running: str, deferrable: bool, fault: Fault, pause: float
) -> None:
    options = RunOptions(job_type, on_running, deferrable=deferrable)
    for version in ("2.0", "2.2"):
        for world in deaths(fault, options, version=version):
            world.clock += pause
            outcome = finish(world, options)
            assert (world.jobs, outcome.job.job_id, outcome.owned) == ([2], 2, True), world.calls


@pytest.mark.parametrize("fault", FAULTS)
@BOTH_MODES
def test_without_a_record_a_retry_follows_the_job_while_it_runs(deferrable: bool, fault: Fault) -> None:
    """As on Airflow before 3.3, which stores nothing for a task."""
    options = RunOptions(deferrable=deferrable)
    for world in deaths(fault, options, job_seconds=900.0):
        world.record = None
        outcome = world.attempt(options, created_since=World().clock)
        assert (world.jobs, outcome.job.job_id) == ([2], 2), world.calls


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    deferrable=st.booleans(),
    version=st.sampled_from(["2.0", "2.2"]),
    faults=st.lists(st.sampled_from(FAULTS), max_size=3),
    failures=st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.floats(0, 1000)), max_size=4),
)
def test_attempts_that_die_or_fail_one_after_the_other_leave_one_job(
    kind: tuple[str, str],
    deferrable: bool,
    version: str,
    faults: list[Fault],
    failures: list[tuple[bool, int, float]],
) -> None:
    """An attempt that fails without a record has started nothing."""
    options = RunOptions(*kind, deferrable=deferrable)
    world = World(*faults, version=version)
    for dies, steps, pause in failures:
        world.refuses_after = None if dies else steps
        with contextlib.suppress(Killed, AirbyteError):
            world.attempt(options, steps if dies else None)
        assert world.record is not None or (world.jobs, world.slow_start) == ([], None), world.calls
        world.clock += pause
    world.refuses_after = None
    outcome = finish(world, options)
    assert (world.jobs, outcome.job.job_id, outcome.owned) == ([2], 2, True), world.calls
