"""``python -m airflow_provider_airbyte_api.testing``: run a local Airbyte until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import threading
from typing import get_args

from airflow_provider_airbyte_api.testing.server import LocalAirbyte
from airflow_provider_airbyte_api.testing.state import Edition
from airflow_provider_airbyte_api.testing.versions import NEWEST


def main() -> None:
    """Run a local Airbyte and print how to connect to it."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_airbyte_api.testing",
        description="A local Airbyte that speaks the public API, for tests and demos.",
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="TCP port on 127.0.0.1, 0 for any (default: %(default)s)"
    )
    parser.add_argument("--client-id", default="local-client-id", help="(default: %(default)s)")
    parser.add_argument("--client-secret", default="local-client-secret", help="(default: %(default)s)")
    parser.add_argument("--job-seconds", type=float, default=20.0, help="how long a job takes (default: %(default)s)")
    parser.add_argument("--no-auth", action="store_true", help="switch authentication off")
    parser.add_argument(
        "--edition",
        choices=get_args(Edition),
        default="community",
        help="which kind of Airbyte's error responses to send (default: %(default)s)",
    )
    parser.add_argument("--version", default=NEWEST, help="the Airbyte version to emulate (default: %(default)s)")
    arguments = parser.parse_args()
    airbyte = LocalAirbyte(
        port=arguments.port,
        client_id=arguments.client_id,
        client_secret=arguments.client_secret,
        job_seconds=arguments.job_seconds,
        auth=not arguments.no_auth,
        edition=arguments.edition,
        version=arguments.version,
    )
    stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        airbyte.start()
    except OSError as error:
        parser.error(f"port {arguments.port} cannot be used ({error.strerror}); choose another one with --port")
    print(  # noqa: T201
        f"Local Airbyte: {airbyte.api_url}\n"
        f"AIRFLOW_CONN_AIRBYTE_API_DEFAULT='{airbyte.airflow_connection}'\n"
        "Ctrl-C stops it.",
        flush=True,
    )
    stopped.wait()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would end Python during the cleanup
    airbyte.stop()


if __name__ == "__main__":
    main()
