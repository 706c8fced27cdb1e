"""Airbyte's connections as assets of Airflow: ``airbyte://<host>/<connection id>``, and a stream's path behind it.

The path of an Airbyte that lives below one comes behind the host: ``airbyte://<host>/<path>/<connection id>``.

Nothing is asked of Airbyte here: an asset is declared while a DAG is parsed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_airbyte_api.api.base_url import ASSET_SCHEME, parse_host
from airflow_provider_airbyte_api.api.models import parse_uuid
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset
    from airflow.providers.common.compat.sdk import Asset

_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def connection_asset(host: str, connection_id: str, *stream: str, **more: Any) -> Asset:
    """Return the asset that stands for an Airbyte connection, or for one of its streams.

    :param host: the address of that Airbyte, as in Host of the Airflow connection.
    :param connection_id: the UUID of the Airbyte connection.
    :param stream: the stream's namespace, if it has one, and its name; none for the whole connection.
    :param more: what Airflow's ``Asset`` takes besides its name and URI, such as ``watchers`` and ``extra``.
    :raises AirbyteConfigError: if ``host`` or ``connection_id`` cannot be used.
    """
    from airflow.providers.common.compat.sdk import Asset  # noqa: PLC0415 - get_provider_info names this module

    uri = parse_host(host).asset_uri(parse_uuid(connection_id, "connection_id"), *stream)
    return Asset(uri=uri, **more)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the one spelling of an asset's URI, for Airflow.

    :raises ValueError: if it does not name a host and a connection.
    """
    below, connection_id, *stream = _parts(uri.path)
    try:
        root = parse_host(uri.netloc + below)
        asset_uri = root.asset_uri(parse_uuid(connection_id, "its path"), *stream)
    except AirbyteConfigError as error:
        raise ValueError(
            f"Asset {uri.geturl()!r} is none of Airbyte's, expected {ASSET_SCHEME}://<host>/<UUID of a connection> and "
            f"a stream's namespace and name behind it if one is meant. {error}"
        ) from None
    return urlsplit(asset_uri)


def _parts(path: str) -> list[str]:
    """Return the path below which that Airbyte lives, the connection's id, and a stream's namespace and name."""
    parts = path.strip("/").split("/")
    uuids = (index for index, part in enumerate(parts) if re.fullmatch(_UUID, part))
    index = next(uuids, 0)
    return ["".join(f"/{part}" for part in parts[:index]), *map(unquote, parts[index:])]


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> OpenLineageDataset:  # noqa: ARG001 - Airflow's
    """Return an asset as OpenLineage names it."""
    from airflow.providers.common.compat.openlineage.facet import Dataset  # noqa: PLC0415 - optional

    parts = urlsplit(asset.uri)
    return Dataset(namespace=f"{ASSET_SCHEME}://{parts.netloc}", name=unquote(parts.path.strip("/")))
