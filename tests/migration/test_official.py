"""The same DAG on the official provider, and migrated: `make test-migration`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.migration.runs import DAGS, OFFICIAL, migrated, run


def job_of(result: Any, jobs: dict[int, tuple[str, ...]]) -> Any:
    """Return the job that a result names, since tasks that run together may start in any order; or the result."""
    job_id: Any = result.get("job_id") if isinstance(result, dict) else result
    return jobs.get(job_id, result)


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_a_migrated_dag_has_the_states_results_and_jobs_that_it_had(path: Path, tmp_path: Path) -> None:
    if not OFFICIAL.exists():
        pytest.fail(f"There is no {OFFICIAL}: `make test-migration` builds it.")
    homes = {name: tmp_path / name for name in ("official", "drop_in", "native")}
    for home in homes.values():
        home.mkdir()
    before, jobs_before = run(path, homes["official"], OFFICIAL)
    after, jobs_after = run(migrated(path, homes["drop_in"]), homes["drop_in"])
    native, native_jobs = run(migrated(path, homes["native"], "--native"), homes["native"])
    assert set(before["states"].values()) == {"success"}
    assert before["states"] == after["states"] == native["states"]
    assert sorted(jobs_before.values()) == sorted(jobs_after.values()) == sorted(native_jobs.values())
    for name, result in before["results"].items():
        if result is not None:
            expected = job_of(result, jobs_before)
            assert job_of(after["results"][name], jobs_after) == expected
            assert job_of(native["results"][name], native_jobs) == expected
