"""The bodies of Airbyte's responses, verbatim where it matters to a client."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Literal

from airflow_provider_airbyte_api.testing.versions import Version

Gateway = Literal["html", "json", "text", "empty"]
"""The kind of body of a response that a server in front of Airbyte sends in its place."""

_REFERENCE = "https://reference.airbyte.com/reference/errors"

WEB_APP = (
    "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Airbyte</title></head>"
    "<body><div id='root'></div></body></html>"
)


@dataclass(frozen=True)
class FakeResponse:
    """A response, its delay in seconds, and whether the connection is closed instead of sending it.

    ``earlier`` has pairs of a version and the response of the versions of Airbyte before it, oldest first.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop_connection: bool = False
    earlier: tuple[tuple[Version, FakeResponse], ...] = ()

    def as_of(self, version: Version) -> FakeResponse:
        """Return the response of that version of Airbyte."""
        return next((response for before, response in self.earlier if version < before), self)


def as_json(value: Any, status: int = 200) -> FakeResponse:
    """Return ``value`` as JSON."""
    return FakeResponse(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def html(status: int = 200, body: str = WEB_APP) -> FakeResponse:
    """Return a web page."""
    return FakeResponse(status, body.encode(), {"Content-Type": "text/html"})


def problem(status: int, title: str, detail: str, data: dict[str, Any] | None, fragment: str = "") -> FakeResponse:
    """Return a problem object. Its content type is plain JSON, and null values are included.

    Up to 0.61, the message is in ``detail``, and there is no ``data`` (server source; the order of its fields is
    inferred).
    """
    kind = _REFERENCE + (f"#{fragment}" if fragment else "")
    message = (data or {}).get("message", detail)
    body = json.dumps({"type": kind, "title": title, "status": status, "detail": message}).encode()
    earlier = FakeResponse(status, body, {"Content-Type": "application/problem+json"})
    response = as_json(
        {"status": status, "type": kind, "title": title, "detail": detail, "documentationUrl": None, "data": data},
        status,
    )
    return replace(response, earlier=(((0, 62), earlier),))


def hateoas(status: int, message: str, path: str, error: str) -> FakeResponse:
    """Return an error in the form of Airbyte's framework."""
    return as_json(
        {
            "message": message,
            "_links": {"self": {"href": path, "templated": False}},
            "_embedded": {"errors": [{"message": error, "_links": {}, "_embedded": {}}]},
        },
        status,
    )


def error_id(
    status: int,
    message: str = "Internal Server Error: null",
    java_class: str = "java.lang.NullPointerException",
    **more: Any,
) -> FakeResponse:
    """Return Airbyte's response to an uncaught error: an id since 2.0 (server source).

    Up to 1.8 it is the exception, with empty stacks, as in public reports; up to 0.63 a problem object without a
    message.
    """
    exception = {
        "message": message,
        "exceptionClassName": java_class,
        "exceptionStack": [],
        **(more or {"rootCauseExceptionStack": []}),
    }
    response = as_json({"errorId": str(uuid.uuid4())}, status)
    return replace(response, earlier=(((0, 64), about_blank(status)), ((2, 0), as_json(exception, status))))


def invalid_input(path: str, value: Any, message: str) -> FakeResponse:
    """Return the 400 for a value of the wrong type. Its message up to 1.8 is that of a public report."""
    return error_id(
        400,
        "Some properties contained invalid input.",
        "jakarta.validation.ConstraintViolationException",
        validationErrors=[{"propertyPath": path, "invalidValue": value, "message": message}],
    )


def unreadable_body() -> FakeResponse:
    """Return the 422 for a body that is not a JSON object. Its message up to 1.8 is inferred."""
    return error_id(422, "Invalid json input.", "com.fasterxml.jackson.core.JsonParseException")


def healthy() -> FakeResponse:
    """Return the response of the public API's health endpoint: plain text declared as JSON (server source)."""
    return FakeResponse(200, b"Successful operation", {"Content-Type": "application/json"})


def about_blank(status: int) -> FakeResponse:
    """Return the problem object without a message of the API server up to 0.63 (public reports)."""
    return as_json({"type": "about:blank", "status": status}, status)


def unauthorized(path: str) -> FakeResponse:
    """Return the 401 of a self-managed Airbyte."""
    return hateoas(401, "Unauthorized", path, "Unauthorized")


def gateway(status: int, message: str) -> FakeResponse:
    """Return an error of the gateway in front of Airbyte Cloud."""
    return as_json({"code": status, "message": message}, status)


def bad_jwt(url: str, message: str) -> FakeResponse:
    """Return the 401 of the gateway in front of Airbyte Cloud.

    The body is that of a public report. The header is Envoy's default, and Cloud's server is Envoy.
    """
    challenge = f'Bearer realm="{url}"'
    if message != JWT_MISSING:
        challenge += ', error="invalid_token"'
    response = gateway(401, message)
    return replace(response, headers={**response.headers, "WWW-Authenticate": challenge})


JWT_FOREIGN = "Jwt issuer is not configured"  # from a public report
JWT_MISSING = "Jwt is missing"  # Envoy's message, not observed on Cloud
JWT_EXPIRED = "Jwt is expired"  # Envoy's message, not observed on Cloud


def not_defined() -> FakeResponse:
    """Return the 404 of the gateway in front of Airbyte Cloud for a path outside its API (public report)."""
    return as_json({"message": "The current request is not defined by this API.", "code": 404}, 404)


def no_access(path: str) -> FakeResponse:
    """Return the 403 for an unknown path. The status is from a public report, the body is inferred from the 401's."""
    return hateoas(403, "Forbidden", path, "Forbidden")


def of_gateway(status: int, kind: Gateway) -> FakeResponse:
    """Return the response of a server in front of Airbyte: generic bodies of nginx, Kong and Envoy."""
    phrase = HTTPStatus(status).phrase
    if kind == "html":
        page = f"<html><head><title>{status} {phrase}</title></head><body><center>nginx</center></body></html>"
        return html(status, page)
    if kind == "json":
        return as_json({"message": _GATEWAY_JSON.get(status, phrase)}, status)
    text = "" if kind == "empty" else _GATEWAY_TEXT.get(status, phrase)
    return FakeResponse(status, text.encode(), {"Content-Type": "text/plain"} if text else {})


_GATEWAY_JSON = {404: "no Route matched with those values"}
_GATEWAY_TEXT = {403: "RBAC: access denied", 404: "404 page not found", 503: "upstream connect error"}


def already_running(connection_id: str) -> FakeResponse:
    """Return the 409 for a connection with a running job."""
    return problem(
        409,
        "try-again-later",
        "Please try again later.",
        {"message": f"A sync is already running for: {connection_id}"},
        "try-again-later",
    )


def state_conflict(message: str = "Could not fulfill request") -> FakeResponse:
    """Return the 409 without a reason."""
    return problem(409, "state-conflict", "State conflict", {"message": message}, "409-state-conflict")


def forbidden(permission: str) -> FakeResponse:
    """Return the 403 for a missing role, and for an unknown id."""
    return problem(
        403,
        "forbidden",
        "The request is forbidden.",
        {"message": f"Caller does not have the required {permission} permissions to access the resource(s)."},
        "forbidden",
    )


def not_found(kind: str, resource_id: str) -> FakeResponse:
    """Return the 404 that an instance administrator gets."""
    return problem(
        404,
        "resource-not-found",
        "The requested resource could not be found.",
        {"resourceType": kind, "resourceId": resource_id},
        "resource-not-found",
    )


def bad_request(message: str) -> FakeResponse:
    """Return the 400 for a value that Airbyte validated and rejected."""
    return problem(
        400,
        "bad-request",
        "The request could not be understood by the server due to malformed syntax.",
        {"message": message},
        "bad-request",
    )


def unprocessable(message: str) -> FakeResponse:
    """Return a 422."""
    return problem(
        422,
        "unprocessable-entity",
        "The body of the request was not understood",
        {"message": message},
        "unprocessable-entity",
    )


def no_route() -> FakeResponse:
    """Return the response to an unknown path below /api: plain text declared as JSON."""
    return FakeResponse(404, b"Object not found.", {"Content-Type": "application/json"})


def of_status(
    status: int, body: str | None = None, headers: Mapping[str, str] | None = None, gateway: Gateway | None = None
) -> FakeResponse:
    """Return the usual response for ``status``, for a test that needs only one of them."""
    usual = {
        401: unauthorized(""),
        403: forbidden("WORKSPACE_READER"),
        404: not_found("STANDARD_SYNC", str(uuid.uuid4())),
        409: state_conflict(),
        422: unprocessable("The body of the request was not understood"),
        429: as_json({"message": "You are being rate limited."}, 429),
        502: html(502, "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"),
        503: html(503, "<html><head><title>503 Service Temporarily Unavailable</title></head></html>"),
    }
    response = usual.get(status) or error_id(status)
    if gateway is not None:
        response = of_gateway(status, gateway)
    if body is not None:
        response = FakeResponse(status, body.encode(), response.headers)
    more = dict(headers or {})
    earlier = tuple((before, replace(old, headers={**old.headers, **more})) for before, old in response.earlier)
    return replace(response, headers={**response.headers, **more}, earlier=earlier)


def date_header(now: float) -> str:
    """Return ``now`` as a Date header."""
    return formatdate(now, usegmt=True)
