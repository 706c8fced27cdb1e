"""Parse why a job failed, from the response of Airbyte's internal API to ``jobs/get_without_logs``.

Parsing is tolerant: a value that is absent or has another type is None. The internal messages and the stack traces in
the response may contain secrets. So they are not part of the parsed reason: only :func:`internal_lines` returns them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from airflow_provider_airbyte_api.api.error_body import MAX_MASKED
from airflow_provider_airbyte_api.api.safe import dict_or_empty, list_or_empty, safe_int, safe_text
from airflow_provider_airbyte_api.api.timestamps import parse_epoch, parse_timestamp
from airflow_provider_airbyte_api.types import Failure, FailureReason, FailureReasonPayload, JobAttempt

CANCELLATION = "manual_cancellation"
"""The kind of the failure that Airbyte adds to the last attempt of a cancelled job."""

NOT_RECORDED = "Airbyte recorded no reason"

MAX_MESSAGE = 1000
"""Maximum length of a failure's message, in characters."""

MAX_WORD = 50
"""Maximum length of an origin, a kind or a status, in characters."""

MAX_ATTEMPTS = 20
"""Maximum number of attempts in a reason; older ones are omitted. By default Airbyte makes at most 20."""

MAX_NUMBER = 10_000
"""Maximum number of an attempt. A larger one counts as absent."""

MAX_FAILURES = 5
"""Maximum number of failures of one attempt; later ones are omitted. A crash of a sync causes up to three."""

MAX_TRACE_LINES = 50
"""Maximum number of lines of a stack trace in the log."""

Mask = Callable[[str], str]
"""A function that masks the secrets in a text."""


def parse_failure_reason(body: object, *, cancelled: bool = False, mask: Mask = str) -> FailureReason:
    """Return why the job in ``body`` failed, or was ``cancelled``.

    The reason of a cancelled job is its cancellation. The reason of a failed one is the first failure with a message in
    its last attempt that has more than a cancellation: Airbyte lists the failures of an attempt by their time, and its
    web app shows the first one.

    :raises TypeError: if ``body`` is not a JSON object with a list of attempts.
    """
    attempts = [_attempt(each, index, mask) for index, each in _numbered(_attempts(body))]
    return _reason_of(attempts, cancelled=cancelled)


def _reason_of(attempts: Sequence[JobAttempt], *, cancelled: bool) -> FailureReason:
    latest_first = [list(each.failures) for each in reversed(attempts)]
    cancellations = [each for failures in latest_first for each in failures if each.kind == CANCELLATION]
    others = [[each for each in failures if each.kind != CANCELLATION] for failures in latest_first]
    real = next((failures for failures in others if failures), [])
    candidates = [*cancellations, *real] if cancelled else [*_with_message_first(real), *cancellations]
    main = candidates[0] if candidates else Failure()
    return FailureReason(main.origin, main.kind, main.message, tuple(attempts))


def _with_message_first(failures: Iterable[Failure]) -> list[Failure]:
    return sorted(failures, key=lambda each: each.message is None)  # it is stable


def _attempts(body: object) -> list[dict[str, Any]]:
    found = dict_or_empty(body).get("attempts")
    if not isinstance(found, list):
        raise TypeError("no list named attempts")
    # Some endpoints wrap an attempt, others do not.
    return [dict_or_empty(each.get("attempt", each)) for each in map(dict_or_empty, found)]


def _numbered(attempts: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Return the latest attempts, each with its index, in their order. Airbyte's numbers start at 0."""

    def number(index: int, attempt: dict[str, Any]) -> int:
        found = safe_int(attempt.get("id"), 0)
        return index if found is None or found > MAX_NUMBER else found

    numbered = [(number(index, each), each) for index, each in enumerate(attempts)]
    return sorted(numbered, key=lambda each: each[0])[-MAX_ATTEMPTS:]


def _attempt(value: dict[str, Any], index: int, mask: Mask) -> JobAttempt:
    failures = [_failure(each, mask) for each in _failures(value)]
    known = tuple(each for each in failures if each != Failure())
    return JobAttempt(index + 1, _word(value.get("status")) or "unknown", parse_epoch(value.get("endedAt")), known)


def _failures(attempt: dict[str, Any]) -> list[dict[str, Any]]:
    listed = list_or_empty(dict_or_empty(attempt.get("failureSummary")).get("failures"))
    return list(map(dict_or_empty, listed[:MAX_FAILURES]))


def _failure(value: dict[str, Any], mask: Mask) -> Failure:
    return Failure(
        _word(value.get("failureOrigin")), _word(value.get("failureType")), _message(value.get("externalMessage"), mask)
    )


def _word(value: object) -> str | None:
    return safe_text(value.strip(), MAX_WORD) or None if isinstance(value, str) else None


def _message(value: object, mask: Mask) -> str | None:
    if not isinstance(value, str):
        return None
    # Masked before it is cut: half of a secret is still sensitive.
    return safe_text(" ".join(mask(value[:MAX_MASKED]).split()), MAX_MESSAGE) or None


def attempt_lines(reason: FailureReason) -> Iterator[str]:
    """Yield how each attempt ended, with a line for each of its failures."""
    total = reason.attempts[-1].number if reason.attempts else 0
    for attempt in reason.attempts:
        ended_at = "" if attempt.ended_at is None else f", {attempt.ended_at:%Y-%m-%d %H:%M:%S} UTC"
        label = f"Attempt {attempt.number} of {total} ({attempt.status}{ended_at})"
        if attempt.failures:
            yield from (f"{label}: {failure}" for failure in attempt.failures)
        else:
            yield f"{label}." if attempt.status == "succeeded" else f"{label}: {NOT_RECORDED}."


def internal_lines(body: object, mask: Mask = str) -> Iterator[str]:
    """Yield the internal messages and the stack traces of all attempts, for the log of a user who asks for them.

    :raises TypeError: as :func:`parse_failure_reason`.
    """
    for index, attempt in _numbered(_attempts(body)):
        for failure in _failures(attempt):
            message, trace = failure.get("internalMessage"), failure.get("stacktrace")
            if isinstance(message, str):
                yield f"Attempt {index + 1}, internal message: {safe_text(mask(message[:MAX_MASKED]))}"
            if isinstance(trace, str):
                yield from map(safe_text, mask(trace[:MAX_MASKED]).splitlines()[:MAX_TRACE_LINES])


def reason_to_dict(reason: FailureReason) -> FailureReasonPayload:
    """Return ``reason`` as JSON."""
    return {
        **_failure_to_dict(reason),  # type: ignore[typeddict-item] # its keys are the same
        "attempts": [
            {
                "number": each.number,
                "status": each.status,
                "ended_at": None if each.ended_at is None else each.ended_at.isoformat(),
                "failures": [_failure_to_dict(failure) for failure in each.failures],
            }
            for each in reason.attempts
        ],
    }


def _failure_to_dict(failure: Failure) -> dict[str, str | None]:
    return {"origin": failure.origin, "kind": failure.kind, "message": failure.message}


def reason_from_dict(value: object) -> FailureReason | None:
    """Return the reason that :func:`reason_to_dict` encoded, or None for any other value."""
    fields = dict_or_empty(value)
    if not fields:
        return None
    attempts = [
        JobAttempt(
            safe_int(each.get("number"), 1) or index,
            _word(each.get("status")) or "unknown",
            parse_timestamp(each.get("ended_at")),
            tuple(_failure_from_dict(dict_or_empty(failure)) for failure in list_or_empty(each.get("failures"))),
        )
        for index, each in enumerate(map(dict_or_empty, list_or_empty(fields.get("attempts"))), 1)
    ]
    main = _failure_from_dict(fields)
    return FailureReason(main.origin, main.kind, main.message, tuple(attempts))


def _failure_from_dict(fields: dict[str, Any]) -> Failure:
    return Failure(_word(fields.get("origin")), _word(fields.get("kind")), _message(fields.get("message"), str))
