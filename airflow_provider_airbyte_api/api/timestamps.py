"""Parse timestamps and durations of Airbyte and HTTP.

Parsing is tolerant: an invalid value gives None, never an error. Valid times are from 1970 to 9999.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from airflow_provider_airbyte_api.api.safe import safe_float

# Java omits the seconds if they are zero (one timestamp in sixty), and writes up to nine decimals.
_TIMESTAMP = re.compile(
    r"(?P<minute>\d{4}-\d\d-\d\dT\d\d:\d\d)(?P<second>:\d\d)?(?:\.(?P<decimals>\d+))?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
_DURATION = re.compile(
    r"(?P<sign>-)?P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)

_MAX_TIME = 253_402_300_799.0
"""The end of the year 9999, in seconds since the epoch."""

_MAX_EPOCH_SECONDS = 1e11
"""A larger number counts as milliseconds: in seconds it is a time after the year 5000, in milliseconds one of 1973."""

MAX_CLOCK_SKEW = 7 * 24 * 3600.0
"""Maximum seconds by which a server's clock may differ from this machine's. A ``Date`` beyond that is an error of the
header, not of the clock.
"""


def parse_timestamp(value: object) -> datetime | None:
    """Return the time in an ISO 8601 timestamp, in UTC if it has no time zone."""
    match = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    zone = (match["zone"] or "Z").replace("Z", "+00:00").replace(":", "")
    decimals = (match["decimals"] or "0").ljust(6, "0")[:6]
    try:
        # Not strptime, which takes longer than the rest of parsing a job.
        moment = datetime.fromisoformat(f"{match['minute']}{match['second'] or ':00'}.{decimals}{zone[:3]}:{zone[3:]}")
        return moment.astimezone(timezone.utc) if moment.timestamp() >= 0 else None
    except (ValueError, OverflowError):
        return None


def parse_epoch(value: object) -> datetime | None:
    """Return the time in a number of seconds or milliseconds since the epoch: Airbyte's internal API has both."""
    number = safe_float(value, 0, _MAX_TIME * 1000)
    if number is None:
        return None
    return datetime.fromtimestamp(number / 1000 if number > _MAX_EPOCH_SECONDS else number, timezone.utc)


def parse_http_date(value: str) -> float | None:
    """Return the time in an HTTP header such as ``Date``, in seconds since the epoch; UTC if it has no time zone."""
    try:
        moment = parsedate_to_datetime(value)
        seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError, AttributeError):  # the parser has raised each of them
        return None
    return seconds if 0 <= seconds <= _MAX_TIME else None


def plausible(server_time: float | None, now: float) -> float | None:
    """Return ``server_time``, or None if it differs from this machine's ``now`` by more than any clock's error."""
    return server_time if server_time is not None and abs(server_time - now) <= MAX_CLOCK_SKEW else None


def parse_duration(value: object) -> timedelta | None:
    """Return the duration in ISO 8601 form, as Java's ``Duration`` writes it (``PT25H3M``)."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    amounts = {unit: float(match[unit] or 0) for unit in ("days", "hours", "minutes", "seconds")}
    try:
        return timedelta(**amounts) * (-1 if match["sign"] else 1)
    except OverflowError:
        return None


def format_timestamp(moment: float) -> str:
    """Return a time in seconds since the epoch as Airbyte parses it in a query: whole seconds, rounded down, UTC."""
    return datetime.fromtimestamp(int(min(max(moment, 0.0), _MAX_TIME)), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
