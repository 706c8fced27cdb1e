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
    "login": "of an application; empty if authentication is off",
    "password": "of that application",
    "port": "that of the URL: 443 for https",
}

AUTH_TYPES = ("client_credentials", "bearer", "basic", "none")

CONN_FIELDS: dict[str, dict[str, Any]] = {
    "auth_type": {
        "label": "Authentication",
        "schema": {"type": ["string", "null"], "enum": list(AUTH_TYPES)},
        "description": "How to be known to Airbyte. Left empty: bearer if there is a static token, client_credentials "
        "if there is a client id, else none. basic: Client ID and secret are user and password of HTTP Basic.",
    },
    "api_token": {
        "label": "Static token",
        "schema": {"type": ["string", "null"], "format": "password"},
        "description": "An access token, sent as it is. Airbyte's own live 15 minutes: prefer client id and secret.",
    },
    "auth_url": {
        "label": "Token URL",
        "schema": {"type": ["string", "null"]},
        "description": "What gives tokens, if not <Airbyte URL>/api/public/v1/applications/token.",
    },
    "headers": {
        "label": "More headers (JSON)",
        "schema": {"type": ["string", "null"]},
        "description": 'Sent with each request, as {"X-Tenant": "data"}. Shown to who may see connections.',
    },
    "secret_headers": {
        "label": "More headers, secret (JSON)",
        "schema": {"type": ["string", "null"], "format": "password"},
        "description": 'The same, hidden: for gateways and identity proxies, as {"CF-Access-Client-Secret": "…"}.',
    },
    "verify": {
        "label": "Verify TLS certificates",
        "schema": {"type": ["boolean", "null"], "default": True},
        "description": "Off: anyone on the way can read along. Prefer a CA bundle.",
    },
    "ca_bundle": {
        "label": "CA bundle",
        "schema": {"type": ["string", "null"]},
        "description": "Path of a PEM file or folder with the CAs to trust, on workers, triggerer and API server.",
    },
    "client_cert": {
        "label": "Client certificate",
        "schema": {"type": ["string", "null"]},
        "description": "Path of a PEM file, for servers that ask for one.",
    },
    "client_key": {
        "label": "Client key",
        "schema": {"type": ["string", "null"]},
        "description": "Path of its key, without a passphrase, if it is not in the same file.",
    },
    "proxy": {
        "label": "Proxy",
        "schema": {"type": ["string", "null"], "format": "password"},
        "description": "http://user:password@host:port. Left empty: http_proxy, https_proxy and no_proxy count.",
    },
    "connect_timeout": {
        "label": "Connect time-out (s)",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "description": "Seconds. Default: 10.",
    },
    "read_timeout": {
        "label": "Read time-out (s)",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "description": "Seconds until a reply begins or goes on; starts and cancels have 150 s. Default: 30.",
    },
    "disk_cache": {
        "label": "Share the token on disk",
        "schema": {"type": ["boolean", "null"], "default": False},
        "description": "All processes of a machine then ask for one token, kept encrypted in the user's cache folder.",
    },
    "max_concurrent_requests": {
        "label": "Requests in flight",
        "schema": {"type": ["integer", "null"], "minimum": 1},
        "description": "How many a triggerer may have under way. Default: 4; self-managed servers have 5 threads.",
    },
}
