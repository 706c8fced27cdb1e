"""A server whose replies a test makes up: it answers to anything with whatever it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A reply. ``headers`` come on top of those that HTTP needs, and in place of ``Date``."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status, {"Content-Type": "application/json"})


TOKEN = json_answer({"access_token": "a-token", "expires_in": 900})


class ScriptedHttpServer:
    """Listens on 127.0.0.1 for the length of a ``with`` block.

    :param answer: from a request's method and its path, below the API root and without its query, to a reply.
    """

    def __init__(self, answer: Callable[[str, str], Answer]) -> None:
        self.answer = answer
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _reply(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.split("?")[0].removeprefix("/api/public/v1")
                answer = owner.answer(self.command, path)
                self.send_response_only(answer.status)
                if "Date" not in answer.headers:
                    self.send_header("Date", self.date_time_string())
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_DELETE = do_PATCH = _reply  # noqa: N815 - the names are http.server's

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Say nothing of a client that hung up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def airflow_connection(self) -> str:
        return json.dumps({"conn_type": "airbyte_api", "host": self.url, "login": "id", "password": "a-secret"})

    def __enter__(self) -> ScriptedHttpServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
