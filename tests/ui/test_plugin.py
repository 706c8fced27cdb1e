"""The plugin: what Airflow gets from it, and what each process pays for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.ui.plugin import AirbyteUiPlugin
from tests.versions import AIRFLOW, before, since

needs_react_apps = since("3.1", "its plugins cannot add a page to the UI")

PROBE = """
import sys
from airflow_provider_airbyte_api.ui.plugin import AirbyteUiPlugin
AirbyteUiPlugin()
print(*[name for name in ("fastapi", "starlette", "airflow_provider_airbyte_api.ui.app") if name in sys.modules])
"""


@pytest.mark.skipif((3, 0) <= AIRFLOW < (3, 1), reason="Airflow 3.0 itself imports FastAPI where it loads plugins")
def test_a_process_that_only_loads_the_plugin_imports_no_web_framework() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1:] == [""]


@needs_react_apps
def test_the_page_is_in_the_navigation() -> None:
    (page, *tabs) = AirbyteUiPlugin().react_apps
    assert page == {
        "name": "Airbyte Syncs",
        "url_route": "airbyte",
        "category": "browse",
        "destination": "nav",
        "bundle_url": "/airbyte/static/airbyte.js",
        "icon": "/airbyte/static/airbyte.svg",
    }
    assert bool(tabs) == (AIRFLOW >= (3, 4))


@needs_react_apps
def test_the_tab_is_limited_to_the_tasks_of_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_airflow_compat, "has_scoped_tabs", lambda: True)
    (_, tab) = AirbyteUiPlugin().react_apps
    assert tab["destination"] == "task_instance"
    assert tab["applies_to"] == {"operator_name": ["AirbyteSyncOperator", "AirbyteTriggerSyncOperator"]}


@needs_react_apps
def test_the_files_are_below_the_path_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/team/airflow/")
    assert AirbyteUiPlugin().react_apps[0]["bundle_url"] == "/team/airflow/airbyte/static/airbyte.js"


@needs_react_apps
def test_airflow_gets_the_same_lists_each_time() -> None:
    plugin = AirbyteUiPlugin()
    assert plugin.react_apps is plugin.react_apps
    assert plugin.fastapi_apps is plugin.fastapi_apps


@needs_react_apps
def test_the_option_switches_the_page_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRBYTE_API__UI", "False")
    assert AirbyteUiPlugin().react_apps == []
    assert AirbyteUiPlugin().fastapi_apps == []


@before("3.1", "it has pages of plugins")
def test_an_older_airflow_gets_nothing() -> None:
    plugin: Any = AirbyteUiPlugin()
    assert (plugin.react_apps, plugin.fastapi_apps) == ([], [])


@needs_react_apps
def test_the_static_files_are_served_with_their_types() -> None:
    from starlette.testclient import TestClient

    from airflow_provider_airbyte_api.ui.app import create_app

    client = TestClient(create_app())
    for name, media_type in (
        ("airbyte.js", "text/javascript"),
        ("airbyte.css", "text/css"),
        ("airbyte.svg", "image/svg+xml"),
    ):
        reply = client.get(f"/static/{name}")
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith(media_type)
        assert (reply.headers["cache-control"], reply.headers["x-content-type-options"]) == ("no-cache", "nosniff")
    for path in ("/", "/docs", "/openapi.json", "/static/", "/static/../app.py", "/static/%2e%2e/app.py"):
        assert client.get(path).status_code == 404
