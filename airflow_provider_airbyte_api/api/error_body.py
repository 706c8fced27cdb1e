"""Parse the body of an error response: whether Airbyte wrote it, and its message.

Airbyte's servers write errors in four forms, depending on their version. Gateways, identity proxies and load balancers
write their own. The difference matters: only Airbyte can report that a job, an id or a permission does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_airbyte_api.api.masking import mask
from airflow_provider_airbyte_api.api.safe import dict_or_empty, list_or_empty, parse_json, safe_text

MAX_RAW_DETAIL = 200
"""Maximum length of the excerpt of an unreadable response, in characters."""

MAX_SERVER_MESSAGE = 1000
"""Maximum length of the excerpt of a server's message, in characters."""

MAX_MASKED = 20_000
"""Maximum length of a text that is searched for secrets, in characters. Excerpts are far shorter."""

MAX_DETAIL_LENGTH = 160
"""Maximum length of the excerpt of one further field of an error, in characters."""

MAX_DETAILS = 5

BAD_CLIENT = frozenset({"invalid_client", "unauthorized_client", "invalid_grant", "access_denied"})
"""Errors of a token endpoint (RFC 6749, 5.2) that are about the credentials."""

BAD_TOKEN_REQUEST = frozenset({"invalid_request", "unsupported_grant_type", "invalid_scope"})
"""Errors of a token endpoint that are about the form of the request, which is Airbyte's own and not OAuth's."""

# Titles of Airbyte's problem objects: forbidden, try-again-later, error:cron-validation/invalid-expression.
_TITLE = re.compile(r"error:.+|[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class ErrorBody:
    """The body of an error response. ``secrets`` are masked in every excerpt of it."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    secrets: Sequence[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.content.decode("utf-8", "replace").strip())
        try:
            value = parse_json(self.content)
        except ValueError:
            value = None
        object.__setattr__(self, "fields", dict_or_empty(value))

    text: str = field(init=False, repr=False)
    fields: dict[str, Any] = field(init=False, repr=False)
    """The fields of the JSON object in the body; empty if the body is anything else."""

    @property
    def oauth_error(self) -> str:
        """The error code of an OAuth token endpoint, or an empty string."""
        code = self.fields.get("error")
        return code if isinstance(code, str) and code in BAD_CLIENT | BAD_TOKEN_REQUEST else ""

    @property
    def is_from_airbyte(self) -> bool:
        """True if the body has a form that Airbyte's servers, or the gateway of Airbyte Cloud, use for errors."""
        fields, message = self.fields, self.fields.get("message")
        if self._is_page_not_found:
            return False
        if {"_links", "_embedded"} & fields.keys():  # Micronaut, the framework of Airbyte's server
            return isinstance(message, str)
        if {"exceptionClassName", "validationErrors", "errorId"} & fields.keys():
            return True
        if self._is_problem:
            return True
        # Airbyte Cloud checks tokens in its gateway.
        return self.status == fields.get("code") == 401 and str(message).startswith("Jwt ")  # noqa: PLR2004

    @property
    def _is_problem(self) -> bool:
        kind, title = self.fields.get("type"), self.fields.get("title")
        if isinstance(kind, str) and (kind.startswith("error:") or _is_airbyte_url(kind)):
            return True
        return isinstance(title, str) and ("documentationUrl" in self.fields or bool(_TITLE.fullmatch(title)))

    @property
    def _is_page_not_found(self) -> bool:
        """True for the response of Airbyte's framework to a path that does not exist."""
        return self.status == 404 and _get_path(self.fields, "_embedded", "errors", 0, "message") == "Page Not Found"  # noqa: PLR2004

    @property
    def title(self) -> str | None:
        """The title of a web page, as safe text; empty if it has none, and None if the body is not a web page."""
        if "<html" not in self.text[:1000].lower() and "<!doctype html" not in self.text[:1000].lower():
            return None
        found = re.search(r"<title[^>]*>(.*?)</title>", self.text[:100_000], re.IGNORECASE | re.DOTALL)
        return self._masked_excerpt(" ".join(found[1].split()), MAX_DETAIL_LENGTH) if found else ""

    @property
    def source(self) -> str:
        """The server that answered in Airbyte's place, as far as it identifies itself, as the subject of a sentence."""
        if "iap" in self.text[:MAX_RAW_DETAIL].lower().split() or "x-goog-iap-generated-response" in self.headers:
            return "Google's Identity-Aware Proxy (IAP)"
        server = self._masked_excerpt(self.headers.get("server", ""), MAX_DETAIL_LENGTH)
        return "A gateway or proxy in front of Airbyte" + (f" (Server: {server})" if server else "")

    def message(self) -> str:
        """Return the error's message, from Airbyte, its framework, its gateway or a proxy, as one safe sentence."""
        fields = self.fields
        oauth = " ".join(str(fields[name]) for name in ("error", "error_description") if _is_text(fields.get(name)))
        error_id = fields.get("errorId")
        kind = fields.get("type")
        for text in (
            _get_path(fields, "data", "message"),
            _get_path(fields, "_embedded", "errors", 0, "message"),
            fields.get("message"),
            fields.get("detail"),
            fields.get("title"),
            oauth,
            error_id and f"no reason, but an id to search the server's log for: errorId {error_id}",
            isinstance(kind, str) and kind.startswith("error:") and kind.removeprefix("error:"),
            kind == "about:blank"
            and "no reason. Airbyte 0.63 and older respond in this form; 0.64 or newer is required",
        ):
            if text:
                facts = ", ".join(self._details())
                return _with_period(self._masked_excerpt(str(text).rstrip(), MAX_SERVER_MESSAGE), facts)
        if self.title is not None:
            return "a web page" + (f" titled {self.title!r}." if self.title else ".")
        return _with_period(self._masked_excerpt(self.text, MAX_RAW_DETAIL)) if self.text else "an empty body."

    def _details(self) -> list[str]:
        """Return the other details of the error: an id, the class of an exception, the invalid field."""
        found = [
            f"{name} {value}"
            for name, value in dict_or_empty(self.fields.get("data")).items()
            if name != "message" and isinstance(value, str | int | float)
        ]
        name = self.fields.get("exceptionClassName")
        if isinstance(name, str):
            found.append(name)
        invalid = map(dict_or_empty, list_or_empty(self.fields.get("validationErrors"))[:MAX_DETAILS])
        found.extend(f"{each.get('propertyPath')} {each.get('message')}" for each in invalid)
        return [self._masked_excerpt(each, MAX_DETAIL_LENGTH) for each in found[:MAX_DETAILS]]

    def _masked_excerpt(self, text: str, max_length: int) -> str:
        # Masked before it is cut: half of a secret is still sensitive.
        return safe_text(mask(text[:MAX_MASKED], self.secrets), max_length)


def _is_airbyte_url(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host == "airbyte.com" or host.endswith(".airbyte.com")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _get_path(value: Any, *keys: str | int) -> Any:
    for key in keys:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value


def _with_period(text: str, facts: str = "") -> str:
    if facts:
        return f"{text.removesuffix('.')} ({facts})."
    return text if text.endswith((".", "!", "?")) else text + "."
