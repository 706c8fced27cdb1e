from __future__ import annotations

import copy
import json
import pickle

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_airbyte_api import exceptions


def all_kinds(root: type[exceptions.AirbyteError] = exceptions.AirbyteError) -> list[type[exceptions.AirbyteError]]:
    return [
        root,
        *(kind for each in root.__subclasses__() if each.__module__ == exceptions.__name__ for kind in all_kinds(each)),
    ]


@pytest.mark.parametrize("kind", all_kinds())
def test_the_tree_in_the_docstring_names_every_error_and_each_says_what_it_is(
    kind: type[exceptions.AirbyteError],
) -> None:
    assert exceptions.__doc__ is not None
    assert f" {kind.__name__} " in f" {exceptions.__doc__} "
    assert kind.__doc__


def test_an_error_comes_back_from_json_as_it_went() -> None:
    error = exceptions.AirbyteServerError(
        method="GET", url="http://a/b", status=502, detail="a web page.", retry_after=3.0
    )
    again = exceptions.error_from_dict(json.loads(json.dumps(exceptions.error_to_dict(error))))
    assert type(again) is exceptions.AirbyteServerError
    assert (str(again), again.status, again.retry_after) == (str(error), 502, 3.0)
    assert again.outcome_unknown


@pytest.mark.parametrize("kind", all_kinds())
def test_an_error_is_airflows_too_and_can_be_pickled_and_copied(kind: type[exceptions.AirbyteError]) -> None:
    plain = kind.__new__(kind, "trouble")
    plain.__dict__.update(status=502)
    assert isinstance(plain, AirflowException)
    for again in (pickle.loads(pickle.dumps(plain)), copy.copy(plain)):
        assert type(again) is type(plain)
        assert (str(again), again.__dict__) == ("trouble", {"status": 502})


def test_a_type_that_is_none_of_ours_comes_back_as_the_root_of_the_tree() -> None:
    for name in ("SystemExit", "Mapping", "", None):
        assert (
            type(exceptions.error_from_dict({"type": name, "message": "hm", "fields": {}})) is exceptions.AirbyteError
        )


def test_an_outage_that_outlasted_its_timeout_keeps_the_kind_and_the_url_of_the_last_failure() -> None:
    last = exceptions.AirbyteUnreachableError("refused", outcome_unknown=False, kind="dns", url="https://a/jobs")
    given_up = exceptions.outage_error(30.0, last)
    assert (given_up.kind, given_up.url, given_up.outcome_unknown) == ("dns", "https://a/jobs", False)
