"""A flow that diagnoses the connection to Airbyte.

It requests a token and lists the workspaces. If either fails, it requests the public configuration of a self-managed
Airbyte, which needs no authentication. Each request is sent once, and no cached token is used. Each problem has a
heading, which is also one in ``docs/troubleshooting.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.base_url import AirbyteUrls
from airflow_provider_airbyte_api.api.flow import Flow, SendRequest, fetch_page, fetch_token, get_time
from airflow_provider_airbyte_api.api.http import (
    OAUTH_HINT,
    Request,
    Response,
    TransportErrorKind,
    TransportFailure,
    parse_response,
    to_error,
    unexpected_response,
)
from airflow_provider_airbyte_api.api.jobs import get_failure_reason
from airflow_provider_airbyte_api.api.models import Job, Workspace
from airflow_provider_airbyte_api.api.outcome import NoReason
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, Token
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteBadRequestError,
    AirbyteConfigError,
    AirbyteError,
    AirbyteNotFoundError,
    AirbytePermissionError,
    AirbyteRateLimitError,
    AirbyteResponseError,
    AirbyteServerError,
    AirbyteUnexpectedResponseError,
    AirbyteUnreachableError,
)

CLOCK_SKEW_WARNING = 60.0
"""Seconds of difference between the clocks from which the diagnosis mentions it."""

FIELD_URL, FIELD_ID, FIELD_SECRET = "Airbyte URL (Host)", "Client ID (Login)", "Client secret (Password)"
"""Fields of the Airflow connection: their labels in the form, and their names in Airflow's API, URIs and command line.
"""

REASON_TIMEOUT = 4.0
"""Timeout in seconds for the request for a job's failures."""

MAX_WORKSPACES_SHOWN = 3
"""Maximum number of workspaces that are named."""


class Problem(str, Enum):
    """The possible problems. The values are headings."""

    INVALID_FIELD = "A field of the Airflow connection is invalid"
    UNKNOWN_HOST = "The host name cannot be resolved"
    REFUSED = "The connection was refused"
    TIMEOUT = "The request timed out"
    TLS_VERIFICATION = "The TLS certificate is not trusted"
    HTTPS_ON_HTTP_PORT = "The port expects http, not https"
    HTTP_ON_HTTPS_PORT = "The port expects https, not http"
    PROXY = "The proxy cannot be used"
    CONNECTION_RESET = "The connection was closed without a response"
    WEB_PAGE = "The address is not that of Airbyte's API"
    REDIRECT = "The server redirects to another address"
    INVALID_CREDENTIALS = "The client id or the client secret is wrong"
    AUTH_DISABLED = "This Airbyte has authentication switched off"
    CREDENTIALS_MISSING = "This Airbyte requires credentials"
    GATEWAY = "A server in front of Airbyte requires its own credentials"
    BLOCKED = "A server in front of Airbyte rejects the request"
    TOKEN_REJECTED = "Airbyte rejects the token that it just issued"  # noqa: S105 - a heading
    STATIC_TOKEN_REJECTED = "Airbyte rejects the stored token or password"  # noqa: S105 - a heading
    NO_ACCESS = "The application's user may not list workspaces or connections"
    NO_WORKSPACE = "The application's user has no workspace"
    RATE_LIMITED = "Airbyte receives too many requests"
    SERVER = "Airbyte returns a server error"
    OTHER = "Airbyte rejects the request"


IDENTITY_PROXY = (
    "The 401 does not come from Airbyte, but from an identity proxy or a gateway. Send the credentials that it "
    "expects in the extra secret_headers (Google's IAP reads Proxy-Authorization)."
)


@dataclass(frozen=True)
class Diagnosis:
    """The result: ``problem`` is None if everything works. ``message`` is for people, and contains no secret."""

    message: str
    problem: Problem | None = None

    @property
    def ok(self) -> bool:
        """True if there is no problem."""
        return self.problem is None


def failure(problem: Problem, *sentences: str) -> Diagnosis:
    """Return a diagnosis that begins with the heading of its problem."""
    return Diagnosis(" ".join((f"{problem.value}.", *filter(None, sentences))), problem)


def diagnose(urls: AirbyteUrls, credentials: ClientCredentials | None, static_token: Token | None) -> Flow[Diagnosis]:
    """Return what prevents requests to this Airbyte, or a success message."""
    started_at = yield from get_time()
    try:
        token = static_token if credentials is None else (yield from fetch_token(credentials, NO_RETRY))
    except AirbyteError as error:
        return (yield from _explain_token_failure(urls, error))
    request = endpoints.list_workspaces().with_query(limit=endpoints.PAGE_SIZE, offset=0)
    response: Response | TransportFailure = yield SendRequest(request, token)
    if not isinstance(response, Response) or not response.ok:
        unauthorized_hint = "" if token is None else token.unauthorized_hint
        list_error = to_error(request, response, had_token=token is not None, unauthorized_hint=unauthorized_hint)
        if _is_airbytes(list_error, AirbytePermissionError) and (yield from _may_list_connections(token)):
            instance = yield from _fetch_instance_config(urls.web_url, is_cloud=urls.is_cloud)
            sees = "The application's user may list connections, but not workspaces: tasks can run."
            return Diagnosis(f"Connected to {_instance_label(urls, instance)} at {urls.api_url}. {sees}")
        return (yield from _explain_list_failure(urls, list_error, token))
    try:
        names = _names(request, response)
    except AirbyteUnexpectedResponseError as error:
        return (yield from _explain_list_failure(urls, error, token))
    if not names:
        return failure(
            Problem.NO_WORKSPACE,
            f"{urls.api_url} accepts the credentials. Give the user who created the application a role in a workspace.",
        )
    instance = yield from _fetch_instance_config(urls.web_url, is_cloud=urls.is_cloud)
    return Diagnosis(" ".join(filter(None, _success_message(urls, names, instance, token, started_at, response))))


def diagnose_reasons(config_url: str | None) -> Flow[str]:
    """Return whether the reasons of failed jobs are available, as a sentence: it asks for that of the latest job.

    :param config_url: root URL of Airbyte's internal API; None if its use is switched off.
    """
    if config_url is None:
        return "Reasons of failed jobs are switched off (extra config_api)."
    try:
        page = yield from fetch_page(endpoints.list_jobs(), 0, Job.from_json, NO_RETRY, limit=1)
    except AirbyteError as error:
        return f"Reasons of failed jobs could not be tested. {error}"
    if not page.rows:
        return "Reasons of failed jobs could not be tested: there is no job yet."
    found = yield from get_failure_reason(page.rows[0], config_url, timeout=REASON_TIMEOUT)
    if isinstance(found, NoReason):
        return f"Reasons of failed jobs are not available ({found.why}). Check the extra config_api."
    return "Reasons of failed jobs are available."


def _may_list_connections(token: Token | None) -> Flow[bool]:
    request = endpoints.list_connections().with_query(limit=1, offset=0)
    outcome: Response | TransportFailure = yield SendRequest(request, token)
    return isinstance(outcome, Response) and outcome.ok


def _is_airbytes(error: AirbyteError, *kinds: type[AirbyteResponseError]) -> bool:
    """Return True if ``error`` is one of ``kinds``, and its response comes from Airbyte itself."""
    return isinstance(error, kinds) and error.from_airbyte


def _names(request: Request, response: Response) -> list[str]:
    try:
        return [Workspace.from_json(row).name for row in parse_response(request, response)["data"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise unexpected_response(request, response, "JSON without workspaces.") from None


def _success_message(
    urls: AirbyteUrls,
    names: list[str],
    instance: Mapping[str, Any],
    token: Token | None,
    started_at: float,
    response: Response,
) -> list[str]:
    shown = ", ".join(names[:MAX_WORKSPACES_SHOWN]) + (" …" if len(names) > MAX_WORKSPACES_SHOWN else "")
    more = "or more " if len(names) == endpoints.PAGE_SIZE else ""
    sentences = [
        f"Connected to {_instance_label(urls, instance)} at {urls.api_url}.",
        f"The application's user sees {len(names)} {more}workspace{'s' if len(names) > 1 else ''}: {shown}.",
    ]
    if token is None:
        sentences.append("Authentication is switched off.")
    elif token.unauthorized_hint:
        sentences.append("The stored token or password is sent as it is; no token is requested.")
    else:
        sentences.append(f"Tokens are valid for {_format_duration(token.expires_at - started_at)}.")
    ahead = 0.0 if response.server_time is None else started_at - response.server_time
    if abs(ahead) > CLOCK_SKEW_WARNING:
        way = "ahead of" if ahead > 0 else "behind"
        sentences.append(
            f"This machine's clock is {_format_duration(abs(ahead))} {way} Airbyte's; tokens are not affected."
        )
    return sentences


def _instance_label(urls: AirbyteUrls, instance: Mapping[str, Any]) -> str:
    if urls.is_cloud:
        return "Airbyte Cloud"
    version, edition = instance.get("version"), instance.get("edition")
    return " ".join(["Airbyte", *([str(version)] if version else []), *([f"({edition})"] if edition else [])])


def _format_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s"
        if seconds < 2 * CLOCK_SKEW_WARNING
        else f"{minutes} min"
        if minutes < 2 * CLOCK_SKEW_WARNING
        else f"{minutes // 60} h"
    )


def _fetch_instance_config(web_url: str, *, is_cloud: bool = False) -> Flow[Mapping[str, Any]]:
    """Return the public configuration of a self-managed Airbyte below ``web_url``; empty if it has none."""
    if is_cloud:
        return {}
    request = endpoints.instance_configuration(web_url)
    outcome: Response | TransportFailure = yield SendRequest(request, None)
    if not isinstance(outcome, Response) or not outcome.ok:
        return {}
    try:
        config = parse_response(request, outcome)
    except AirbyteUnexpectedResponseError:
        return {}
    return config if isinstance(config, Mapping) else {}


def _is_switched_off(instance: Mapping[str, Any]) -> bool:
    auth = instance.get("auth")
    return isinstance(auth, Mapping) and auth.get("mode") == "none"


def _explain_token_failure(urls: AirbyteUrls, error: AirbyteError) -> Flow[Diagnosis]:
    common = _explain_transport_or_gateway(urls, error)
    # Either may result from a wrong secret, or from an address without a token endpoint.
    if common is not None and common.problem not in (Problem.SERVER, Problem.WEB_PAGE):
        return common
    instance = yield from _fetch_instance_config(urls.web_url, is_cloud=urls.is_cloud)
    if _is_switched_off(instance):
        return failure(
            Problem.AUTH_DISABLED,
            f"Leave {FIELD_ID} and {FIELD_SECRET} empty in the Airflow connection.",
            _response_detail(error),
        )
    status = error.status if isinstance(error, AirbyteResponseError) else 0
    if _is_airbytes(error, AirbyteBadRequestError) and OAUTH_HINT in str(error):
        return failure(Problem.WEB_PAGE, OAUTH_HINT, _response_detail(error))
    if status == 401 and urls.web_url != urls.origin and not instance:  # noqa: PLR2004
        return (yield from _wrong_path(urls, error))
    if _is_airbytes(error, AirbyteAuthenticationError):
        return _wrong_secret(urls, error)
    if status == 500 and _is_airbytes(error, AirbyteServerError) and instance:  # noqa: PLR2004
        return failure(
            Problem.INVALID_CREDENTIALS,
            "The token endpoint returned 500, as it does in some versions for a wrong client id or secret. Copy "
            f"both again from the application into {FIELD_ID} and {FIELD_SECRET}.",
            _response_detail(error),
        )
    if common is not None:
        return common
    return failure(
        Problem.WEB_PAGE,
        "The token endpoint did not return a valid Airbyte response. "
        f"Check {_field_name(urls, error)} in the Airflow connection, that this Airbyte is 0.64 or newer, "
        "and that no server in front of it rejects the request.",
        _response_detail(error),
    )


def _wrong_path(urls: AirbyteUrls, error: AirbyteError) -> Flow[Diagnosis]:
    """Return the diagnosis for a self-managed Airbyte whose token endpoint requires credentials.

    Airbyte answers 401 to each unknown path, and 400 to a wrong secret.
    """
    path = urls.web_url.removeprefix(urls.origin)
    at_origin = yield from _fetch_instance_config(urls.origin)
    hint = (
        f"Airbyte is at {urls.origin}, not below {path}. Set {FIELD_URL} to {urls.origin}."
        if at_origin
        else f"Check the path in {FIELD_URL}, which resolves to {urls.api_url}. Airbyte returns 401 for an unknown "
        "path, and 400 for a wrong client secret."
    )
    return failure(Problem.WEB_PAGE, hint, _response_detail(error))


def _wrong_secret(urls: AirbyteUrls, error: AirbyteError) -> Diagnosis:
    own = f"{urls.api_url}/applications/token"
    other_url = "If they are right, check the path in the extra auth_url: Airbyte returns 401 for an unknown path."
    return failure(
        Problem.INVALID_CREDENTIALS,
        f"Copy both again from the application into {FIELD_ID} and {FIELD_SECRET} of the Airflow connection.",
        "" if getattr(error, "url", own) == own else other_url,
        _response_detail(error),
    )


def _explain_list_failure(urls: AirbyteUrls, error: AirbyteError, token: Token | None) -> Flow[Diagnosis]:
    if token is not None and token.unauthorized_hint and getattr(error, "status", 0) == 401:  # noqa: PLR2004
        return failure(Problem.STATIC_TOKEN_REJECTED, token.unauthorized_hint, _response_detail(error))
    common = _explain_transport_or_gateway(urls, error)
    if common is not None:
        return common
    if isinstance(error, AirbyteAuthenticationError):
        return _why_unauthenticated(error, token)
    if isinstance(error, AirbyteNotFoundError):
        return failure(
            Problem.WEB_PAGE, f"Check {FIELD_URL}, which resolves to {urls.api_url}.", _response_detail(error)
        )
    if isinstance(error, AirbytePermissionError):
        instance = yield from _fetch_instance_config(urls.web_url, is_cloud=urls.is_cloud)
        if instance or urls.is_cloud:
            hint = "Give the user who created the application a role in a workspace."
            return failure(Problem.NO_ACCESS, hint, _response_detail(error))
        return failure(
            Problem.WEB_PAGE,
            f"Some versions return 403 for an unknown path: check {FIELD_URL}.",
            _response_detail(error),
        )
    return failure(Problem.OTHER, str(error))


def _why_unauthenticated(error: AirbyteAuthenticationError, token: Token | None) -> Diagnosis:
    if token is None:
        hint = f"Set {FIELD_ID} and {FIELD_SECRET} to those of an Airbyte application."
        return failure(Problem.CREDENTIALS_MISSING, hint, _response_detail(error))
    return failure(
        Problem.TOKEN_REJECTED,
        "The clocks of its servers may differ, or a gateway in front of it may verify tokens of another issuer. Ask "
        "the administrator of this Airbyte.",
        _response_detail(error),
    )


def _explain_transport_or_gateway(urls: AirbyteUrls, error: AirbyteError) -> Diagnosis | None:
    """Return a problem on the way to Airbyte, which affects any request, or None."""
    if isinstance(error, AirbyteUnreachableError):
        return _unreachable(urls, error)
    if isinstance(error, AirbyteConfigError):
        return failure(Problem.INVALID_FIELD, str(error))
    if not isinstance(error, AirbyteResponseError):
        return failure(Problem.OTHER, str(error))
    if re.search(r"https (port|server)", error.detail, re.IGNORECASE):
        return failure(Problem.HTTP_ON_HTTPS_PORT, f"Use https:// in {FIELD_URL}.", _response_detail(error))
    if isinstance(error, AirbyteUnexpectedResponseError):
        return _not_airbytes(urls, error)
    if error.is_gateway_challenge:
        hint = (
            "If it accepts HTTP Basic, set the extra auth_type to basic, with user and password in "
            f"{FIELD_ID} and {FIELD_SECRET}. If Airbyte requires a token too, configure the proxy to read another "
            "header (secret_headers)."
        )
        return failure(Problem.GATEWAY, hint, _response_detail(error))
    if isinstance(error, AirbyteRateLimitError):
        return failure(Problem.RATE_LIMITED, "Retry in a minute.", _response_detail(error))
    if isinstance(error, AirbyteServerError):
        return failure(Problem.SERVER, "Retry later, or see Airbyte's server log.", _response_detail(error))
    return None


def _not_airbytes(urls: AirbyteUrls, error: AirbyteResponseError) -> Diagnosis:
    """Return the diagnosis for a response that does not come from Airbyte."""
    if error.status == 401:  # noqa: PLR2004
        return failure(Problem.GATEWAY, IDENTITY_PROXY, _response_detail(error))
    if error.status == 403:  # noqa: PLR2004
        hint = (
            "The 403 does not come from Airbyte, but from a firewall, an ingress or an identity proxy. Allow this "
            "machine there, or send the credentials that it expects in the extra secret_headers."
        )
        return failure(Problem.BLOCKED, hint, _response_detail(error))
    if 300 <= error.status < 400:  # noqa: PLR2004
        hint = (
            f"Set {FIELD_URL} to the target of the redirect. If that is a login page, an identity proxy is in front "
            "of Airbyte: send the credentials that it expects in the extra secret_headers."
        )
        return failure(Problem.REDIRECT, hint, _response_detail(error))
    return failure(
        Problem.WEB_PAGE,
        f"Check {_field_name(urls, error)}. {FIELD_URL} resolves to {urls.api_url}. Expected "
        "https://api.airbyte.com/v1 for Cloud, or the address of a self-managed Airbyte's web app (0.64 or newer).",
        _response_detail(error),
    )


def _unreachable(urls: AirbyteUrls, error: AirbyteUnreachableError) -> Diagnosis:
    field = _field_name(urls, error)
    problem, hint = {
        TransportErrorKind.DNS: (
            Problem.UNKNOWN_HOST,
            f"Check {field} in the Airflow connection, and DNS on this machine.",
        ),
        TransportErrorKind.REFUSED: (
            Problem.REFUSED,
            f"Check {field}, its port, and that Airbyte is running. In a container, localhost is the container itself.",
        ),
        TransportErrorKind.TIMEOUT: (
            Problem.TIMEOUT,
            f"Check {field} in the Airflow connection, and that firewalls allow this machine.",
        ),
        TransportErrorKind.TLS: (
            Problem.TLS_VERIFICATION,
            f"If a private CA signed it, set the extra ca_bundle to the CA's file. Check the host name in {FIELD_URL}.",
        ),
        TransportErrorKind.CERTIFICATE: (
            Problem.TLS_VERIFICATION,
            f"If a private CA signed it, set the extra ca_bundle to the CA's file. Check the host name in {FIELD_URL}.",
        ),
        TransportErrorKind.PROXY: (
            Problem.PROXY,
            "Check the extra proxy, or http_proxy, https_proxy and no_proxy in this machine's environment.",
        ),
        TransportErrorKind.TOO_LARGE: (
            Problem.WEB_PAGE,
            f"Check {field} in the Airflow connection: Airbyte does not send such responses.",
        ),
        TransportErrorKind.OTHER: (
            Problem.CONNECTION_RESET,
            f"Check {field}, its port, http or https, and whether it requires a client certificate (client_cert).",
        ),
    }[TransportErrorKind(error.kind)]
    message = str(error).lower()
    if problem is Problem.TLS_VERIFICATION and ("wrong version" in message or "record layer" in message):
        problem = Problem.HTTPS_ON_HTTP_PORT
        hint = (
            f"Use http:// in {FIELD_URL} (which sends the secret unencrypted), or the port that expects https: "
            f"{urls.web_url}."
        )
    return failure(problem, hint, _response_detail(error))


def _field_name(urls: AirbyteUrls, error: AirbyteError) -> str:
    """Return the field of the Airflow connection that determined the URL of the request."""
    url = urlsplit(getattr(error, "url", "") or urls.api_url)
    return FIELD_URL if url.netloc == urlsplit(urls.api_url).netloc else "the extra auth_url"


def _response_detail(error: AirbyteError) -> str:
    """Return the request, and the response in the server's own words."""
    if isinstance(error, AirbyteResponseError):
        return f"({error.method} {error.url} returned {error.status}: {error.detail})"
    return f"({str(error).split('. ', maxsplit=1)[0].rstrip('.')}.)"
