"""From an Airflow connection to what a client needs to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_airbyte_api.api.errors import AirbyteConfigError
from airflow_provider_airbyte_api.api.tokens import Credentials
from airflow_provider_airbyte_api.api.urls import api_root
from airflow_provider_airbyte_api.clients.settings import Settings

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection


def settings_of(connection: Connection) -> Settings:
    """Return what an Airflow connection says of how to reach Airbyte.

    :raises AirbyteConfigError: naming the field that cannot be used.
    """
    root = api_root(connection.host or "", connection.port)
    if not connection.login and not connection.password:
        return Settings(root)
    if not connection.login or not connection.password:
        missing, given = ("Password", "Login") if connection.login else ("Login", "Password")
        raise AirbyteConfigError(
            f"Airflow connection {connection.conn_id!r} has a {given} but no {missing}. Login is the client id and "
            "Password the client secret of an Airbyte application; leave both empty only if that Airbyte has "
            "authentication switched off."
        )
    return Settings(root, Credentials(f"{root.api}/applications/token", connection.login, connection.password))
