"""From an Airflow connection to what a client needs to know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api.api.errors import AirbyteConfigError
from airflow_provider_airbyte_api.api.tokens import Credentials
from airflow_provider_airbyte_api.api.urls import ApiRoot, api_root
from airflow_provider_airbyte_api.clients.settings import Settings

TOKEN_CACHES = ("memory", "disk")

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection


def settings_of(connection: Connection) -> Settings:
    """Return what an Airflow connection says of how to reach Airbyte.

    :raises AirbyteConfigError: naming the field that cannot be used.
    """
    root = api_root(connection.host or "", connection.port)
    return Settings(root, _credentials(connection, root), shares_token=_token_cache(connection) == "disk")


def _credentials(connection: Connection, root: ApiRoot) -> Credentials | None:
    if not connection.login and not connection.password:
        return None
    if not connection.login or not connection.password:
        missing, given = ("Password", "Login") if connection.login else ("Login", "Password")
        raise AirbyteConfigError(
            f"Airflow connection {connection.conn_id!r} has a {given} but no {missing}. Login is the client id and "
            "Password the client secret of an Airbyte application; leave both empty only if that Airbyte has "
            "authentication switched off."
        )
    return Credentials(f"{root.api}/applications/token", connection.login, connection.password)


def _token_cache(connection: Connection) -> str:
    value = _extras(connection).get("token_cache") or "memory"
    if value not in TOKEN_CACHES:
        raise AirbyteConfigError(
            f"Extra token_cache of Airflow connection {connection.conn_id!r} is {value!r}, expected one of "
            f"{', '.join(TOKEN_CACHES)}."
        )
    return str(value)


def _extras(connection: Connection) -> dict[str, Any]:
    """Return the connection's extras. Its own ``extra_dejson`` would block the event loop of a triggerer."""
    try:
        extras = json.loads(connection.extra or "{}")
    except ValueError:
        extras = None
    if not isinstance(extras, dict):
        raise AirbyteConfigError(f"Extra of Airflow connection {connection.conn_id!r} is no JSON object.")
    return extras
