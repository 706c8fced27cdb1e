"""A whole Airbyte as a value: what it holds, and what it answers at a given moment. No socket, no clock."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import random
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import parse_qsl

from airflow_provider_airbyte_api.testing import changes, queries, replies, seed
from airflow_provider_airbyte_api.testing.asked import Asked, Fault
from airflow_provider_airbyte_api.testing.jobs import LocalJob
from airflow_provider_airbyte_api.testing.replies import Reply

API = "/api/public/v1"

Edition = Literal["community", "cloud"]


class World:
    """All that an Airbyte holds, and how it answers. One lock guards it, for tests look in from their own thread."""

    is_unordered = False
    """True for lists of sources, destinations and connections that come in another order each time."""

    list_shows_stats = True
    """False for a server that leaves rows and bytes out of its lists of jobs."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        auth: bool,
        edition: Edition,
        job_seconds: float,
        token_seconds: float,
        jwt_seconds: float | None,
    ) -> None:
        self.lock = threading.RLock()
        self.client_id = client_id
        self.client_secret = client_secret
        self.auth = auth
        self.edition = edition
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
        self.faults: list[Fault] = []
        self.requests: list[Asked] = []
        self.cancelled: list[int] = []
        self._job_ids = itertools.count(1)
        self._token_ids = itertools.count(1)
        self._signature = uuid.uuid4().bytes
        self._revoked_up_to = 0
        self._routes = self._all_routes()

    # -- answering ---------------------------------------------------------------------------------------------

    def answer(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> Reply:
        """Return the answer to one request, and remember it."""
        with self.lock:
            path = raw_path[len(API) :] if raw_path.startswith(API + "/") else raw_path
            asked = Asked(method, path, tuple(parse_qsl(query)), dict(headers), body, now)
            self.requests.append(asked)
            for job in self.jobs.values():
                job.settle(now)
            fault = next((each for each in self.faults if each.matches(asked)), None)
            if fault is None:
                return self._obey(asked, raw_path)
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
            obeyed = self._obey(asked, raw_path) if fault.after or (fault.reply is None and not fault.lost) else None
            reply = fault.reply or obeyed or replies.error_id(500)
            return replace(reply, delay=fault.delay, lost=fault.lost)

    def _obey(self, asked: Asked, raw_path: str) -> Reply:
        if not raw_path.startswith("/api"):
            return replies.html() if asked.method == "GET" else replies.html(405, "<html>405</html>")
        if raw_path == "/api/v1/instance_configuration":
            mode = "simple" if self.auth else "none"
            return replies.as_json({"version": "2.1.0", "edition": self.edition, "auth": {"mode": mode}})
        if raw_path.startswith(API + "/"):
            if asked.path == "/health":
                return Reply(200, b"Successful operation", {"Content-Type": "text/plain"})
            if (asked.method, asked.path) == ("POST", "/applications/token") and self.auth:
                return self._give_token(asked)
        return self._refusal(asked) or self._route(asked, raw_path)

    def _route(self, asked: Asked, raw_path: str) -> Reply:
        if raw_path.startswith(API + "/"):
            for method, pattern, handler in self._routes:
                match = re.fullmatch(pattern, asked.path)
                if method == asked.method and match:
                    return handler(asked, *match.groups())
        return replies.forbidden("INSTANCE_ADMIN") if self.auth else replies.no_route()

    def _all_routes(self) -> list[tuple[str, str, Callable[..., Reply]]]:
        return [
            ("GET", "/jobs", self._list_jobs),
            ("POST", "/jobs", self._create_job),
            ("GET", "/jobs/([^/]+)", self._get_job),
            ("DELETE", "/jobs/([^/]+)", self._cancel_job),
            ("GET", "/workspaces", lambda asked: self._list(asked, self.workspaces)),
            (
                "GET",
                "/workspaces/([^/]+)",
                lambda _, key: self._one("WORKSPACE", self.workspaces, "workspaceId", key),
            ),
            ("GET", "/sources", lambda asked: self._list(asked, self.sources)),
            (
                "GET",
                "/sources/([^/]+)",
                lambda _, key: self._one("SOURCE_CONNECTION", self.sources, "sourceId", key),
            ),
            ("GET", "/destinations", lambda asked: self._list(asked, self.destinations)),
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

    def _give_token(self, asked: Asked) -> Reply:
        form = dict(parse_qsl(asked.body.decode("utf-8", "replace")))
        given = asked.json() or form
        known = (given.get("client_id"), given.get("client_secret")) == (self.client_id, self.client_secret)
        if not known:
            if self.edition == "cloud":
                return replies.error_id(401)
            return replies.hateoas(400, "Bad Request", API + asked.path, "Invalid client id or token")
        expires_at = asked.at + (self.jwt_seconds or self.token_seconds)
        return replies.as_json(
            {
                "access_token": self._jwt(expires_at),
                "token_type": "Bearer",
                "expires_in": int(self.token_seconds),
            }
        )

    def _jwt(self, expires_at: float) -> str:
        header = {"alg": "HS256", "typ": "JWT"}
        claims = {
            "iss": "http://localhost:8000",
            "aud": "airbyte-server",
            "sub": str(uuid.UUID(int=0)),
            "roles": ["ADMIN"],
            "exp": int(expires_at),
            "until": expires_at,  # the fraction that `exp` lacks, for tests with tokens of less than a second
            "jti": next(self._token_ids),
        }
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{self._sign(signed)}"

    def _sign(self, text: str) -> str:
        return _base64(hmac.new(self._signature, text.encode(), hashlib.sha256).digest())

    def revoke_tokens(self) -> None:
        """Let every token given so far bring 401."""
        with self.lock:
            self._revoked_up_to = next(self._token_ids)

    def _refusal(self, asked: Asked) -> Reply | None:
        """Return the 401 for a request without a token that counts."""
        if not self.auth:
            return None
        signed, _, signature = (asked.token or "").rpartition(".")
        if signed.isascii() and signature.isascii() and hmac.compare_digest(signature, self._sign(signed)):
            payload = signed.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            if claims["until"] > asked.at and claims["jti"] > self._revoked_up_to:
                return None
        if self.edition == "cloud":
            return replies.gateway(401, "Jwt is expired" if asked.token else "Jwt is missing")
        return replies.hateoas(401, "Unauthorized", API + asked.path, "Unauthorized")

    # -- jobs --------------------------------------------------------------------------------------------------

    def add_job(self, connection_id: str, *, at: float, status: str = "pending", job_type: str = "sync") -> LocalJob:
        """Put a job there, as if Airbyte or somebody else had started it."""
        with self.lock:
            job = LocalJob(next(self._job_ids), connection_id, job_type, at, at, status)
            if status == "pending" and self.script is not None:
                job.script = list(self.script)
            elif status == "pending":
                job.seconds = self.job_seconds
            self.jobs[job.job_id] = job
            return job

    def running_job(self, connection_id: str) -> LocalJob | None:
        """Return the newest job of a connection that is not finished."""
        running = [job for job in self.jobs.values() if job.connection_id == connection_id and not job.is_finished]
        return max(running, key=lambda job: job.job_id, default=None)

    def _create_job(self, asked: Asked) -> Reply:
        wanted = asked.json_object()
        if wanted is None:
            return replies.error_id(422)
        connection_id, job_type = wanted.get("connectionId"), wanted.get("jobType")
        if not isinstance(connection_id, str) or job_type not in queries.JOB_TYPES:
            return replies.error_id(400)
        connection = self._find(self.connections, "connectionId", connection_id)
        if connection is None:
            return self._unknown("STANDARD_SYNC", connection_id, "WORKSPACE_RUNNER")
        if job_type == "refresh":
            return replies.unprocessable("Refreshes are not supported in the public API")
        if connection["status"] != "active":
            return replies.state_conflict()
        running = self.running_job(connection_id)
        if job_type == "sync" and running is not None:
            if running.job_type == "sync" and running.status in ("pending", "queued"):
                # As the real server from mid-2026 on: who asks before the first attempt is told of the same job.
                return replies.as_json(running.as_json(with_stats=False))
            return replies.already_running(connection_id)
        if running is not None:
            running.become("cancelled", asked.at)
        job = self.add_job(connection_id, at=asked.at, job_type="sync" if job_type == "sync" else "reset")
        return replies.as_json(job.as_json(with_stats=False))

    def _get_job(self, asked: Asked, key: str) -> Reply:
        job = self._job(key)
        if job is None:
            return self._unknown_job()
        job.look(asked.at)
        return replies.as_json(job.as_json(with_stats=True))

    def _cancel_job(self, asked: Asked, key: str) -> Reply:
        job = self._job(key)
        if job is None:
            return self._unknown_job()
        # As the real server: whatever runs on this job's connection is cancelled, be it another job.
        running = self.running_job(job.connection_id)
        if running is None:
            return replies.state_conflict("Job is not currently running")
        running.become("cancelled", asked.at)
        self.cancelled.append(running.job_id)
        return replies.as_json(job.as_json(with_stats=False))

    def _job(self, key: str) -> LocalJob | None:
        return self.jobs.get(int(key)) if re.fullmatch("[0-9]{1,18}", key) else None

    def _unknown_job(self) -> Reply:
        if self.edition == "cloud":
            return replies.forbidden("WORKSPACE_READER")
        return replies.state_conflict("Job is not currently running")

    def _list_jobs(self, asked: Asked) -> Reply:
        refused = self._refused(asked, "connectionId", "workspaceIds", "status", "jobType", *queries.MOMENTS)
        if refused is not None:
            return refused
        field_name, _, direction = (asked.value("orderBy") or "createdAt|ASC").partition("|")
        if field_name not in ("createdAt", "updatedAt") or direction not in ("ASC", "DESC"):
            return replies.bad_request(f"Invalid order by clause provided: {asked.value('orderBy')}")
        connection_id, workspace_ids = asked.value("connectionId"), asked.values("workspaceIds")
        workspace_of = {each["connectionId"]: each["workspaceId"] for each in self.connections}
        wanted: dict[str, Callable[[LocalJob], str | None]] = {
            "connectionId": lambda job: job.connection_id,
            "status": lambda job: job.status,
            "jobType": lambda job: job.job_type,
        }
        found = [
            job
            for job in self.jobs.values()
            if all(asked.value(name) in (None, of(job)) for name, of in wanted.items())
            and (connection_id or not workspace_ids or workspace_of.get(job.connection_id) in workspace_ids)
            and queries.is_within(asked, "createdAt", job.created_at)
            and queries.is_within(asked, "updatedAt", job.updated_at)
        ]
        found.sort(
            key=lambda job: job.created_at if field_name == "createdAt" else job.updated_at,
            reverse=direction == "DESC",
        )
        if field_name == "createdAt" and direction == "DESC":
            found.sort(key=lambda job: (job.created_at, job.job_id), reverse=True)

        def show(job: LocalJob) -> dict[str, Any]:
            return job.as_json(with_stats=self.list_shows_stats)

        return replies.as_json(queries.page(asked, found, show, ("jobType", "connectionId", "workspaceIds")))

    # -- the rest ----------------------------------------------------------------------------------------------

    def _list(self, asked: Asked, rows: list[dict[str, Any]], *filters: str) -> Reply:
        """Return a page of what lies in the workspaces that are asked for."""
        refused = self._refused(asked, "workspaceIds", "includeDeleted", *filters)
        if refused is not None:
            return refused
        found = self._in_workspaces(asked, rows)
        return replies.as_json(queries.page(asked, found, dict, ("workspaceIds", "includeDeleted")))

    def _list_connections(self, asked: Asked) -> Reply:
        tag_ids = set(asked.values("tagIds"))
        rows = [
            row
            for row in self.connections
            if (row["status"] != "deprecated" or asked.value("includeDeleted") == "true")
            and (not tag_ids or tag_ids & {tag["tagId"] for tag in row.get("tags", ())})
        ]
        return self._list(asked, rows, "tagIds")

    def _list_tags(self, asked: Asked) -> Reply:
        return self._refused(asked, "workspaceIds") or replies.as_json({"data": self._in_workspaces(asked, self.tags)})

    def _refused(self, asked: Asked, *filters: str) -> Reply | None:
        """Return the 400 for a query of the wrong types, and Cloud's 403 for one workspace that is not known."""
        known = {each["workspaceId"] for each in self.workspaces}
        if self.edition == "cloud" and not known.issuperset(asked.values("workspaceIds")):
            return replies.forbidden("WORKSPACE_READER")
        return queries.refusal(asked, *filters)

    def _patch_connection(self, asked: Asked, connection_id: str) -> Reply:
        connection = self._find(self.connections, "connectionId", connection_id)
        if connection is None:
            return self._unknown("STANDARD_SYNC", connection_id, "WORKSPACE_EDITOR")
        if connection["status"] == "locked":
            return replies.as_json(
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
        body = asked.json_object()
        if body is None:
            return replies.error_id(422)
        change = changes.of_connection(body)
        if isinstance(change, Reply):
            return change
        connection.update(change)
        # As the real server: what waits for capacity does not outlive a change.
        for job in self.jobs.values():
            if job.connection_id == connection_id and job.status == "queued":
                job.become("cancelled", asked.at)
        return replies.as_json(connection)

    def _streams(self, asked: Asked) -> Reply:
        source_id = asked.value("sourceId")
        refused = queries.refusal(asked, "sourceId", "destinationId")
        if source_id is None or refused is not None:
            return replies.error_id(400)
        if self._find(self.sources, "sourceId", source_id) is None:
            return self._unknown("SOURCE_CONNECTION", source_id, "WORKSPACE_READER")
        names = {
            stream["name"]: stream
            for each in self.connections
            if each["sourceId"] == source_id
            for stream in each["configurations"]["streams"]
        }
        return replies.as_json(
            [
                {
                    "streamName": name,
                    "syncModes": [stream["syncMode"]],
                    "defaultCursorField": stream["cursorField"],
                    "sourceDefinedCursorField": False,
                    "sourceDefinedPrimaryKey": stream["primaryKey"],
                    "propertyFields": [["id"], ["updated_at"]],
                }
                for name, stream in names.items()
            ]
        )

    def _one(self, kind: str, rows: Iterable[dict[str, Any]], id_name: str, key: str) -> Reply:
        row = self._find(rows, id_name, key)
        return self._unknown(kind, key, "WORKSPACE_READER") if row is None else replies.as_json(row)

    @staticmethod
    def _find(rows: Iterable[dict[str, Any]], id_name: str, key: str) -> dict[str, Any] | None:
        return next((row for row in rows if row[id_name] == key), None)

    def _unknown(self, kind: str, key: str, permission: str) -> Reply:
        """Return the answer to an id that is not known: it depends on who asks, and on whether it is an id at all."""
        if self.edition == "cloud":
            return replies.forbidden(permission)
        return replies.not_found(kind, key) if queries.is_uuid(key) else replies.error_id(500)

    def _in_workspaces(self, asked: Asked, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = asked.values("workspaceIds")
        found = [row for row in rows if not ids or row["workspaceId"] in ids]
        if self.is_unordered:
            random.shuffle(found)
        return found


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
