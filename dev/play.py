"""``make airflow``: Airflow and a local Airbyte, up until Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import sys
import threading

from airflow_provider_airbyte_api.testing import LocalAirbyte
from dev.stack import REPOSITORY, AirflowStack, StackError

AIRFLOW_PORT, AIRBYTE_PORT = 8080, 8000


def main() -> int:
    """Start both, say where they are, and wait for Ctrl-C."""
    home = REPOSITORY / ".airflow"
    shutil.rmtree(home, ignore_errors=True)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        airbyte = LocalAirbyte(port=AIRBYTE_PORT, job_seconds=20.0).start()
    except OSError as error:
        print(f"Port {AIRBYTE_PORT}, for the local Airbyte, cannot be used: {error.strerror}.", file=sys.stderr)
        return 1
    environment = {"AIRFLOW_CONN_AIRBYTE_API_DEFAULT": airbyte.airflow_connection}
    try:
        print("Starting Airflow …", flush=True)
        with AirflowStack(home, REPOSITORY / "example_dags", environment, AIRFLOW_PORT) as airflow:
            print(
                f"Airflow UI:     {airflow.url}/dags/example_airbyte   (no login)\n"
                f"Local Airbyte:  {airbyte.api_url}   (client id {airbyte.client_id}, secret {airbyte.client_secret})\n"
                f"Airflow's log:  {airflow.log_file}\n"
                "Ctrl-C stops both.",
                flush=True,
            )
            stopped.wait()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        airbyte.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
