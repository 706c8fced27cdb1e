"""DAGs of the official provider run on this package once the command has migrated them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="the extra migrate is not installed")

from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY
from tests.migration.runs import DAGS, migrated, run

JOBS = {
    "fan_out": [STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY],
    "nightly": [SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY],
    "start_and_wait": [STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES],
    "taskflow": [STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES],
}


def test_each_dag_is_run() -> None:
    assert [path.stem for path in DAGS] == sorted(JOBS)


@pytest.mark.parametrize("options", [(), ("--native",)], ids=["drop-in", "native"])
@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_a_migrated_dag_starts_its_syncs_and_succeeds(path: Path, options: tuple[str, ...], tmp_path: Path) -> None:
    copy = migrated(path, tmp_path, *options)
    assert "airflow.providers.airbyte" not in copy.read_text()
    found, jobs = run(copy, tmp_path)
    assert set(found["states"].values()) == {"success"}
    assert sorted(jobs.values()) == sorted((connection, "sync", "succeeded") for connection in JOBS[path.stem])
