"""Finding out what is wrong with a connection to Airbyte, as a conversation.

It asks for a token, lists the workspaces, and, where one of the two fails, asks a self-managed Airbyte what it says of
itself to anybody. Each thing is asked for once, and no token of the cache is used. Each diagnosis has a heading, which
is also one in ``docs/troubleshooting.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import Conversation, Send, fetch_token, now
from airflow_provider_airbyte_api.api.errors import (
    AirbyteAccessError,
    AirbyteAuthenticationError,
    AirbyteConfigError,
    AirbyteError,
    AirbyteNotFoundError,
    AirbyteRateLimitError,
    AirbyteResponseError,
    AirbyteServerError,
    AirbyteUnexpectedReplyError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.api.models import Workspace
from airflow_provider_airbyte_api.api.retry import ONCE
from airflow_provider_airbyte_api.api.tokens import Credentials, Token
from airflow_provider_airbyte_api.api.urls import ApiRoot
from airflow_provider_airbyte_api.api.wire import NoResponse, Request, Response, Trouble, error_for, json_of, unexpected

SKEW = 60.0
"""Seconds by which clocks may differ before it is said."""

SHOWN = 3
"""How many workspaces are named."""


class Diagnosis(str, Enum):
    """What may be wrong. The values are headings."""

    UNUSABLE = "A field of the Airflow connection cannot be used"
    UNKNOWN_HOST = "There is no host of that name"
    REFUSED = "Nothing listens at that address"
    NO_ANSWER = "There is no answer in time"
    UNTRUSTED = "The TLS certificate is not trusted"
    NO_TLS = "That port speaks http, not https"
    WANTS_TLS = "That port speaks https, not http"
    PROXY = "The proxy does not let requests through"
    CUT_OFF = "The connection is cut off"
    WEB_PAGE = "That address is not Airbyte's API"
    REDIRECT = "That address leads elsewhere"
    WRONG_SECRET = "The client id or the client secret is wrong"  # noqa: S105 - a heading
    SWITCHED_OFF = "This Airbyte has authentication switched off"
    MISSING = "This Airbyte wants credentials"
    GATEWAY = "Something before Airbyte wants credentials of its own"
    FRESH_TOKEN_REFUSED = "Airbyte refuses the token that it has just given"  # noqa: S105 - a heading
    FIXED_REFUSED = "Airbyte refuses what the connection holds"
    NO_ACCESS = "The application's user may not look into this Airbyte"
    NO_WORKSPACE = "The application's user sees no workspace"
    RATE_LIMITED = "Airbyte is being asked too often"
    SERVER = "Airbyte is in trouble"
    OTHER = "Airbyte does not accept the request"


@dataclass(frozen=True)
class Finding:
    """What the doctor found: ``diagnosis`` is None if all is well. ``text`` is for people, and holds no secret."""

    text: str
    diagnosis: Diagnosis | None = None

    @property
    def ok(self) -> bool:
        """True if all is well."""
        return self.diagnosis is None


def found(diagnosis: Diagnosis, *sentences: str) -> Finding:
    """Return a finding that begins with the heading of its diagnosis."""
    return Finding(" ".join((f"{diagnosis.value}.", *filter(None, sentences))), diagnosis)


def examine(root: ApiRoot, credentials: Credentials | None, fixed: Token | None) -> Conversation[Finding]:
    """Return what is wrong with the way to this Airbyte, or that nothing is."""
    began = yield from now()
    try:
        token = fixed if credentials is None else (yield from fetch_token(credentials, ONCE))
    except AirbyteError as error:
        return (yield from _why_no_token(root, error))
    request = calls.list_workspaces().with_query(limit=calls.PAGE, offset=0)
    outcome: Response | NoResponse = yield Send(request, token)
    if not isinstance(outcome, Response) or not outcome.ok:
        if_refused = "" if token is None else token.if_refused
        refusal = error_for(request, outcome, with_token=token is not None, if_refused=if_refused)
        return (yield from _why_no_list(root, refusal, token))
    try:
        names = _names(request, outcome)
    except AirbyteUnexpectedReplyError as unexpected_reply:
        return (yield from _why_no_list(root, unexpected_reply, token))
    if not names:
        return found(
            Diagnosis.NO_WORKSPACE,
            f"{root.api} accepts the credentials. Give the user who created the application a role in a workspace.",
        )
    instance = yield from _instance(root)
    return Finding(" ".join(filter(None, _well(root, names, instance, token, began, outcome))))


def _names(request: Request, reply: Response) -> list[str]:
    try:
        return [Workspace.from_json(row).name for row in json_of(request, reply)["data"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise unexpected(request, reply, "JSON without workspaces.") from None


def _well(
    root: ApiRoot,
    names: list[str],
    instance: Mapping[str, Any],
    token: Token | None,
    began: float,
    reply: Response,
) -> list[str]:
    shown = ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
    more = "or more " if len(names) == calls.PAGE else ""
    sentences = [
        f"Connected to {_who(root, instance)} at {root.api}.",
        f"The application's user sees {len(names)} {more}workspace{'s' if len(names) > 1 else ''}: {shown}.",
    ]
    if token is None:
        sentences.append("Authentication is switched off there.")
    elif token.if_refused:
        sentences.append("What the connection holds is sent as it is: no token is asked for.")
    else:
        sentences.append(f"Tokens live {_length(token.expires_at - began)}.")
    ahead = 0.0 if reply.server_time is None else began - reply.server_time
    if abs(ahead) > SKEW:
        way = "ahead of" if ahead > 0 else "behind"
        sentences.append(
            f"This machine's clock is {_length(abs(ahead))} {way} Airbyte's, which does no harm to tokens."
        )
    return sentences


def _who(root: ApiRoot, instance: Mapping[str, Any]) -> str:
    if root.is_cloud:
        return "Airbyte Cloud"
    version, edition = instance.get("version"), instance.get("edition")
    return " ".join(["Airbyte", *([str(version)] if version else []), *([f"({edition})"] if edition else [])])


def _length(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s" if seconds < 2 * SKEW else f"{minutes} min" if minutes < 2 * SKEW else f"{minutes // 60} h"
    )


def _instance(root: ApiRoot) -> Conversation[Mapping[str, Any]]:
    """Return what a self-managed Airbyte says of itself to anybody; nothing, if it does not."""
    if root.is_cloud:
        return {}
    request = calls.instance_configuration(root)
    outcome: Response | NoResponse = yield Send(request, None)
    if not isinstance(outcome, Response) or not outcome.ok:
        return {}
    try:
        said = json_of(request, outcome)
    except AirbyteUnexpectedReplyError:
        return {}
    return said if isinstance(said, Mapping) else {}


def _is_switched_off(instance: Mapping[str, Any]) -> bool:
    auth = instance.get("auth")
    return isinstance(auth, Mapping) and auth.get("mode") == "none"


def _why_no_token(root: ApiRoot, error: AirbyteError) -> Conversation[Finding]:
    common = _what_any_request_may_meet(root, error)
    # These two may come of a wrong secret, or of there being nothing that gives tokens.
    if common is not None and common.diagnosis not in (Diagnosis.SERVER, Diagnosis.WEB_PAGE):
        return common
    instance = yield from _instance(root)
    if _is_switched_off(instance):
        return found(Diagnosis.SWITCHED_OFF, "Empty Login and Password in the Airflow connection.", _said(error))
    if isinstance(error, AirbyteAuthenticationError) and error.in_airbytes_words:
        return found(
            Diagnosis.WRONG_SECRET,
            "Copy both anew from the application into Login and Password of the Airflow connection.",
            _said(error),
        )
    if isinstance(error, AirbyteServerError) and instance:
        # Airbyte itself is well: some of its versions say 500 to a wrong secret.
        return found(
            Diagnosis.WRONG_SECRET,
            "Airbyte answers, and its token endpoint fails, as some versions do for a wrong client id or secret: copy "
            "both anew from the application.",
            _said(error),
        )
    if common is not None:
        return common
    return found(
        Diagnosis.WEB_PAGE,
        f"Nothing there gives tokens in Airbyte's words. Check {_field(root, error)} in the Airflow connection, and "
        "that this Airbyte is 0.64 or newer; or something before it refuses the request.",
        _said(error),
    )


def _why_no_list(root: ApiRoot, error: AirbyteError, token: Token | None) -> Conversation[Finding]:
    common = _what_any_request_may_meet(root, error)
    if common is not None:
        return common
    if isinstance(error, AirbyteAuthenticationError):
        if token is None:
            advice = "Set Login (client id) and Password (client secret) of an Airbyte application."
            return found(Diagnosis.MISSING, advice, _said(error))
        if token.if_refused:
            return found(Diagnosis.FIXED_REFUSED, token.if_refused, _said(error))
        return found(
            Diagnosis.FRESH_TOKEN_REFUSED,
            "Its servers' clocks may differ, or a gateway before it checks tokens that it did not give. Tell whoever "
            "runs this Airbyte.",
            _said(error),
        )
    if isinstance(error, AirbyteNotFoundError):
        return found(Diagnosis.WEB_PAGE, f"Check Host, which was taken for {root.api}.", _said(error))
    if isinstance(error, AirbyteAccessError):
        instance = yield from _instance(root)
        if instance or root.is_cloud:
            advice = "Give the user who created the application a role in a workspace."
            return found(Diagnosis.NO_ACCESS, advice, _said(error))
        return found(Diagnosis.WEB_PAGE, "Some versions say 403 to a path that is not there: check Host.", _said(error))
    return found(Diagnosis.OTHER, str(error))


def _what_any_request_may_meet(root: ApiRoot, error: AirbyteError) -> Finding | None:
    """Return what is wrong with the way to Airbyte, whatever was asked for."""
    if isinstance(error, AirbyteUnreachableError):
        return _unreachable(root, error)
    if isinstance(error, AirbyteConfigError):
        return found(Diagnosis.UNUSABLE, str(error))
    if not isinstance(error, AirbyteResponseError):
        return found(Diagnosis.OTHER, str(error))
    if re.search(r"https (port|server)", error.detail, re.IGNORECASE):
        return found(Diagnosis.WANTS_TLS, "Write https:// in Host.", _said(error))
    if isinstance(error, AirbyteUnexpectedReplyError):
        if 300 <= error.status < 400:  # noqa: PLR2004
            advice = (
                "Write the address that it leads to into Host. If that is a login page, an identity proxy stands "
                "before Airbyte: give it what it wants in the extra secret_headers."
            )
            return found(Diagnosis.REDIRECT, advice, _said(error))
        return found(
            Diagnosis.WEB_PAGE,
            f"Check {_field(root, error)}. Host was taken for {root.api}; it has to be https://api.airbyte.com/v1 for "
            "Cloud, or the address of a self-managed Airbyte's web page.",
            _said(error),
        )
    if error.gateway_asks:
        advice = (
            "A proxy or an old installation asks for HTTP Basic: set the extra auth_type to basic, with user and "
            "password in Login and Password. Where Airbyte wants a token too, let the proxy read another header "
            "(secret_headers)."
        )
        return found(Diagnosis.GATEWAY, advice, _said(error))
    if isinstance(error, AirbyteRateLimitError):
        return found(Diagnosis.RATE_LIMITED, "Try again in a minute.", _said(error))
    if isinstance(error, AirbyteServerError):
        return found(Diagnosis.SERVER, "Try again later, or look at its log.", _said(error))
    return None


def _unreachable(root: ApiRoot, error: AirbyteUnreachableError) -> Finding:
    field = _field(root, error)
    diagnosis, advice = {
        Trouble.DNS: (Diagnosis.UNKNOWN_HOST, f"Check {field} in the Airflow connection, and the DNS of this machine."),
        Trouble.REFUSED: (
            Diagnosis.REFUSED,
            f"Check {field} and its port, and that Airbyte runs. In a container, localhost is that container itself.",
        ),
        Trouble.TIMEOUT: (
            Diagnosis.NO_ANSWER,
            f"Check {field} in the Airflow connection, and that firewalls let this machine through.",
        ),
        Trouble.TLS: (
            Diagnosis.UNTRUSTED,
            "If a CA of your own signed it, name its file in the extra ca_bundle. Check the name in Host.",
        ),
        Trouble.PROXY: (
            Diagnosis.PROXY,
            "Check the extra proxy, or http_proxy, https_proxy and no_proxy in the environment of this machine.",
        ),
        Trouble.OTHER: (
            Diagnosis.CUT_OFF,
            f"Check {field} and its port, and whether it wants https or http, or a certificate of yours (client_cert).",
        ),
    }[Trouble(error.trouble)]
    words = str(error).lower()
    if diagnosis is Diagnosis.UNTRUSTED and ("wrong version" in words or "record layer" in words):
        diagnosis, advice = (
            Diagnosis.NO_TLS,
            f"Write http:// in Host (the secret then travels in the clear), or the port that speaks https: {root.ui}.",
        )
    return found(diagnosis, advice, _said(error))


def _field(root: ApiRoot, error: AirbyteError) -> str:
    """Return the field of the Airflow connection that says where the request went."""
    asked = urlsplit(getattr(error, "url", "") or root.api)
    return "Host" if asked.netloc == urlsplit(root.api).netloc else "the extra auth_url"


def _said(error: AirbyteError) -> str:
    """Return what was asked, and the answer in the server's own words."""
    if isinstance(error, AirbyteResponseError):
        return f"({error.method} {error.url} answered {error.status}: {error.detail})"
    return f"({str(error).split('. ', maxsplit=1)[0].rstrip('.')}.)"
