"""The socket of a local Airbyte, and its interface for tests, around a :class:`~.state.AirbyteState`."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from airflow_provider_airbyte_api.testing import responses
from airflow_provider_airbyte_api.testing.jobs import ROWS, SIZE, LocalJob
from airflow_provider_airbyte_api.testing.recorded import Fault, RecordedRequest
from airflow_provider_airbyte_api.testing.responses import Gateway
from airflow_provider_airbyte_api.testing.state import API, AirbyteState, Edition
from airflow_provider_airbyte_api.testing.versions import NEWEST
from airflow_provider_airbyte_api.types import Failure

BACKLOG = 4096
"""Connections that the kernel may queue while the server is busy, so that none is lost under load."""

MAX_OPEN_FILES = 65_536

MALFORMED_REQUEST_ERRORS = (HttpProcessingError, web.RequestPayloadError)

LOG = logging.getLogger(__name__)
LOG.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], MALFORMED_REQUEST_ERRORS)))
"""Malformed HTTP is answered with 400. It is the client's mistake, and aiohttp would log a traceback of it."""


class LocalAirbyte:
    """An Airbyte on this machine, for the duration of a ``with`` block.

    :param port: TCP port on 127.0.0.1; 0 for any free port.
    :param client_id: the client id of its only application.
    :param client_secret: the client secret of that application.
    :param auth: False for an Airbyte with authentication disabled: no token endpoint, no 401.
    :param edition: "community", "enterprise" (self-managed with Keycloak and roles) or "cloud" (a gateway in front of
        the API). Each has its own responses to wrong secrets, tokens, unknown ids and unknown paths.
    :param version: the Airbyte version to emulate, such as "0.63", "1.0", "1.8", "2.0" or "2.1". The default "2.1"
        stands for all releases after 2.0. The edition "cloud" ignores it and is always the newest. Before "0.63.9"
        there is no token endpoint: pass ``auth=False``.
    :param job_seconds: duration of a job without a script, in seconds.
    :param token_seconds: lifetime of a token in seconds, and the value of ``expires_in``. None uses the version's:
        900, and before 1.6 a day with an ``expires_in`` of 180.
    :param tls: the TLS context with the server's certificate; None for plain http.
    :param jwt_seconds: the real lifetime of a token, for a server whose ``expires_in`` is wrong.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        client_id: str = "local-client-id",
        client_secret: str = "local-client-secret",  # noqa: S107 - it opens nothing
        auth: bool = True,
        edition: Edition = "community",
        version: str = NEWEST,
        job_seconds: float = 0.0,
        token_seconds: float | None = None,
        jwt_seconds: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._state = AirbyteState(
            client_id=client_id,
            client_secret=client_secret,
            auth=auth,
            edition=edition,
            version=version,
            job_seconds=job_seconds,
            token_seconds=token_seconds,
            jwt_seconds=jwt_seconds,
        )
        self.latency = 0.0
        """Seconds by which each response is delayed."""
        self.clock_skew = 0.0
        """Seconds by which the server's clock is ahead of this machine's."""
        self.peak_in_flight = 0
        """Maximum number of requests that were in flight at once."""
        self._in_flight = 0
        self._requested_port = port
        self._tls = tls
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # -- start and stop ----------------------------------------------------------------------------------------

    def start(self) -> LocalAirbyte:
        """Bind the port, and serve from a separate thread until :meth:`stop`."""
        _allow_many_sockets()
        self._socket = socket.create_server(("127.0.0.1", self._requested_port), backlog=BACKLOG)
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="local-airbyte", daemon=True)
        self._thread.start()
        ready.result()
        return self

    def stop(self) -> None:
        """Close all sockets."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> LocalAirbyte:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- addresses and credentials -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The root URL, where the web app is."""
        if self._socket is None:
            raise RuntimeError("This LocalAirbyte is not started: use it in a 'with' block, or call start().")
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def api_url(self) -> str:
        """The root URL of the public API."""
        return self.url + API

    @property
    def client_id(self) -> str:
        """The client id of its application."""
        return self._state.client_id

    @property
    def client_secret(self) -> str:
        """The client secret of its application. It can be set, as an administrator would change it."""
        return self._state.client_secret

    @client_secret.setter
    def client_secret(self, value: str) -> None:
        self._state.client_secret = value

    @property
    def airflow_connection(self) -> str:
        """The value for ``AIRFLOW_CONN_AIRBYTE_API_DEFAULT``."""
        fields: dict[str, Any] = {"conn_type": "airbyte_api", "host": self.url}
        if self._state.auth:
            fields.update(login=self.client_id, password=self.client_secret)
        return json.dumps(fields)

    # -- data --------------------------------------------------------------------------------------------------

    @property
    def workspaces(self) -> list[dict[str, Any]]:
        """Its workspaces, as the API returns them. Modify the list to add or remove some."""
        return self._state.workspaces

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Its sources."""
        return self._state.sources

    @property
    def destinations(self) -> list[dict[str, Any]]:
        """Its destinations."""
        return self._state.destinations

    @property
    def connections(self) -> list[dict[str, Any]]:
        """Its connections."""
        return self._state.connections

    @property
    def jobs(self) -> list[LocalJob]:
        """All jobs, oldest first."""
        with self._state.lock:
            for job in self._state.jobs.values():
                job.advance_to(self._now())
            return list(self._state.jobs.values())

    @property
    def cancelled(self) -> list[int]:
        """The ids of the jobs that were stopped by a cancel request."""
        return list(self._state.cancelled)

    def add_job(
        self, connection_id: str, status: str = "running", *, job_type: str = "sync", age: float = 0.0
    ) -> LocalJob:
        """Add a job that another user started ``age`` seconds ago. It keeps ``status`` until :meth:`finish_job`.

        If the job is pending or queued, the next request for a sync returns it, whatever its type.
        """
        return self._state.add_job(connection_id, at=self._now() - age, status=status, job_type=job_type)

    def finish_job(self, job_id: int, status: str = "succeeded") -> None:
        """Finish a job now, as succeeded, failed or cancelled."""
        with self._state.lock:
            job = self._state.jobs[job_id]
            job.script.clear()
            job.set_status(status, self._now())

    def fail_attempt(self, job_id: int, *reasons: Failure | str) -> None:
        """Let the running attempt of a job fail for ``reasons``. The job continues with its next attempt.

        A text is the message of a source's ``config_error``.
        """
        with self._state.lock:
            self._state.jobs[job_id].fail_attempt([_failure(each) for each in reasons], self._now())

    def fail_job(self, job_id: int, reason: Failure | str | None = None) -> None:
        """Finish a job now, as failed for ``reason``, as :meth:`fail_attempt`. None: Airbyte records no reason."""
        with self._state.lock:
            self._state.jobs[job_id].reason = None if reason is None else _failure(reason)
            self.finish_job(job_id, "failed")

    def script_jobs(
        self,
        *statuses: str,
        rows: int | None = ROWS,
        size: int | None = SIZE,
        reason: Failure | str | None = None,
    ) -> None:
        """Let every new job take ``statuses``, one at each poll, after ``pending`` at its start.

        :param rows: the rows that it moves if it succeeds; 0 for a success that moved nothing, None to omit the number
            from responses.
        :param size: the same in bytes.
        :param reason: why it fails, if it does, as in :meth:`fail_job`.
        """
        with self._state.lock:
            self._state.script, self._state.rows, self._state.size = list(statuses), rows, size
            self._state.reason = None if reason is None else _failure(reason)

    def next_job_type(self, job_type: str) -> None:
        """Give the next job this type (sync, reset, refresh or clear), whatever type is requested.

        Airbyte does so if resets or refreshes of streams are pending.
        """
        self._state.next_job_type = job_type

    def ignore_cancels(self, times: int = 1) -> None:
        """Answer the next ``times`` cancel requests with 200, and let the job continue."""
        self._state.ignored_cancels = times

    # -- faults ------------------------------------------------------------------------------------------------

    def respond_with(
        self,
        status: int | None = None,
        *,
        method: str | None = None,
        path: str | None = None,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        gateway: Gateway | None = None,
        apply_first: bool = False,
        delay: float = 0.0,
        drop_connection: bool = False,
        times: int = 1,
    ) -> None:
        """Script the next response to a request that matches ``method`` and ``path``.

        ``path`` is a regular expression for the path below the API root.

        :param status: the status, with the server's usual body unless ``body`` is set. None: the normal response.
        :param gateway: "html", "json", "text" or "empty": the kind of body, as a server in front of Airbyte sends it.
            It contains nothing of Airbyte's.
        :param apply_first: carry out the request first, so that for example a job is created.
        :param delay: seconds before the response.
        :param drop_connection: close the connection instead of responding.
        :param times: the number of requests that this applies to.
        """
        response = None if status is None else responses.of_status(status, body, headers, gateway)
        with self._state.lock:
            self._state.faults.append(Fault(method, path, times, response, apply_first, delay, drop_connection))

    @contextmanager
    def outage(
        self,
        status: int | None = 502,
        *,
        method: str | None = None,
        path: str | None = None,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        gateway: Gateway | None = "html",
        drop_connection: bool = False,
    ) -> Iterator[None]:
        """Send the same response to all requests that match, for the duration of a ``with`` block.

        ``outage(path="/applications/token")`` is an outage of the token endpoint, ``outage(403, gateway="text")`` a
        gateway that blocks every request, and ``outage(drop_connection=True)`` closes each connection.
        See :meth:`respond_with`.
        """
        response = None if status is None else responses.of_status(status, body, headers, gateway)
        fault = Fault(method, path, math.inf, response, apply_first=False, delay=0.0, drop_connection=drop_connection)
        with self._state.lock:
            self._state.faults.append(fault)
        try:
            yield
        finally:
            with self._state.lock:
                self._state.faults = [each for each in self._state.faults if each is not fault]

    def drop_next_response(self, method: str = "POST", path: str = "/jobs") -> None:
        """Carry out the next matching request, by default one for a new job, but close the connection unanswered."""
        self.respond_with(method=method, path=path, apply_first=True, drop_connection=True)

    def revoke_tokens(self) -> None:
        """Reject every token issued so far with a 401."""
        self._state.revoke_tokens()

    # -- recorded requests -------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, oldest first."""
        with self._state.lock:
            return list(self._state.requests)

    def requests_to(self, method: str, path: str) -> list[RecordedRequest]:
        """Return the requests of ``method`` whose path below the API root matches ``path``, a regular expression."""
        return [each for each in self.requests if each.method == method and re.fullmatch(path, each.path)]

    # -- assertions --------------------------------------------------------------------------------------------

    def assert_one_job(self, connection_id: str, job_type: str = "sync") -> LocalJob:
        """Return the only job of that type that an Airbyte connection has ever had.

        :param job_type: ``sync``, or ``reset``, which is also the type of a clear.
        :raises AssertionError: if it had none or several, with a list of all jobs.
        """
        found = [job for job in self.jobs if (job.connection_id, job.job_type) == (connection_id, job_type)]
        if len(found) != 1:
            all_jobs = ", ".join(f"{job.job_id} ({job.job_type}, {job.status})" for job in self.jobs) or "none"
            raise AssertionError(
                f"Airbyte connection {connection_id} has {len(found)} jobs of type {job_type}, expected one. "
                f"All jobs: {all_jobs}."
            )
        return found[0]

    def assert_cancelled(self, job_id: int) -> None:
        """Assert that this job was cancelled exactly once, and no other job.

        :raises AssertionError: if not.
        """
        if self.cancelled != [job_id]:
            raise AssertionError(f"The jobs {self.cancelled} were cancelled, expected only {job_id}.")

    def assert_max_polls(self, times: int) -> None:
        """Assert that jobs were polled at most ``times`` times, by id or by list.

        :raises AssertionError: with the number, if there were more.
        """
        polls = self.requests_to("GET", r"/jobs(/\d+)?")
        if len(polls) > times:
            raise AssertionError(f"Jobs were polled {len(polls)} times, expected at most {times}.")

    # -- the socket --------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return time.time() + self.clock_skew

    def _serve(self, ready: Future[None]) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        try:
            runner = self._loop.run_until_complete(self._listen())
        except BaseException as error:
            ready.set_exception(error)
            raise
        ready.set_result(None)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(runner.cleanup())
            self._loop.run_until_complete(_end_all_other_tasks())
            self._loop.close()

    async def _listen(self) -> web.ServerRunner:
        if self._socket is None:
            raise RuntimeError("bind first")
        runner = web.ServerRunner(web.Server(self._handle, access_log=None, logger=LOG), shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, self._socket, backlog=BACKLOG, ssl_context=self._tls).start()
        return runner

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await request.read()
        except (web.RequestPayloadError, ConnectionError):  # a body that is malformed, or does not arrive
            raise web.HTTPBadRequest from None
        headers = {name.lower(): value for name, value in request.headers.items()}
        raw = request.rel_url
        self._in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
        try:
            response = self._state.answer(
                request.method, raw.raw_path, raw.raw_query_string, headers, body, self._now()
            )
            await asyncio.sleep(self.latency + response.delay)
        finally:
            self._in_flight -= 1
        if response.drop_connection and request.transport is not None:
            request.transport.abort()
        return web.Response(
            status=response.status,
            body=response.body,
            headers={**response.headers, "Date": responses.date_header(self._now())},
        )


def _failure(reason: Failure | str) -> Failure:
    return reason if isinstance(reason, Failure) else Failure("source", "config_error", reason)


async def _end_all_other_tasks() -> None:
    """Cancel the tasks that wait for a body which never arrived, without an error."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _allow_many_sockets() -> None:
    """Raise the soft limit on open files, which is often 1024: many clients and the server may share one process."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
