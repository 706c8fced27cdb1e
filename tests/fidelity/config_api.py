"""The one endpoint of Airbyte's internal Config API that dagster-airbyte needs, beside a local Airbyte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from airflow_provider_airbyte_api.testing import LocalAirbyte


@contextmanager
def config_api(airbyte: LocalAirbyte) -> Iterator[str]:
    """Serve ``/connections/get`` from what ``airbyte`` holds, and yield the URL of the root."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["connectionId"]
            found = [_details(each) for each in airbyte.connections if each["connectionId"] == wanted]
            known = self.path == "/api/v1/connections/get" and found
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(found[0] if known else {}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api/v1"
        finally:
            server.shutdown()
            thread.join()


def _details(connection: dict[str, Any]) -> dict[str, Any]:
    streams = [
        {"stream": {"name": each["name"], "jsonSchema": {}}, "config": {"selected": True}}
        for each in connection["configurations"]["streams"]
    ]
    return {**connection, "syncCatalog": {"streams": streams}}
