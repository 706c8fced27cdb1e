"""Everything that can go wrong, as one tree.

::

    AirbyteError                             whatever this package raises
    ├── AirbyteConfigError                   an argument or a field of the connection cannot be used; nothing was sent
    ├── AirbyteUnreachableError              no reply came: DNS, refused, reset, TLS, time-out
    ├── AirbyteResponseError                 a reply came, and it is not what was asked for
    │   ├── AirbyteUnexpectedResponseError   not from Airbyte: a web page, a redirect, a gateway's refusal, other JSON
    │   ├── AirbyteAuthenticationError       credentials refused, or missing (401, and the token endpoint's 400)
    │   ├── AirbytePermissionError           the application's user may not do this (403)
    │   ├── AirbyteNotFoundError             no such thing, or not visible to this application's user (404, and more)
    │   ├── AirbyteConflictError             not in this state (409)
    │   │   └── AirbyteAlreadyRunningError   a job of this connection runs already (409)
    │   ├── AirbyteBadRequestError           Airbyte does not accept the request (400, 422, 501 and other 4xx)
    │   ├── AirbyteRateLimitError            too many requests (429)
    │   └── AirbyteServerError               Airbyte, or a proxy before it, is in trouble (5xx, 408, 425)
    ├── AirbyteResourceLookupError           nothing has that name, or more than one thing
    ├── AirbyteConnectionBusyError           a job runs on the connection that must not be cancelled for what was asked
    ├── AirbyteConnectionInactiveError       the Airbyte connection is inactive, locked or deleted: it cannot sync
    ├── AirbyteJobError                      a job did not do what it was started for
    │   ├── AirbyteJobFailedError            Airbyte gave up on it
    │   ├── AirbyteJobCancelledError         somebody, a reset or Airbyte's capacity limits cancelled it
    │   └── AirbyteJobTimeoutError           it was not finished in the time given
    └── AirbyteTriggerEventError             what came back from a trigger is no verdict: fail closed

Each of them is an ``AirflowException``, so Airflow's ``soft_fail``, callbacks and retry policies apply to it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_airbyte_api.api.safe import dict_or_empty, safe_float, safe_json, safe_text


class AirbyteError(AirflowException):
    """Base class of all exceptions of this package."""

    retryable: ClassVar[bool] = False
    """True if the same request may well succeed a little later."""

    outcome_unknown: bool = False
    """True if Airbyte may have done what was asked although no good answer came."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what :func:`dump` writes: the arguments of an exception alone would not rebuild it."""
        return error_from_dict, (error_to_dict(self),)


class AirbyteConfigError(AirbyteError):
    """An argument, or a field of the Airflow connection, cannot be used. Nothing was sent."""


class AirbyteUnreachableError(AirbyteError):
    """No response arrived: DNS, refused, reset, TLS, timeout. ``kind`` is a :class:`~.api.http.TransportErrorKind`."""

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
        """True if there was a reply, and it was too large to be read."""
        return self.kind == "too_large"


class AirbyteResponseError(AirbyteError):
    """A reply came, and it is not what was asked for.

    ``status`` is the HTTP status, ``method`` and ``url`` are the request's, ``detail`` holds the server's own
    words, and ``retry_after`` the seconds it asked us to wait (None if it did not).
    """

    hint: ClassVar[str] = ""

    # An error that comes from a trigger of another version may lack any of these.
    method: str = ""
    url: str = ""
    status: int = 0
    detail: str = ""
    custom_hint: str | None = None
    retry_after: float | None = None

    is_gateway_challenge: bool = False
    """True if something before Airbyte asks for HTTP authentication of its own."""

    from_airbyte: bool = True
    """True if the reply has a form that Airbyte's servers use for errors. False if it came from something in between,
    such as a gateway or an identity proxy; it then says nothing about a job, an id or a permission."""

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
        said = " ".join(filter(None, (f"{method} {url} answered {status}: {detail}", hint or self.hint)))
        super().__init__(said)
        self.custom_hint = hint
        self.method = method
        self.url = url
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    def with_hint(
        self, hint: str | None = None, error_class: type[AirbyteResponseError] | None = None
    ) -> AirbyteResponseError:
        """Return this error with another hint, or as another ``kind``, where more is known about the request."""
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
    """The reply is not from Airbyte's API: a web page, a redirect, no JSON, or JSON of another shape.

    Also any 4xx that is not in Airbyte's own form, but 407, 408, 425, 429 and a 401 that asks for HTTP authentication.
    """

    outcome_unknown = True
    from_airbyte = False
    hint = (
        "This reply is not from Airbyte's public API. Check Airbyte URL (Host) in the Airflow connection: "
        "https://api.airbyte.com/v1 for Cloud, <URL of your Airbyte>/api/public/v1 for self-managed, 0.64 or newer."
    )


class AirbyteAuthenticationError(AirbyteResponseError):
    """The credentials were refused, or Airbyte wants some and there are none."""

    hint = "Check Client ID (Login) and Client secret (Password) in the Airflow connection."


class AirbytePermissionError(AirbyteResponseError):
    """The user behind the application may not do this."""

    hint = (
        "Airbyte says this both of things that do not exist and of things that the user who created the "
        "application may not touch. Check the id, and that user's role in the workspace."
    )


class AirbyteNotFoundError(AirbyteResponseError):
    """There is no such thing, or this application's user may not see it."""

    hint = "Check the id, and that it belongs to the Airbyte that the Airflow connection names."


class AirbyteConflictError(AirbyteResponseError):
    """Airbyte cannot do this in the present state."""


class AirbyteAlreadyRunningError(AirbyteConflictError):
    """A job of this connection runs already."""

    hint = "Wait for it to end, or cancel it."


class AirbyteBadRequestError(AirbyteResponseError):
    """Airbyte does not accept the request."""


class AirbyteRateLimitError(AirbyteResponseError):
    """Too many requests. Airbyte refused this one before it did anything."""

    retryable = True
    hint = "Poll less often (poll_interval), or start fewer tasks at once (an Airflow pool)."


class AirbyteServerError(AirbyteResponseError):
    """Airbyte, or a proxy before it, is in trouble."""

    retryable = True
    outcome_unknown = True


class AirbyteResourceLookupError(AirbyteError):
    """There is nothing of that name, or more than one. The message names the nearest, with their ids."""


class AirbyteConnectionBusyError(AirbyteError):
    """A job of the Airbyte connection runs, and nobody said that it may be cancelled. Nothing was started."""


class AirbyteConnectionInactiveError(AirbyteError):
    """The Airbyte connection is inactive, locked or deleted, so it cannot sync."""


class AirbyteJobError(AirbyteError):
    """A job did not do what it was started for. ``job_id`` says which."""

    job_id: int = 0

    def __init__(self, message: str, *, job_id: int) -> None:
        super().__init__(message)
        self.job_id = job_id


class AirbyteJobFailedError(AirbyteJobError):
    """Airbyte gave up on the job."""


class AirbyteJobCancelledError(AirbyteJobError):
    """Somebody, a reset, or Airbyte's capacity limits cancelled the job."""


class AirbyteJobTimeoutError(AirbyteJobError):
    """The job was not finished in the time given."""


class AirbyteTriggerEventError(AirbyteError):
    """What came back from a trigger is not a verdict that we know. It is never taken for success."""


def is_recoverable_while_waiting(error: AirbyteError) -> bool:
    """Return True if a wait for something that Airbyte has shown before may go on after ``error``.

    That is what is retryable, and every reply that is not from Airbyte: while Airbyte is updated or a sign-in page
    stands before it, a gateway answers in its place. Only Airbyte can tell that a job, an id or a permission is gone.
    """
    return error.retryable or (isinstance(error, AirbyteResponseError) and not error.from_airbyte)


def unreachable_for(seconds: float, error: AirbyteError) -> AirbyteUnreachableError:
    """Return the error for an outage that was ridden out for so long in vain; ``error`` is the last attempt's.

    Whatever that one was, a later try of the task may succeed.
    """
    return AirbyteUnreachableError(
        f"Airbyte was unreachable for {seconds:.0f} s. {error}",
        outcome_unknown=error.outcome_unknown,
        kind=getattr(error, "trouble", "other"),
        url=getattr(error, "url", ""),
    )


def error_to_dict(error: AirbyteError) -> dict[str, Any]:
    """Return ``error`` as JSON of bounded size that Airflow can encode, to be sent from a triggerer to a worker."""
    dumped: dict[str, Any] = safe_json(
        {"type": type(error).__name__, "message": str(error), "fields": dict(error.__dict__)}
    )
    return dumped


def error_from_dict(value: object) -> AirbyteError:
    """Return the error that :func:`dump` wrote; of anything else, an error all the same.

    A type that is not of this tree becomes its root, and a field of another type than it has here is left out.
    """
    dumped = dict_or_empty(value)
    error_class = globals().get(safe_text(dumped.get("type")))
    if not (isinstance(error_class, type) and issubclass(error_class, AirbyteError)):
        error_class = AirbyteError
    message = dumped.get("message")
    error = error_class.__new__(error_class, message if isinstance(message, str) else safe_text(message))
    for name, each in dict_or_empty(dumped.get("fields")).items():
        if _fits(error_class, name, each):
            error.__dict__[name] = each
    return error


def _fits(error_class: type[AirbyteError], name: str, value: object) -> bool:
    if name == "retry_after":
        return value is None or safe_float(value) is not None
    default = getattr(error_class, name, None)
    return default is None or type(value) is type(default)
