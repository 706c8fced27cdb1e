"""Real clients of Airbyte, none of them ours and none of them changed, take a local Airbyte for a real one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY, WORKSPACE_ID
from tests.fidelity.config_api import config_api

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "clients"
NO_TELEMETRY = {"DO_NOT_TRACK": "1", "DAGSTER_DISABLE_TELEMETRY": "1"}


@pytest.fixture
def airbyte() -> Iterator[LocalAirbyte]:
    with LocalAirbyte() as local:
        local.script_jobs("running", "incomplete", "succeeded")
        yield local


def run(name: str, airbyte: LocalAirbyte, home: Path, *more: str) -> dict[str, Any]:
    """Run a client's script with the Python of its own environment, and return what it says it did."""
    python = REPOSITORY / ".clients" / name / "bin" / "python"
    if not python.exists():
        pytest.fail(f"There is no {python}: `make test-clients` builds it.")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "AIRBYTE", "PYTHON"))},
        **NO_TELEMETRY,
        "HOME": str(home),
        "DAGSTER_HOME": str(home),
    }
    # -P: the folder of the script does not count as one to import from.
    command = [
        str(python),
        "-P",
        str(SCRIPTS / f"{name}.py"),
        airbyte.api_url,
        airbyte.client_id,
        airbyte.client_secret,
        *more,
    ]
    ended = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return said


@pytest.fixture
def replies(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every request that is answered, and the status of its answer."""
    seen: list[tuple[str, int]] = []
    answer = airbyte._state.answer

    def remembered(*request: Any) -> Any:
        reply = answer(*request)
        seen.append((f"{request[0]} {request[1].removeprefix('/api/public/v1')}", reply.status))
        return reply

    monkeypatch.setattr(airbyte._state, "answer", remembered)
    return seen


def put_types_into_configurations(airbyte: LocalAirbyte) -> None:
    """Make the data readable for the SDK.

    Its models want the type of a connector inside its configuration, where real servers do not have it: there, the SDK
    takes one connector for another or fails (its public issues 86 and 114).
    """
    for kind, rows in (("source", airbyte.sources), ("destination", airbyte.destinations)):
        for row in rows:
            row["configuration"][f"{kind}Type"] = row[f"{kind}Type"]


def claim_two_jobs(airbyte: LocalAirbyte, replies: list[tuple[str, int]]) -> None:
    """One sync ran to its end, one was cancelled, and nothing was refused."""
    assert airbyte.assert_one_job(STRIPE_TO_BIGQUERY).status == "succeeded"
    stopped = airbyte.assert_one_job(SNOWFLAKE_TO_POSTGRES)
    assert stopped.status == "cancelled"
    airbyte.assert_cancelled(stopped.job_id)
    assert len(airbyte.jobs) == 2
    assert len(airbyte.requests_to("POST", "/jobs")) == 2
    assert [(what, status) for what, status in replies if status != 200] == []
    assert replies


def test_airbytes_own_sdk(airbyte: LocalAirbyte, replies: list[tuple[str, int]], tmp_path: Path) -> None:
    put_types_into_configurations(airbyte)
    said = run("sdk", airbyte, tmp_path)
    assert said["configurations"] == ["SourceSnowflake", "SourceStripe", "DestinationBigquery", "DestinationPostgres"]
    assert (said["connections"], said["tags"], said["streams"]) == (3, ["nightly"], ["orders"])
    assert said["renamed"] == ["Renamed by the SDK", "0 0 5 * * ? UTC"]
    assert said["seen"] == ["pending", "running", "incomplete", "succeeded"]
    assert (said["rows"], said["bytes"]) == (250_000, 104_857_600)
    assert (said["cancelled"], said["jobs"]) == ("cancelled", [2, 1])
    claim_two_jobs(airbyte, replies)
    assert len(airbyte.requests_to("POST", "/applications/token")) == 1


def test_pyairbyte(airbyte: LocalAirbyte, replies: list[tuple[str, int]], tmp_path: Path) -> None:
    airbyte.script_jobs("running", "succeeded")  # it looks every two seconds
    said = run("pyairbyte", airbyte, tmp_path, WORKSPACE_ID)
    assert said["connections"] == {"Stripe → BigQuery": True, "Snowflake → Postgres": True, "Stripe → Postgres": False}
    assert (said["sources"], said["destinations"], said["streams"]) == (2, 2, ["invoices", "customers"])
    assert (said["status"], said["rows"], said["bytes"]) == ("succeeded", 250_000, 104_857_600)
    assert said["started_at"] == int(airbyte.jobs[0].created_at)
    assert (said["cancelled"], said["jobs"]) == ("cancelled", [1])
    claim_two_jobs(airbyte, replies)


def test_dagster_airbyte(airbyte: LocalAirbyte, replies: list[tuple[str, int]], tmp_path: Path) -> None:
    with config_api(airbyte) as config_url:
        said = run("dagster", airbyte, tmp_path, WORKSPACE_ID, config_url)
    assert said["connections"] == ["Stripe → BigQuery", "Snowflake → Postgres", "Stripe → Postgres"]
    assert said["destinations"] == ["bigquery", "postgres"]
    assert said["made"] == ["customers", "invoices"]
    assert (said["rows"], said["cancelled"]) == (250_000, "cancelled")
    claim_two_jobs(airbyte, replies)


@pytest.mark.parametrize("name", ["sdk", "pyairbyte", "dagster"])
def test_a_client_whose_job_fails_says_so(airbyte: LocalAirbyte, tmp_path: Path, name: str) -> None:
    """Else a script that claims nothing would pass."""
    put_types_into_configurations(airbyte)
    airbyte.respond_with(500, method="POST", path="/jobs", times=99)
    with config_api(airbyte) as config_url, pytest.raises(AssertionError, match=r"\b500\b"):
        run(name, airbyte, tmp_path, *{"sdk": [], "pyairbyte": [WORKSPACE_ID]}.get(name, [WORKSPACE_ID, config_url]))
    assert airbyte.jobs == []
