"""Airflow assets for Airbyte connections: ``airbyte://<host>/<connection id>``, followed by a stream's path if any.

If Airbyte is served below a path, the path follows the host: ``airbyte://<host>/<path>/<connection id>``.

This module sends no request to Airbyte, because assets are declared while a DAG is parsed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_airbyte_api.api.base_url import ASSET_SCHEME, parse_host
from airflow_provider_airbyte_api.api.models import parse_uuid
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

if TYPE_CHECKING:
    from openlineage.client.event_v2 import Dataset as OpenLineageDataset

    from airflow_provider_airbyte_api._airflow_compat import Asset

_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def connection_asset(host: str, connection_id: str, *stream: str, **asset_kwargs: Any) -> Asset:
    """Return the Airflow asset for an Airbyte connection, or for one of its streams.

    :param host: Address of the Airbyte instance, as in the Host field of the Airflow connection.
    :param connection_id: UUID of the Airbyte connection.
    :param stream: Namespace of the stream, if it has one, and its name. Omit both for the whole connection.
    :param asset_kwargs: Other arguments of Airflow's ``Asset``, such as ``watchers`` and ``extra``. ``uri`` is set by
        this function. Do not pass ``name``: Airflow would treat it as a different asset.
    :raises AirbyteConfigError: if ``host`` or ``connection_id`` is invalid.
    """
    from airflow_provider_airbyte_api._airflow_compat import Asset  # noqa: PLC0415 - get_provider_info names this module

    uri = parse_host(host).asset_uri(parse_uuid(connection_id, "connection_id"), *stream)
    return Asset(uri=uri, **asset_kwargs)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the normalized form of an asset URI. Airflow calls this for the scheme ``airbyte``.

    :param uri: The URI as the DAG author wrote it, split into its parts.
    :raises ValueError: if the URI does not contain a host and the UUID of a connection.
    """
    below, connection_id, *stream = _parts(uri.path)
    try:
        urls = parse_host(uri.netloc + below)
        asset_uri = urls.asset_uri(parse_uuid(connection_id, "its path"), *stream)
    except AirbyteConfigError as error:
        raise ValueError(
            f"Asset {uri.geturl()!r} is not an Airbyte asset, expected {ASSET_SCHEME}://<host>/<UUID of a connection>, "
            f"and for a stream its namespace and name after it. {error}"
        ) from None
    return urlsplit(asset_uri)


def _parts(path: str) -> list[str]:
    """Return the path that Airbyte is served below, the connection's ID, and a stream's namespace and name."""
    parts = path.strip("/").split("/")
    uuids = (index for index, part in enumerate(parts) if re.fullmatch(_UUID, part))
    index = next(uuids, 0)
    return ["".join(f"/{part}" for part in parts[:index]), *map(unquote, parts[index:])]


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> OpenLineageDataset:  # noqa: ARG001 - Airflow's
    """Return the OpenLineage dataset for an asset. Airflow's OpenLineage provider calls this.

    :param asset: The Airflow asset.
    :param lineage_context: Not used.
    """
    from openlineage.client.event_v2 import Dataset  # noqa: PLC0415 - optional

    parts = urlsplit(asset.uri)
    return Dataset(namespace=f"{ASSET_SCHEME}://{parts.netloc}", name=unquote(parts.path.strip("/")))
