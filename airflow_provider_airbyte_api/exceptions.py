"""Exceptions of this package, as one tree.

::

    AirbyteError                             base class of every exception of this package
    ├── AirbyteConfigError                   an argument or a field of the connection is invalid; no request was sent
    ├── AirbyteUnreachableError              no response arrived: DNS, refused, reset, TLS, timeout
    ├── AirbyteResponseError                 a response arrived, and it is an error or not the expected one
    │   ├── AirbyteUnexpectedResponseError   not from Airbyte: a web page, a redirect, a gateway's refusal, other JSON
    │   ├── AirbyteAuthenticationError       credentials rejected or missing (401, and the token endpoint's 400)
    │   ├── AirbytePermissionError           the application's user lacks the permission (403)
    │   ├── AirbyteNotFoundError             not found, or not visible to the application's user (404, and more)
    │   ├── AirbyteConflictError             not possible in the current state (409)
    │   │   └── AirbyteAlreadyRunningError   a job of this connection is already running (409)
    │   ├── AirbyteBadRequestError           Airbyte does not accept the request (400, 422, 501 and other 4xx)
    │   ├── AirbyteRateLimitError            too many requests (429)
    │   └── AirbyteServerError               Airbyte, or a proxy in front of it, failed (5xx, 408, 425)
    ├── AirbyteResourceLookupError           no resource has that name, or several have it
    ├── AirbyteConnectionBusyError           a job is running on the connection and must not be cancelled
    ├── AirbyteConnectionInactiveError       the Airbyte connection is inactive, locked or deleted: it cannot sync
    ├── AirbyteJobError                      a job did not do what it was started for
    │   ├── AirbyteJobFailedError            the job failed
    │   │   ├── AirbyteJobConfigError        the configuration of its source or destination is invalid (config_error)
    │   │   └── AirbyteJobNotRetriedError    for a reason in fail_fast_on; also an AirflowFailException
    │   ├── AirbyteJobCancelledError         a user, a reset or Airbyte's capacity limits cancelled the job
    │   └── AirbyteJobTimeoutError           no finished job, or no fresh sync, before the deadline
    │       └── AirbyteJobStalledError       rows and bytes stood still for ``stalled_timeout``
    └── AirbyteTriggerEventError             the trigger's event has no known outcome: fail closed

Each of them is an ``AirflowException``, so Airflow's ``soft_fail``, callbacks and retry policies apply to it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_provider_airbyte_api._airflow_compat import AirflowException, AirflowFailException
from airflow_provider_airbyte_api.api.failure_reason import reason_from_dict, reason_to_dict
from airflow_provider_airbyte_api.api.safe import dict_or_empty, safe_float, safe_json, safe_text
from airflow_provider_airbyte_api.types import ErrorPayload, FailureReason

REASON = "reason"
"""The name of the one attribute that is an object."""


class AirbyteError(AirflowException):
    """Base class of all exceptions of this package."""

    retryable: ClassVar[bool] = False
    """True if the same request may succeed when it is sent again a little later."""

    outcome_unknown: bool = False
    """True if Airbyte may have carried out the request although no valid response arrived."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the error as :func:`error_to_dict` encodes it: an exception's arguments alone do not restore it."""
        return error_from_dict, (error_to_dict(self),)


class AirbyteConfigError(AirbyteError):
    """An argument, or a field of the Airflow connection, is invalid. No request was sent."""


class AirbyteUnreachableError(AirbyteError):
    """No usable response arrived, or an outage outlasted its timeout.

    The cause may be DNS, a refused or closed connection, TLS, a timeout, a proxy, or a response that is too large.
    ``kind`` is a :class:`~.api.http.TransportErrorKind`. Also raised if a triggerer cannot load the Airflow connection.
    """

    retryable = True
    url: str = ""
    kind: str = "other"

    def __init__(self, message: str, *, outcome_unknown: bool = True, kind: str = "other", url: str = "") -> None:
        super().__init__(message)
        self.url = url
        self.outcome_unknown = outcome_unknown
        self.kind = kind

    @property
    def is_too_large(self) -> bool:
        """True if a response arrived that was too large to read."""
        return self.kind == "too_large"


class AirbyteResponseError(AirbyteError):
    """A response arrived, and it is an error or not the expected one.

    ``status`` is the HTTP status, ``method`` and ``url`` are those of the request, and ``detail`` holds the server's
    own words. ``retry_after`` is the delay in seconds that the server asked for, or None.
    """

    hint: ClassVar[str] = ""

    # An error from a trigger of another version may lack any of these.
    method: str = ""
    url: str = ""
    status: int = 0
    detail: str = ""
    custom_hint: str | None = None
    retry_after: float | None = None

    is_gateway_challenge: bool = False
    """True if a server in front of Airbyte asks for its own HTTP authentication."""

    from_airbyte: bool = True
    """True if the response has a form that Airbyte's servers use for errors.

    False if it comes from a server in front of Airbyte, such as a gateway or an identity proxy. Such a response says
    nothing about a job, an id or a permission.
    """

    def __init__(
        self,
        *,
        method: str,
        url: str,
        status: int,
        detail: str,
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        text = " ".join(filter(None, (f"{method} {url} returned {status}: {detail}", hint or self.hint)))
        super().__init__(text)
        self.custom_hint = hint
        self.method = method
        self.url = url
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    def with_hint(
        self, hint: str | None = None, error_class: type[AirbyteResponseError] | None = None
    ) -> AirbyteResponseError:
        """Return this error with another hint or class, for a caller that knows more about the request."""
        error = (error_class or type(self))(
            method=self.method,
            url=self.url,
            status=self.status,
            detail=self.detail,
            hint=hint or self.custom_hint,
            retry_after=self.retry_after,
        )
        error.is_gateway_challenge, error.from_airbyte = self.is_gateway_challenge, self.from_airbyte
        return error


class AirbyteUnexpectedResponseError(AirbyteResponseError):
    """The response is not from Airbyte's API: a web page, a redirect, no JSON, or JSON of another shape.

    This includes every 4xx that does not have Airbyte's own form, except 407, 408, 425, 429 and a 401 that asks for
    HTTP authentication.
    """

    outcome_unknown = True
    from_airbyte = False
    hint = (
        "This response does not come from Airbyte's public API. Check Airbyte URL (Host) in the Airflow connection: "
        "https://api.airbyte.com/v1 for Cloud, <URL of your Airbyte>/api/public/v1 for self-managed, 0.64 or newer."
    )


class AirbyteAuthenticationError(AirbyteResponseError):
    """The credentials were rejected, or Airbyte requires credentials and none were sent."""

    hint = "Check Client ID (Login) and Client secret (Password) in the Airflow connection."


class AirbytePermissionError(AirbyteResponseError):
    """The user behind the application lacks the permission."""

    hint = (
        "Airbyte returns 403 both for missing resources and for resources that the user who created the application "
        "cannot access. Check the id, and that user's role in the workspace."
    )


class AirbyteNotFoundError(AirbyteResponseError):
    """The resource does not exist, or the application's user cannot see it."""

    hint = "Check the id, and that it belongs to the Airbyte of the Airflow connection."


class AirbyteConflictError(AirbyteResponseError):
    """Airbyte cannot do this in the current state."""


class AirbyteAlreadyRunningError(AirbyteConflictError):
    """A job of this connection is already running."""

    hint = "Wait for it to finish, or cancel it."


class AirbyteBadRequestError(AirbyteResponseError):
    """Airbyte does not accept the request."""


class AirbyteRateLimitError(AirbyteResponseError):
    """Too many requests. Airbyte rejected this one before it did anything."""

    retryable = True
    hint = "Poll less often (poll_interval), or start fewer tasks at once (an Airflow pool)."


class AirbyteServerError(AirbyteResponseError):
    """Airbyte, or a proxy in front of it, failed."""

    retryable = True
    outcome_unknown = True


class AirbyteResourceLookupError(AirbyteError):
    """No resource has that name, or several have it. The message lists the nearest names, with their ids."""


class AirbyteConnectionBusyError(AirbyteError):
    """A job of the Airbyte connection is running, or may be, and the task did not or could not stop it.

    No job was started.
    """


class AirbyteConnectionInactiveError(AirbyteError):
    """The Airbyte connection is inactive, locked or deleted, so it cannot sync."""


class AirbyteJobError(AirbyteError):
    """A job did not do what it was started for. ``job_id`` identifies it.

    ``reason`` is why it failed or was cancelled, as Airbyte's internal API reports it, or None.
    """

    job_id: int = 0
    reason: FailureReason | None = None

    def __init__(self, message: str, *, job_id: int, reason: FailureReason | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.reason = reason


class AirbyteJobFailedError(AirbyteJobError):
    """The job failed in Airbyte."""


class AirbyteJobConfigError(AirbyteJobFailedError):
    """The job failed because of the configuration of its source or destination, such as a wrong password.

    Airbyte reports this as ``config_error``. Some connectors also report a database that is unreachable so.
    """


class AirbyteJobNotRetriedError(AirbyteJobFailedError, AirflowFailException):
    """The job failed for a reason that the operator's ``fail_fast_on`` names, so Airflow does not retry the task."""


class AirbyteJobCancelledError(AirbyteJobError):
    """A user, a reset, or Airbyte's capacity limits cancelled the job."""


class AirbyteJobTimeoutError(AirbyteJobError):
    """The job did not finish, or there was no fresh sync, before the deadline. ``job_id`` is 0 if there is no job."""


class AirbyteJobStalledError(AirbyteJobTimeoutError):
    """The rows and bytes of the running job stood still for ``stalled_timeout``."""


class AirbyteTriggerEventError(AirbyteError):
    """The trigger's event has no known outcome. It never counts as success."""


def is_recoverable_while_waiting(error: AirbyteError) -> bool:
    """Return True if a wait may continue after ``error``, given that Airbyte has shown the resource before.

    This holds for retryable errors, and for every response that is not from Airbyte. During an update of Airbyte, or
    behind a sign-in page, a gateway answers in its place. Only Airbyte itself can report that a job, an id or a
    permission is gone.
    """
    return error.retryable or (isinstance(error, AirbyteResponseError) and not error.from_airbyte)


def outage_error(
    seconds: float, error: AirbyteError, hint: str = "", summary: str = "Airbyte has been unreachable"
) -> AirbyteUnreachableError:
    """Return the error for an outage of ``seconds``, which outlasted its timeout; ``error`` is the last attempt's.

    A later attempt of the task may succeed, regardless of the class of ``error``.
    """
    return AirbyteUnreachableError(
        f"{summary} for {seconds:.0f} s. {hint}{' ' if hint else ''}{error}",
        outcome_unknown=error.outcome_unknown,
        kind=getattr(error, "kind", "other"),
        url=getattr(error, "url", ""),
    )


def error_to_dict(error: AirbyteError) -> ErrorPayload:
    """Return ``error`` as a JSON object of bounded size, which Airflow can send from a triggerer to a worker."""
    fields = dict(error.__dict__)
    if isinstance(fields.get(REASON), FailureReason):
        fields[REASON] = reason_to_dict(fields[REASON])
    payload: ErrorPayload = {"type": type(error).__name__, "message": str(error), "fields": fields}
    safe: ErrorPayload = safe_json(payload)
    return safe


def error_from_dict(value: object) -> AirbyteError:
    """Return the error that :func:`error_to_dict` encoded. Any other value gives an :class:`AirbyteError`, too.

    A type outside this tree becomes its root. A field whose type differs from the one declared here is omitted.
    """
    dumped = dict_or_empty(value)
    error_class = globals().get(safe_text(dumped.get("type")))
    if not (isinstance(error_class, type) and issubclass(error_class, AirbyteError)):
        error_class = AirbyteError
    message = dumped.get("message")
    error = error_class.__new__(error_class, message if isinstance(message, str) else safe_text(message))
    for name, each in dict_or_empty(dumped.get("fields")).items():
        if name == REASON:
            error.__dict__[name] = reason_from_dict(each)
        elif _fits(error_class, name, each):
            error.__dict__[name] = each
    return error


def _fits(error_class: type[AirbyteError], name: str, value: object) -> bool:
    if name == "retry_after":
        return value is None or safe_float(value) is not None
    default = getattr(error_class, name, None)
    return default is None or type(value) is type(default)
