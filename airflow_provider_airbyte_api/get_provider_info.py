"""What Airflow asks of a provider. Imports nothing: Airflow calls it while it configures itself."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata."""
    return {
        "package-name": "airflow-provider-airbyte-api",
        "name": "Airbyte API",
        "description": "Run `Airbyte <https://airbyte.com/>`__ syncs through Airbyte's public API.",
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
        "connection-types": [
            {
                "connection-type": "airbyte_api",
                "hook-class-name": "airflow_provider_airbyte_api.hooks.airbyte.AirbyteHook",
                "hook-name": "Airbyte API",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {
                        "host": "Airbyte URL",
                        "login": "Client ID",
                        "password": "Client secret",
                    },
                    "placeholders": {
                        "host": "https://api.airbyte.com/v1, or the URL of your Airbyte",
                        "login": "of an application; empty if authentication is off",
                        "password": "of that application",
                    },
                },
            }
        ],
    }


def _modules(room: str) -> dict[str, Any]:
    return {
        "integration-name": "Airbyte API",
        "python-modules": [f"airflow_provider_airbyte_api.{room}.airbyte"],
    }
