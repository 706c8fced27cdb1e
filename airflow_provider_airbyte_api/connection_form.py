"""The form of the Airflow connection as data, for Airflow's UI and for the parser of the connection.

This module has no imports of Airflow, because Airflow reads the provider's metadata while it configures itself.

Airflow hides a value, in its UI and in logs, if its key contains a word such as "token", "secret" or "proxy". The other
keys contain no such word.
"""

from __future__ import annotations

from typing import Any

CONNECTION_TYPE = "airbyte_api"
HOOK_NAME = "Airbyte API"

# The Port field stays, although the URL may contain it: without a port, Airflow 3.3.2's Test button does not test.
HIDDEN_FIELDS = ["schema"]
RELABELING = {"host": "Airbyte URL", "login": "Client ID", "password": "Client secret"}
PLACEHOLDERS = {
    "host": "https://api.airbyte.com/v1, or the address of your Airbyte",
    "login": "client id of an Airbyte application; empty if authentication is switched off",
    "password": "client secret of the application",
    "port": "port of the URL: 443 for https",
}

CONFIG_API_AUTO, CONFIG_API_OFF = "auto", "off"
AUTH_TYPES = ("client_credentials", "bearer", "basic", "none")

CONN_FIELDS: dict[str, dict[str, Any]] = {
    "auth_type": {
        "label": "Authentication",
        "schema": {"type": ["string", "null"], "enum": list(AUTH_TYPES)},
        "description": "Authentication method. If empty: bearer if there is a static token, client_credentials if "
        "there is a client id, otherwise none. basic: Client ID and secret are user and password of HTTP Basic.",
    },
    "api_token": {
        "label": "Static token",
        "schema": {"type": ["string", "null"], "format": "password"},
        "description": "An access token, sent as it is. Airbyte's expire after 15 minutes: use client id and secret.",
    },
    "auth_url": {
        "label": "Token URL",
        "schema": {"type": ["string", "null"]},
        "description": "Token endpoint, if not <Airbyte URL>/api/public/v1/applications/token.",
    },
    "config_api": {
        "label": "Internal API, for failure reasons",
        "schema": {"type": ["string", "null"]},
        "description": "Root URL of Airbyte's internal API. auto (default): <Airbyte URL>/api/v1. off: not called.",
    },
    "headers": {
        "label": "Additional headers (JSON)",
        "schema": {"type": ["string", "null"]},
        "description": 'Sent with each request, for example {"X-Tenant": "data"}. Not hidden from users.',
    },
    "secret_headers": {
        "label": "Secret headers (JSON)",
        "schema": {"type": ["string", "null"], "format": "password"},
        "description": 'The same, but masked. For gateways and identity proxies: {"CF-Access-Client-Secret": "…"}.',
    },
    "verify": {
        "label": "Verify TLS certificates",
        "schema": {"type": ["boolean", "null"], "default": True},
        "description": "Disabling this allows interception; prefer a CA bundle.",
    },
    "ca_bundle": {
        "label": "CA bundle",
        "schema": {"type": ["string", "null"]},
        "description": "Path of a PEM file or directory with the CAs to trust, on workers, triggerer and API server.",
    },
    "client_cert": {
        "label": "Client certificate",
        "schema": {"type": ["string", "null"]},
        "description": "Path of a PEM file, for servers that require one.",
    },
    "client_key": {
        "label": "Client key",
        "schema": {"type": ["string", "null"]},
        "description": "Path of its key, without a passphrase, if it is not in the same file.",
    },
    "proxy": {
        "label": "Proxy",
        "schema": {"type": ["string", "null"], "format": "password"},
        "description": "http://user:password@host:port. If empty: http_proxy, https_proxy and no_proxy apply.",
    },
    "connect_timeout": {
        "label": "Connect timeout (s)",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "description": "Seconds. Default: 10.",
    },
    "read_timeout": {
        "label": "Read timeout (s)",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "description": "Seconds without data of a response; starts and cancels have 150 s. Default: 30.",
    },
    "disk_cache": {
        "label": "Cache token on disk",
        "schema": {"type": ["boolean", "null"], "default": False},
        "description": "All processes of a machine then share one token, encrypted in the user's cache directory.",
    },
    "max_concurrent_requests": {
        "label": "Max concurrent requests",
        "schema": {"type": ["integer", "null"], "minimum": 1},
        "description": "Maximum for a triggerer. Default: 4; self-managed servers have 5 threads.",
    },
}
