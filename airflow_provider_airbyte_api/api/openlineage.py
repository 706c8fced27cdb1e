"""OpenLineage dataset names for streams, from the configuration of Airbyte's sources and destinations.

The names follow OpenLineage's naming specification, and for Databricks, SQL Server and DuckDB its dbt integration. So a
catalogue recognizes the same table in the events of any producer. A connector that they do not cover, or whose
configuration is incomplete, is named after Airbyte: ``airbyte://<host>``, ``sources/<id>/<stream>``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from airflow_provider_airbyte_api.api.base_url import ASSET_SCHEME, AirbyteUrls
from airflow_provider_airbyte_api.api.models import Connection, Destination, Source, Stream
from airflow_provider_airbyte_api.api.safe import dict_or_empty, safe_text

Configuration: TypeAlias = Mapping[str, Any]

INCOMPLETE_CONFIG_ERRORS = (AttributeError, KeyError, IndexError, TypeError, StopIteration)
"""Errors of a configuration in which a part of the name is missing or has another form."""


@dataclass(frozen=True)
class DatasetName:
    """The name of a dataset: ``namespace`` is its location, ``name`` identifies it there."""

    namespace: str
    name: str


def input_dataset(urls: AirbyteUrls, source: Source, stream: Stream) -> DatasetName:
    """Return the dataset that a stream is read from."""
    configuration = dict_or_empty(source.raw.get("configuration"))
    named = _named(source.source_type, configuration, stream.namespace, stream.name)
    return named or _fallback_name(urls, "sources", source.source_id, stream)


def output_dataset(urls: AirbyteUrls, connection: Connection, destination: Destination, stream: Stream) -> DatasetName:
    """Return the dataset that a stream is written to."""
    configuration = dict_or_empty(destination.raw.get("configuration"))
    landed = Stream(f"{connection.raw.get('prefix') or ''}{stream.name}", _destination_namespace(connection, stream))
    named = _named(destination.destination_type, configuration, landed.namespace, landed.name)
    if named is not None and destination.destination_type == "snowflake":
        # Airbyte writes schemas and tables in upper case in Snowflake.
        database, _, table = named.name.partition(".")
        return DatasetName(named.namespace, f"{database}.{table.upper()}")
    return named or _fallback_name(urls, "destinations", destination.destination_id, landed)


def _destination_namespace(connection: Connection, stream: Stream) -> str:
    """Return the schema that a connection writes a stream to, or an empty string for the destination's default."""
    definition = connection.raw.get("namespaceDefinition")
    if definition == "source":
        return stream.namespace
    if definition == "custom_format":
        return str(connection.raw.get("namespaceFormat") or "").replace("${SOURCE_NAMESPACE}", stream.namespace)
    return ""


def _fallback_name(urls: AirbyteUrls, kind: str, its_id: str, stream: Stream) -> DatasetName:
    return DatasetName(f"{ASSET_SCHEME}://{urls.address}", "/".join((kind, its_id, *stream.path)))


def _named(kind: str, configuration: Configuration, schema: str, table: str) -> DatasetName | None:
    namer = _NAMERS.get(kind)
    if namer is None:
        return None
    try:
        namespace, *name = namer(configuration, schema, table)
        return DatasetName(safe_text(namespace), safe_text(".".join(name)))
    except INCOMPLETE_CONFIG_ERRORS:
        return None


def _database(scheme: str, port: int, default_schema: str) -> NamingFunc:
    def name(configuration: Configuration, schema: str, table: str) -> tuple[str, ...]:
        address = f"{configuration['host']}:{configuration.get('port') or port}"
        schema = schema or configuration.get("schema") or default_schema
        return f"{scheme}://{address}", str(configuration["database"]), str(schema), table

    return name


def _mysql(configuration: Configuration, schema: str, table: str) -> tuple[str, ...]:
    # A namespace of Airbyte is a database in MySQL.
    return (
        f"mysql://{configuration['host']}:{configuration.get('port') or 3306}",
        schema or str(configuration["database"]),
        table,
    )


def _snowflake(configuration: Configuration, schema: str, table: str) -> tuple[str, ...]:
    account = configuration["host"].lower().removeprefix("https://").removesuffix(".snowflakecomputing.com")
    locator, *region_and_cloud = account.split(".")
    if "-" not in locator:
        # An account locator. A missing region is us-west-1, and a missing cloud is aws.
        region, cloud = [*region_and_cloud, *("us-west-1", "aws")[len(region_and_cloud) :]][:2]
        account = f"{locator}.{region}.{cloud}"
    return f"snowflake://{account}", configuration["database"], schema or configuration.get("schema") or "PUBLIC", table


def _bigquery(configuration: Configuration, schema: str, table: str) -> tuple[str, ...]:
    project, _, dataset = str(schema or configuration["dataset_id"]).rpartition(":")
    return "bigquery", project or configuration["project_id"], dataset, table


def _redshift(configuration: Configuration, schema: str, table: str) -> tuple[str, ...]:
    host, port = configuration["host"], configuration.get("port") or 5439
    labels = host.split(".")
    is_amazons = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    where = f"{labels[0]}.{labels[2]}" if is_amazons else host
    schema = schema or configuration.get("schema") or "public"
    return f"redshift://{where}:{port}", configuration["database"], schema, table


def _databricks(configuration: Configuration, schema: str, table: str) -> tuple[str, ...]:
    schema = schema or configuration.get("schema") or "default"
    return f"databricks://{configuration['hostname']}", configuration["database"], schema, table


def _bucket(scheme: str, keys: tuple[str, str], path_key: str) -> NamingFunc:
    def name(configuration: Configuration, schema: str, table: str) -> tuple[str, ...]:
        bucket = next(configuration[key] for key in keys if configuration.get(key))
        parts = (str(configuration.get(path_key) or "").strip("/"), schema, table)
        return f"{scheme}://{bucket}", "/".join(filter(None, parts))

    return name


def _duckdb(configuration: Configuration, schema: str, table: str) -> tuple[str, ...]:
    path = configuration["destination_path"]
    database = path.rpartition("/")[2].rpartition(".")[0] or path
    return f"duckdb://{path}", database, schema or configuration.get("schema") or "main", table


NamingFunc: TypeAlias = Callable[[Configuration, str, str], tuple[str, ...]]
"""From a configuration, a schema (or an empty string) and a table to the namespace and the parts of the name."""

_NAMERS: dict[str, NamingFunc] = {
    "postgres": _database("postgres", 5432, "public"),
    "mssql": _database("mssql", 1433, "dbo"),
    "mysql": _mysql,
    "snowflake": _snowflake,
    "bigquery": _bigquery,
    "redshift": _redshift,
    "databricks": _databricks,
    "s3": _bucket("s3", ("s3_bucket_name", "bucket"), "s3_bucket_path"),
    "gcs": _bucket("gs", ("gcs_bucket_name", "bucket"), "gcs_bucket_path"),
    "duckdb": _duckdb,
}
