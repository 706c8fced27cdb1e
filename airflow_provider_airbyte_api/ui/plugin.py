"""The plugin that adds the page to Airflow's UI.

Every process of Airflow loads plugins. The attributes are therefore properties: only an API server reads them, and only
there FastAPI is imported.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api._airflow_compat import conf
from airflow_provider_airbyte_api._defaults import UI_PREFIX
from airflow_provider_airbyte_api._options import get_webhook_token, is_ui_enabled
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

log = logging.getLogger(__name__)

SYNC_OPERATORS = ("AirbyteSyncOperator", "AirbyteTriggerSyncOperator")
"""The classes of the tasks that the page lists and that have the tab: as ``OPERATORS`` in ``static/model.js``."""


class AirbyteUiPlugin(AirflowPlugin):
    """The page "Airbyte Syncs", and a tab on the tasks of this provider. Empty where Airflow cannot show them."""

    name = "airbyte_api"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The static files of the page, and the webhook."""
        if not _airflow_compat.has_react_apps():
            return []
        try:
            token = get_webhook_token()
        except AirbyteConfigError as error:  # the API server must start
            log.error("The webhook is off. %s", error)  # noqa: TRY400 - a traceback does not help
            token = None
        if not is_ui_enabled() and token is None:
            return []
        from airflow_provider_airbyte_api.ui.app import create_app  # noqa: PLC0415 - it imports FastAPI

        return [{"app": create_app(token), "url_prefix": UI_PREFIX, "name": "Airbyte"}]

    @cached_property
    def react_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The page, and from Airflow 3.4 on the tab: older versions would show it on each task of each DAG."""
        if not _airflow_compat.has_react_apps() or not is_ui_enabled():
            return []
        # Absolute: up to Airflow 3.2 a relative URL is resolved against a script of the UI.
        static = f"{urlsplit(conf.get('api', 'base_url', fallback='')).path.rstrip('/')}{UI_PREFIX}/static"
        # `name` is the label, and the name of the JavaScript global that holds the component.
        page: dict[str, Any] = {
            "name": "Airbyte Syncs",
            "url_route": "airbyte",
            "category": "browse",
            "destination": "nav",
        }
        tab: dict[str, Any] = {
            "name": "Airbyte Sync",
            "url_route": "airbyte-sync",
            "destination": "task_instance",
            "applies_to": {"operator_name": list(SYNC_OPERATORS)},
        }
        shared = {"bundle_url": f"{static}/airbyte.js", "icon": f"{static}/airbyte.svg"}
        return [{**shared, **each} for each in ([page, tab] if _airflow_compat.has_scoped_tabs() else [page])]
