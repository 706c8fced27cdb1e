"""The shapes of Airbyte's replies, condensed by hand.

Those of objects: Airbyte's public OpenAPI document, version 1.0.0, ``airbyte-api/server-api/src/main/openapi/api.yaml``
in airbytehq/airbyte-platform; each names its schema there. That server leaves out what is null (Jackson's NON_ABSENT),
so no null is allowed. Those of errors: ``airbyte-api/problems-api/src/main/openapi/api-problems.yaml`` there, and
reports from the field for what Airbyte's framework and the gateway before Airbyte Cloud word.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ID: Schema = {"type": "string", "format": "uuid", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
# java.time's OffsetDateTime and Duration: no seconds where they are zero, hours and never days
MOMENT: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z$"}
LENGTH: Schema = {"type": "string", "pattern": r"^PT(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?$"}


def word(*words: str) -> Schema:
    return {"enum": list(words)}


def rows(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def thing(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object that has all that is required, and nothing that is not named."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


def page(of: Schema) -> Schema:
    return thing({"data": rows(of), "previous": TEXT, "next": TEXT})


# PublicAccessTokenResponse
TOKEN = thing({"access_token": TEXT, "token_type": word("Bearer"), "expires_in": COUNT})
# RFC 7519: NumericDate. Airbyte's own token, and that of Keycloak's client credentials
CLAIMS = thing({"iss": TEXT, "aud": TEXT, "sub": ID, "exp": COUNT, "roles": rows(TEXT)})
KEYCLOAK_CLAIMS = thing(
    {"exp": COUNT, "iat": COUNT, "jti": ID, "iss": TEXT, "aud": TEXT, "sub": ID, "typ": word("Bearer"), "azp": TEXT},
    acr=TEXT,
    scope=TEXT,
    client_id=TEXT,
)

# NotificationConfig, NotificationsConfig, WorkspaceResponse
NOTIFICATION = thing({}, email=thing({}, enabled=FLAG), webhook=thing({}, enabled=FLAG, url=TEXT))
NOTIFICATIONS = thing(
    {},
    failure=NOTIFICATION,
    success=NOTIFICATION,
    connectionUpdate=NOTIFICATION,
    connectionUpdateActionRequired=NOTIFICATION,
    syncDisabled=NOTIFICATION,
    syncDisabledWarning=NOTIFICATION,
)
WORKSPACE = thing({"workspaceId": ID, "name": TEXT, "dataResidency": TEXT, "notifications": NOTIFICATIONS})


def _connector(kind: str) -> Schema:
    """SourceResponse and DestinationResponse."""
    return thing(
        {
            f"{kind}Id": ID,
            "name": TEXT,
            f"{kind}Type": TEXT,
            "definitionId": ID,
            "workspaceId": ID,
            "configuration": {"type": "object"},
            "createdAt": COUNT,
        },
        resourceAllocation={"type": "object"},
    )


SOURCE = _connector("source")
DESTINATION = _connector("destination")

# TagResponse
TAG = thing({"tagId": ID, "name": TEXT, "color": TEXT, "workspaceId": ID})
TAGS = thing({"data": rows(TAG)})

# ConnectionSyncModeEnum, StreamMapperType, StreamConfiguration, ConnectionScheduleResponse, ConnectionResponse
SYNC_MODE = word(
    *(f"full_refresh_{how}" for how in ("overwrite", "overwrite_deduped", "append", "update", "soft_delete")),
    *(f"incremental_{how}" for how in ("append", "deduped_history", "update", "soft_delete")),
)
MAPPER = word("hashing", "field-renaming", "row-filtering", "encryption", "field-filtering")
STREAM = thing(
    {"name": TEXT},
    namespace=TEXT,
    syncMode=SYNC_MODE,
    cursorField=rows(TEXT),
    primaryKey=rows(rows(TEXT)),
    includeFiles=FLAG,
    destinationObjectName=TEXT,
    selectedFields=rows(thing({}, fieldPath=rows(TEXT))),
    mappers=rows(thing({"type": MAPPER, "mapperConfiguration": {"type": "object"}}, id=ID)),
)
SCHEDULE = thing({"scheduleType": word("manual", "cron", "basic")}, cronExpression=TEXT, basicTiming=TEXT)
CONNECTION = thing(
    {
        "connectionId": ID,
        "name": TEXT,
        "sourceId": ID,
        "destinationId": ID,
        "workspaceId": ID,
        "status": word("active", "inactive", "deprecated", "locked"),
        "schedule": SCHEDULE,
        "configurations": thing({}, streams=rows(STREAM)),
        "createdAt": COUNT,
        "tags": rows(TAG),
    },
    nonBreakingSchemaUpdatesBehavior=word("ignore", "disable_connection", "propagate_columns", "propagate_fully"),
    namespaceDefinition=word("source", "destination", "custom_format"),
    namespaceFormat=TEXT,
    prefix=TEXT,
    statusReason=TEXT,
)

# StreamProperties, StreamPropertiesResponse
STREAMS = rows(
    thing(
        {},
        streamName=TEXT,
        streamnamespace=TEXT,
        syncModes=rows(SYNC_MODE),
        defaultCursorField=rows(TEXT),
        sourceDefinedCursorField=FLAG,
        sourceDefinedPrimaryKey=rows(rows(TEXT)),
        propertyFields=rows(rows(TEXT)),
    )
)

# JobStatusEnum, JobTypeEnum, JobResponse
JOB = thing(
    {
        "jobId": COUNT,
        "status": word("pending", "queued", "running", "incomplete", "failed", "succeeded", "cancelled"),
        "jobType": word("sync", "reset", "refresh", "clear"),
        "startTime": MOMENT,
        "connectionId": ID,
    },
    lastUpdatedAt=MOMENT,
    duration=LENGTH,
    bytesSynced=COUNT,
    rowsSynced=COUNT,
)

# BaseProblemFields: the handler writes all of them, nulls too
_OR_NULL = ["object", "null"]
PROBLEM = thing(
    {
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "type": {
            "type": "string",
            "pattern": r"^(https://reference\.airbyte\.com/reference/errors(#.+)?|error:.+/.+)$",
        },
        "title": TEXT,
        "detail": TEXT,
        "documentationUrl": {"type": ["string", "null"]},
        "data": {"type": _OR_NULL},
    }
)
# Since Airbyte 2.0, whatever was not caught
ERROR_ID = thing({"errorId": ID})
# Micronaut's JsonError
HATEOAS = thing(
    {
        "message": TEXT,
        "_links": thing({"self": thing({"href": TEXT, "templated": FLAG})}),
        "_embedded": thing(
            {"errors": rows(thing({"message": TEXT, "_links": {"type": "object"}, "_embedded": {"type": "object"}}))}
        ),
    }
)
# Google's ESPv2, before Airbyte Cloud
GATEWAY = thing({"code": COUNT, "message": TEXT})
LOAD_SHED = thing({"message": TEXT})
