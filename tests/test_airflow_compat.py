"""What this package touches of Airflow's inside does what it relies on, in a running task of each Airflow."""

from __future__ import annotations

import ast
import inspect
import logging
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowNotFoundException, Asset, BaseOperator

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.api.flow import Checkpoint
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.operators._execution import JobExecution
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY
from tests.helpers.assets import deactivate_asset, register_assets
from tests.helpers.dags import run
from tests.helpers.supervisor import FakeSupervisor
from tests.helpers.tasks import CallbackOperator
from tests.versions import AIRFLOW, before, since


def in_a_task(dag: DAG, callback: Callable[[], Any]) -> Any:
    """Return what ``callback`` returns in a running task."""
    answers: list[Any] = []
    CallbackOperator(callback=lambda _: answers.append(callback()), task_id="ask")
    assert run(dag).succeeded
    return answers[0]


def test_only_an_asset_that_a_dag_names_is_active(dag: DAG) -> None:
    register_assets("s3://compat/named")
    deactivate_asset("s3://compat/forgotten")

    def callback() -> list[Asset | None]:
        found = [_airflow_compat.active_asset(uri=f"s3://compat/{each}") for each in ("named", "forgotten", "unknown")]
        return [*found, _airflow_compat.active_asset(name="s3://compat/named")]

    named, forgotten, unknown, by_name = in_a_task(dag, callback)
    assert named.uri == by_name.uri == "s3://compat/named"
    assert (forgotten, unknown) == (None, None)


def test_a_task_that_was_not_deferred_has_no_ended_deferral(dag: DAG) -> None:
    assert _airflow_compat.context_of_an_ended_deferral() is None
    assert in_a_task(dag, _airflow_compat.context_of_an_ended_deferral) is None


def test_an_asset_that_nothing_has_happened_to_has_no_events(dag: DAG) -> None:
    since_then = datetime.now(tz=timezone.utc) - timedelta(hours=1)
    assert in_a_task(dag, lambda: _airflow_compat.event_extras(Asset(uri="s3://compat/unknown"), since_then)) == []


def test_a_task_that_runs_for_the_first_time_was_not_rescheduled(dag: DAG) -> None:
    answers: list[bool] = []
    CallbackOperator(callback=lambda context: answers.append(_airflow_compat.was_rescheduled(context)), task_id="ask")
    assert run(dag).succeeded
    assert answers == [False]


def test_events_can_be_limited_from_airflow_3_2_on_and_in_the_database_of_2() -> None:
    assert _airflow_compat.can_limit_events() is (AIRFLOW < (3, 0) or AIRFLOW >= (3, 2))


@since("3.3", "it keeps nothing for an asset")
def test_what_is_kept_for_an_asset_can_be_read_again_and_the_last_writer_wins(dag: DAG) -> None:
    register_assets("s3://compat/kept")

    def callback() -> list[Any]:
        store = _airflow_compat.asset_state(Asset(uri="s3://compat/kept"))
        before = store.get("nothing")
        for value in ({"task": "first"}, {"task": "second"}):
            store.set("claim", value)
        return [before, store.get("claim")]

    assert in_a_task(dag, callback) == [None, {"task": "second"}]


@before("3.3", "Airflow 3.3 keeps something for an asset")
def test_before_3_3_nothing_is_kept_for_an_asset() -> None:
    assert _airflow_compat.asset_state(Asset(uri="s3://compat/kept")) is None


@since("3.2", "a label is written when the task is done")
def test_a_mapped_task_bears_its_connections_name_before_its_sync_starts(
    dag: DAG, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[int, str | None] = {}
    on_checkpoint = JobExecution._on_checkpoint

    def look_first(job_run: Any, checkpoint: Checkpoint) -> None:
        if checkpoint.job is None:  # the start comes next
            ti = job_run._context["ti"]
            shown[ti.map_index] = label_of(ti)
        on_checkpoint(job_run, checkpoint)

    monkeypatch.setattr(JobExecution, "_on_checkpoint", look_first)
    AirbyteSyncOperator.partial(
        task_id="sync", poll_interval=1, map_index_template="{{ airbyte_connection_name }}"
    ).expand(connection_id=[STRIPE_TO_BIGQUERY, SNOWFLAKE_TO_POSTGRES])
    assert run(dag).succeeded
    assert shown == {0: "Stripe → BigQuery", 1: "Snowflake → Postgres"}


def label_of(ti: Any) -> str | None:
    """Return what Airflow's UI calls a mapped task."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.query(TaskInstance).filter_by(
            dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index
        )
        return row.one()._rendered_map_index


def test_a_label_that_cannot_be_rendered_fails_no_task(dag: DAG, airbyte: LocalAirbyte) -> None:
    from airflow_provider_airbyte_api._validation import set_map_index_name

    context: dict[str, Any] = {"map_index_template": "{{ 1 / 0 }}", "ti": object()}
    set_map_index_name(context, "Stripe")
    assert context["airbyte_connection_name"] == "Stripe"


# -- attempts, clears and the end of a deferral ------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:fully NULL primary key")  # of Airflow 3.0, for a DAG without a version
def test_a_clear_changes_max_tries_and_a_retry_does_not(dag: DAG) -> None:
    from airflow.models.taskinstance import TaskInstance, clear_task_instances
    from airflow.utils.session import create_session

    attempts: list[tuple[int, bool, bool]] = []

    def callback(context: Any) -> None:
        retries = context["ti"].task.retries
        which = _airflow_compat.is_first_attempt(context, retries), _airflow_compat.is_uncleared_retry(context, retries)
        attempts.append((_airflow_compat.max_tries(context), *which))
        if len(attempts) == 1:
            raise AirflowException("the first attempt fails")

    CallbackOperator(callback=callback, task_id="ask", retries=1, retry_delay=timedelta(0))
    done = run(dag)
    assert done.succeeded
    assert attempts == [(1, True, False), (1, False, True)]
    with create_session() as session:
        of_run = session.query(TaskInstance).filter_by(dag_id=dag.dag_id, run_id=done.dag_run.run_id)
        clear_task_instances(of_run.all(), session)
        ti = max(of_run, key=lambda row: row.max_tries)  # Airflow 3.4 adds a row for the next attempt
        cleared: Any = {"ti": SimpleNamespace(max_tries=ti.max_tries, try_number=ti.try_number + 1)}
    assert _airflow_compat.max_tries(cleared) > 1
    assert not _airflow_compat.is_uncleared_retry(cleared, 1)
    assert not _airflow_compat.is_first_attempt(cleared, 1)


def reason_of_a_timeout() -> str:
    """Return what Airflow's scheduler gives as the reason when it ends a deferral that takes too long."""
    if AIRFLOW < (3, 0):
        return "Trigger/execution timeout"
    from airflow.models.trigger import TriggerFailureReason

    return TriggerFailureReason.TRIGGER_TIMEOUT.value


def end_of_a_deferral(reason: str) -> Exception:
    try:
        BaseOperator(task_id="ask").resume_execution("__fail__", {"error": reason}, None)  # type: ignore[arg-type]
    except AirflowException as error:
        return error
    raise AssertionError("it raises")


def test_a_deferral_timeout_differs_from_a_failed_deferral() -> None:
    assert _airflow_compat.is_deferral_timeout(end_of_a_deferral(reason_of_a_timeout()))
    assert not _airflow_compat.is_deferral_timeout(end_of_a_deferral("Trigger failure"))
    assert not _airflow_compat.is_deferral_timeout(TimeoutError("timeout"))


@since("3.3", "it keeps nothing for a task")
def test_what_is_kept_for_a_task_can_be_read_again(dag: DAG) -> None:
    seen: list[Any] = []

    def callback(context: Any) -> None:
        store = _airflow_compat.task_state_store(context)
        seen.append(store.get("job"))
        store.set("job", {"job_id": 7})
        seen.append(store.get("job"))
        store.delete("job")
        seen.append(store.get("job"))

    CallbackOperator(callback=callback, task_id="ask")
    assert run(dag).succeeded
    assert seen == [None, {"job_id": 7}, None]


@before("3.3", "Airflow 3.3 keeps something for a task")
def test_before_3_3_nothing_is_kept_for_a_task(dag: DAG) -> None:
    seen: list[Any] = []
    CallbackOperator(callback=lambda context: seen.append(_airflow_compat.task_state_store(context)), task_id="ask")
    assert run(dag).succeeded
    assert seen == [None]


# -- triggers ----------------------------------------------------------------------------------------------------


def test_airflow_calls_on_kill_of_a_trigger_from_3_3_on() -> None:
    assert _airflow_compat.has_trigger_on_kill() == (AIRFLOW >= (3, 3))


def test_a_trigger_has_the_timeout_of_its_deferral() -> None:
    if AIRFLOW < (3, 0):
        from airflow.models.taskinstance import TaskInstance

        assert hasattr(TaskInstance, "trigger_timeout")
    else:
        from airflow.jobs.triggerer_job_runner import TriggerRunner

        assert "trigger_instance.timeout_after = " in inspect.getsource(TriggerRunner.create_triggers)
    timeout = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for value in (timeout, timeout.replace(tzinfo=None)):
        trigger = SimpleNamespace(timeout_after=value, task_instance=SimpleNamespace(trigger_timeout=value))
        assert _airflow_compat.deferral_deadline(trigger) == timeout.timestamp()
    assert _airflow_compat.deferral_deadline(SimpleNamespace(task_instance=None)) is None


@before("3.0", "a process of Airflow 3 has no supervisor: see test_triggerer.py")
@pytest.mark.parametrize("is_mapped", [False, True], ids=["a task", "a mapped task"])
async def test_on_airflow_2_the_status_of_a_task_is_in_the_database(dag: DAG, is_mapped: bool) -> None:
    def push(job_id: int) -> Any:
        return lambda context: context["ti"].xcom_push(key="job_id", value=job_id)

    if is_mapped:
        CallbackOperator.partial(task_id="ask").expand(callback=[push(7), push(8)])
    else:
        CallbackOperator(callback=push(7), task_id="ask")
    done = run(dag)
    instances = {ti.map_index: ti for ti in done.dag_run.get_task_instances()}
    for index, job_id in {0: 7, 1: 8}.items() if is_mapped else {-1: 7}.items():
        assert await _airflow_compat.task_state(instances[index]) == "success"
        assert await _airflow_compat.task_xcom(instances[index], "job_id") == job_id
        assert await _airflow_compat.task_xcom(instances[index], "unknown") is None
    gone = SimpleNamespace(dag_id=dag.dag_id, run_id="deleted", task_id="ask", map_index=-1)
    assert await _airflow_compat.task_state(gone) is None
    assert await _airflow_compat.task_xcom(gone, "job_id") is None


@since("3.0", "a triggerer has no supervisor")
async def test_without_a_supervisor_that_answers_a_trigger_cannot_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="ask", map_index=-1)
    with pytest.raises(RuntimeError, match=r"3\.0\.3"):
        await _airflow_compat.task_state(ti)


def test_outside_a_triggerer_there_are_no_variables_for_a_trigger() -> None:
    assert not _airflow_compat.trigger_has_variables()


@since("3.0", "a triggerer reads its database")
async def test_a_trigger_reads_and_writes_variables_by_its_own_channel(supervisor: FakeSupervisor) -> None:
    from airflow.sdk.exceptions import AirflowRuntimeError

    assert _airflow_compat.trigger_has_variables()
    assert await _airflow_compat.aget_variable("compat") is None
    await _airflow_compat.aset_variable("compat", "value", "what it is")
    assert await _airflow_compat.aget_variable("compat") == "value"
    assert supervisor.descriptions == {"compat": "what it is"}
    supervisor.failing = {"GetVariable", "PutVariable"}
    with pytest.raises(AirflowRuntimeError):
        await _airflow_compat.aget_variable("compat")
    with pytest.raises(AirflowRuntimeError):
        await _airflow_compat.aset_variable("compat", "value", "what it is")


def test_airflow_has_shared_streams_from_3_3_on() -> None:
    producer = _airflow_compat.shared_stream_producer()
    assert (producer is not None) == (AIRFLOW >= (3, 3))
    if producer is not None:
        from airflow.triggers.base import BaseEventTrigger

        from airflow_provider_airbyte_api.triggers.airbyte import AirbyteSyncEventTrigger

        assert {"open_stream", "advance"} <= set(dir(producer))
        ours = {"shared_stream_key", "create_shared_stream_producer", "filter_shared_stream", "asset_state_store"}
        assert ours <= {*dir(BaseEventTrigger), *vars(AirbyteSyncEventTrigger())}, "what the trigger overrides and uses"


@since("3.3", "it keeps nothing for an asset")
@pytest.mark.parametrize("count", [1, 2])
def test_a_trigger_of_several_assets_has_a_store_for_each(dag: DAG, count: int) -> None:
    uris = [f"s3://compat/watched_{number}" for number in range(count)]
    register_assets(*uris)

    def callback() -> list[Any]:
        from airflow.sdk.execution_time.context import AssetStateStoreAccessors

        stores = _airflow_compat.asset_stores(AssetStateStoreAccessors([Asset(uri=uri, name=uri) for uri in uris]))
        for number, store in enumerate(stores):
            store.set("cursor", number)
        return [store.get("cursor") for store in stores]

    assert in_a_task(dag, callback) == list(range(count))


# -- anywhere ----------------------------------------------------------------------------------------------------


def redacted(text: str) -> Any:
    """Return what Airflow's logs show of ``text``."""
    from importlib import import_module

    if AIRFLOW < (3, 0):
        name = "airflow.utils.log.secrets_masker"
    else:
        name = "airflow.sdk.execution_time.secrets_masker" if AIRFLOW < (3, 1) else "airflow.sdk._shared.secrets_masker"
    return import_module(name).redact(text)


async def test_a_masked_secret_is_in_no_log_of_airflows() -> None:
    _airflow_compat.mask_secret("hush-in-a-worker")
    await _airflow_compat.amask_secret("hush-in-a-triggerer")
    assert redacted("hush-in-a-worker, hush-in-a-triggerer, other") == "***, ***, other"


@pytest.fixture
def conn_id_in_the_database() -> Iterator[str]:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id="compat_in_db", conn_type="airbyte_api", host="https://airbyte.example.com"))
    yield "compat_in_db"
    with create_session() as session:
        session.query(Connection).filter_by(conn_id="compat_in_db").delete()


def test_a_command_finds_the_connections_in_airflows_database(
    conn_id_in_the_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")  # it is changed; this changes it back
    assert _airflow_compat.get_connection(conn_id_in_the_database).host == "https://airbyte.example.com"
    with pytest.raises(AirflowNotFoundException):
        _airflow_compat.get_connection("compat_unknown")
    assert os.environ["_AIRFLOW_PROCESS_CONTEXT"] == "server"


def test_a_hook_logs_to_the_logger_that_it_is_given() -> None:
    hook: Any = AirbyteHook()
    logger = logging.getLogger("compat")
    _airflow_compat.set_logger(hook, logger)
    assert hook.log is logger


def test_a_dag_of_no_dag_folder_runs_since_it_is_registered(dag: DAG) -> None:
    """``run`` calls ``ensure_db`` and ``register_dag``, by way of ``run_dag``."""
    CallbackOperator(callback=lambda _: None, task_id="ask")
    assert run(dag).succeeded


# -- the fence ---------------------------------------------------------------------------------------------------

PACKAGE = Path(_airflow_compat.__file__).parent
PUBLIC = {
    "airflow.cli.cli_config": "the commands of a provider",
    "airflow.cli.simple_table": "as above",
    "airflow.providers.openlineage.extractors": "a dependency of the extra openlineage",
    "airflow.plugins_manager": "the base class of plugins",
    "airflow.triggers.base": "the base class of triggers",
}
"""What other modules may import of Airflow: each supported version has it."""
FOR_TYPES_OR_NEWER_ONLY = {"retry_policy.py": {"airflow.sdk"}, "testing/dags.py": {"airflow.models.dagrun"}}
"""``airflow.sdk`` is public; the module exists for what only 3.3 has. The other import is for the type checker."""


def imports_of_airflow(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if name.split(".")[0] == "airflow")


@pytest.mark.parametrize("module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_private_or_bound_to_a_version_is_imported_in_one_module(module: Path) -> None:
    if module.name == "_airflow_compat.py":
        return
    public = [*PUBLIC, *FOR_TYPES_OR_NEWER_ONLY.get(str(module.relative_to(PACKAGE)), ())]
    for name in imports_of_airflow(module):
        assert any(f"{name}.".startswith(f"{each}.") for each in public), f"{name}: import it in _airflow_compat"
    assert "AIRFLOW_V_" not in module.read_text()
