"""Sanitize values from outside and limit their size. This is the only place that does so.

Airflow encodes the values of triggers and tasks as MessagePack and as JSON in UTF-8, and stores them in a database. An
integer of more than 64 bits, a lone surrogate, NUL or NaN cannot be encoded or stored. One such value in a trigger
event ends the triggerer process. So the parser, :func:`parse_json`, removes them, and values for Airflow go through
:func:`safe_json`, which limits their size.

Functions return a value for any input, except :func:`parse_json`, which raises ValueError.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

MAX_INT = 2**63 - 1
MIN_INT = -(2**63)
"""The range of a signed 64-bit integer, which MessagePack, Java and all databases of Airflow support."""

MAX_DEPTH = 50
"""Maximum nesting of JSON; deeper values become null. Airflow's encoders recurse."""

MAX_ITEMS = 500_000
"""Maximum number of objects, arrays and members in one JSON text. They take 0.3 s to parse, and 2 s and 200 MB at most.
"""

MAX_TEXT = 1000
"""Maximum length of one line of text from outside, in characters."""

MAX_REPR = 200
"""Maximum length of an argument that is repeated in an error, in characters."""

MAX_EVENT_ITEMS = 2000
"""Maximum number of keys and list items in one value for Airflow."""

MAX_EVENT_TEXT = 4000
"""Maximum length of a text in a value for Airflow, in characters."""

RESERVED_KEYS = frozenset({"__classname__", "__version__", "__data__", "__id__", "__type", "__var", "__source"})
"""Keys with which Airflow marks an encoded object. It refuses to encode a dict that has them, or would decode it."""

REPLACEMENT = "\ufffd"
ELLIPSIS = "\u2026"

_MAX_DIGITS = 20
_SURROGATES = "\ud800-\udfff"
_SURROGATE = re.compile(f"[{_SURROGATES}]")
# C0, DEL, C1, line and paragraph separators, and characters that reorder the text around them.
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(f"[\t\n\r{_CONTROLS}]")
_UNSAFE = re.compile(f"[{_SURROGATES}{_CONTROLS}]")


class TooManyItemsError(ValueError):
    """A JSON text has more than :data:`MAX_ITEMS` items, and was not parsed."""


def safe_text(value: object, max_length: int = MAX_TEXT) -> str:
    """Return ``value`` as one line of valid UTF-8 of at most ``max_length`` characters; None as an empty string.

    Control characters, line breaks and bidirectional overrides become spaces: they could forge a log line, or control a
    terminal. Lone surrogates become U+FFFD. An ellipsis marks a text that was cut.
    """
    text = value if isinstance(value, str) else _text_of(value)
    return _CONTROL.sub(" ", _SURROGATE.sub(REPLACEMENT, _cut(text, max_length)))


def safe_repr(value: object, max_length: int = MAX_REPR) -> str:
    """Return the ``repr`` of ``value``, sanitized as by :func:`safe_text`; its type if ``repr`` fails."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - too many digits, too deep, or a __repr__ that fails
        text = f"a value of type {type(value).__name__}"
    return safe_text(text, max_length)


def safe_int(value: object, minimum: int = MIN_INT) -> int | None:
    """Return ``value`` if it is an integer, not a bool, from ``minimum`` to the largest 64-bit one, else None."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return int(value) if max(minimum, MIN_INT) <= value <= MAX_INT else None


def safe_id(value: object) -> int | None:
    """Return ``value`` as a positive 64-bit integer, also from a string of digits; None for any other value."""
    if isinstance(value, str):
        text = value.strip()
        return safe_int(int(text), 1) if len(text) < _MAX_DIGITS and text.isascii() and text.isdecimal() else None
    return safe_int(value, 1)


def safe_float(value: object, minimum: float = -math.inf, maximum: float = math.inf) -> float | None:
    """Return ``value`` as a float if it is a finite number within both limits, else None. A bool is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and minimum <= number <= maximum else None


def dict_or_empty(value: object) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object, else an empty dict."""
    return value if isinstance(value, dict) else {}


def list_or_empty(value: object) -> list[Any]:
    """Return ``value`` if it is a JSON array, else an empty list."""
    return value if isinstance(value, list) else []


def safe_json(value: object, *, max_items: int = MAX_EVENT_ITEMS, max_text: int = MAX_EVENT_TEXT) -> Any:
    """Return ``value`` as JSON that Airflow can encode, store and decode.

    Numbers out of range become None. Text becomes valid UTF-8 without control characters other than white space. Keys
    become text, and keys that Airflow reserves are omitted. A value of a type that JSON does not have becomes its text.
    A value beyond a limit is cut: nesting at ``MAX_DEPTH``, all keys and items together at ``max_items``, each text at
    ``max_text`` characters.
    """
    return _Cleaner(max_items, max_text).clean(value, MAX_DEPTH)


def parse_json(data: bytes | str) -> Any:
    """Return the JSON in ``data``, sanitized as by :func:`safe_json`, but complete.

    A value that needs no change, as in nearly all responses, is returned without a copy, which is three times as fast.

    :raises TooManyItemsError: if it may have more than :data:`MAX_ITEMS` items.
    :raises ValueError: if it is not JSON, not text, or nested too deeply for Python.
    """
    _require_few_items(data)
    try:
        value = _load(data)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply.") from None
    has_plain_text = isinstance(data, bytes) and data.isascii() and not any(each in data for each in _UNSAFE_ESCAPES)
    if has_plain_text and _is_plain(value, MAX_DEPTH):
        return value
    return _Cleaner(_UNLIMITED, _UNLIMITED).clean(value, MAX_DEPTH)


def parse_stored_json(text: str | None) -> Any:
    """Return the JSON in a stored ``text``, or None if there is none, or if somebody has broken it."""
    try:
        return None if text is None else parse_json(text)
    except ValueError:
        return None


def _require_few_items(data: bytes | str) -> None:
    """Raise an error if ``data`` may have too many items. This counts an upper bound, and builds nothing."""
    text = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if sum(text.count(mark) for mark in (b"{", b"[", b",")) > MAX_ITEMS:
        raise TooManyItemsError(f"JSON with more than {MAX_ITEMS:,} items.")


def _load(data: bytes | str) -> Any:
    try:
        return json.loads(data)
    except json.JSONDecodeError:
        raise
    except ValueError:  # Python itself refuses to parse more than 4,300 digits, and so the whole response
        return json.loads(data, parse_int=_parse_int)


_UNLIMITED = MAX_INT

_UNSAFE_ESCAPES = (b"\\u", b"\\b", b"\\f", b"\x7f", b'"__')
"""ASCII JSON without any of these contains no text that has to be changed, and no reserved key."""


def _is_plain(value: object, depth: int) -> bool:
    """Return True if :class:`_Cleaner` would change nothing in a dict or list but texts and keys. It makes no copy."""
    if depth == 0 or not isinstance(value, dict | list):
        return False
    for each in value.values() if isinstance(value, dict) else value:
        kind = type(each)  # as json returns it: no subclasses; each JSON value of each response passes here
        if kind is str or kind is bool or each is None:
            continue
        if kind is int:
            if not MIN_INT <= each <= MAX_INT:
                return False
        elif kind is float:
            if not math.isfinite(each):
                return False
        elif not _is_plain(each, depth - 1):
            return False
    return True


@dataclass
class _Cleaner:
    """Copies a value, and counts its items."""

    items_left: int
    max_text: int

    def clean(self, value: object, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return safe_int(value)
        if isinstance(value, float):
            return safe_float(value)
        if isinstance(value, dict):
            return self._dict(value, depth - 1) if depth else None
        if isinstance(value, list | tuple):
            return self._list(value, depth - 1) if depth else None
        return safe_text(value, self.max_text)

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        cleaned = {}
        for key, each in value.items():
            if self.items_left <= 0:
                break
            self.items_left -= 1
            name = self._text(key if isinstance(key, str) else _text_of(key))
            if name not in RESERVED_KEYS:
                cleaned[name] = self.clean(each, depth)
        return cleaned

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        cleaned = []
        for each in value:
            if self.items_left <= 0:
                break
            self.items_left -= 1
            cleaned.append(self.clean(each, depth))
        return cleaned

    def _text(self, text: str) -> str:
        if text.isascii() and text.isprintable() and len(text) <= self.max_text:
            return str(text)
        return _UNSAFE.sub(REPLACEMENT, _cut(text, self.max_text))


def _parse_int(digits: str) -> int | None:
    return safe_int(int(digits)) if len(digits) <= _MAX_DIGITS else None


def _text_of(value: object) -> str:
    if value is None:
        return ""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - too many digits, too deep, or a __str__ that fails
        return f"<{type(value).__name__}>"


def _cut(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else text[: max(max_length - 1, 0)] + ELLIPSIS
