"""The built wheel, as ``make smoke-airflow-…`` has installed it beside an Airflow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_airbyte_api import __version__
from airflow_provider_airbyte_api.connection_form import CONN_FIELDS
from airflow_provider_airbyte_api.testing import LocalAirbyte
from tests.conftest import REPOSITORY
from tests.versions import AIRFLOW, before, since

NAME = "airflow-provider-airbyte-api"
Program = Callable[..., str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Airflow home with a database, and no folder of ours on Python's path."""
    folder: Path = tmp_path_factory.mktemp("installed")
    call(folder, "-m", "airflow", "db", "migrate")
    return folder


def call(home: Path, *arguments: str, **environment: str) -> str:
    """Run this environment's Python in ``home``, where it finds the installed package alone; return what it prints."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=home,
        env={
            **own,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "example_dags"),
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "COLUMNS": "200",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_it_is_the_wheel_that_is_tested(home: Path) -> None:
    where = call(home, "-c", "import airflow_provider_airbyte_api as it; print(it.__version__, it.__file__)")
    version, file = where.split()
    assert version == __version__
    assert "site-packages" in file


def test_airflow_lists_the_provider_and_its_kind_of_connection(home: Path) -> None:
    providers = json.loads(call(home, "-m", "airflow", "providers", "list", "--output", "json").splitlines()[-1])
    assert [row["version"] for row in providers if row["package_name"] == NAME] == [__version__]
    hooks = json.loads(call(home, "-m", "airflow", "providers", "hooks", "--output", "json").splitlines()[-1])
    (ours,) = (row for row in hooks if row["connection_type"] == "airbyte_api")
    assert ours["class"] == "airflow_provider_airbyte_api.hooks.airbyte.AirbyteHook"


IMPORT_ALL = """
import importlib, pkgutil, sys, warnings
warnings.filterwarnings("error", module="airflow_provider_airbyte_api")
import airflow_provider_airbyte_api as package
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if module.name not in sys.argv[1:]:
        importlib.import_module(module.name)
        print(module.name)
"""
NOT_EVERYWHERE = {
    "airflow_provider_airbyte_api.__main__": (9, 9),  # a program
    "airflow_provider_airbyte_api.testing.__main__": (9, 9),
    "airflow_provider_airbyte_api.triggers._sync_events": (3, 0),
    "airflow_provider_airbyte_api.ui.app": (3, 0),  # needs FastAPI
    "airflow_provider_airbyte_api.ui.webhook": (3, 0),  # as above
    "airflow_provider_airbyte_api.hooks._form_widgets": (3, 9),  # needs Flask-AppBuilder, where Airflow has it
}


def test_each_module_is_imported_without_a_warning_of_ours(home: Path) -> None:
    left_out = [name for name, since_when in NOT_EVERYWHERE.items() if since_when > AIRFLOW]
    done = call(home, "-c", IMPORT_ALL, *left_out)
    assert len(re.findall(r"^airflow_provider_airbyte_api\S+$", done, re.MULTILINE)) > 60


FORM_OF_AIRFLOW_3 = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
(ours,) = (row for row in HookMetaService.hook_meta_data() if row.connection_type == "airbyte_api")
login = ours.standard_fields and ours.standard_fields.login.title
print(json.dumps([login, *(ours.extra_fields or ())]))
"""
FORM_OF_AIRFLOW_2 = """
import json, re
from airflow.www.app import create_app
app = create_app(testing=True)
app.config["WTF_CSRF_ENABLED"] = False
manager = app.appbuilder.sm
manager.add_user("me", "a", "b", "me@example.com", manager.find_role("Admin"), password="me")
client = app.test_client()
client.post("/login/", data={"username": "me", "password": "me"})
page = client.get("/connection/add").get_data(as_text=True)
print(json.dumps(sorted(set(re.findall(r'name="extra__airbyte_api__(\\w+)"', page)))))
"""


@since("3.0", "its form is rendered by its web server")
def test_the_fields_of_the_connection_are_known_to_airflow_3(home: Path) -> None:
    login, *extras = printed_last(call(home, "-c", FORM_OF_AIRFLOW_3))
    # 3.0 shows the form of no provider, unless its FAB provider is installed.
    expected = (None, set()) if AIRFLOW == (3, 0) else ("Client ID", set(CONN_FIELDS))
    assert (login, set(extras)) == expected


@before("3.0", "Airflow 3 has no form of its own server's")
def test_the_form_of_airflow_2_has_the_fields_of_the_connection(home: Path) -> None:
    assert set(printed_last(call(home, "-c", FORM_OF_AIRFLOW_2))) == set(CONN_FIELDS)


def printed_last(printed: str) -> list[str]:
    found: list[str] = json.loads(printed.strip().splitlines()[-1])
    return found


@pytest.mark.parametrize("file", sorted((REPOSITORY / "example_dags").glob("*.py")), ids=lambda file: file.stem)
def test_an_example_is_imported_without_a_warning_of_ours(home: Path, file: Path) -> None:
    if "AssetWatcher" in file.read_text() and AIRFLOW < (3, 0):
        pytest.skip("needs Airflow 3.0: asset watchers")
    call(home, "-W", "error:::airflow_provider_airbyte_api", str(file))


def test_the_main_example_runs_to_its_end(home: Path) -> None:
    with LocalAirbyte() as airbyte:
        connection = {"AIRFLOW_CONN_AIRBYTE_API_DEFAULT": airbyte.airflow_connection}
        where = ["--dagfile-path" if AIRFLOW >= (3, 0) else "--subdir", str(REPOSITORY / "example_dags")]
        call(home, "-m", "airflow", "dags", "test", "example_airbyte", *where, **connection)
        assert [job.status for job in airbyte.jobs] == ["succeeded", "succeeded"]
        assert len({job.connection_id for job in airbyte.jobs}) == 2
