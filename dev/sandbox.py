"""``make airflow``: Airflow and a local Airbyte, up until Ctrl-C."""

from __future__ import annotations

import shutil
import sys
import threading

from airflow_provider_airbyte_api.testing import LocalAirbyte
from dev.rest_api import StackError
from dev.stack import REPOSITORY, AirflowStack, interrupt_on_sigterm

AIRFLOW_PORT, AIRBYTE_PORT = 8080, 8000


def main() -> int:
    """Start both, say where they are, and wait for Ctrl-C."""
    home = REPOSITORY / ".airflow"
    shutil.rmtree(home, ignore_errors=True)
    interrupt_on_sigterm()
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
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\nStopped.")
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        airbyte.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
