"""Parse the end of an attempt's log, from the response of Airbyte's internal API to ``attempt/get_for_job``.

Airbyte 1.2 and newer return events, older versions lines of text. The log may contain secrets of a connector.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from airflow_provider_airbyte_api.api.error_body import MAX_MASKED
from airflow_provider_airbyte_api.api.safe import REPLACEMENT, dict_or_empty, list_or_empty, safe_text

MAX_LOG_TAIL = 1000
"""Maximum number of lines."""

_SEVERE_LEVELS = frozenset({"error", "warn", "fatal"})
_SEVERE_TEXT = re.compile(r"\b(ERROR|WARN|FATAL)\b")
_COLORS = re.compile(rf"[\x1b{REPLACEMENT}]\[[0-9;]*m")
"""The codes of colors in a terminal. The character that begins them is replaced where a response is parsed."""


def parse_log_tail(body: object, count: int, mask: Callable[[str], str] = str) -> list[str]:
    """Return up to ``count`` lines of the log, oldest first: the last errors and warnings, and then the last others.

    :param mask: a function that masks the secrets in a text.
    :raises TypeError: if ``body`` has no log.
    """
    logs = dict_or_empty(body).get("logs")
    if not isinstance(logs, dict):
        raise TypeError("no object named logs")
    lines = [*map(_parse_event, list_or_empty(logs.get("events")))] or [*map(_parse_line, _text_lines(logs))]
    count = min(count, MAX_LOG_TAIL)
    severe = [index for index, (is_severe, _) in enumerate(lines) if is_severe][-count:] if count else []
    others = [index for index, (is_severe, _) in enumerate(lines) if not is_severe]
    left = count - len(severe)
    shown = sorted([*severe, *(others[-left:] if left else [])])
    # Masked before it is cut: half of a secret is still sensitive.
    return [safe_text(mask(lines[index][1][:MAX_MASKED])) for index in shown]


def _parse_event(value: object) -> tuple[bool, str]:
    """Return whether an event is an error or a warning, and its text."""
    event = dict_or_empty(value)
    level, source, message = (_text(event.get(name)) for name in ("level", "logSource", "message"))
    where = " ".join(filter(None, (level.upper(), source)))
    text = _COLORS.sub("", message)
    return level.lower() in _SEVERE_LEVELS, f"{where}: {text}" if where else text


def _parse_line(line: str) -> tuple[bool, str]:
    text = _COLORS.sub("", line)
    return _SEVERE_TEXT.search(text) is not None, text


def _text_lines(logs: dict[str, Any]) -> list[str]:
    return [line for line in list_or_empty(logs.get("logLines")) if isinstance(line, str)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
