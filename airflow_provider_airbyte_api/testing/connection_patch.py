"""The fields of a connection that a PATCH may change, and Airbyte's errors for invalid values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from airflow_provider_airbyte_api.testing import responses
from airflow_provider_airbyte_api.testing.responses import FakeResponse

Validator = Callable[[Any], bool]

SYNC_MODES = (
    "full_refresh_overwrite",
    "full_refresh_overwrite_deduped",
    "full_refresh_append",
    "full_refresh_update",
    "full_refresh_soft_delete",
    "incremental_append",
    "incremental_deduped_history",
    "incremental_update",
    "incremental_soft_delete",
)
MAPPERS = ("hashing", "field-renaming", "row-filtering", "encryption", "field-filtering")
QUARTZ = "https://www.quartz-scheduler.org/documentation/quartz-2.3.0/tutorials/crontrigger.html"


def _of(kind: type) -> Validator:
    return lambda value: isinstance(value, kind)


def _one_of(*words: str) -> Validator:
    return lambda value: value in words


def _list_of(takes: Validator) -> Validator:
    return lambda value: isinstance(value, list) and all(takes(each) for each in value)


def _object(*required: str, **fields: Validator) -> Validator:
    return lambda value: (
        isinstance(value, dict)
        and all(name in value for name in required)
        and all(takes(value[name]) for name, takes in fields.items() if name in value)
    )


_text = _of(str)
_STREAM = _object(
    "name",
    name=_text,
    namespace=_text,
    syncMode=_one_of(*SYNC_MODES),
    cursorField=_list_of(_text),
    primaryKey=_list_of(_list_of(_text)),
    includeFiles=_of(bool),
    destinationObjectName=_text,
    selectedFields=_list_of(_object(fieldPath=_list_of(_text))),
    mappers=_list_of(_object("type", "mapperConfiguration", type=_one_of(*MAPPERS), mapperConfiguration=_of(dict))),
)
_FIELDS: dict[str, Validator] = {
    "name": _text,
    "prefix": _text,
    "status": _one_of("active", "inactive", "deprecated", "locked"),
    "namespaceDefinition": _one_of("source", "destination", "custom_format"),
    "namespaceFormat": _text,
    "nonBreakingSchemaUpdatesBehavior": _one_of("ignore", "disable_connection", "propagate_columns", "propagate_fully"),
    "schedule": _object("scheduleType", scheduleType=_one_of("manual", "cron"), cronExpression=_text),
    "configurations": _object(streams=_list_of(_STREAM)),
    "tags": _list_of(
        _object("tagId", "workspaceId", "name", "color", tagId=_text, workspaceId=_text, name=_text, color=_text)
    ),
}


def of_connection(body: dict[str, Any]) -> dict[str, Any] | FakeResponse:
    """Return the change that a PATCH makes, or the error response. Fields that Airbyte does not know are ignored."""
    change = {name: body[name] for name in _FIELDS if name in body}
    if not all(_FIELDS[name](value) for name, value in change.items()):
        name = next(name for name, value in change.items() if not _FIELDS[name](value))
        return responses.invalid_input(f"publicPatchConnection.{name}", change[name], "is not valid")
    schedule = change.get("schedule")
    if schedule is None:
        return change
    if schedule["scheduleType"] == "manual":
        return {**change, "schedule": {"scheduleType": "manual"}}
    given = schedule.get("cronExpression")
    wrong = "Missing cron expression in the schedule." if given is None else _wrong_in_cron(given)
    if wrong is not None:
        return responses.bad_request(wrong)
    return {**change, "schedule": {"scheduleType": "cron", "cronExpression": f"{_without_zone(given)} UTC"}}


def _without_zone(expression: str) -> str:
    return expression.replace("UTC", "").strip() if expression.endswith("UTC") else expression


_DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"
_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"


def _field(value: str) -> re.Pattern[str]:
    one = rf"(?:\*|(?:{value})(?:-(?:{value}))?)(?:/[0-9]+)?"
    return re.compile(rf"\?|{one}(?:,{one})*", re.IGNORECASE)


_MINUTE = _field("[0-5]?[0-9]")
_CRON = (
    _MINUTE,
    _MINUTE,
    _field("[01]?[0-9]|2[0-3]"),
    _field("L(?:-[0-9]+)?|LW|(?:0?[1-9]|[12][0-9]|3[01])W?"),
    _field(f"0?[1-9]|1[0-2]|{_MONTHS}"),
    _field(f"(?:[1-7]|{_DAYS})(?:L|#[1-5])?|L"),
    _field("19[7-9][0-9]|20[0-9][0-9]"),
)


def _wrong_in_cron(given: str) -> str | None:
    """Return the public API's message for a Quartz expression that it rejects, or None."""
    fields = _without_zone(given).split()
    has_year = len(fields) == len(_CRON)
    is_cron = (
        len(fields) >= len(_CRON) - 1
        and len(fields) <= len(_CRON)
        and all(pattern.fullmatch(text) for pattern, text in zip(_CRON, fields, strict=False))
        and "?" not in (*fields[:3], fields[4])
        and (fields[3] == "?") != (fields[5] == "?")  # exactly one of the two kinds of days is set
    )
    if not is_cron:
        return (
            f"The cron expression {given} is not valid. Error: Failed to parse cron expression. "
            f"Please check the cron expression format at {QUARTZ}"
        )
    if not all(text.isdecimal() for text in fields[: 2 if has_year else 1]):
        return (
            f"The cron expression {given} is not valid or is less than the one hour minimum. "
            "The seconds and minutes values cannot be `*`."
        )
    return None
