"""The provider's metadata. Imports nothing of Airflow, which reads it while it configures itself."""

from __future__ import annotations

from typing import Any

from airflow_provider_airbyte_api import connection_form
from airflow_provider_airbyte_api._defaults import DEFAULT_MIN_DEFERRAL

ASSET_URIS = {
    "schemes": ["airbyte"],
    "handler": "airflow_provider_airbyte_api.assets.sanitize_uri",
    "factory": "airflow_provider_airbyte_api.assets.connection_asset",
    "to_openlineage_converter": "airflow_provider_airbyte_api.assets.convert_asset_to_openlineage",
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata."""
    return {
        "package-name": "airflow-provider-airbyte-api",
        "name": "Airbyte API",
        # Plain text: Airflow's page of providers takes a link apart, and glues its text to its address.
        "description": "Run Airbyte syncs through Airbyte's public API.",
        "integrations": [
            {
                "integration-name": "Airbyte API",
                "external-doc-url": "https://reference.airbyte.com/",
                "tags": ["service"],
            }
        ],
        "hooks": [_modules("hooks")],
        "operators": [_modules("operators")],
        "sensors": [_modules("sensors")],
        "triggers": [_modules("triggers")],
        "extra-links": [
            "airflow_provider_airbyte_api.links.airbyte.AirbyteJobLink",
            "airflow_provider_airbyte_api.links.airbyte.AirbyteConnectionLink",
        ],
        "asset-uris": [ASSET_URIS],
        "dataset-uris": [ASSET_URIS],  # their name on Airflow 2
        "cli": ["airflow_provider_airbyte_api.cli.definition.get_airbyte_cli_commands"],
        "config": {
            "airbyte_api": {
                "description": "Options of the provider for Airbyte's public API.",
                "options": {
                    "min_deferral": {
                        "description": (
                            "Minimum seconds between the start of a trigger and its event, from 0 to 120. Set it to at "
                            "least twice ``[workers] min_heartbeat_interval``: if a trigger fires before the worker "
                            "has noticed that the task has deferred, the scheduler fails the resumed task. Use 0 only "
                            "where triggers run in the process of the task, as in tests."
                        ),
                        "version_added": "1.0.0",
                        "type": "float",
                        "example": "20",
                        "default": f"{DEFAULT_MIN_DEFERRAL:g}",
                    },
                    "job_state_backend": {
                        "description": (
                            "Where tasks store which job they started, so that a retry follows it. ``auto``: in "
                            "Airflow's store of a task (3.3 and newer), else in one Variable for each task run. "
                            "``variables``: in Variables. The URL of a folder in an object storage: in one file for "
                            "each task run. ``none``: nowhere; a retry then asks Airbyte for a running job. Tasks "
                            "delete their Variable or file when they succeed."
                        ),
                        "version_added": "1.0.0",
                        "type": "string",
                        "example": "s3://aws_default@bucket/airbyte",
                        "default": "auto",
                    },
                    "ui": {
                        "description": (
                            "Whether Airflow's UI has the page of Airbyte syncs, on Airflow 3.1 and newer. The page "
                            "reads Airflow's REST API with the session of its viewer. API servers read the option when "
                            "they start."
                        ),
                        "version_added": "1.0.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                    "webhook": {
                        "description": (
                            "Whether the API server accepts Airbyte's notifications of successful syncs and emits "
                            "their asset events, on Airflow 3.1 and newer. The command ``webhook`` prints the URL."
                        ),
                        "version_added": "1.0.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "webhook_token": {
                        "description": (
                            "The secret in the URL of the webhook, with at least 16 characters. Airbyte signs nothing, "
                            "so anyone who has it can emit asset events of Airbyte connections."
                        ),
                        "version_added": "1.0.0",
                        "type": "string",
                        "sensitive": True,
                        "example": "4f1c0d8be2a94f6c",
                        "default": "",
                    },
                },
            }
        },
        "connection-types": [
            {
                "connection-type": connection_form.CONNECTION_TYPE,
                "hook-class-name": "airflow_provider_airbyte_api.hooks.airbyte.AirbyteHook",
                "hook-name": connection_form.HOOK_NAME,
                "ui-field-behaviour": {
                    "hidden-fields": connection_form.HIDDEN_FIELDS,
                    "relabeling": connection_form.RELABELING,
                    "placeholders": connection_form.PLACEHOLDERS,
                },
                "conn-fields": connection_form.CONN_FIELDS,
            }
        ],
    }


def _modules(package: str) -> dict[str, Any]:
    return {
        "integration-name": "Airbyte API",
        "python-modules": [f"airflow_provider_airbyte_api.{package}.airbyte"],
    }
