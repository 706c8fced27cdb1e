"""The state of a whole Airbyte: its data, and its response to a request at a given time, without socket or clock."""

from __future__ import annotations

import itertools
import random
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal
from urllib.parse import parse_qsl

from airflow_provider_airbyte_api.testing import connection_patch, list_queries, responses, seed
from airflow_provider_airbyte_api.testing.jobs import ROWS, SIZE, LocalJob
from airflow_provider_airbyte_api.testing.recorded import Fault, RecordedRequest
from airflow_provider_airbyte_api.testing.responses import FakeResponse
from airflow_provider_airbyte_api.testing.tokens import ANONYMOUS_USER_ID, TokenRejection, Tokens
from airflow_provider_airbyte_api.testing.versions import NEWEST, Version, parse_version, row_as_of
from airflow_provider_airbyte_api.types import Failure

API = "/api/public/v1"
CONFIG_API = "/api/v1"
DOCS = "https://reference.airbyte.com/"

Edition = Literal["community", "enterprise", "cloud"]

_JWT = {
    TokenRejection.MISSING: responses.JWT_MISSING,
    TokenRejection.FOREIGN: responses.JWT_FOREIGN,
    TokenRejection.EXPIRED: responses.JWT_EXPIRED,
}

_SYNC_MODES = (
    "full_refresh_overwrite",
    "full_refresh_append",
    "full_refresh_overwrite_deduped",
    "incremental_append",
    "incremental_deduped_history",
)
"""The modes that the sources and destinations here support together."""

_ILLEGAL_ARGUMENT = "java.lang.IllegalArgumentException"


class AirbyteState:
    """The data of an Airbyte, and its responses. One lock guards it, because tests access it from their own thread."""

    is_unordered = False
    """True for lists of sources, destinations and connections that come in another order each time."""

    list_shows_stats = True
    """False for a server that omits rows and bytes from its lists of jobs."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        auth: bool,
        edition: Edition,
        version: str = NEWEST,
        job_seconds: float,
        token_seconds: float | None,
        jwt_seconds: float | None,
    ) -> None:
        self.lock = threading.RLock()
        self.client_id = client_id
        self.client_secret = client_secret
        self.auth = auth
        self.edition = edition
        self.version: Version = parse_version(version)
        self.job_seconds = job_seconds
        self.token_seconds = token_seconds
        self.jwt_seconds = jwt_seconds
        self.workspaces = seed.workspaces()
        self.sources = seed.sources()
        self.destinations = seed.destinations()
        self.connections = seed.connections()
        self.tags = seed.tags()
        self.jobs: dict[int, LocalJob] = {}
        self.script: list[str] | None = None
        self.rows: int | None = ROWS
        self.size: int | None = SIZE
        self.reason: Failure | None = None
        self.next_job_type: str | None = None
        self.ignored_cancels = 0
        self.faults: list[Fault] = []
        self.requests: list[RecordedRequest] = []
        self.cancelled: list[int] = []
        self._job_ids = itertools.count(1)
        self.tokens = Tokens()
        self._routes = self._all_routes()

    # -- responses ---------------------------------------------------------------------------------------------

    def answer(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> FakeResponse:
        """Return the response to one request, and record the request."""
        with self.lock:
            path = raw_path[len(API) :] if raw_path.startswith(API + "/") else raw_path
            request = RecordedRequest(method, path, tuple(parse_qsl(query)), dict(headers), body, now)
            self.requests.append(request)
            for job in self.jobs.values():
                job.advance_to(now)
            fault = next((each for each in self.faults if each.matches(request)), None)
            if fault is None:
                return self._handle(request, raw_path).as_of(self._version)
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
            handled = (
                self._handle(request, raw_path)
                if fault.apply_first or (fault.response is None and not fault.drop_connection)
                else None
            )
            response = fault.response or handled or responses.error_id(500)
            return replace(response.as_of(self._version), delay=fault.delay, drop_connection=fault.drop_connection)

    @property
    def _version(self) -> Version:
        return parse_version(NEWEST) if self.edition == "cloud" else self.version

    def _is_before(self, *version: int) -> bool:
        return self._version < version

    def _handle(self, request: RecordedRequest, raw_path: str) -> FakeResponse:
        public = self._public(request, raw_path)
        if public is not None:
            return public
        handler = self._handler(request, raw_path)
        if self.edition == "cloud" and handler is None:
            return responses.not_defined()
        if not raw_path.startswith("/api"):
            return responses.html() if request.method == "GET" else responses.html(405, "<html>405</html>")
        error = self._auth_error(request, raw_path)
        if error is not None:
            return error
        if handler is not None:
            return handler()
        return responses.no_access(raw_path) if self.auth else responses.no_route()

    def _public(self, request: RecordedRequest, raw_path: str) -> FakeResponse | None:
        """Return the response of an endpoint that needs no token, or None."""
        public: dict[tuple[str, str], Callable[[], FakeResponse]] = {
            ("GET", API): lambda: FakeResponse(302, b"", {"Location": DOCS}),
            ("GET", f"{API}/health"): responses.healthy,
        }
        if self.auth:
            public["POST", f"{API}/applications/token"] = lambda: self._issue_token(request, raw_path)
        if self.edition != "cloud":
            public["GET", f"{CONFIG_API}/health"] = lambda: responses.as_json({"available": True})
            public["GET", f"{CONFIG_API}/instance_configuration"] = lambda: self._instance_configuration(request)
        if self.edition != "cloud" and self.auth:
            public["POST", f"{CONFIG_API}/applications/token"] = lambda: self._issue_internal_token(request, raw_path)
        if self.auth and self._is_before(0, 63, 9):
            public["POST", f"{API}/applications/token"] = lambda: responses.about_blank(404)  # from a public report
        answer = public.get((request.method, raw_path.rstrip("/") if raw_path == API + "/" else raw_path))
        return None if answer is None else answer()

    def _handler(self, request: RecordedRequest, raw_path: str) -> Callable[[], FakeResponse] | None:
        """Return the handler of a path that needs a token, or None for another path."""
        if (request.method, raw_path) == ("POST", f"{CONFIG_API}/jobs/get_without_logs"):
            return partial(self._get_job_without_logs, request)
        if (request.method, raw_path) == ("POST", f"{CONFIG_API}/attempt/get_for_job"):
            return partial(self._get_attempt, request)
        if raw_path.startswith(API + "/"):
            if request.path == "/tags" and self._is_before(1, 6):
                return None
            for method, pattern, handler in self._routes:
                match = re.fullmatch(pattern, request.path)
                if method == request.method and match:
                    return partial(handler, request, *match.groups())
        return None

    def _instance_configuration(self, request: RecordedRequest) -> FakeResponse:
        """Respond as the server's source does. Null values are omitted."""
        mode = "none" if not self.auth else "simple" if self.edition == "community" else "oidc"
        return responses.as_json(
            {
                "airbyteUrl": _origin(request),
                "edition": "community" if self.edition == "community" else "pro",
                "version": ".".join(map(str, (*self.version, 0)[:3])),
                "auth": {"mode": mode},
                "initialSetupComplete": True,
                "defaultUserId": ANONYMOUS_USER_ID,
                "defaultOrganizationId": ANONYMOUS_USER_ID,
                "defaultOrganizationEmail": "local@example.com",
                "trackingStrategy": "logging",
            }
        )

    def _all_routes(self) -> list[tuple[str, str, Callable[..., FakeResponse]]]:
        return [
            ("GET", "/jobs", self._list_jobs),
            ("POST", "/jobs", self._create_job),
            ("GET", "/jobs/([^/]+)", self._get_job),
            ("DELETE", "/jobs/([^/]+)", self._cancel_job),
            ("GET", "/workspaces", lambda request: self._list(request, self.workspaces)),
            (
                "GET",
                "/workspaces/([^/]+)",
                lambda _, key: self._one("WORKSPACE", self.workspaces, "workspaceId", key),
            ),
            ("PATCH", "/workspaces/([^/]+)", self._patch_workspace),
            ("GET", "/sources", lambda request: self._list(request, self.sources)),
            (
                "GET",
                "/sources/([^/]+)",
                lambda _, key: self._one("SOURCE_CONNECTION", self.sources, "sourceId", key),
            ),
            ("GET", "/destinations", lambda request: self._list(request, self.destinations)),
            (
                "GET",
                "/destinations/([^/]+)",
                lambda _, key: self._one("DESTINATION_CONNECTION", self.destinations, "destinationId", key),
            ),
            ("GET", "/connections", self._list_connections),
            (
                "GET",
                "/connections/([^/]+)",
                lambda _, key: self._one("STANDARD_SYNC", self.connections, "connectionId", key),
            ),
            ("PATCH", "/connections/([^/]+)", self._patch_connection),
            ("GET", "/streams", self._streams),
            ("GET", "/tags", self._list_tags),
        ]

    # -- tokens ------------------------------------------------------------------------------------------------

    @property
    def _lifetimes(self) -> tuple[float, float]:
        """The value of ``expires_in`` and the real lifetime of a token: before 1.6, three minutes and a day."""
        is_old = self._is_before(1, 6) and self.token_seconds is None
        lifetime = self.token_seconds or (180.0 if is_old else 900.0)
        return lifetime, self.jwt_seconds or (86_400.0 if is_old else lifetime)

    def _new_token(self, request: RecordedRequest) -> str:
        keycloak = self.edition != "community"
        return self.tokens.issue(self.client_id, request.at + self._lifetimes[1], now=request.at, keycloak=keycloak)

    def _issue_token(self, request: RecordedRequest, raw_path: str) -> FakeResponse:
        if request.is_form and self._is_before(1, 6, 3):  # from public reports
            return responses.unauthorized(raw_path)
        error = self._refuse_credentials(request, raw_path)
        if error is not None:
            return error
        lifetime = int(self._lifetimes[0])
        return responses.as_json(
            {"access_token": self._new_token(request), "token_type": "Bearer", "expires_in": lifetime}
        )

    def _issue_internal_token(self, request: RecordedRequest, raw_path: str) -> FakeResponse:
        """Respond as the internal API's endpoint: it accepts only JSON, and returns only a token (public reports)."""
        if request.is_form:
            return responses.unauthorized(raw_path)
        error = self._refuse_credentials(request, raw_path)
        return responses.as_json({"access_token": self._new_token(request)}) if error is None else error

    def _refuse_credentials(self, request: RecordedRequest, raw_path: str) -> FakeResponse | None:
        given = request.json() or dict(parse_qsl(request.body.decode("utf-8", "replace")))
        if (given.get("client_id"), given.get("client_secret")) == (self.client_id, self.client_secret):
            return None
        if self.edition == "community":
            return responses.hateoas(400, "Bad Request", raw_path, "Invalid client id or token")
        return responses.error_id(500 if self._is_before(2, 1) else 401)  # Keycloak's

    def revoke_tokens(self) -> None:
        """Reject every token issued so far with a 401."""
        with self.lock:
            self.tokens.revoke_all()

    def _auth_error(self, request: RecordedRequest, raw_path: str) -> FakeResponse | None:
        """Return the 401 for a request without a valid token, or None."""
        refusal = self.tokens.rejection(request.token, request.at) if self.auth else None
        if refusal is None:
            return None
        if self.edition == "cloud":
            return responses.bad_jwt(f"{_origin(request)}{raw_path}", _JWT[refusal])
        return responses.unauthorized(raw_path)

    # -- jobs --------------------------------------------------------------------------------------------------

    def add_job(self, connection_id: str, *, at: float, status: str = "pending", job_type: str = "sync") -> LocalJob:
        """Add a job, as if Airbyte or another user had started it."""
        with self.lock:
            job = LocalJob(next(self._job_ids), connection_id, job_type, at, at, status, rows=self.rows, size=self.size)
            job.reason = self.reason
            if status == "pending" and self.script is not None:
                job.script = list(self.script)
            elif status == "pending":
                job.seconds = self.job_seconds
            self.jobs[job.job_id] = job
            return job

    def running_job(self, connection_id: str) -> LocalJob | None:
        """Return the newest job of a connection that is not finished, or None."""
        running = [job for job in self.jobs.values() if job.connection_id == connection_id and not job.is_terminal]
        return max(running, key=lambda job: job.job_id, default=None)

    def _create_job(self, request: RecordedRequest) -> FakeResponse:
        wanted = request.json_object()
        if wanted is None:
            return responses.unreadable_body()
        connection_id, job_type = wanted.get("connectionId"), wanted.get("jobType")
        if not isinstance(connection_id, str) or job_type not in list_queries.JOB_TYPES:
            return responses.invalid_input("publicCreateJob.jobCreateRequest", job_type, "is not valid")
        connection = self._find(self.connections, "connectionId", connection_id)
        if connection is None:
            return self._not_found("STANDARD_SYNC", connection_id, "WORKSPACE_RUNNER")
        if job_type == "refresh":
            return responses.unprocessable("Refreshes are not supported in the public API")
        if connection["status"] != "active":
            return responses.state_conflict()
        running = self.running_job(connection_id)
        if job_type == "sync" and running is not None:
            if running.status in ("pending", "queued") and not self._is_before(2, 1):
                # As the real server from mid-2026 on: a request before the first attempt gets that same job, whatever
                # its type.
                return responses.as_json(running.as_json(with_stats=False))
            return responses.already_running(connection_id)
        if running is not None:
            running.set_status("cancelled", request.at)
        usual = "sync" if job_type == "sync" else "reset"
        job = self.add_job(connection_id, at=request.at, job_type=self.next_job_type or usual)
        self.next_job_type = None
        if self._is_before(2, 1):  # it answers once the first attempt has started
            job.set_status("running", request.at)
        return responses.as_json(job.as_json(with_stats=False))

    def _get_job(self, request: RecordedRequest, key: str) -> FakeResponse:
        job = self._job(key)
        if job is None:
            return self._unknown_job()
        job.on_poll(request.at)
        return responses.as_json(job.as_json(with_stats=True))

    def _get_job_without_logs(self, request: RecordedRequest) -> FakeResponse:
        """Respond as the internal API: a job with its attempts and their failures."""
        body = request.json_object()
        if body is None:
            return responses.unreadable_body()
        job = self._job(str(body.get("id")))
        if job is not None:
            return responses.as_json(job.as_internal_json())
        return responses.error_id(500) if self.edition == "community" else responses.forbidden("WORKSPACE_READER")

    def _get_attempt(self, request: RecordedRequest) -> FakeResponse:
        """Respond as the internal API: an attempt with its log, as events since 1.2 and as lines before."""
        body = request.json_object()
        if body is None:
            return responses.unreadable_body()
        job, index = self._job(str(body.get("jobId"))), body.get("attemptNumber")
        found = None
        if job is not None and isinstance(index, int):
            found = job.log_as_internal_json(index, structured=not self._is_before(1, 2))
        return self._unknown_job() if found is None else responses.as_json(found)

    def _cancel_job(self, request: RecordedRequest, key: str) -> FakeResponse:
        job = self._job(key)
        if job is None:
            return self._unknown_job()
        # As the real server: this cancels whatever runs on the job's connection, even another job.
        running = self.running_job(job.connection_id)
        if running is None:
            return responses.state_conflict("Job is not currently running")
        if self.ignored_cancels:
            self.ignored_cancels -= 1
            return responses.as_json(job.as_json(with_stats=False))
        running.set_status("cancelled", request.at)
        self.cancelled.append(running.job_id)
        return responses.as_json(job.as_json(with_stats=False))

    def _job(self, key: str) -> LocalJob | None:
        return self.jobs.get(int(key)) if re.fullmatch("[0-9]{1,18}", key) else None

    def _unknown_job(self) -> FakeResponse:
        if self.edition != "community":
            return responses.forbidden("WORKSPACE_READER")
        return responses.state_conflict("Job is not currently running")

    def _list_jobs(self, request: RecordedRequest) -> FakeResponse:
        error = self._query_error(request, "connectionId", "workspaceIds", "status", "jobType", *list_queries.MOMENTS)
        if error is not None:
            return error
        field_name, _, direction = (request.value("orderBy") or "createdAt|ASC").partition("|")
        if field_name not in ("createdAt", "updatedAt") or direction not in ("ASC", "DESC"):
            return responses.bad_request(f"Invalid order by clause provided: {request.value('orderBy')}")
        connection_id, workspace_ids = request.value("connectionId"), request.values("workspaceIds")
        workspace_of = {each["connectionId"]: each["workspaceId"] for each in self.connections}
        fields: dict[str, Callable[[LocalJob], str | None]] = {
            "connectionId": lambda job: job.connection_id,
            "status": lambda job: job.status,
            "jobType": lambda job: job.job_type,
        }
        # Computed once, as a benchmark lists thousands of jobs.
        wanted = [(of, value) for name, of in fields.items() if (value := request.value(name)) is not None]
        (created_start, created_end), (updated_start, updated_end) = (
            list_queries.bounds(request, name) for name in ("createdAt", "updatedAt")
        )
        listed = list_queries.JOB_TYPES if request.value("jobType") or not self._is_before(2, 1) else ("sync", "reset")
        found = [
            job
            for job in self.jobs.values()
            if updated_start <= int(job.updated_at) <= updated_end
            and created_start <= int(job.created_at) <= created_end
            and job.job_type in listed
            and all(of(job) == value for of, value in wanted)
            and (connection_id or not workspace_ids or workspace_of.get(job.connection_id) in workspace_ids)
        ]
        found.sort(
            key=lambda job: job.created_at if field_name == "createdAt" else job.updated_at,
            reverse=direction == "DESC",
        )
        if field_name == "createdAt" and direction == "DESC":
            found.sort(key=lambda job: (job.created_at, job.job_id), reverse=True)

        def show(job: LocalJob) -> dict[str, Any]:
            return job.as_json(with_stats=self.list_shows_stats)

        return responses.as_json(list_queries.page(request, found, show, ("jobType", "connectionId", "workspaceIds")))

    # -- other resources ---------------------------------------------------------------------------------------

    def _list(self, request: RecordedRequest, rows: list[dict[str, Any]], *filters: str) -> FakeResponse:
        """Return a page of the rows in the requested workspaces."""
        error = self._query_error(request, "workspaceIds", "includeDeleted", *filters)
        if error is not None:
            return error
        found = self._in_workspaces(request, rows)
        return responses.as_json(list_queries.page(request, found, self._show, ("workspaceIds", "includeDeleted")))

    def _show(self, row: dict[str, Any]) -> dict[str, Any]:
        return row_as_of(self._version, row)

    def _list_connections(self, request: RecordedRequest) -> FakeResponse:
        tag_ids = set(request.values("tagIds"))
        rows = [
            row
            for row in self.connections
            if (row["status"] != "deprecated" or request.value("includeDeleted") == "true")
            and (not tag_ids or tag_ids & {tag["tagId"] for tag in row.get("tags", ())})
        ]
        return self._list(request, rows, "tagIds")

    def _list_tags(self, request: RecordedRequest) -> FakeResponse:
        return self._query_error(request, "workspaceIds") or responses.as_json(
            {"data": self._in_workspaces(request, self.tags)}
        )

    def _query_error(self, request: RecordedRequest, *filters: str) -> FakeResponse | None:
        """Return the 400 for a query with a value of the wrong type, or the 403 for an unknown workspace.

        The server's source has that 403 for all users except instance administrators. A public report about Cloud shows
        an empty list, but not the request for it.
        """
        known = {each["workspaceId"] for each in self.workspaces}
        if self.edition == "enterprise" and not known.issuperset(request.values("workspaceIds")):
            return responses.forbidden("WORKSPACE_READER")
        return list_queries.refusal(request, *filters)

    def _patch_workspace(self, request: RecordedRequest, workspace_id: str) -> FakeResponse:
        workspace = self._find(self.workspaces, "workspaceId", workspace_id)
        if workspace is None:
            return self._not_found("WORKSPACE", workspace_id, "WORKSPACE_EDITOR")
        body = request.json_object()
        if body is None:
            return responses.unreadable_body()
        if "name" in body:
            workspace["name"] = body["name"]
        workspace["notifications"].update(body.get("notifications") or {})
        return responses.as_json(workspace)

    def _patch_connection(self, request: RecordedRequest, connection_id: str) -> FakeResponse:
        connection = self._find(self.connections, "connectionId", connection_id)
        if connection is None:
            return self._not_found("STANDARD_SYNC", connection_id, "WORKSPACE_EDITOR")
        if connection["status"] == "locked":
            return responses.as_json(
                {
                    "status": 409,
                    "type": "error:connection/locked",
                    "title": "Connection is locked",
                    "detail": "The connection is locked and cannot be modified.",
                    "documentationUrl": None,
                    "data": {"connectionId": connection_id, "statusReason": None},
                },
                409,
            )
        body = request.json_object()
        if body is None:
            return responses.unreadable_body()
        change = connection_patch.of_connection(body)
        if isinstance(change, FakeResponse):
            return change
        connection.update(change)
        # As the real server: a queued job does not survive a change of the connection.
        for job in self.jobs.values():
            if job.connection_id == connection_id and job.status == "queued":
                job.set_status("cancelled", request.at)
        return responses.as_json(self._show(connection))

    def _streams(self, request: RecordedRequest) -> FakeResponse:
        source_id = request.value("sourceId")
        error = list_queries.refusal(request, "sourceId", "destinationId")
        if source_id is None or error is not None:
            return error or responses.invalid_input("publicGetStreamProperties.sourceId", None, "must not be null")
        if self._find(self.sources, "sourceId", source_id) is None:
            return self._not_found("SOURCE_CONNECTION", source_id, "WORKSPACE_READER")
        names = {
            stream["name"]: stream
            for each in self.connections
            if each["sourceId"] == source_id
            for stream in each["configurations"]["streams"]
        }
        return responses.as_json(
            [
                {
                    "streamName": name,
                    # This is the API's spelling. It is absent for a source without namespaces.
                    **({"streamnamespace": stream["namespace"]} if "namespace" in stream else {}),
                    "syncModes": list(_SYNC_MODES),
                    "defaultCursorField": stream["cursorField"],
                    "sourceDefinedCursorField": False,
                    "sourceDefinedPrimaryKey": stream["primaryKey"],
                    "propertyFields": [["id"], ["updated_at"]],
                }
                for name, stream in names.items()
            ]
        )

    def _one(self, kind: str, rows: Iterable[dict[str, Any]], id_name: str, key: str) -> FakeResponse:
        row = self._find(rows, id_name, key)
        return self._not_found(kind, key, "WORKSPACE_READER") if row is None else responses.as_json(self._show(row))

    @staticmethod
    def _find(rows: Iterable[dict[str, Any]], id_name: str, key: str) -> dict[str, Any] | None:
        return next((row for row in rows if row[id_name] == key), None)

    def _not_found(self, kind: str, key: str, permission: str) -> FakeResponse:
        """Return the response to an unknown id. It depends on the edition, and on whether the text is a UUID at all."""
        if self.edition != "community":
            return responses.forbidden(permission)
        if list_queries.is_uuid(key):
            return responses.not_found(kind, key)
        return responses.error_id(500, f"Internal Server Error: Invalid UUID string: {key}", _ILLEGAL_ARGUMENT)

    def _in_workspaces(self, request: RecordedRequest, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = request.values("workspaceIds")
        found = [row for row in rows if not ids or row["workspaceId"] in ids]
        if self.is_unordered:
            random.shuffle(found)
        return found


def _origin(request: RecordedRequest) -> str:
    return f"http://{request.headers.get('host', 'localhost')}"
