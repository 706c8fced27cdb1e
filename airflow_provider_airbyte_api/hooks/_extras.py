"""Parser of the Extra of an Airflow connection: it validates each value, and an error names its field.

A form stores ``""`` or null for an empty field, which counts as not given. A URI stores all values as strings, which
are converted. An error never contains a value that may be secret.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from airflow_provider_airbyte_api.connection_form import CONN_FIELDS
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

EXTRA_ALIASES = ("token_cache", "timeout", "proxies")
"""Other accepted names: ``token_cache: disk`` for ``disk_cache``, and the names of the official provider."""

MAX_TIMEOUT = 86_400.0
"""Maximum timeout in seconds."""

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Extras:
    """The extras of the Airflow connection ``conn_id``, whose Extra is ``text``."""

    def __init__(self, conn_id: str | None, text: str | None) -> None:
        self._conn_id = conn_id
        try:
            values = json.loads(text or "{}")
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise AirbyteConfigError(f"Extra of Airflow connection {conn_id!r} is not a JSON object.")
        self._values: dict[str, Any] = values

    def value(self, name: str) -> Any:
        """Return the raw value, or None if it is missing or empty."""
        value = self._values.get(name)
        return None if value == "" else value

    def text(self, name: str) -> str | None:
        """Return a string, or None if it is missing or empty."""
        value = self.value(name)
        if value is not None and not isinstance(value, str):
            self.invalid(name, "text")
        return value.strip() if value is not None else None

    def secret(self, name: str) -> str | None:
        """Return a string that is valid in an HTTP header, or None if it is missing or empty."""
        value = self.text(name)
        if value is not None and not _is_header_value(value):
            self.invalid(name, "one line of ASCII text")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """Return one of ``choices``, or None if it is missing or empty."""
        value = self.value(name)
        if value is not None and value not in choices:
            self.invalid(name, f"one of {', '.join(choices)}", value)
        return None if value is None else str(value)

    def boolean(self, name: str, default: bool) -> bool:
        """Return a boolean, or ``default`` if it is missing or empty."""
        value = self.value(name)
        if value is None:
            return default
        found = _BOOLEANS.get(str(value).strip().lower())
        if found is None:
            self.invalid(name, "true or false", value)
        return found

    def seconds(self, name: str, default: float) -> float:
        """Return a number of seconds above 0 and at most :data:`MAX_TIMEOUT`, or ``default``."""
        value = self.value(name)
        try:
            seconds = default if value is None else float(value)
        except (OverflowError, TypeError, ValueError):
            seconds = math.nan
        if isinstance(value, bool) or not 0 < seconds <= MAX_TIMEOUT:
            self.invalid(name, "a number of seconds above 0, such as 30", value)
        return seconds

    def positive_int(self, name: str, default: int) -> int:
        """Return a whole number above 0, or ``default`` if it is missing or empty."""
        value = self.value(name)
        if value is None:
            return default
        if isinstance(value, bool) or not re.fullmatch(r"[1-9]\d{0,5}", str(value).strip()):
            self.invalid(name, "a whole number above 0", value)
        return int(value)

    def path(self, name: str, *, or_folder: bool = False) -> str | None:
        """Return the path of an existing file, or None. An error omits the value, which may be the file's content."""
        value = self.text(name)
        if value is None:
            return None
        try:
            is_there = Path(value).is_file() or (or_folder and Path(value).is_dir())
        except (OSError, ValueError):
            is_there = False
        if not is_there:
            self.invalid(name, f"the path of a file {'or folder ' if or_folder else ''}on this machine")
        return value

    def headers(self, name: str) -> dict[str, str]:
        """Return HTTP headers from a JSON object, or from a string with one."""
        value = self.value(name)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (RecursionError, ValueError):
                self.invalid(name, 'a JSON object such as {"X-Tenant": "data"}')
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(map(_is_header, value.items())):
            self.invalid(name, 'a JSON object with ASCII values such as {"X-Tenant": "data"}, and no Host or Content-…')
        return {header: text.strip() for header, text in value.items()}

    def proxy(self, name: str, scheme: str) -> str | None:
        """Return the URL of a proxy, or None. From an object with a URL for each scheme, return that for ``scheme``."""
        value = self.value(name)
        if isinstance(value, Mapping):
            keys = (scheme, f"{scheme}://", "all", "all://")
            value = next((value[key] for key in keys if value.get(key)), None)
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and value.isascii()
        except (AttributeError, TypeError, ValueError):
            is_one = False
        if not is_one:
            self.invalid(name, "a URL such as http://proxy.example.com:3128")
        return str(value)

    @property
    def unknown(self) -> list[str]:
        """The unknown names, each with a similar known name if there is one."""
        known = [*CONN_FIELDS, *EXTRA_ALIASES]
        found = []
        for name in self._values:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                found.append(f"{name} (did you mean {near[0]}?)" if near else name)
        return found

    def invalid(self, name: str, expected: str, value: Any = None) -> NoReturn:
        """Raise ``AirbyteConfigError`` for an invalid extra.

        :param name: Name of the extra.
        :param expected: Description of a valid value.
        :param value: The value, for the message. Omit it if it may be secret.
        """
        problem = "is invalid" if value is None else f"is {value!r}"
        raise AirbyteConfigError(
            f"Extra {name} of Airflow connection {self._conn_id!r} {problem}, expected {expected}."
        )


def _is_header(item: tuple[Any, Any]) -> bool:
    name, value = item
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) is not None
        and re.fullmatch(r"(?i)host|connection|content-.*|transfer-encoding", name) is None
        and _is_header_value(value)
    )


def _is_header_value(value: str) -> bool:
    """Return True if all HTTP libraries send ``value`` in the same form."""
    return value.isascii() and value.strip().isprintable()
