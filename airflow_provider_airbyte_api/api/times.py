"""Airbyte's timestamps and durations. They are read tolerantly: what cannot be read is None, never an error."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

# Java leaves out the seconds where they are zero (one timestamp in sixty), and writes up to nine decimals.
_TIMESTAMP = re.compile(
    r"(?P<minute>\d{4}-\d\d-\d\dT\d\d:\d\d)(?P<second>:\d\d)?(?:\.(?P<decimals>\d+))?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
_DURATION = re.compile(
    r"(?P<sign>-)?P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


def parse_timestamp(value: object) -> datetime | None:
    """Return the moment in an ISO 8601 timestamp, in UTC where it names no zone."""
    match = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    zone = (match["zone"] or "Z").replace("Z", "+00:00")
    decimals = (match["decimals"] or "0").ljust(6, "0")[:6]
    try:
        moment = datetime.strptime(
            f"{match['minute']}{match['second'] or ':00'}.{decimals}{zone}", "%Y-%m-%dT%H:%M:%S.%f%z"
        )
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def parse_duration(value: object) -> timedelta | None:
    """Return the length of an ISO 8601 duration, as Java's ``Duration`` writes it (``PT25H3M``)."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    amounts = {unit: float(match[unit] or 0) for unit in ("days", "hours", "minutes", "seconds")}
    try:
        return timedelta(**amounts) * (-1 if match["sign"] else 1)
    except OverflowError:
        return None


def format_timestamp(moment: float) -> str:
    """Return a moment, in seconds since the epoch, as Airbyte reads it in a query: whole seconds, rounded down, UTC."""
    return datetime.fromtimestamp(int(moment), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
