"""Where the record of a task run is stored, and when it is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.models.variable import Variable
from airflow.providers.common.compat.sdk import DAG
from airflow.utils.session import create_session
from pytest_mock import MockerFixture
from sqlalchemy import delete, select

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.__main__ import main
from airflow_provider_airbyte_api._job_state_backends import KEY_PREFIX
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY
from tests.helpers.dags import run

BACKEND = "AIRFLOW__AIRBYTE_API__JOB_STATE_BACKEND"
POLL = r"/jobs/\d+"

Records = Callable[[], dict[str, Any]]


@pytest.fixture(autouse=True)
def _no_variables(database: None) -> None:
    with create_session() as session:
        old = delete(Variable).where(Variable.key.startswith(KEY_PREFIX))
        session.execute(old.execution_options(synchronize_session=False))


def variables() -> dict[str, Any]:
    with create_session() as session:
        found = session.scalars(select(Variable).where(Variable.key.startswith(KEY_PREFIX)))
        return {each.key: json.loads(each.val) for each in found}


@pytest.fixture(params=["variables", "object storage"])
def records(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Records:
    """The records in a backend, which is the one that tasks use."""
    if request.param == "variables":
        monkeypatch.setenv(BACKEND, "variables")
        return variables
    folder = tmp_path / "shared" / "records"
    monkeypatch.setenv(BACKEND, folder.as_uri())
    return lambda: {path.name: json.loads(path.read_text()) for path in folder.glob("*")}


def sync(**more: Any) -> AirbyteSyncOperator:
    defaults = {
        "task_id": "sync",
        "connection_id": STRIPE_TO_BIGQUERY,
        "poll_interval": 0.02,
        "timeout": 30,
        "retry_delay": 0,
    }
    return AirbyteSyncOperator(**{**defaults, **more})


def lose_sight(airbyte: LocalAirbyte) -> None:
    """Let the first attempt end while its sync still runs."""
    airbyte.script_jobs("running")
    airbyte.respond_with(403, method="GET", path=POLL, times=2)


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
def test_a_retry_returns_the_result_of_a_sync_that_has_succeeded_meanwhile(
    dag: DAG, airbyte: LocalAirbyte, records: Records, deferrable: bool
) -> None:
    lose_sight(airbyte)
    stored: list[dict[str, Any]] = []

    def finish(context: Any) -> None:
        stored.extend(records().values())
        airbyte.finish_job(1)

    sync(retries=1, on_retry_callback=finish, deferrable=deferrable)
    done = run(dag)
    assert done.states == {"sync": "success"}
    assert done.xcom("sync")["job_id"] == 1 == len(airbyte.jobs)
    assert [record["job_id"] for record in stored] == [1]
    assert records() == {}, "a task that has succeeded deletes its record"


@pytest.mark.parametrize("on_running", ["fail", "skip"])
def test_a_retry_after_a_start_that_created_no_job_does_not_follow_the_sync_of_others(
    dag: DAG, airbyte: LocalAirbyte, records: Records, on_running: str
) -> None:
    airbyte.script_jobs("running")
    stored: list[dict[str, Any]] = []

    def start_another(_: Any) -> None:
        if not airbyte.jobs:
            airbyte.add_job(STRIPE_TO_BIGQUERY, "running")

    sync(
        retries=1,
        on_running=on_running,
        on_execute_callback=start_another,
        on_retry_callback=lambda _: stored.extend(records().values()),
    )
    done = run(dag)
    assert done.states == {"sync": "failed" if on_running == "fail" else "skipped"}
    assert [job.job_id for job in airbyte.jobs] == [1]
    assert [record["nothing_started"] for record in stored] == [True] * (on_running == "fail")
    assert records() == {}


def test_the_users_callbacks_are_called_as_well(dag: DAG, airbyte: LocalAirbyte, records: Records) -> None:
    seen: list[dict[str, Any]] = []
    sync(on_success_callback=lambda _: seen.append(records()))
    assert run(dag).succeeded
    assert [len(stored) for stored in seen] == [1], "theirs comes first, and the record is still there"
    assert records() == {}


def test_each_mapped_task_has_its_own_record(dag: DAG, airbyte: LocalAirbyte, records: Records) -> None:
    seen: list[int] = []
    AirbyteSyncOperator.partial(
        task_id="sync",
        poll_interval=0.02,
        on_success_callback=[lambda _: seen.append(len(records()))],
    ).expand(connection_id=[STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES])
    assert run(dag).succeeded
    assert seen == [1, 1]
    assert len(airbyte.jobs) == 2
    assert records() == {}


def test_a_failed_task_deletes_the_record_of_an_ended_job(dag: DAG, airbyte: LocalAirbyte, records: Records) -> None:
    airbyte.script_jobs("failed")
    sync()
    assert run(dag).states == {"sync": "failed"}
    assert records() == {}


def test_a_failed_task_keeps_the_record_of_a_job_that_may_still_run(
    dag: DAG, airbyte: LocalAirbyte, records: Records
) -> None:
    lose_sight(airbyte)
    sync()
    assert run(dag).states == {"sync": "failed"}
    (record,) = records().values()
    assert record["job_id"] == 1
    assert airbyte.cancelled == []


def test_with_none_nothing_is_stored(dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND, "none")
    seen: list[dict[str, Any]] = []
    lose_sight(airbyte)
    sync(on_failure_callback=lambda _: seen.append(variables()))
    assert run(dag).states == {"sync": "failed"}
    assert seen == [{}]


def test_a_key_names_the_dag_and_the_task_and_is_short(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND, "variables")
    lose_sight(airbyte)
    with DAG("d" * 250, schedule=None) as dag:
        sync(task_id="t" * 250)
    run(dag)
    (key,) = variables()
    assert key.startswith(f"airbyte_job.{'d' * 80}.{'t' * 80}.")
    assert len(key) <= 250


def change_record(**fields: Any) -> Callable[[Any], None]:
    """Return a callback that changes the stored record, as a person or another task can."""

    def change(context: Any) -> None:
        ((key, record),) = variables().items()
        with create_session() as session:
            session.scalars(select(Variable).where(Variable.key == key)).one().val = json.dumps(record | fields)

    return change


def test_a_record_of_a_job_of_another_connection_is_ignored(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BACKEND, "variables")
    others = airbyte.add_job(SNOWFLAKE_TO_POSTGRES, "succeeded")
    airbyte.script_jobs("running", "succeeded")
    airbyte.respond_with(403, method="GET", path=POLL, times=2)
    sync(retries=1, on_retry_callback=change_record(job_id=others.job_id))
    done = run(dag)
    assert done.succeeded
    assert done.xcom("sync")["job_id"] != others.job_id
    assert airbyte.cancelled == []


@pytest.mark.parametrize(
    "fields",
    [
        {"job_id": "1"},
        {"job_id": True},
        {"job_id": -1},
        {"connection_id": "x"},
        {"previous_job_id": None},
        {"started_at": "now"},
        {"owned": 1},
        {"more": 1},
    ],
    ids=str,
)
def test_a_value_that_is_no_record_is_ignored(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    monkeypatch.setenv(BACKEND, "variables")
    lose_sight(airbyte)

    def change(context: Any) -> None:
        airbyte.finish_job(1)
        airbyte.script_jobs("succeeded")
        change_record(**fields)(context)

    sync(retries=1, on_retry_callback=change)
    done = run(dag)
    assert done.succeeded
    assert done.xcom("sync")["job_id"] == 2


@pytest.mark.parametrize("max_tries", [None, "1"], ids=repr)
def test_a_record_without_its_max_tries_cancels_nothing(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, max_tries: object
) -> None:
    monkeypatch.setenv(BACKEND, "variables")
    airbyte.script_jobs("running", "running", "succeeded")
    airbyte.respond_with(403, method="GET", path=POLL, times=2)
    sync(retries=1, on_retry_callback=change_record(max_tries=max_tries))
    assert run(dag).succeeded
    assert airbyte.cancelled == []


def test_no_job_is_started_if_its_record_cannot_be_stored(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(BACKEND, f"file://{tmp_path}/file/folder")
    sync()
    assert run(dag).states == {"sync": "failed"}
    assert not airbyte.jobs


def test_a_started_job_is_waited_for_if_its_record_cannot_be_updated(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    monkeypatch.setenv(BACKEND, "variables")
    set_variable = _airflow_compat.set_variable

    def fail_once_started(key: str, value: str, description: str) -> None:
        if airbyte.jobs:
            raise ConnectionError("the database is away")
        set_variable(key, value, description)

    mocker.patch.object(_airflow_compat, "set_variable", fail_once_started)
    sync()
    assert run(dag).succeeded
    assert len(airbyte.jobs) == 1


def test_a_command_deletes_what_tasks_have_left_behind(
    dag: DAG, airbyte: LocalAirbyte, records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    lose_sight(airbyte)
    sync()
    run(dag)
    capsys.readouterr()
    for arguments, answer, left in [
        (["--older-than", "1"], "Deleted 0 job records older than 1 days, and kept 1.\n", 1),
        (["--older-than", "0", "--dry-run"], "Would delete 1 job records older than 0 days, and kept 0.\n", 1),
        (["--older-than", "0"], "Deleted 1 job records older than 0 days, and kept 0.\n", 0),
    ]:
        main(["clean-job-state", *arguments])
        assert capsys.readouterr().out == answer
        assert len(records()) == left


def test_the_command_says_where_nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND, "none")
    with pytest.raises(SystemExit, match="job_state_backend in section"):
        main(["clean-job-state"])
