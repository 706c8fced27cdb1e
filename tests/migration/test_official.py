"""The same DAG on the official provider, and migrated: `make test-migration`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.runs import DAGS, OFFICIAL, migrated, run


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
    assert sorted(jobs_before) == sorted(jobs_after) == sorted(native_jobs)
    had = {name: result for name, result in before["results"].items() if result is not None}
    assert {name: after["results"][name] for name in had} == had
    for name, result in had.items():
        now = native["results"][name]
        assert (now["job_id"] if isinstance(now, dict) and isinstance(result, int) else now) == result
