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
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from airflow_provider_airbyte_api.api.models import FINISHED
from airflow_provider_airbyte_api.api.times import parse_timestamp
from airflow_provider_airbyte_api.testing import replies, seed
from airflow_provider_airbyte_api.testing.replies import Reply

API = "/api/public/v1"
NEXT_HOST = "http://airbyte-server.airbyte.svc:8001/api/public/v1"
"""What ``next`` names on a self-managed server: a host that only the server itself can reach."""

Edition = Literal["community", "cloud"]


@dataclass(frozen=True)
class Asked:
    """A request as it came in. ``path`` is below the API root; ``at`` is in seconds since the epoch."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float

    @property
    def token(self) -> str | None:
        """The bearer token that came with it."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        return value if scheme == "Bearer" else None

    def values(self, name: str) -> list[str]:
        """Return all values of a query parameter, repeated or joined by commas."""
        return [part for key, value in self.query if key == name for part in value.split(",") if part]

    def value(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        return next(iter(self.values(name)), None)

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object, or an empty one."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass
class LocalJob:
    """A job. Either its ``script`` says its status at each look, or its ``seconds`` do by the clock."""

    job_id: int
    connection_id: str
    job_type: str
    created_at: float
    updated_at: float
    status: str = "pending"
    script: list[str] = field(default_factory=list)
    seconds: float | None = None
    rows: int = 250_000
    size: int = 104_857_600
    looks: int = 0

    @property
    def is_finished(self) -> bool:
        """True if it will not change any more."""
        return self.status in FINISHED

    def become(self, status: str, at: float) -> None:
        """Change the status, unless the job is finished."""
        if not self.is_finished and status != self.status:
            self.status, self.updated_at = status, at

    def settle(self, now: float) -> None:
        """Become what the clock says: pending for a moment, then running, then done."""
        if self.seconds is None:
            return
        if now >= self.created_at + self.seconds / 10:
            self.become("running", self.created_at + self.seconds / 10)
        if now >= self.created_at + self.seconds:
            self.become("succeeded", self.created_at + self.seconds)

    def look(self, now: float) -> None:
        """Become what the script says for this look."""
        self.looks += 1
        if self.script:
            self.become(self.script.pop(0), now)

    def as_json(self, *, with_stats: bool) -> dict[str, Any]:
        """Return the job as the API shows it. What Airbyte does not know yet is absent."""
        shown: dict[str, Any] = {
            "jobId": self.job_id,
            "status": self.status,
            "jobType": self.job_type,
            "startTime": timestamp(self.created_at),
            "connectionId": self.connection_id,
        }
        if self.is_finished:
            shown["lastUpdatedAt"] = timestamp(self.updated_at)
        if self.status != "pending":
            shown["duration"] = java_duration(self.updated_at - self.created_at)
        if with_stats and self.status not in ("pending", "queued"):
            share = 1.0 if self.status == "succeeded" else 0.5
            shown["bytesSynced"], shown["rowsSynced"] = int(self.size * share), int(self.rows * share)
        return shown


@dataclass
class Fault:
    """What is to happen to the next ``times`` requests that match. ``after``: only once the request was obeyed."""

    method: str | None
    path: str | None
    times: int
    reply: Reply | None
    after: bool
    delay: float
    lost: bool

    def matches(self, asked: Asked) -> bool:
        """Tell whether ``asked`` is meant; ``path`` is a regular expression for the whole path."""
        return (self.method in (None, asked.method)) and (
            self.path is None or re.fullmatch(self.path, asked.path) is not None
        )


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
            ("GET", "/workspaces", lambda asked: self._page(asked, self.workspaces)),
            (
                "GET",
                "/workspaces/([^/]+)",
                lambda _, key: self._one("WORKSPACE", self.workspaces, "workspaceId", key),
            ),
            ("GET", "/sources", lambda asked: self._page(asked, self._in_workspaces(asked, self.sources))),
            (
                "GET",
                "/sources/([^/]+)",
                lambda _, key: self._one("SOURCE_CONNECTION", self.sources, "sourceId", key),
            ),
            (
                "GET",
                "/destinations",
                lambda asked: self._page(asked, self._in_workspaces(asked, self.destinations)),
            ),
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
            ("GET", "/tags", lambda asked: replies.as_json({"data": self._in_workspaces(asked, self.tags)})),
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
            "exp": expires_at,
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
        if hmac.compare_digest(signature, self._sign(signed)):
            payload = signed.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            if claims["exp"] > asked.at and claims["jti"] > self._revoked_up_to:
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
        wanted = asked.json()
        connection_id, job_type = str(wanted.get("connectionId")), wanted.get("jobType")
        connection = self._find(self.connections, "connectionId", connection_id)
        if connection is None:
            return self._unknown("STANDARD_SYNC", connection_id, "WORKSPACE_RUNNER")
        if job_type == "refresh":
            return replies.unprocessable("Refreshes are not supported in the public API")
        if job_type not in ("sync", "reset", "clear"):
            return replies.error_id(400)
        if connection["status"] != "active":
            return replies.state_conflict()
        running = self.running_job(connection_id)
        if job_type == "sync" and running is not None:
            return replies.already_running(connection_id)
        if running is not None:
            running.become("cancelled", asked.at)
        job = self.add_job(connection_id, at=asked.at, job_type="sync" if job_type == "sync" else "reset")
        return replies.as_json(job.as_json(with_stats=False))

    def _get_job(self, asked: Asked, key: str) -> Reply:
        job = self.jobs.get(int(key)) if key.isdecimal() else None
        if job is None:
            return self._unknown_job()
        job.look(asked.at)
        return replies.as_json(job.as_json(with_stats=True))

    def _cancel_job(self, asked: Asked, key: str) -> Reply:
        job = self.jobs.get(int(key)) if key.isdecimal() else None
        if job is None:
            return self._unknown_job()
        # As the real server: whatever runs on this job's connection is cancelled, be it another job.
        running = self.running_job(job.connection_id)
        if running is None:
            return replies.state_conflict("Job is not currently running")
        running.become("cancelled", asked.at)
        self.cancelled.append(running.job_id)
        return replies.as_json(job.as_json(with_stats=False))

    def _unknown_job(self) -> Reply:
        if self.edition == "cloud":
            return replies.forbidden("WORKSPACE_READER")
        return replies.state_conflict("Job is not currently running")

    def _list_jobs(self, asked: Asked) -> Reply:
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
            and _within(asked, "createdAt", job.created_at)
            and _within(asked, "updatedAt", job.updated_at)
        ]
        found.sort(
            key=lambda job: job.created_at if field_name == "createdAt" else job.updated_at,
            reverse=direction == "DESC",
        )
        if field_name == "createdAt" and direction == "DESC":
            found.sort(key=lambda job: (job.created_at, job.job_id), reverse=True)
        # `next` keeps only these of the filters.
        return self._page(
            asked,
            found,
            lambda job: job.as_json(with_stats=self.list_shows_stats),
            kept=("jobType", "connectionId", "workspaceIds"),
        )

    # -- the rest ----------------------------------------------------------------------------------------------

    def _list_connections(self, asked: Asked) -> Reply:
        tag_ids = set(asked.values("tagIds"))
        rows = [
            row
            for row in self._in_workspaces(asked, self.connections)
            if (row["status"] != "deprecated" or asked.value("includeDeleted") == "true")
            and (not tag_ids or tag_ids & {tag["tagId"] for tag in row.get("tags", ())})
        ]
        return self._page(asked, rows)

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
        change = asked.json()
        schedule = change.get("schedule")
        if schedule is not None:
            if schedule.get("scheduleType") not in ("manual", "cron"):
                return replies.error_id(400)
            if schedule["scheduleType"] == "cron":
                change["schedule"] = {**schedule, "cronExpression": f"{schedule['cronExpression']} UTC"}
        connection.update(change)
        # As the real server: what waits for capacity does not outlive a change.
        for job in self.jobs.values():
            if job.connection_id == connection_id and job.status == "queued":
                job.become("cancelled", asked.at)
        return replies.as_json(connection)

    def _streams(self, asked: Asked) -> Reply:
        source_id = asked.value("sourceId") or ""
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
                    "streamnamespace": None,
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
        try:
            uuid.UUID(key)
        except ValueError:
            return replies.error_id(500)
        return replies.not_found(kind, key)

    def _in_workspaces(self, asked: Asked, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = asked.values("workspaceIds")
        found = [row for row in rows if not ids or row["workspaceId"] in ids]
        if self.is_unordered:
            random.shuffle(found)
        return found

    @staticmethod
    def _page(
        asked: Asked,
        rows: list[Any],
        show: Callable[[Any], dict[str, Any]] = lambda row: row,
        kept: tuple[str, ...] = ("workspaceIds", "includeDeleted"),
    ) -> Reply:
        try:
            limit, offset = int(asked.value("limit") or 20), int(asked.value("offset") or 0)
        except ValueError:
            return replies.error_id(400)
        if not 1 <= limit <= 100 or offset < 0:  # noqa: PLR2004
            return replies.error_id(400)
        page = [show(row) for row in rows[offset : offset + limit]]

        def link(to: int) -> str:
            query = [(name, value) for name, value in asked.query if name in kept]
            return f"{NEXT_HOST}{asked.path}?{urlencode([*query, ('limit', limit), ('offset', to)])}"

        return replies.as_json(
            {
                "previous": link(max(0, offset - limit)) if offset else "",
                "next": link(offset + limit) if page else "",
                "data": page,
            }
        )


def timestamp(moment: float) -> str:
    """Return a moment as Java's ``OffsetDateTime`` writes it: without the seconds where they are zero."""
    text = datetime.fromtimestamp(int(moment), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return text.replace(":00Z", "Z") if text.endswith(":00Z") else text


def java_duration(seconds: float) -> str:
    """Return a length of time as Java's ``Duration`` writes it: hours, never days."""
    minutes, rest = divmod(int(timedelta(seconds=seconds).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = "".join(f"{value}{unit}" for value, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if value)
    return f"PT{parts or '0S'}"


def _within(asked: Asked, name: str, moment: float) -> bool:
    """Tell whether ``moment`` lies between the bounds, both inclusive; Airbyte counts in whole seconds."""
    start, end = (_epoch(asked.value(f"{name}{bound}")) for bound in ("Start", "End"))
    return (start is None or int(moment) >= start) and (end is None or int(moment) <= end)


def _epoch(text: str | None) -> float | None:
    moment = parse_timestamp(text)
    return None if moment is None else moment.timestamp()


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
