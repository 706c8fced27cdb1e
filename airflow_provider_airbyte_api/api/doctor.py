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
    AirbyteRequestError,
    AirbyteResponseError,
    AirbyteServerError,
    AirbyteUnexpectedReplyError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.api.models import Workspace
from airflow_provider_airbyte_api.api.retry import ONCE
from airflow_provider_airbyte_api.api.tokens import Credentials, Token
from airflow_provider_airbyte_api.api.urls import ApiRoot
from airflow_provider_airbyte_api.api.wire import (
    OAUTH_ADVICE,
    NoResponse,
    Request,
    Response,
    Trouble,
    error_for,
    json_of,
    unexpected,
)

SKEW = 60.0
"""Seconds by which clocks may differ before it is said."""

FIELD_URL, FIELD_ID, FIELD_SECRET = "Airbyte URL (Host)", "Client ID (Login)", "Client secret (Password)"
"""Fields of the Airflow connection: as the form calls them, and as Airflow's API, URIs and command line do."""

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
    BLOCKED = "Something before Airbyte refuses the request"
    FRESH_TOKEN_REFUSED = "Airbyte refuses the token that it has just given"  # noqa: S105 - a heading
    FIXED_REFUSED = "Airbyte refuses what the connection holds"
    NO_ACCESS = "The application's user may not look into this Airbyte"
    NO_WORKSPACE = "The application's user sees no workspace"
    RATE_LIMITED = "Airbyte is being asked too often"
    SERVER = "Airbyte is in trouble"
    OTHER = "Airbyte does not accept the request"


IDENTITY_PROXY = (
    "The 401 is not Airbyte's: an identity proxy or a gateway has answered. Send what it expects in the extra "
    "secret_headers (Google's IAP reads Proxy-Authorization)."
)


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
        if _is_airbytes(refusal, AirbyteAccessError) and (yield from _may_list_connections(token)):
            instance = yield from _instance(root.ui, is_cloud=root.is_cloud)
            sees = "The application's user may not list workspaces, but may list connections: tasks can run."
            return Finding(f"Connected to {_who(root, instance)} at {root.api}. {sees}")
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
    instance = yield from _instance(root.ui, is_cloud=root.is_cloud)
    return Finding(" ".join(filter(None, _well(root, names, instance, token, began, outcome))))


def _may_list_connections(token: Token | None) -> Conversation[bool]:
    request = calls.list_connections().with_query(limit=1, offset=0)
    outcome: Response | NoResponse = yield Send(request, token)
    return isinstance(outcome, Response) and outcome.ok


def _is_airbytes(error: AirbyteError, *kinds: type[AirbyteResponseError]) -> bool:
    """Tell whether ``error`` is one of ``kinds``, and Airbyte itself has answered it."""
    return isinstance(error, kinds) and error.from_airbyte


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


def _instance(ui: str, *, is_cloud: bool = False) -> Conversation[Mapping[str, Any]]:
    """Return what a self-managed Airbyte below ``ui`` says of itself to anybody; nothing, if it does not."""
    if is_cloud:
        return {}
    request = calls.instance_configuration(ui)
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
    instance = yield from _instance(root.ui, is_cloud=root.is_cloud)
    if _is_switched_off(instance):
        return found(
            Diagnosis.SWITCHED_OFF, f"Empty {FIELD_ID} and {FIELD_SECRET} in the Airflow connection.", _said(error)
        )
    status = error.status if isinstance(error, AirbyteResponseError) else 0
    if _is_airbytes(error, AirbyteRequestError) and OAUTH_ADVICE in str(error):
        return found(Diagnosis.WEB_PAGE, OAUTH_ADVICE, _said(error))
    if status == 401 and root.ui != root.origin and not instance:  # noqa: PLR2004
        return (yield from _wrong_path(root, error))
    if _is_airbytes(error, AirbyteAuthenticationError):
        return _wrong_secret(root, error)
    if status == 500 and _is_airbytes(error, AirbyteServerError) and instance:  # noqa: PLR2004
        return found(
            Diagnosis.WRONG_SECRET,
            "Airbyte answers, and its token endpoint fails with 500, as some versions do for a wrong client id or "
            f"secret: copy both again from the application into {FIELD_ID} and {FIELD_SECRET}.",
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


def _wrong_path(root: ApiRoot, error: AirbyteError) -> Conversation[Finding]:
    """Return what is wrong where a self-managed Airbyte asks for credentials at its token endpoint.

    It answers 401 to each path that it does not know, and 400 to a wrong secret.
    """
    path = root.ui.removeprefix(root.origin)
    at_origin = yield from _instance(root.origin)
    advice = (
        f"Airbyte is at {root.origin}, and not below {path}: write {root.origin} into {FIELD_URL}."
        if at_origin
        else f"Check the path in {FIELD_URL}, which was taken for {root.api}. Airbyte answers 401 to a path that it "
        "does not know, and 400 to a wrong client secret."
    )
    return found(Diagnosis.WEB_PAGE, advice, _said(error))


def _wrong_secret(root: ApiRoot, error: AirbyteError) -> Finding:
    own = f"{root.api}/applications/token"
    other_url = "If they are right, check the path in the extra auth_url: Airbyte answers 401 to one it does not know."
    return found(
        Diagnosis.WRONG_SECRET,
        f"Copy both again from the application into {FIELD_ID} and {FIELD_SECRET} of the Airflow connection.",
        "" if getattr(error, "url", own) == own else other_url,
        _said(error),
    )


def _why_no_list(root: ApiRoot, error: AirbyteError, token: Token | None) -> Conversation[Finding]:
    if token is not None and token.if_refused and getattr(error, "status", 0) == 401:  # noqa: PLR2004
        return found(Diagnosis.FIXED_REFUSED, token.if_refused, _said(error))
    common = _what_any_request_may_meet(root, error)
    if common is not None:
        return common
    if isinstance(error, AirbyteAuthenticationError):
        return _why_unauthenticated(error, token)
    if isinstance(error, AirbyteNotFoundError):
        return found(Diagnosis.WEB_PAGE, f"Check {FIELD_URL}, which was taken for {root.api}.", _said(error))
    if isinstance(error, AirbyteAccessError):
        instance = yield from _instance(root.ui, is_cloud=root.is_cloud)
        if instance or root.is_cloud:
            advice = "Give the user who created the application a role in a workspace."
            return found(Diagnosis.NO_ACCESS, advice, _said(error))
        return found(
            Diagnosis.WEB_PAGE,
            f"Some versions answer 403 to a path that is not there: check {FIELD_URL}.",
            _said(error),
        )
    return found(Diagnosis.OTHER, str(error))


def _why_unauthenticated(error: AirbyteAuthenticationError, token: Token | None) -> Finding:
    if token is None:
        advice = f"Set {FIELD_ID} and {FIELD_SECRET} to those of an Airbyte application."
        return found(Diagnosis.MISSING, advice, _said(error))
    return found(
        Diagnosis.FRESH_TOKEN_REFUSED,
        "The clocks of its servers may differ, or a gateway before it checks tokens that it did not issue. Ask the "
        "administrator of this Airbyte.",
        _said(error),
    )


def _what_any_request_may_meet(root: ApiRoot, error: AirbyteError) -> Finding | None:
    """Return what is wrong with the way to Airbyte, whatever was asked for."""
    if isinstance(error, AirbyteUnreachableError):
        return _unreachable(root, error)
    if isinstance(error, AirbyteConfigError):
        return found(Diagnosis.UNUSABLE, str(error))
    if not isinstance(error, AirbyteResponseError):
        return found(Diagnosis.OTHER, str(error))
    if re.search(r"https (port|server)", error.detail, re.IGNORECASE):
        return found(Diagnosis.WANTS_TLS, f"Write https:// in {FIELD_URL}.", _said(error))
    if isinstance(error, AirbyteUnexpectedReplyError):
        return _not_airbytes(root, error)
    if error.gateway_asks:
        advice = (
            "A proxy or an old installation asks for HTTP Basic: set the extra auth_type to basic, with user and "
            f"password in {FIELD_ID} and {FIELD_SECRET}. Where Airbyte wants a token too, let the proxy read another "
            "header (secret_headers)."
        )
        return found(Diagnosis.GATEWAY, advice, _said(error))
    if isinstance(error, AirbyteRateLimitError):
        return found(Diagnosis.RATE_LIMITED, "Try again in a minute.", _said(error))
    if isinstance(error, AirbyteServerError):
        return found(Diagnosis.SERVER, "Try again later, or look at its log.", _said(error))
    return None


def _not_airbytes(root: ApiRoot, error: AirbyteResponseError) -> Finding:
    """Return what a reply means that something else than Airbyte has sent."""
    if error.status == 401:  # noqa: PLR2004
        return found(Diagnosis.GATEWAY, IDENTITY_PROXY, _said(error))
    if error.status == 403:  # noqa: PLR2004
        advice = (
            "The 403 is not Airbyte's: a firewall, an ingress or an identity proxy has answered. Let it admit this "
            "machine, or send what it expects in the extra secret_headers."
        )
        return found(Diagnosis.BLOCKED, advice, _said(error))
    if 300 <= error.status < 400:  # noqa: PLR2004
        advice = (
            f"Write the address that it leads to into {FIELD_URL}. If that is a login page, an identity proxy stands "
            "before Airbyte: send what it expects in the extra secret_headers."
        )
        return found(Diagnosis.REDIRECT, advice, _said(error))
    return found(
        Diagnosis.WEB_PAGE,
        f"Check {_field(root, error)}. {FIELD_URL} was taken for {root.api}; it has to be https://api.airbyte.com/v1 "
        "for Cloud, or the address of a self-managed Airbyte's web page (0.64 or newer).",
        _said(error),
    )


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
            f"If a CA of your own signed it, name its file in the extra ca_bundle. Check the name in {FIELD_URL}.",
        ),
        Trouble.CERTIFICATE: (
            Diagnosis.UNTRUSTED,
            f"If a CA of your own signed it, name its file in the extra ca_bundle. Check the name in {FIELD_URL}.",
        ),
        Trouble.PROXY: (
            Diagnosis.PROXY,
            "Check the extra proxy, or http_proxy, https_proxy and no_proxy in the environment of this machine.",
        ),
        Trouble.TOO_LARGE: (
            Diagnosis.WEB_PAGE,
            f"Check {field} in the Airflow connection: Airbyte sends no such reply.",
        ),
        Trouble.OTHER: (
            Diagnosis.CUT_OFF,
            f"Check {field} and its port, and whether it wants https or http, or a certificate of yours (client_cert).",
        ),
    }[Trouble(error.trouble)]
    words = str(error).lower()
    if diagnosis is Diagnosis.UNTRUSTED and ("wrong version" in words or "record layer" in words):
        diagnosis = Diagnosis.NO_TLS
        advice = (
            f"Write http:// in {FIELD_URL} (the secret then travels in the clear), or the port that speaks https: "
            f"{root.ui}."
        )
    return found(diagnosis, advice, _said(error))


def _field(root: ApiRoot, error: AirbyteError) -> str:
    """Return the field of the Airflow connection that says where the request went."""
    asked = urlsplit(getattr(error, "url", "") or root.api)
    return FIELD_URL if asked.netloc == urlsplit(root.api).netloc else "the extra auth_url"


def _said(error: AirbyteError) -> str:
    """Return what was asked, and the answer in the server's own words."""
    if isinstance(error, AirbyteResponseError):
        return f"({error.method} {error.url} answered {error.status}: {error.detail})"
    return f"({str(error).split('. ', maxsplit=1)[0].rstrip('.')}.)"
