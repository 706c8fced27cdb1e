"""Datasets have the names that OpenLineage gives them, whoever tells of them."""

from __future__ import annotations

from typing import Any

import pytest
from openlineage.client.naming import dataset as openlineage

from airflow_provider_airbyte_api.api.base_url import parse_host
from airflow_provider_airbyte_api.api.models import Connection, Destination, Source, Stream
from airflow_provider_airbyte_api.api.openlineage import DatasetName, input_dataset, output_dataset

ROOT = parse_host("http://localhost:8000")
USERS = Stream("users", "crm")
LONELY = Stream("users")


def read(kind: str, configuration: dict[str, Any], stream: Stream = USERS) -> DatasetName:
    row = {"sourceId": "s-1", "sourceType": kind, "configuration": configuration}
    return input_dataset(ROOT, Source.from_json(row), stream)


def written(kind: str, configuration: dict[str, Any], stream: Stream = USERS, **connection: Any) -> DatasetName:
    row = {"destinationId": "d-1", "destinationType": kind, "configuration": configuration}
    made = Connection.from_json({"connectionId": "c-1", **connection})
    return output_dataset(ROOT, made, Destination.from_json(row), stream)


SNOWFLAKE = ".snowflakecomputing.com"
DATABASE = {"host": "db", "database": "shop"}


@pytest.mark.parametrize(
    ("kind", "configuration", "expected"),
    [
        ("postgres", {**DATABASE, "port": 5433}, openlineage.Postgres("db", "5433", "shop", "crm", "users")),
        ("postgres", DATABASE, openlineage.Postgres("db", "5432", "shop", "crm", "users")),
        ("mysql", DATABASE, openlineage.MySQL("db", "3306", "crm", "users")),
        (
            "snowflake",
            {"host": "acme-prod.snowflakecomputing.com", "database": "SHOP"},
            openlineage.Snowflake("acme", "prod", "SHOP", "crm", "users"),
        ),
        ("bigquery", {"project_id": "acme"}, openlineage.BigQuery("acme", "crm", "users")),
        (
            "redshift",
            {"host": "dwh.abc.eu-west-1.redshift.amazonaws.com", "port": 5439, "database": "shop"},
            openlineage.Redshift("dwh", "eu-west-1", "5439", "shop", "crm", "users"),
        ),
        ("s3", {"bucket": "lake"}, openlineage.S3("lake", "crm/users")),
        ("gcs", {"bucket": "lake"}, openlineage.GCS("lake", "crm/users")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_source_has_the_name_that_openlineages_own_library_gives(
    kind: str, configuration: dict[str, Any], expected: openlineage.DatasetNaming
) -> None:
    assert read(kind, configuration) == DatasetName(expected.get_namespace(), expected.get_name())


@pytest.mark.parametrize(
    ("kind", "configuration", "namespace", "name"),
    [
        ("mssql", DATABASE, "mssql://db:1433", "shop.crm.users"),
        (
            "databricks",
            {"hostname": "dbc-1.example", "database": "main"},
            "databricks://dbc-1.example",
            "main.crm.users",
        ),
        ("duckdb", {"destination_path": "/local/shop.duckdb"}, "duckdb:///local/shop.duckdb", "shop.crm.users"),
        (
            "snowflake",
            {"host": "xy12345" + SNOWFLAKE, "database": "D"},
            "snowflake://xy12345.us-west-1.aws",
            "D.crm.users",
        ),
        (
            "snowflake",
            {"host": f"xy12345.eu-central-1{SNOWFLAKE}", "database": "D"},
            "snowflake://xy12345.eu-central-1.aws",
            "D.crm.users",
        ),
        ("redshift", {"host": "10.0.0.1", "database": "shop"}, "redshift://10.0.0.1:5439", "shop.crm.users"),
        ("bigquery", {"project_id": "acme", "dataset_id": "other:raw"}, "bigquery", "acme.crm.users"),
    ],
)
def test_what_the_library_does_not_name_is_named_as_its_other_integrations_do(
    kind: str, configuration: dict[str, Any], namespace: str, name: str
) -> None:
    assert read(kind, configuration) == DatasetName(namespace, name)


@pytest.mark.parametrize(
    ("kind", "configuration", "name"),
    [
        ("postgres", {**DATABASE, "schema": "raw"}, "shop.raw.users"),
        ("postgres", DATABASE, "shop.public.users"),
        ("mssql", DATABASE, "shop.dbo.users"),
        ("mysql", DATABASE, "shop.users"),
        ("bigquery", {"project_id": "acme", "dataset_id": "other:raw"}, "other.raw.users"),
        ("snowflake", {"host": "a-b.snowflakecomputing.com", "database": "D", "schema": "S"}, "D.S.USERS"),
        ("databricks", {"hostname": "h", "database": "main"}, "main.default.users"),
        ("s3", {"s3_bucket_name": "lake", "s3_bucket_path": "/raw/"}, "raw/users"),
        ("gcs", {"gcs_bucket_name": "lake", "gcs_bucket_path": "raw"}, "raw/users"),
        ("duckdb", {"destination_path": "md:"}, "md:.main.users"),
    ],
)
def test_without_a_namespace_of_its_own_a_stream_lands_where_the_destination_says(
    kind: str, configuration: dict[str, Any], name: str
) -> None:
    assert written(kind, configuration, LONELY).name == name


@pytest.mark.parametrize(
    ("connection", "name"),
    [
        ({"namespaceDefinition": "source"}, "shop.crm.users"),
        ({"namespaceDefinition": "destination"}, "shop.public.users"),
        ({"namespaceDefinition": "custom_format", "namespaceFormat": "raw_${SOURCE_NAMESPACE}"}, "shop.raw_crm.users"),
        ({"namespaceDefinition": "custom_format", "namespaceFormat": "landing"}, "shop.landing.users"),
        ({"namespaceDefinition": "source", "prefix": "ab_"}, "shop.crm.ab_users"),
        ({}, "shop.public.users"),
    ],
)
def test_the_connection_determines_the_destination_name_of_a_stream(connection: dict[str, str], name: str) -> None:
    assert written("postgres", DATABASE, USERS, **connection).name == name


@pytest.mark.parametrize(
    ("kind", "configuration"),
    [
        ("stripe", {"account_id": "1"}),
        ("", {}),
        ("postgres", {}),
        ("snowflake", {"host": None}),
        ("s3", {}),
        ("duckdb", {}),
    ],
)
def test_what_has_no_such_name_is_named_after_airbyte(kind: str, configuration: dict[str, Any]) -> None:
    assert read(kind, configuration) == DatasetName("airbyte://localhost:8000", "sources/s-1/crm/users")
    assert written(kind, configuration, LONELY) == DatasetName("airbyte://localhost:8000", "destinations/d-1/users")


@pytest.mark.parametrize("configuration", [5, "text", ["x"], True, {"host": {}, "database": 5}])
def test_a_configuration_of_another_type_says_too_little(configuration: Any) -> None:
    for kind in ("postgres", "mysql", "snowflake", "bigquery", "redshift", "databricks", "s3", "duckdb"):
        assert read(kind, configuration).name
        assert written(kind, configuration, prefix=5).name
