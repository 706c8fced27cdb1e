"""The versions of Airbyte that a local Airbyte can emulate, and the fields that older ones omit."""

from __future__ import annotations

import re
from typing import Any

Version = tuple[int, ...]

NEWEST = "2.1"
"""Stands for all releases after 2.0, up to August 2026."""

_ABSENT_BEFORE: dict[str, Version] = {"createdAt": (1, 2), "tags": (1, 6)}
_DATA_RESIDENCY_UNTIL: Version = (1, 8)


def parse_version(text: str) -> Version:
    """Return "1.8" as (1, 8).

    :raises ValueError: if it is not two or three numbers with dots between them.
    """
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){1,2}", text):
        raise ValueError(f"version is {text!r}, expected two or three numbers such as '1.8' or '2.0.1'.")
    return tuple(int(part) for part in text.split("."))


def row_as_of(version: Version, row: dict[str, Any]) -> dict[str, Any]:
    """Return a source, destination or connection as that version returns it."""
    shown = {name: value for name, value in row.items() if version >= _ABSENT_BEFORE.get(name, version)}
    if "connectionId" in row and version < _DATA_RESIDENCY_UNTIL:
        shown["dataResidency"] = "auto"
    return shown
