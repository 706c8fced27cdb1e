"""Conversion of an Airflow connection to a client's configuration."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from airflow_provider_airbyte_api._airflow_compat import amask_secret
from airflow_provider_airbyte_api.api.base_url import EXPECTED_ADDRESS, AirbyteUrls, parse_host
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, Token, static_token
from airflow_provider_airbyte_api.clients.settings import ClientSettings, TlsSettings
from airflow_provider_airbyte_api.connection_form import (
    AUTH_TYPES,
    CONFIG_API_AUTO,
    CONFIG_API_OFF,
    CONNECTION_TYPE,
)
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError
from airflow_provider_airbyte_api.hooks._extras import Extras

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Connection

ACCEPTED_CONN_TYPES = (CONNECTION_TYPE, "airbyte", "http", "https", "generic", "")
"""Accepted types of Airflow connections: this provider's, the official provider's, and generic ones.

The HTTP types are accepted because users without a provider call the API with Airflow's HTTP operators.
"""

TOKEN_PATH = "/applications/token"  # noqa: S105 - a path


def missing_connection(conn_id: str) -> str:
    """Return the message for an Airflow connection that was not found.

    Airflow skips an environment variable that it cannot parse, and reports that the connection is not defined.

    :param conn_id: ID of the Airflow connection.
    """
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    hint = (
        f"Airflow cannot parse the environment variable {variable}: correct it, it must be a JSON object or a URI."
        if variable in os.environ
        else f"Create it in Admin > Connections or as the environment variable {variable}, or correct the id."
    )
    return f"Airflow connection {conn_id!r} was not found. {hint}"


def parse_settings(connection: Connection) -> ClientSettings:
    """Return the client configuration from an Airflow connection.

    The connection may have the type ``airbyte``, filled in as the official provider documents.

    :param connection: The Airflow connection.
    :raises AirbyteConfigError: if a field is invalid. The message names the field.
    """
    _require_airbyte(connection)
    # The connection's own extra_dejson would block the event loop of a triggerer.
    extras = Extras(connection.conn_id, connection.extra)
    # The official provider hides the port field, so its value has no meaning.
    urls = parse_host(_host_with_scheme(connection), None if connection.conn_type == "airbyte" else connection.port)
    credentials, fixed = _parse_auth(connection, extras, urls)
    return ClientSettings(
        urls,
        credentials,
        fixed,
        connect_timeout=extras.seconds("connect_timeout", ClientSettings.connect_timeout),
        read_timeout=extras.seconds("read_timeout", extras.seconds("timeout", ClientSettings.read_timeout)),
        extra_headers=_extra_headers(extras, has_token=credentials is not None or fixed is not None),
        tls=_tls(extras),
        proxy=_proxy(extras, urls),
        use_disk_cache=extras.boolean("disk_cache", default=extras.choice("token_cache", ("memory", "disk")) == "disk"),
        max_concurrent_requests=extras.positive_int("max_concurrent_requests", ClientSettings.max_concurrent_requests),
        config_url=_config_url(extras, urls),
    )


async def parse_and_mask(connection: Connection) -> ClientSettings:
    """Return the settings of an Airflow connection, and mask its secrets, without blocking the event loop.

    :raises AirbyteConfigError: as :func:`parse_settings`.
    """
    settings = parse_settings(connection)
    for secret in extract_secrets(connection, settings):
        await amask_secret(secret)
    return settings


def extract_secrets(connection: Connection, settings: ClientSettings) -> list[str]:
    """Return the secrets that Airflow does not mask itself. It masks the password, and extras with a sensitive name.

    :param connection: The Airflow connection.
    :param settings: The result of :func:`parse_settings` for ``connection``.
    """
    found = list(Extras(connection.conn_id, connection.extra).headers("secret_headers").values())
    if settings.static_token is not None:
        found.append(settings.static_token.value)
    password = None if settings.proxy is None else urlsplit(settings.proxy).password
    return [*found, *([] if password is None else [password, unquote(password)])]


def unknown_extras(connection: Connection) -> list[str]:
    """Return the names of unknown extras, each with a similar known name if there is one."""
    return Extras(connection.conn_id, connection.extra).unknown


def _require_airbyte(connection: Connection) -> None:
    """Raise for a connection of another service, because its login and password would be sent to its host."""
    if (connection.conn_type or "") not in ACCEPTED_CONN_TYPES:
        raise AirbyteConfigError(
            f"Airflow connection {connection.conn_id!r} is of type {connection.conn_type!r}, expected "
            f"{CONNECTION_TYPE!r}. No request was sent. Correct airbyte_conn_id, or the connection's type."
        )


def _host_with_scheme(connection: Connection) -> str:
    """Return the host with its scheme, which a URI such as ``airbyte-api://id:secret@localhost:8000/http`` ends in."""
    host = (connection.host or "").strip()
    if not host:
        # Python does not parse a scheme with an underscore, so Airflow finds no field in such a URI.
        hint = "" if connection.conn_type else " If it is a URI, its scheme must be airbyte-api://, with a hyphen."
        raise AirbyteConfigError(
            f"Airflow connection {connection.conn_id!r} has no Airbyte URL (Host).{hint} {EXPECTED_ADDRESS}"
        )
    if connection.schema in ("http", "https") and "://" not in host:
        return f"{connection.schema}://{host}"
    return host


def _parse_auth(
    connection: Connection, extras: Extras, urls: AirbyteUrls
) -> tuple[ClientCredentials | None, Token | None]:
    """Return the client credentials, or a static token, or neither."""
    # Values copied from a web page or a terminal often end in a space or a line break.
    login, password = (connection.login or "").strip(), (connection.password or "").strip()
    api_token = extras.secret("api_token")
    auth_type = extras.choice("auth_type", AUTH_TYPES)
    if auth_type is None and api_token and (login or password):
        raise AirbyteConfigError(
            f"Airflow connection {connection.conn_id!r} has both the extra api_token and a Client ID (Login) or "
            "Client secret (Password). Remove one of the two, or set the extra auth_type."
        )
    auth_type = auth_type or ("bearer" if api_token else "client_credentials" if login or password else "none")
    if auth_type == "none":
        return None, None
    if auth_type == "bearer":
        if not api_token:
            raise AirbyteConfigError(
                f"Extra auth_type of Airflow connection {connection.conn_id!r} is bearer, but api_token is missing."
            )
        return None, static_token(
            api_token,
            "Check the extra api_token: Airbyte's tokens expire after 15 minutes, and this one is not renewed. With "
            "Client ID (Login) and Client secret (Password), tokens are fetched when needed.",
        )
    if not login or not password:
        fields = ("Client ID (Login)", "Client secret (Password)")
        given, missing = fields if login else fields[::-1]
        without = f"a {given} but no {missing}" if login or password else f"neither {given} nor {missing}"
        raise AirbyteConfigError(
            f"Airflow connection {connection.conn_id!r} has {without}. Enter both from an Airbyte application, or "
            "user and password with auth_type basic. Leave both empty only if this Airbyte has authentication switched "
            "off."
        )
    if auth_type == "basic":
        encoded = base64.b64encode(f"{login}:{password}".encode()).decode()
        hint = (
            "Check Client ID (Login) and Client secret (Password), which are sent as HTTP Basic because the extra "
            "auth_type is basic."
        )
        return None, static_token(encoded, hint, "Basic")
    return ClientCredentials(_token_url(connection, extras, urls), login, password), None


def _token_url(connection: Connection, extras: Extras, urls: AirbyteUrls) -> str:
    own = urls.api_url + TOKEN_PATH
    # The official provider stores the token URL in Schema, relative or absolute.
    given = extras.text("auth_url") or (connection.schema if connection.conn_type == "airbyte" else None)
    if not given or ("://" not in given and given.rstrip("/").endswith(TOKEN_PATH.lstrip("/"))):
        return own
    url = urljoin(own, given if "://" in given else f"/{given.lstrip('/')}")
    if not _is_url(url):
        field = "auth_url" if extras.text("auth_url") else "auth_url (from Schema)"
        extras.invalid(field, "a URL such as https://login.example.com/token, without a password or a query")
    return url


def _config_url(extras: Extras, urls: AirbyteUrls) -> str | None:
    """Return the root URL of Airbyte's internal API, or None if it must not be called."""
    given = extras.text("config_api") or CONFIG_API_AUTO
    if given == CONFIG_API_OFF:
        return None
    if given == CONFIG_API_AUTO:
        return urls.config_url
    if not _is_url(given):
        extras.invalid("config_api", f"{CONFIG_API_AUTO}, {CONFIG_API_OFF}, or a URL such as {urls.config_url}")
    return given.rstrip("/")


def _is_url(text: str) -> bool:
    """Return True if ``text`` is an http(s) URL without a password and a query."""
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port != 0
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port_is_valid
        and "@" not in parts.netloc
        and not parts.query
        and not parts.fragment
    )


def _extra_headers(extras: Extras, *, has_token: bool) -> tuple[tuple[str, str], ...]:
    headers = {**extras.headers("headers"), **extras.headers("secret_headers")}
    taken = {"authorization"} & {name.lower() for name in headers}
    if taken and has_token:
        raise AirbyteConfigError(
            "The extra headers contain Authorization, which is reserved for Airbyte's token. Configure the gateway to "
            "read another header (many read Proxy-Authorization), or set the extra auth_type to none."
        )
    return tuple(headers.items())


def _tls(extras: Extras) -> TlsSettings:
    tls = TlsSettings(
        extras.boolean("verify", default=True),
        extras.path("ca_bundle", or_folder=True),
        extras.path("client_cert"),
        extras.path("client_key"),
    )
    if tls.client_key is not None and tls.client_cert is None:
        extras.invalid("client_key", "the extra client_cert as well")
    return tls


def _proxy(extras: Extras, urls: AirbyteUrls) -> str | None:
    scheme = urlsplit(urls.api_url).scheme
    return extras.proxy("proxy", scheme) or extras.proxy("proxies", scheme)
