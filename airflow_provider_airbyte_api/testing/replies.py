"""The bodies that Airbyte's server sends, word for word where it matters to a client."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

_REFERENCE = "https://reference.airbyte.com/reference/errors"

WEB_APP = (
    "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Airbyte</title></head>"
    "<body><div id='root'></div></body></html>"
)


@dataclass(frozen=True)
class Reply:
    """An answer, the seconds to wait before it is sent, and whether it gets lost on the way."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    lost: bool = False


def as_json(value: Any, status: int = 200) -> Reply:
    """Return ``value`` as JSON."""
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def html(status: int = 200, body: str = WEB_APP) -> Reply:
    """Return a web page."""
    return Reply(status, body.encode(), {"Content-Type": "text/html"})


def problem(status: int, title: str, detail: str, data: dict[str, Any] | None, fragment: str = "") -> Reply:
    """Return a problem object. Its content type is plain JSON, and nulls are written out."""
    return as_json(
        {
            "status": status,
            "type": _REFERENCE + (f"#{fragment}" if fragment else ""),
            "title": title,
            "detail": detail,
            "documentationUrl": None,
            "data": data,
        },
        status,
    )


def hateoas(status: int, message: str, path: str, error: str) -> Reply:
    """Return an error as Airbyte's framework words it."""
    return as_json(
        {
            "message": message,
            "_links": {"self": {"href": path, "templated": False}},
            "_embedded": {"errors": [{"message": error, "_links": {}, "_embedded": {}}]},
        },
        status,
    )


def error_id(status: int) -> Reply:
    """Return all that Airbyte 2.0 and later say of an error that it did not catch."""
    return as_json({"errorId": str(uuid.uuid4())}, status)


def gateway(status: int, message: str) -> Reply:
    """Return an error of the gateway in front of Airbyte Cloud."""
    return as_json({"code": status, "message": message}, status)


def already_running(connection_id: str) -> Reply:
    """Return the 409 for a connection that has a job under way."""
    return problem(
        409,
        "try-again-later",
        "Please try again later.",
        {"message": f"A sync is already running for: {connection_id}"},
        "try-again-later",
    )


def state_conflict(message: str = "Could not fulfill request") -> Reply:
    """Return the 409 that hides its reason."""
    return problem(409, "state-conflict", "State conflict", {"message": message}, "409-state-conflict")


def forbidden(permission: str) -> Reply:
    """Return the 403 for no role, and for an unknown id."""
    return problem(
        403,
        "forbidden",
        "The request is forbidden.",
        {"message": f"Caller does not have the required {permission} permissions to access the resource(s)."},
        "forbidden",
    )


def not_found(kind: str, resource_id: str) -> Reply:
    """Return the 404 that an instance admin gets."""
    return problem(
        404,
        "resource-not-found",
        "The requested resource could not be found.",
        {"resourceType": kind, "resourceId": resource_id},
        "resource-not-found",
    )


def bad_request(message: str) -> Reply:
    """Return the 400 for a value that Airbyte looked at."""
    return problem(
        400,
        "bad-request",
        "The request could not be understood by the server due to malformed syntax.",
        {"message": message},
        "bad-request",
    )


def unprocessable(message: str) -> Reply:
    """Return a 422."""
    return problem(
        422,
        "unprocessable-entity",
        "The body of the request was not understood",
        {"message": message},
        "unprocessable-entity",
    )


def no_route() -> Reply:
    """Return what an unknown path below /api brings: text that calls itself JSON."""
    return Reply(404, b"Object not found.", {"Content-Type": "application/json"})


def of_status(status: int, body: str | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """Return the usual reply of ``status``, for a test that wants just one of these."""
    usual = {
        401: hateoas(401, "Unauthorized", "", "Unauthorized"),
        403: forbidden("WORKSPACE_READER"),
        404: not_found("STANDARD_SYNC", str(uuid.uuid4())),
        409: state_conflict(),
        422: unprocessable("The body of the request was not understood"),
        429: as_json({"message": "You are being rate limited."}, 429),
        502: html(502, "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"),
        503: html(503, "<html><head><title>503 Service Temporarily Unavailable</title></head></html>"),
    }
    reply = usual.get(status) or error_id(status)
    content = reply.body if body is None else body.encode()
    return Reply(status, content, {**reply.headers, **(headers or {})})


def date_header(now: float) -> str:
    """Return ``now`` as a Date header."""
    return formatdate(now, usegmt=True)
