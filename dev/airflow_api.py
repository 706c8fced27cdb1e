"""What differs between Airflow 2 and 3 in starting a whole Airflow and in its REST API."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

CONFIG_FILE = "webserver_config.py"


class Airflow3:
    """Airflow 3: API server and DAG processor, REST API v2, a token for everybody."""

    api = "/api/v2"
    health_path = f"{api}/monitor/health"
    healthy_parts: tuple[str, ...] = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    token_path: str | None = "/auth/token"  # 3.1 knows no anonymous user
    needs_postgres = False
    fast_detection: ClassVar[dict[str, str]] = {
        # A dead worker or triggerer is noticed soon; one that is alive has time enough on a busy machine. Airflow looks
        # for dead workers again only after it has handled those found: it fails the next attempt otherwise.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "40",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    }

    def settings(self, home: Path, url: str) -> dict[str, str]:
        """Return the environment variables for the server of the UI. Everybody is an administrator."""
        return {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",  # seconds, for a busy machine
            # Workers find the execution API by base_url, so both have to say the same.
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": url.rpartition(":")[2],
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        }

    def prepare(self, home: Path) -> None:
        """Write the files that the server of the UI reads."""

    def dag_run(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the body that starts a run."""
        return {"logical_date": None, "conf": params}

    def mark(self, state: str) -> dict[str, Any]:
        """Return the body that marks a task."""
        return {"new_state": state}

    def log_text(self, content: Any) -> str:
        """Return the text of a task's log, with the message of each exception."""
        return "\n".join(_log_message(line) for line in content)


class Airflow2(Airflow3):
    """Airflow 2: webserver, the scheduler parses DAG files, REST API v1, a public role; LocalExecutor on Postgres."""

    api = "/api/v1"
    health_path = f"{api}/health"
    healthy_parts = ("metadatabase", "scheduler", "triggerer")
    token_path = None
    needs_postgres = True
    fast_detection: ClassVar[dict[str, str]] = {
        **{name: value for name, value in Airflow3.fast_detection.items() if "TASK_INSTANCE" not in name},
        "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "60",
        "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "40",
    }

    def settings(self, home: Path, url: str) -> dict[str, str]:
        """Return the environment variables for the webserver."""
        return {
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
            "AIRFLOW__WEBSERVER__CONFIG_FILE": str(home / CONFIG_FILE),
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": url.rpartition(":")[2],
            "AIRFLOW__WEBSERVER__BASE_URL": url,
            "AIRFLOW__WEBSERVER__WORKERS": "1",
        }

    def prepare(self, home: Path) -> None:
        """Make everybody an administrator."""
        (home / CONFIG_FILE).write_text('AUTH_ROLE_PUBLIC = "Admin"\n')

    def dag_run(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the body that starts a run."""
        return {"conf": params}

    def mark(self, state: str) -> dict[str, Any]:
        """Return the body that marks a task."""
        return {"new_state": state, "dry_run": False}

    def log_text(self, content: Any) -> str:
        """Return the text of a task's log."""
        return str(content)


def _log_message(line: dict[str, Any]) -> str:
    errors = line.get("error_detail") or []
    return " ".join([str(line.get("event", line)), *(f"{each['exc_type']}: {each['exc_value']}" for each in errors)])


AIRFLOW = Airflow2() if version("apache-airflow").startswith("2.") else Airflow3()
"""The Airflow of this interpreter."""
