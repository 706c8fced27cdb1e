from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api.api import errors, resources
from airflow_provider_airbyte_api.api.finding import Filter
from airflow_provider_airbyte_api.api.wire import Response
from tests.api.talk import Talk, reply

ONE, TWO, THREE = (f"{number}0000000-0000-4000-8000-000000000000" for number in (1, 2, 3))
WORKSPACE = "6b0f2c1e-2f6c-4a57-9d1b-3b8f5d1f7a10"


def connection(key: str, name: str, **more: Any) -> dict[str, Any]:
    return {"connectionId": key, "name": name, "status": "active", "workspaceId": WORKSPACE, **more}


def page(*rows: dict[str, Any]) -> Response:
    return reply(200, {"data": list(rows)})


ROWS = [
    connection(ONE, "Stripe → BigQuery", tags=[{"tagId": TWO, "name": "nightly"}], sourceId=ONE),
    connection(TWO, "Snowflake → Postgres", status="inactive", destinationId=TWO),
    connection(THREE, "stripe [old]"),
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), [ONE, TWO, THREE]),
        (Filter(name="Stripe → BigQuery"), [ONE]),
        (Filter(name="Stripe"), []),
        (Filter(name_pattern="*tripe*"), [ONE, THREE]),
        (Filter(name_pattern="stripe [[]old]"), [THREE]),
        (Filter(status="active"), [ONE, THREE]),
        (Filter(tags=("nightly", "weekly")), [ONE]),
        (Filter(tags=(TWO,)), [ONE]),
        (Filter(source_id=ONE), [ONE]),
        (Filter(destination_id=TWO), [TWO]),
        (Filter(name_pattern="S*", status="active"), [ONE]),
    ],
)
def test_rows_are_filtered_by_what_airbyte_does_not_filter_by(wanted: Filter, found: list[str]) -> None:
    talk = Talk([page(*ROWS)])
    talk.perform(resources.list_connections(wanted=wanted))
    assert [row.connection_id for row in talk.rows] == found


def test_tags_that_are_ids_are_left_to_airbyte() -> None:
    talk = Talk([page(*ROWS)])
    talk.perform(resources.list_connections(wanted=Filter(tags=(TWO,))))
    assert ("tagIds", TWO) in talk.sent[0].query


def test_an_empty_list_of_a_workspace_that_does_not_exist_is_an_error() -> None:
    talk = Talk([page(), reply(404, {"title": "resource-not-found"})])
    with pytest.raises(errors.AirbyteNotFoundError, match=f"There is no workspace {WORKSPACE}"):
        talk.perform(resources.list_connections([WORKSPACE]))


def test_an_empty_workspace_is_none() -> None:
    talk = Talk([page(), reply(200, {"workspaceId": WORKSPACE, "name": "Empty"})])
    talk.perform(resources.list_sources([WORKSPACE]))
    assert talk.rows == []


def test_a_name_finds_its_connection() -> None:
    assert Talk([page(*ROWS)]).perform(resources.connection_named("stripe [old]")).connection_id == THREE


def test_a_name_that_is_not_there_is_an_error_with_the_nearest_ones() -> None:
    with pytest.raises(errors.AirbyteNameError) as raised:
        Talk([page(*ROWS)]).perform(resources.connection_named("stripe → bigquery"))
    assert str(raised.value).startswith(
        f"There is no Airbyte connection named 'stripe → bigquery'. The nearest are 'Stripe → BigQuery' ({ONE})"
    )


def test_a_name_that_is_like_no_other_shows_what_there_is() -> None:
    with pytest.raises(errors.AirbyteNameError, match=r"There are 3, such as 'Snowflake → Postgres' \(2"):
        Talk([page(*ROWS)]).perform(resources.connection_named("ÿÿÿ"))


def test_a_name_where_there_is_nothing_at_all() -> None:
    with pytest.raises(errors.AirbyteNameError, match="none at all that the application's user may see"):
        Talk([page()]).perform(resources.connection_named("mine"))


def test_a_name_that_two_bear_is_an_error_with_their_ids() -> None:
    rows = [connection(TWO, "twin"), connection(ONE, "twin")]
    with pytest.raises(errors.AirbyteNameError, match=f"There are 2 Airbyte connections named 'twin': {ONE}, {TWO}"):
        Talk([page(*rows)]).perform(resources.connection_named("twin"))


def test_workspaces_are_found_by_name_each() -> None:
    spaces = page({"workspaceId": ONE, "name": "a"}, {"workspaceId": TWO, "name": "b"})
    assert Talk([spaces, spaces]).perform(resources.workspaces_named(["b", "a"])) == [TWO, ONE]


DECOMPOSED, COMPOSED = "Cafe\u0301", "Caf\u00e9"


@pytest.mark.parametrize(("given", "shown"), [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
def test_an_accent_may_be_a_character_of_its_own(given: str, shown: str) -> None:
    row = connection(ONE, shown, tags=[{"tagId": TWO, "name": shown}])
    for wanted in (Filter(name=given), Filter(name_pattern=f"{given}*"), Filter(tags=(given,))):
        talk = Talk([page(row)])
        talk.perform(resources.list_connections(wanted=wanted))
        assert [each.connection_id for each in talk.rows] == [ONE], wanted
    assert Talk([page(row)]).perform(resources.connection_named(given)).connection_id == ONE
    with pytest.raises(errors.AirbyteNameError, match=f"The nearest are '{shown}'"):
        Talk([page(row)]).perform(resources.connection_named(given.upper()))
