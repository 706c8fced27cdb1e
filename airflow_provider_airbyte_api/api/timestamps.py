"""Airbyte's and HTTP's timestamps and durations.

They are read tolerantly: what cannot be read is None, never an error. Moments are from 1970 to 9999.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

# Java leaves out the seconds where they are zero (one timestamp in sixty), and writes up to nine decimals.
_TIMESTAMP = re.compile(
    r"(?P<minute>\d{4}-\d\d-\d\dT\d\d:\d\d)(?P<second>:\d\d)?(?:\.(?P<decimals>\d+))?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
_DURATION = re.compile(
    r"(?P<sign>-)?P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)

_MAX_TIME = 253_402_300_799.0
"""The end of the year 9999, in seconds since the epoch."""

MAX_CLOCK_SKEW = 7 * 24 * 3600.0
"""Seconds by which a server's clock may differ from ours. A ``Date`` beyond that is a mistake, and not its clock."""


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
        return moment.astimezone(timezone.utc) if moment.timestamp() >= 0 else None
    except (ValueError, OverflowError):
        return None


def parse_http_date(value: str) -> float | None:
    """Return the moment in an HTTP header such as ``Date``, in seconds since the epoch; UTC where it names no zone."""
    try:
        moment = parsedate_to_datetime(value)
        seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError, AttributeError):  # the parser has raised each of them
        return None
    return seconds if 0 <= seconds <= _MAX_TIME else None


def plausible(server_time: float | None, now: float) -> float | None:
    """Return ``server_time`` unless it is further from ``now``, our own clock, than any clock is wrong."""
    return server_time if server_time is not None and abs(server_time - now) <= MAX_CLOCK_SKEW else None


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
    return datetime.fromtimestamp(int(min(max(moment, 0.0), _MAX_TIME)), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
