from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_airbyte_api import exceptions
from airflow_provider_airbyte_api.api import resources
from airflow_provider_airbyte_api.api.filters import ResourceFilter
from airflow_provider_airbyte_api.api.http import Response
from tests.helpers.scripted_driver import ScriptedDriver, reply

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
        (ResourceFilter(), [ONE, TWO, THREE]),
        (ResourceFilter(name="Stripe → BigQuery"), [ONE]),
        (ResourceFilter(name="Stripe"), []),
        (ResourceFilter(name_pattern="*tripe*"), [ONE, THREE]),
        (ResourceFilter(name_pattern="stripe [[]old]"), [THREE]),
        (ResourceFilter(status="active"), [ONE, THREE]),
        (ResourceFilter(tags=("nightly", "weekly")), [ONE]),
        (ResourceFilter(tags=(TWO,)), [ONE]),
        (ResourceFilter(source_id=ONE), [ONE]),
        (ResourceFilter(destination_id=TWO), [TWO]),
        (ResourceFilter(name_pattern="S*", status="active"), [ONE]),
    ],
)
def test_rows_are_filtered_by_what_airbyte_does_not_filter_by(wanted: ResourceFilter, found: list[str]) -> None:
    driver = ScriptedDriver([page(*ROWS)])
    driver.run(resources.list_connections(filters=wanted))
    assert [row.connection_id for row in driver.rows] == found


def test_tags_that_are_ids_are_left_to_airbyte() -> None:
    driver = ScriptedDriver([page(*ROWS)])
    driver.run(resources.list_connections(filters=ResourceFilter(tags=(TWO,))))
    assert ("tagIds", TWO) in driver.sent[0].query


def test_an_empty_list_of_a_workspace_that_does_not_exist_is_an_error() -> None:
    driver = ScriptedDriver([page(), reply(404, {"title": "resource-not-found"})])
    with pytest.raises(exceptions.AirbyteNotFoundError, match=f"Workspace {WORKSPACE} does not exist"):
        driver.run(resources.list_connections([WORKSPACE]))


def test_an_empty_workspace_is_none() -> None:
    driver = ScriptedDriver([page(), reply(200, {"workspaceId": WORKSPACE, "name": "Empty"})])
    driver.run(resources.list_sources([WORKSPACE]))
    assert driver.rows == []


def test_a_name_finds_its_connection() -> None:
    assert ScriptedDriver([page(*ROWS)]).run(resources.get_connection_by_name("stripe [old]")).connection_id == THREE


def test_a_name_that_is_not_there_is_an_error_with_the_nearest_ones() -> None:
    with pytest.raises(exceptions.AirbyteResourceLookupError) as raised:
        ScriptedDriver([page(*ROWS)]).run(resources.get_connection_by_name("stripe → bigquery"))
    assert str(raised.value).startswith(
        f"There is no Airbyte connection named 'stripe → bigquery'. Similar names: 'Stripe → BigQuery' ({ONE})"
    )


def test_a_name_that_is_like_no_other_shows_what_there_is() -> None:
    with pytest.raises(exceptions.AirbyteResourceLookupError, match=r"There are 3, such as 'Snowflake → Postgres' \(2"):
        ScriptedDriver([page(*ROWS)]).run(resources.get_connection_by_name("ÿÿÿ"))


def test_a_name_where_there_is_nothing_at_all() -> None:
    with pytest.raises(exceptions.AirbyteResourceLookupError, match="The application's user has access to none"):
        ScriptedDriver([page()]).run(resources.get_connection_by_name("mine"))


def test_ambiguous_name_lists_ids() -> None:
    rows = [connection(TWO, "twin"), connection(ONE, "twin")]
    with pytest.raises(
        exceptions.AirbyteResourceLookupError, match=f"There are 2 Airbyte connections named 'twin': {ONE}, {TWO}"
    ):
        ScriptedDriver([page(*rows)]).run(resources.get_connection_by_name("twin"))


def test_workspaces_are_found_by_name_each() -> None:
    spaces = page({"workspaceId": ONE, "name": "a"}, {"workspaceId": TWO, "name": "b"})
    assert ScriptedDriver([spaces, spaces]).run(resources.resolve_workspace_ids(["b", "a"])) == [TWO, ONE]


DECOMPOSED, COMPOSED = "Cafe\u0301", "Caf\u00e9"


@pytest.mark.parametrize(("given", "shown"), [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
def test_an_accent_may_be_a_character_of_its_own(given: str, shown: str) -> None:
    row = connection(ONE, shown, tags=[{"tagId": TWO, "name": shown}])
    for wanted in (ResourceFilter(name=given), ResourceFilter(name_pattern=f"{given}*"), ResourceFilter(tags=(given,))):
        driver = ScriptedDriver([page(row)])
        driver.run(resources.list_connections(filters=wanted))
        assert [each.connection_id for each in driver.rows] == [ONE], wanted
    assert ScriptedDriver([page(row)]).run(resources.get_connection_by_name(given)).connection_id == ONE
    with pytest.raises(exceptions.AirbyteResourceLookupError, match=f"Similar names: '{shown}'"):
        ScriptedDriver([page(row)]).run(resources.get_connection_by_name(given.upper()))
