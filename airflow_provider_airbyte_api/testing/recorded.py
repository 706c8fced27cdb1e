"""A recorded request, and the fault that may be applied to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from airflow_provider_airbyte_api.testing.responses import FakeResponse


@dataclass(frozen=True)
class RecordedRequest:
    """A request as it was received. ``path`` is below the API root; ``at`` is in seconds since the epoch."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float

    @property
    def token(self) -> str | None:
        """The bearer token of the request."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        return value if scheme == "Bearer" else None

    @property
    def is_form(self) -> bool:
        """True if the body is a form."""
        return self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")

    def values(self, name: str) -> list[str]:
        """Return all values of a query parameter that is repeated or, for a list of ids, separated by commas."""
        given = [value for key, value in self.query if key == name]
        return [part for value in given for part in value.split(",") if part] if name.endswith("Ids") else given

    def value(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        return next(iter(self.values(name)), None)

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object, or an empty one."""
        return self.json_object() or {}

    def json_object(self) -> dict[str, Any] | None:
        """Return the body's JSON object without its null values, or None if the body is not one."""
        try:
            value = _without_nulls(json.loads(self.body, parse_constant=_refuse))
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


@dataclass
class Fault:
    """The fault for the next ``times`` requests that match. ``apply_first`` carries out the request before it."""

    method: str | None
    path: str | None
    times: float
    response: FakeResponse | None
    apply_first: bool
    delay: float
    drop_connection: bool

    def matches(self, request: RecordedRequest) -> bool:
        """Return True if the fault applies to ``request``; ``path`` is a regular expression for the whole path."""
        return (self.method in (None, request.method)) and (
            self.path is None or re.fullmatch(self.path, request.path) is not None
        )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is Python's, not JSON's")
