"""The initial data of a local Airbyte."""

from __future__ import annotations

from typing import Any

WORKSPACE_ID = "6b0f2c1e-2f6c-4a57-9d1b-3b8f5d1f7a10"
SNOWFLAKE = "5d8b3b52-6f0e-4f8e-9a36-0f9f5a1c2d01"
STRIPE = "0c31738c-0b2d-4887-b506-e2cd1c39cc35"
BIGQUERY = "af0c3c67-aa61-419f-8922-95b0bf840e86"
POSTGRES = "7d2f8e1c-44b5-4c1a-8a3f-9e6b7c5d4a02"
STRIPE_TO_BIGQUERY = "9924bcd0-99be-453d-ba47-c2c9766f7da5"
SNOWFLAKE_TO_POSTGRES = "2b1f6a9e-7c43-4d0f-b6a8-5e3d2c1b0a94"
STRIPE_TO_POSTGRES = "c7e4d3b2-a190-4f8e-8d7c-6b5a49382716"
NIGHTLY = "d2b0c5a4-1e3f-4a6b-8c7d-9e0f1a2b3c4d"


def workspaces() -> list[dict[str, Any]]:
    """Return the workspaces."""
    return [
        {
            "workspaceId": WORKSPACE_ID,
            "name": "Local",
            "dataResidency": "auto",
            "notifications": {
                event: {"email": {"enabled": True}, "webhook": {"enabled": False}}
                for event in (
                    "failure",
                    "success",
                    "connectionUpdate",
                    "connectionUpdateActionRequired",
                    "syncDisabled",
                    "syncDisabledWarning",
                )
            },
        }
    ]


def sources() -> list[dict[str, Any]]:
    """Return the two sources of Airbyte's own article about its API."""
    return [
        {
            "sourceId": SNOWFLAKE,
            "name": "Snowflake",
            "sourceType": "snowflake",
            "definitionId": "e2d65910-8c8b-40a1-ae7d-ee2416b2bfa2",
            "workspaceId": WORKSPACE_ID,
            # No `credentials`: Airbyte's SDK 1.0 tries the models of all connectors, and fails on it in another one.
            "configuration": {
                "host": "acme.snowflakecomputing.com",
                "role": "AIRBYTE",
                "database": "SALES",
                "warehouse": "LOADING",
                "schema": "PUBLIC",
            },
            "createdAt": 1758053604,
        },
        {
            "sourceId": STRIPE,
            "name": "Stripe",
            "sourceType": "stripe",
            "definitionId": "e094cb9a-26de-4645-8761-65c0c425d1de",
            "workspaceId": WORKSPACE_ID,
            "configuration": {
                "account_id": "acct_1",
                "start_date": "2023-07-01T00:00:00Z",
                "client_secret": "**********",
            },
            "createdAt": 1755562809,
        },
    ]


def destinations() -> list[dict[str, Any]]:
    """Return the destinations."""
    return [
        {
            "destinationId": BIGQUERY,
            "name": "BigQuery",
            "destinationType": "bigquery",
            "definitionId": "22f6c74f-5699-40ff-833c-4a879ea40133",
            "workspaceId": WORKSPACE_ID,
            "configuration": {
                "project_id": "acme",
                "dataset_id": "raw",
                "dataset_location": "EU",
                "loading_method": {"method": "Standard"},
            },
            "createdAt": 1755562900,
        },
        {
            "destinationId": POSTGRES,
            "name": "Postgres",
            "destinationType": "postgres",
            "definitionId": "25c5221d-dce2-4163-ade9-739ef790f503",
            "workspaceId": WORKSPACE_ID,
            "configuration": {
                "host": "db.acme.example",
                "port": 5432,
                "database": "raw",
                "schema": "public",
                "username": "airbyte",
                "password": "**********",
            },
            "createdAt": 1755562950,
        },
    ]


def connections() -> list[dict[str, Any]]:
    """Return two active connections, and an inactive one with a schedule of the kind that the web app creates."""
    return [
        _connection(STRIPE_TO_BIGQUERY, "Stripe → BigQuery", STRIPE, BIGQUERY, "invoices", "customers"),
        _connection(SNOWFLAKE_TO_POSTGRES, "Snowflake → Postgres", SNOWFLAKE, POSTGRES, "orders"),
        {
            **_connection(STRIPE_TO_POSTGRES, "Stripe → Postgres", STRIPE, POSTGRES, "invoices"),
            "status": "inactive",
            "schedule": {"scheduleType": "basic", "basicTiming": "Every 24 HOURS"},
        },
    ]


def tags() -> list[dict[str, Any]]:
    """Return the tags."""
    return [{"tagId": NIGHTLY, "name": "nightly", "color": "FF5733", "workspaceId": WORKSPACE_ID}]


def _connection(connection_id: str, name: str, source: str, destination: str, *streams: str) -> dict[str, Any]:
    return {
        "connectionId": connection_id,
        "name": name,
        "sourceId": source,
        "destinationId": destination,
        "workspaceId": WORKSPACE_ID,
        "status": "active",
        "schedule": {"scheduleType": "manual"},
        "nonBreakingSchemaUpdatesBehavior": "propagate_columns",
        "namespaceDefinition": "destination",
        "prefix": "",
        "configurations": {
            "streams": [
                {
                    "name": stream,
                    "syncMode": "incremental_deduped_history",
                    "cursorField": ["updated_at"],
                    "primaryKey": [["id"]],
                    "mappers": [],
                    "selectedFields": [],
                    "includeFiles": False,
                }
                for stream in streams
            ]
        },
        "createdAt": 1758053700,
        "tags": tags(),
    }
