"""A driver without clock, socket or event loop: answers come from a list, and time passes only in pauses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from airflow_provider_airbyte_api.api.flow import (
    Checkpoint,
    Flow,
    GetTime,
    GetToken,
    Log,
    SendRequest,
    Sleep,
    YieldRows,
    advance,
    fetch_token,
)
from airflow_provider_airbyte_api.api.http import Request, Response, TransportFailure
from airflow_provider_airbyte_api.api.job_record import JobRecord
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, Token
from airflow_provider_airbyte_api.exceptions import AirbyteError
from airflow_provider_airbyte_api.testing import responses

T = TypeVar("T")
ROOT = "https://airbyte.example/api/public/v1"
TOKEN_URL = f"{ROOT}/applications/token"


class ScriptedDriver:
    """Runs a flow against scripted ``answers``, and records its requests, delays and logs."""

    def __init__(self, answers: Iterable[Response | TransportFailure], *, credentials: bool = True) -> None:
        self.answers = list(answers)
        self.credentials = credentials
        self.token_replies: list[Response | TransportFailure] = []
        """What the token endpoint answers next; once they are used up, and by default, there is a token."""
        self.clock = 1_000.0
        self.sent: list[Request] = []
        self.tokens_sent: list[str | None] = []
        self.tokens_fetched = 0
        self.pauses: list[float] = []
        self.logs: list[str] = []
        self.rows: list[Any] = []
        self.records: list[JobRecord | None] = []

    def run(self, flow: Flow[T]) -> T:
        outcome: Any = None
        while True:
            try:
                step = advance(flow, outcome)
            except StopIteration as end:
                assert not self.answers, f"{len(self.answers)} answers were never asked for"
                result: T = end.value
                return result
            outcome = self._answer(step)

    def _answer(self, step: object) -> Any:
        match step:
            case GetTime():
                return self.clock
            case Sleep(seconds=seconds):
                self.pauses.append(seconds)
                self.clock += seconds
            case Log(message=message, arguments=arguments):
                self.logs.append(message % arguments)
            case YieldRows(rows=rows):
                self.rows.extend(rows)
            case Checkpoint(record=record):
                self.records.append(record)
            case GetToken(rejected=rejected):
                return self._get_token(rejected)
            case SendRequest(request=request, token=token):
                self.sent.append(request)
                self.tokens_sent.append(None if token is None else token.value)
                return self.answers.pop(0)
            case _:
                raise AssertionError(step)
        return None

    def _get_token(self, rejected: Token | None) -> Token | AirbyteError | None:
        if not self.credentials:
            return None
        if self.token_replies:
            return self._fetch_token(self.token_replies.pop(0))
        if rejected is not None or self.tokens_fetched == 0:
            self.tokens_fetched += 1
        return Token(f"token-{self.tokens_fetched}", stale_at=1e12, expires_at=1e12)

    def _fetch_token(self, answer: Response | TransportFailure) -> Token | AirbyteError:
        try:
            return ScriptedDriver([replace(answer, url=TOKEN_URL)]).run(
                fetch_token(ClientCredentials(TOKEN_URL, "me", "hunter2"))
            )
        except AirbyteError as error:
            return error

    @property
    def calls(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.sent]


def reply(status: int = 200, body: Any = None, **headers: str) -> Response:
    """Return a reply; without a ``body`` it is Airbyte's usual one of that status."""
    if body is None and status >= 400:
        body = responses.of_status(status).body
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    names = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Response(f"{ROOT}/somewhere", status, names, content)


def answer(made: responses.FakeResponse) -> Response:
    return reply(made.status, made.body)


def no_response(*, sent: bool = True) -> TransportFailure:
    return TransportFailure(f"{ROOT}/somewhere", "no reply (connection reset)", request_sent=sent)


def job(job_id: int = 7, status: str = "running", **more: Any) -> dict[str, Any]:
    return {"jobId": job_id, "status": status, "jobType": "sync", "connectionId": CONNECTION, **more}


CONNECTION = "9924bcd0-99be-453d-ba47-c2c9766f7da5"
