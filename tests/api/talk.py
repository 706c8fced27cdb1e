"""A driver without clock, socket or event loop: answers come from a list, and time passes only in pauses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from airflow_provider_airbyte_api.api.conversation import (
    Authorize,
    Conversation,
    Emit,
    Now,
    Pause,
    Say,
    Send,
    fetch_token,
    resume,
)
from airflow_provider_airbyte_api.api.errors import AirbyteError
from airflow_provider_airbyte_api.api.tokens import Credentials, Token
from airflow_provider_airbyte_api.api.wire import NoResponse, Request, Response
from airflow_provider_airbyte_api.testing import replies

T = TypeVar("T")
ROOT = "https://airbyte.example/api/public/v1"
TOKEN_URL = f"{ROOT}/applications/token"


class Talk:
    """Performs a conversation against ``answers`` and remembers what happened."""

    def __init__(self, answers: Iterable[Response | NoResponse], *, credentials: bool = True) -> None:
        self.answers = list(answers)
        self.credentials = credentials
        self.token_replies: list[Response | NoResponse] = []
        """What the token endpoint answers next; once they are used up, and by default, there is a token."""
        self.clock = 1_000.0
        self.sent: list[Request] = []
        self.tokens_sent: list[str | None] = []
        self.tokens_fetched = 0
        self.pauses: list[float] = []
        self.said: list[str] = []
        self.rows: list[Any] = []

    def perform(self, conversation: Conversation[T]) -> T:
        outcome: Any = None
        while True:
            try:
                step = resume(conversation, outcome)
            except StopIteration as end:
                assert not self.answers, f"{len(self.answers)} answers were never asked for"
                result: T = end.value
                return result
            outcome = self._answer(step)

    def _answer(self, step: object) -> Any:
        match step:
            case Now():
                return self.clock
            case Pause(seconds=seconds):
                self.pauses.append(seconds)
                self.clock += seconds
            case Say(message=message, arguments=arguments):
                self.said.append(message % arguments)
            case Emit(rows=rows):
                self.rows.extend(rows)
            case Authorize(rejected=rejected):
                if not self.credentials:
                    return None
                if self.token_replies:
                    return self._fetch_token(self.token_replies.pop(0))
                if rejected is not None or self.tokens_fetched == 0:
                    self.tokens_fetched += 1
                return Token(f"token-{self.tokens_fetched}", stale_at=1e12, expires_at=1e12)
            case Send(request=request, token=token):
                self.sent.append(request)
                self.tokens_sent.append(None if token is None else token.value)
                return self.answers.pop(0)
            case _:
                raise AssertionError(step)
        return None

    def _fetch_token(self, answer: Response | NoResponse) -> Token | AirbyteError:
        try:
            return Talk([replace(answer, url=TOKEN_URL)]).perform(fetch_token(Credentials(TOKEN_URL, "me", "hunter2")))
        except AirbyteError as error:
            return error

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.sent]


def reply(status: int = 200, body: Any = None, **headers: str) -> Response:
    """Return a reply; without a ``body`` it is Airbyte's usual one of that status."""
    if body is None and status >= 400:
        body = replies.of_status(status).body
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    names = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Response(f"{ROOT}/somewhere", status, names, content)


def silence(*, sent: bool = True) -> NoResponse:
    return NoResponse(f"{ROOT}/somewhere", "no reply (connection reset)", sent=sent)


def job(job_id: int = 7, status: str = "running", **more: Any) -> dict[str, Any]:
    return {"jobId": job_id, "status": status, "jobType": "sync", "connectionId": CONNECTION, **more}


CONNECTION = "9924bcd0-99be-453d-ba47-c2c9766f7da5"
