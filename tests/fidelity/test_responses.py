"""Each kind of reply of a local Airbyte has the shape that Airbyte's own documents give it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import requests
from jsonschema import Draft202012Validator

from airflow_provider_airbyte_api.api.models import KNOWN_STATUSES
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import (
    BIGQUERY,
    SNOWFLAKE,
    STRIPE,
    STRIPE_TO_BIGQUERY,
    STRIPE_TO_POSTGRES,
    WORKSPACE_ID,
)
from airflow_provider_airbyte_api.testing.state import Edition
from tests.fidelity import schemas
from tests.fidelity.schemas import Schema

NOWHERE = "00000000-0000-4000-8000-000000000000"
EDITIONS: dict[str, dict[str, Any]] = {
    "community": {"edition": "community"},
    "no-auth": {"edition": "community", "auth": False},
    "enterprise": {"edition": "enterprise"},
    "cloud": {"edition": "cloud"},
}


class Answers(NamedTuple):
    """What an edition answers: its status, and the schema of the body; None for a body that is no JSON."""

    status: int
    schema: Schema | None


ALL = tuple(EDITIONS)
FORBIDDEN = Answers(403, schemas.PROBLEM)
NO_ROUTE = Answers(404, None)


class Case(NamedTuple):
    claim: str
    method: str
    path: str
    answers: Answers | dict[str, Answers]
    body: dict[str, Any] | None = None
    arrange: Callable[[LocalAirbyte], object] = lambda _: None


def get(claim: str, path: str, schema: Schema) -> Case:
    return Case(claim, "GET", path, Answers(200, schema))


def some_jobs(airbyte: LocalAirbyte) -> None:
    for age, status in enumerate(sorted(KNOWN_STATUSES)):
        airbyte.add_job(STRIPE_TO_BIGQUERY, status, age=age * 3600, job_type="reset" if age % 2 else "sync")


def one_running(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running", age=90)


def refused(status: int, community: Schema, cloud: Answers = FORBIDDEN) -> dict[str, Answers]:
    admin = Answers(status, community)
    return {"community": admin, "no-auth": admin, "enterprise": FORBIDDEN, "cloud": cloud}


def by_fault(status: int, schema: Schema | None) -> Case:
    def arrange(airbyte: LocalAirbyte) -> None:
        airbyte.respond_with(status, path="/sources")

    return Case(f"scripted {status}", "GET", "/sources", Answers(status, schema), arrange=arrange)


CONNECTION = f"/connections/{STRIPE_TO_BIGQUERY}"
START = {"connectionId": STRIPE_TO_BIGQUERY, "jobType": "sync"}
CRON = {"schedule": {"scheduleType": "cron", "cronExpression": "0 0 5 * * ?"}}

CASES = [
    Case("health", "GET", "/health", Answers(200, None)),
    get("workspaces", "/workspaces", schemas.page(schemas.WORKSPACE)),
    get("a workspace", f"/workspaces/{WORKSPACE_ID}", schemas.WORKSPACE),
    get("sources", "/sources", schemas.page(schemas.SOURCE)),
    get("a source", f"/sources/{SNOWFLAKE}", schemas.SOURCE),
    get("destinations", "/destinations", schemas.page(schemas.DESTINATION)),
    get("a destination", f"/destinations/{BIGQUERY}", schemas.DESTINATION),
    get("connections", "/connections?limit=2&offset=1", schemas.page(schemas.CONNECTION)),
    get("a connection", CONNECTION, schemas.CONNECTION),
    get("tags", "/tags", schemas.TAGS),
    get("streams", f"/streams?sourceId={STRIPE}", schemas.STREAMS),
    get("a page beyond the last", "/sources?offset=40", schemas.page(schemas.SOURCE)),
    get("jobs", "/jobs", schemas.page(schemas.JOB))._replace(arrange=some_jobs),
    *(
        get(f"a {status} job", "/jobs/1", schemas.JOB)._replace(
            arrange=lambda airbyte, status=status: airbyte.add_job(STRIPE_TO_BIGQUERY, status, age=3600.0)  # type: ignore[misc]
        )
        for status in sorted(KNOWN_STATUSES)
    ),
    Case("a start", "POST", "/jobs", Answers(200, schemas.JOB), START),
    Case("a clear", "POST", "/jobs", Answers(200, schemas.JOB), {**START, "jobType": "clear"}),
    Case("a cancelling", "DELETE", "/jobs/1", Answers(200, schemas.JOB), arrange=one_running),
    Case("a renaming", "PATCH", CONNECTION, Answers(200, schemas.CONNECTION), {"name": "Renamed", "prefix": None}),
    Case("a schedule", "PATCH", CONNECTION, Answers(200, schemas.CONNECTION), CRON),
    # Refusals
    Case("running already", "POST", "/jobs", Answers(409, schemas.PROBLEM), START, one_running),
    Case("not active", "POST", "/jobs", Answers(409, schemas.PROBLEM), {**START, "connectionId": STRIPE_TO_POSTGRES}),
    Case("a refresh", "POST", "/jobs", Answers(422, schemas.PROBLEM), {**START, "jobType": "refresh"}),
    Case("no such type of job", "POST", "/jobs", Answers(400, schemas.ERROR_ID), {**START, "jobType": "sink"}),
    Case("no such status", "GET", "/jobs?status=done", Answers(400, schemas.ERROR_ID)),
    Case("no such order", "GET", "/jobs?orderBy=jobId", Answers(400, schemas.PROBLEM)),
    Case("too many rows", "GET", "/sources?limit=101", Answers(400, schemas.ERROR_ID)),
    Case(
        "a bad cron expression",
        "PATCH",
        CONNECTION,
        Answers(400, schemas.PROBLEM),
        {"schedule": {"scheduleType": "cron", "cronExpression": "@daily"}},
    ),
    Case(
        "locked",
        "PATCH",
        CONNECTION,
        Answers(409, schemas.PROBLEM),
        {"name": "Renamed"},
        lambda airbyte: airbyte.connections[0].update(status="locked"),
    ),
    Case("an unknown connection", "GET", f"/connections/{NOWHERE}", refused(404, schemas.PROBLEM)),
    Case("an unknown job", "GET", "/jobs/999", refused(409, schemas.PROBLEM)),
    Case("an id that is none", "GET", "/connections/nonsense", refused(500, schemas.ERROR_ID)),
    Case(
        "an unknown workspace",
        "GET",
        f"/sources?workspaceIds={NOWHERE}",
        refused(200, schemas.page(schemas.SOURCE), Answers(200, schemas.page(schemas.SOURCE))),
    ),
    Case(
        "an unknown path",
        "GET",
        "/nowhere",
        {
            "community": Answers(403, schemas.HATEOAS),
            "enterprise": Answers(403, schemas.HATEOAS),
            "cloud": Answers(404, schemas.GATEWAY),
            "no-auth": NO_ROUTE,
        },
    ),
    by_fault(401, schemas.HATEOAS),
    by_fault(404, schemas.PROBLEM),
    by_fault(429, schemas.LOAD_SHED),
    by_fault(500, schemas.ERROR_ID),
    by_fault(502, None),
]


def claim_shape(reply: requests.Response, expected: Answers) -> None:
    assert reply.status_code == expected.status, reply.text
    assert int(reply.headers["content-length"]) == len(reply.content)
    if expected.schema is None:
        with pytest.raises(ValueError, match="Expecting value"):
            reply.json()
        return
    assert reply.headers["content-type"] == "application/json"
    validator = Draft202012Validator(expected.schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(reply.json())] == []


@pytest.fixture(params=EDITIONS)
def edition(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def airbyte(edition: str) -> Iterator[LocalAirbyte]:
    with LocalAirbyte(**EDITIONS[edition]) as local:
        yield local


def log_in(airbyte: LocalAirbyte, secret: str | None = None) -> requests.Response:
    credentials = {"client_id": airbyte.client_id, "client_secret": secret or airbyte.client_secret}
    return requests.post(f"{airbyte.api_url}/applications/token", json=credentials, timeout=10)


@pytest.mark.parametrize("case", CASES, ids=[case.claim for case in CASES])
def test_a_reply_has_its_shape(airbyte: LocalAirbyte, edition: str, case: Case) -> None:
    case.arrange(airbyte)
    headers = {} if edition == "no-auth" else {"Authorization": f"Bearer {log_in(airbyte).json()['access_token']}"}
    reply = requests.request(case.method, airbyte.api_url + case.path, headers=headers, json=case.body, timeout=10)
    claim_shape(reply, case.answers if isinstance(case.answers, Answers) else case.answers[edition])


@pytest.mark.parametrize("edition", ["community", "enterprise", "cloud"], indirect=True)
def test_a_token_has_its_shape_and_its_expiry_is_in_whole_seconds(airbyte: LocalAirbyte, edition: str) -> None:
    reply = log_in(airbyte)
    claim_shape(reply, Answers(200, schemas.TOKEN))
    payload = reply.json()["access_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    schema = schemas.CLAIMS if edition == "community" else schemas.KEYCLOAK_CLAIMS
    assert [error.message for error in Draft202012Validator(schema).iter_errors(claims)] == []
    assert type(claims["exp"]) is int


@pytest.mark.parametrize(
    ("wanted", "wrong_secret", "no_token"),
    [
        ("community", Answers(400, schemas.HATEOAS), Answers(401, schemas.HATEOAS)),
        ("enterprise", Answers(401, schemas.ERROR_ID), Answers(401, schemas.HATEOAS)),
        ("cloud", Answers(401, schemas.ERROR_ID), Answers(401, schemas.GATEWAY)),
    ],
)
def test_unauthorized_responses_have_the_shape_of_the_edition(
    wanted: Edition, wrong_secret: Answers, no_token: Answers
) -> None:
    with LocalAirbyte(edition=wanted) as airbyte:
        claim_shape(log_in(airbyte, "wrong"), wrong_secret)
        claim_shape(requests.get(f"{airbyte.api_url}/sources", timeout=10), no_token)


def test_a_schema_refuses_what_is_not_so() -> None:
    """Else all the above would be worth nothing."""
    job = {
        "jobId": 1,
        "status": "running",
        "jobType": "sync",
        "startTime": "2026-01-31T12:00Z",
        "connectionId": STRIPE_TO_BIGQUERY,
    }
    assert Draft202012Validator(schemas.JOB).is_valid({**job, "duration": "PT25H"})
    wrongs: tuple[dict[str, Any], ...] = (
        {"jobId": "1"},
        {"status": "done"},
        {"startTime": 1},
        {"startTime": "2026-01-31 12:00"},
        {"duration": "P1D"},
        {"duration": "PT"},
        {"connectionId": "nonsense"},
        {"rowsSynced": None},
        {"bytesSynced": 1.5},
        {"attempts": []},
    )
    for wrong in wrongs:
        assert not Draft202012Validator(schemas.JOB).is_valid({**job, **wrong}), wrong
