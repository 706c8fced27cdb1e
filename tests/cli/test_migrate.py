"""``migrate``: what it changes in a DAG file of the official provider, and what it leaves to a person."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("libcst", reason="the extra migrate is not installed")

from airflow_provider_airbyte_api.__main__ import main
from airflow_provider_airbyte_api.cli.codemod import to_drop_in, to_native

OPERATORS = "from airflow.providers.airbyte.operators.airbyte import AirbyteTriggerSyncOperator\n"
SENSORS = "from airflow.providers.airbyte.sensors.airbyte import AirbyteJobSensor\n"
HOOKS = "from airflow.providers.airbyte.hooks.airbyte import AirbyteHook\n"
OUR_OPERATORS = "from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator\n"
OUR_SENSORS = "from airflow_provider_airbyte_api.sensors.airbyte import AirbyteJobSensor\n"
OUR_HOOKS = "from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook\n"
CONN = 'airbyte_conn_id="c"'


def drop_in(code: str) -> str:
    return to_drop_in(code.encode()).content.decode()


def native(code: str) -> str:
    return to_native(code.encode()).content.decode()


def notes(code: str, *, of_native: bool = False) -> list[tuple[int, str]]:
    return [(each.line, each.text) for each in (to_native if of_native else to_drop_in)(code.encode()).notes]


# -- to the drop-in --------------------------------------------------------------------------------------------

IMPORTS = {
    OPERATORS: "from airflow_provider_airbyte_api.drop_in import AirbyteTriggerSyncOperator\n",
    SENSORS: "from airflow_provider_airbyte_api.drop_in import AirbyteJobSensor\n",
    HOOKS: "from airflow_provider_airbyte_api.drop_in import AirbyteHook\n",
    "from airflow.providers.airbyte.hooks.airbyte import AirbyteHook as H  # ours\n": (
        "from airflow_provider_airbyte_api.drop_in import AirbyteHook as H  # ours\n"
    ),
    "from airflow.providers.airbyte.operators.airbyte import (\n    AirbyteTriggerSyncOperator,  # a\n)\n": (
        "from airflow_provider_airbyte_api.drop_in import (\n    AirbyteTriggerSyncOperator,  # a\n)\n"
    ),
    "from airflow.providers.airbyte.operators import airbyte\n": (
        "from airflow_provider_airbyte_api import drop_in as airbyte\n"
    ),
    "from airflow.providers.airbyte.operators import airbyte as a\n": (
        "from airflow_provider_airbyte_api import drop_in as a\n"
    ),
    "import airflow.providers.airbyte.sensors.airbyte as s\n": "import airflow_provider_airbyte_api.drop_in as s\n",
    "if True:\n\n    def f():\n        from airflow.providers.airbyte.hooks.airbyte import AirbyteHook\n": (
        "if True:\n\n    def f():\n        from airflow_provider_airbyte_api.drop_in import AirbyteHook\n"
    ),
}


@pytest.mark.parametrize(("old", "new"), IMPORTS.items())
def test_an_import_is_changed_and_nothing_else(old: str, new: str) -> None:
    rest = "\n\nx   =  { 1:2 }   # as it was\r\n"
    assert drop_in(old + rest) == new + rest
    assert drop_in(new + rest) == new + rest
    assert notes(old) == []


@pytest.mark.parametrize(
    "code",
    [
        "from airflow.providers.airbyte.triggers.airbyte import AirbyteSyncTrigger\n",
        "from airflow.providers.airbyte.operators.airbyte import *\n",
        "import airflow.providers.airbyte.operators.airbyte\n",
        'PATH = "airflow.providers.airbyte.hooks.airbyte.AirbyteHook"\n',
    ],
)
def test_what_cannot_be_decided_is_left_with_its_line(code: str) -> None:
    assert drop_in(f"\n{code}") == f"\n{code}"
    ((line, _),) = notes(f"\n{code}")
    assert line == 2


def test_a_subclass_and_a_use_of_the_sdk_are_noted() -> None:
    code = (
        OPERATORS + HOOKS + "class Mine(AirbyteTriggerSyncOperator): ...\nhook = AirbyteHook()\nhook.airbyte_api.jobs\n"
    )
    assert [line for line, _ in notes(code)] == [3, 5]


# -- to our own names ------------------------------------------------------------------------------------------

CALLS = {
    f'AirbyteTriggerSyncOperator(task_id="t", {CONN}, timeout=60, api_version="v1")': (
        f'AirbyteSyncOperator(task_id="t", {CONN}, timeout=60)'
    ),
    'AirbyteTriggerSyncOperator(task_id="t")': (
        'AirbyteSyncOperator(task_id="t", airbyte_conn_id="airbyte_default", timeout=3600)'
    ),
    f"AirbyteTriggerSyncOperator({CONN}, asynchronous=True)": f"AirbyteSyncOperator({CONN}, wait_for_completion=False)",
    f"AirbyteTriggerSyncOperator({CONN}, timeout=1, asynchronous=a or b)": (
        f"AirbyteSyncOperator({CONN}, timeout=1, wait_for_completion=not (a or b))"
    ),
    f"AirbyteTriggerSyncOperator({CONN}, timeout=1, wait_seconds=10)": (
        f"AirbyteSyncOperator({CONN}, timeout=1, poll_interval=10)"
    ),
    'AirbyteTriggerSyncOperator(\n    task_id="t",  # the first\n    timeout=1,\n)': (
        'AirbyteSyncOperator(\n    task_id="t",  # the first\n    timeout=1,\n    airbyte_conn_id="airbyte_default",\n)'
    ),
    f"AirbyteTriggerSyncOperator.partial({CONN}, wait_seconds=9).expand(connection_id=[], timeout=[])": (
        f"AirbyteSyncOperator.partial({CONN}, poll_interval=9).expand(connection_id=[], timeout=[])"
    ),
    "AirbyteTriggerSyncOperator": "AirbyteSyncOperator",
}


@pytest.mark.parametrize(("old", "new"), CALLS.items())
def test_the_parameters_of_an_operator_are_renamed_and_its_defaults_kept(old: str, new: str) -> None:
    assert native(f"{OPERATORS}a = {old}\n") == f"{OUR_OPERATORS}a = {new}\n"
    assert notes(f"{OPERATORS}a = {old}\n", of_native=True) == []


def test_an_alias_keeps_its_name() -> None:
    old = OPERATORS.replace("\n", " as Sync\n") + f"Sync({CONN}, timeout=1, asynchronous=False)\n"
    assert (
        native(old)
        == OUR_OPERATORS.replace("\n", " as Sync\n") + f"Sync({CONN}, timeout=1, wait_for_completion=True)\n"
    )


def test_a_sensor_waits_for_the_id_in_the_result() -> None:
    sync = f'sync = AirbyteTriggerSyncOperator(task_id="s", {CONN}, asynchronous=True)\n'
    old = OPERATORS + SENSORS + sync + f"AirbyteJobSensor({CONN}, airbyte_job_id=sync.output)\n"
    ours = f'sync = AirbyteSyncOperator(task_id="s", {CONN}, wait_for_completion=False)\n'
    new = OUR_OPERATORS + OUR_SENSORS + ours + f'AirbyteJobSensor({CONN}, job_id=sync.output["job_id"])\n'
    assert native(old) == new


def test_mapped_sensors_wait_for_the_ids_in_the_results() -> None:
    sync = f"sync = AirbyteTriggerSyncOperator.partial({CONN}, asynchronous=True).expand(connection_id=ids)\n"
    old = OPERATORS + SENSORS + sync + f"AirbyteJobSensor.partial({CONN}).expand(airbyte_job_id=sync.output)\n"
    ids = 'sync.output.map(lambda result: result["job_id"])'
    assert native(old).splitlines()[-1] == f"AirbyteJobSensor.partial({CONN}).expand(job_id={ids})"


PULLS = {
    'ti.xcom_pull(task_ids="s")': 'ti.xcom_pull(task_ids="s", key="job_id")',
    'ti.xcom_pull("group.s")': 'ti.xcom_pull("group.s", key="job_id")',
    'ti.xcom_pull(task_ids="other")': 'ti.xcom_pull(task_ids="other")',
    'ti.xcom_pull(task_ids="s", key="job_url")': 'ti.xcom_pull(task_ids="s", key="job_url")',
    "\"{{ ti.xcom_pull(task_ids='s') }}\"": "\"{{ ti.xcom_pull(task_ids='s', key='job_id') }}\"",
    "\"{{ ti.xcom_pull('s') }} {{ ti.xcom_pull('other') }}\"": (
        "\"{{ ti.xcom_pull('s', key='job_id') }} {{ ti.xcom_pull('other') }}\""
    ),
}


@pytest.mark.parametrize(("old", "new"), PULLS.items())
def test_a_job_id_is_pulled_by_its_key(old: str, new: str) -> None:
    code = f'{OPERATORS}AirbyteTriggerSyncOperator(task_id="s", {CONN}, timeout=1)\n'
    assert native(f"{code}x = {old}\n").splitlines()[-1] == f"x = {new}"


METHODS = {
    "hook.submit_sync_connection(connection_id=c).job_id": "hook.start_sync(connection_id=c).job_id",
    "hook.submit_reset_connection(c)": 'hook.start_clear(c, job_type="reset")',
    "hook.get_job_details(7)": "hook.get_job(7)",
    "hook.get_job_status(job_id=7)": "hook.get_job(job_id=7).status",
    "hook.cancel_job(7)": "hook.cancel_job(7)",
    "other.wait_for_job(7)": "other.wait_for_job(7)",
}


@pytest.mark.parametrize(("old", "new"), METHODS.items())
def test_the_methods_of_the_hook_are_renamed(old: str, new: str) -> None:
    code = f'{HOOKS}hook = AirbyteHook(api_version="v1")\nx = {old}\n'
    assert native(code) == f'{OUR_HOOKS}hook = AirbyteHook("airbyte_default")\nx = {new}\n'
    assert notes(code, of_native=True) == []


@pytest.mark.parametrize(
    ("old", "new"),
    {
        "hook.wait_for_job(7)": "hook.wait_for_job(7, timeout=3600, check=True)",
        "hook.wait_for_job(7, 5, 60)": "hook.wait_for_job(7, poll_interval=5, timeout=60, check=True)",
        "hook.wait_for_job(job_id=7, wait_seconds=5)": (
            "hook.wait_for_job(job_id=7, poll_interval=5, timeout=3600, check=True)"
        ),
    }.items(),
)
def test_a_wait_of_the_hook_is_noted_because_it_does_not_cancel(old: str, new: str) -> None:
    code = f'{HOOKS}hook = AirbyteHook("c")\n{old}\n'
    assert native(code).splitlines()[-1] == new
    ((line, text),) = notes(code, of_native=True)
    assert (line, text.split(":")[0]) == (3, "wait_for_job no longer cancels the job at its timeout")


@pytest.mark.parametrize(
    ("code", "note"),
    {
        f"AirbyteTriggerSyncOperator({CONN}, **options)": "parameters in **",
        f"AirbyteTriggerSyncOperator({CONN}, timeout=1, deferrable=True, wait_seconds=3)": "wait_seconds had no effect",
        'AirbyteTriggerSyncOperator(task_id="s", timeout=1) >> D(default_args={"airbyte_conn_id": "c"})': (
            "airbyte_conn_id is a key of a dict"
        ),
        'AirbyteTriggerSyncOperator(task_id="s", airbyte_conn_id="c") >> D(default_args=dict(timeout=1))': (
            "timeout is a key of a dict"
        ),
        f"AirbyteTriggerSyncOperator({CONN}, timeout=1) >> D(default_args=ours.DEFAULTS)": (
            "default_args is not written out here"
        ),
        'AirbyteTriggerSyncOperator(task_id="s", **x), ti.xcom_pull(task_ids=name)': "xcom_pull",
        "anything.get_job_status(7)": "get_job_status: if this is a method of AirbyteHook",
        'AirbyteHook("c", timeout=3)': "timeout of AirbyteHook",
    }.items(),
)
def test_what_the_code_does_not_decide_is_noted(code: str, note: str) -> None:
    found = notes(f"{OPERATORS}{HOOKS}{code}\n", of_native=True)
    assert [line for line, text in found if text.startswith(note)] == [3], found


# -- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "load.py").write_text(OPERATORS)
    (tmp_path / "other.py").write_text("import os\n")
    (tmp_path / "broken.py").write_text(f"{OPERATORS}def\n")
    (tmp_path / "factory.yaml").write_text("a: 1\noperator: airflow.providers.airbyte.operators.airbyte.X\n")
    return tmp_path


def test_without_write_it_prints_what_would_change(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["migrate", str(folder)])
    out = capsys.readouterr().out
    assert f"+++ {folder}/team/load.py" in out
    assert "+from airflow_provider_airbyte_api.drop_in import AirbyteTriggerSyncOperator" in out
    assert f"{folder}/factory.yaml:2: names airflow.providers.airbyte" in out
    assert f"{folder}/broken.py: it is not a valid Python file" in out
    assert "3 files name airflow.providers.airbyte: 1 would change, 2 places to check. Add --write" in out
    assert (folder / "team" / "load.py").read_text() == OPERATORS


def test_with_write_it_changes_the_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["migrate", str(folder), "--write", "--native"])
    assert "1 changed" in capsys.readouterr().out
    assert (folder / "team" / "load.py").read_text() == OUR_OPERATORS
    assert (folder / "broken.py").read_text() == f"{OPERATORS}def\n"


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"none does not exist\."):
        main(["migrate", str(tmp_path / "none")])


def test_without_libcst_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_libcst(name: str, *more: Any) -> Any:
        if name.startswith("libcst"):
            raise ModuleNotFoundError(name="libcst")
        return real(name, *more)

    monkeypatch.delitem(sys.modules, "airflow_provider_airbyte_api.cli.codemod")
    monkeypatch.setattr(sys.modules["airflow_provider_airbyte_api.cli"], "codemod", None, raising=False)
    monkeypatch.delattr(sys.modules["airflow_provider_airbyte_api.cli"], "codemod")
    monkeypatch.setattr(builtins, "__import__", without_libcst)
    with pytest.raises(SystemExit, match=r"pip install 'airflow-provider-airbyte-api\[migrate\]'"):
        main(["migrate", str(folder)])


def test_the_other_commands_do_not_import_libcst() -> None:
    command, codemod = (f"airflow_provider_airbyte_api.cli.{name}" for name in ("commands", "codemod"))
    program = f"import sys, {command}; sys.exit({codemod!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
