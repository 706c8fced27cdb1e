"""What authors of DAGs get with ``pip install airflow-provider-airbyte-api[testing]``: run as they would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY
from tests.conftest import REPOSITORY
from tests.versions import AIRFLOW


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", *arguments],
        cwd=folder,
        env={**own, "AIRFLOW_HOME": str(folder / "airflow")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def as_in_airflow_2(text: str) -> str:
    """Return a DAG as docs/compatibility.md says that it is written there."""
    return text.replace("airflow.sdk import", "airflow import").replace('schedule="@daily"', "schedule=None")


def test_the_page_on_testing_shows_a_whole_test_that_passes(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "testing.md").read_text()
    files = re.findall(r"`(\S+\.py)`[^\n]*:\n\n```python\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in files] == ["dags/nightly.py", "tests/conftest.py", "tests/test_nightly.py"]
    for name, shown in files:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown if AIRFLOW >= (3, 0) else as_in_airflow_2(shown))
    done = run_pytest(tmp_path, "tests")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "3 passed" in done.stdout


def test_a_mark_says_how_it_is_known_and_what_it_is_like(tmp_path: Path) -> None:
    (tmp_path / "test_mark.py").write_text(
        """
import json, os
import pytest

@pytest.mark.local_airbyte(conn_id="ours", edition="cloud", auth=False)
def test_marked(local_airbyte):
    assert json.loads(os.environ["AIRFLOW_CONN_OURS"])["host"] == local_airbyte.url
    assert "AIRFLOW_CONN_AIRBYTE_API_DEFAULT" not in os.environ

def test_not_marked(local_airbyte):
    assert "AIRFLOW_CONN_AIRBYTE_API_DEFAULT" in os.environ

def test_it_is_gone_afterwards():
    assert not [name for name in os.environ if name.startswith("AIRFLOW_CONN")]
"""
    )
    done = run_pytest(tmp_path)
    assert "3 passed" in done.stdout, done.stdout[-3000:]


def test_a_deferral_takes_no_minimum_time_where_triggers_run_in_the_test_itself(tmp_path: Path) -> None:
    (tmp_path / "test_deferral.py").write_text(
        """
from airflow_provider_airbyte_api._options import get_min_deferral

def test_dag(airbyte_run_dag):
    assert get_min_deferral() == 0

def test_no_dag(local_airbyte):
    assert get_min_deferral() == 10
"""
    )
    done = run_pytest(tmp_path)
    assert "2 passed" in done.stdout, done.stdout[-3000:]


def test_a_session_that_does_not_ask_for_it_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        """
import sys

def test_nothing():
    ours = {name for name in sys.modules if name.startswith("airflow_provider_airbyte_api")}
    assert "airflow_provider_airbyte_api.testing.server" not in ours
    assert not {"aiohttp", "requests", "airflow"} & set(sys.modules)
"""
    )
    done = run_pytest(tmp_path)
    assert "1 passed" in done.stdout, done.stdout[-3000:]


# -- what a test claims ------------------------------------------------------------------------------------------------


def test_one_job_is_one_job(airbyte: LocalAirbyte) -> None:
    with pytest.raises(AssertionError, match=r"has 0 jobs of type sync, expected one\. All jobs: none"):
        airbyte.assert_one_job(STRIPE_TO_BIGQUERY)
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "running")
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded", job_type="reset")
    assert airbyte.assert_one_job(STRIPE_TO_BIGQUERY) is job
    assert airbyte.assert_one_job(STRIPE_TO_BIGQUERY, "reset").job_id == 3
    airbyte.add_job(STRIPE_TO_BIGQUERY, "failed")
    with pytest.raises(AssertionError, match=r"has 2 jobs .*4 \(sync, failed\)"):
        airbyte.assert_one_job(STRIPE_TO_BIGQUERY)


def test_cancelled_is_that_one_alone(airbyte: LocalAirbyte) -> None:
    from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    with pytest.raises(AssertionError, match=r"The jobs \[\] were cancelled, expected only 1"):
        airbyte.assert_cancelled(job.job_id)
    AirbyteHook().cancel_job(job.job_id)
    airbyte.assert_cancelled(job.job_id)
    other = airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    AirbyteHook().cancel_job(other.job_id)
    with pytest.raises(AssertionError, match=r"\[1, 2\]"):
        airbyte.assert_cancelled(job.job_id)


def test_polls_are_counted_by_id_and_by_list(airbyte: LocalAirbyte) -> None:
    from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

    hook = AirbyteHook()
    job = airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    hook.get_job(job.job_id)
    list(hook.list_jobs())
    airbyte.assert_max_polls(2)
    with pytest.raises(AssertionError, match="polled 2 times, expected at most 1"):
        airbyte.assert_max_polls(1)
