"""Runs of the DAGs of this folder: as they are with the official provider, and migrated with this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow_provider_airbyte_api.__main__ import main
from airflow_provider_airbyte_api.testing import LocalAirbyte
from tests.conftest import REPOSITORY

DAGS = sorted((Path(__file__).parent / "dags").glob("*.py"))
OFFICIAL = REPOSITORY / ".bench" / "official" / "bin" / "python"


def migrated(path: Path, folder: Path, *options: str) -> Path:
    """Return a copy of the file that the command has changed."""
    copy = folder / path.name
    copy.write_text(path.read_text())
    main(["migrate", str(folder), "--write", *options])
    return copy


def run(
    path: Path, home: Path, python: Path | str = sys.executable
) -> tuple[dict[str, Any], dict[int, tuple[str, ...]]]:
    """Run the DAG of a file against an Airbyte of its own.

    Returns the states and results of its tasks, and the connection, type and status of each job in Airbyte, by its ID.
    """
    with LocalAirbyte() as airbyte:
        connection = {
            "conn_type": "airbyte",
            "host": f"{airbyte.api_url}/",
            "login": airbyte.client_id,
            "password": airbyte.client_secret,
            "schema": f"{airbyte.api_url.removeprefix(airbyte.url)}/applications/token",
        }
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PYTHONPATH": str(REPOSITORY),
            "AIRFLOW_CONN_AIRBYTE_DEFAULT": json.dumps(connection),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        }
        done = subprocess.run(
            [str(python), "-m", "tests.migration.run_dag", str(path)],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        # Airflow 3.4.0b2 prints an error at its exit, after the result.
        result = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))
        found: dict[str, Any] = json.loads(result)
        return found, {job.job_id: (job.connection_id, job.job_type, job.status) for job in airbyte.jobs}
