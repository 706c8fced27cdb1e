from __future__ import annotations

import copy
import json
import pickle

import pytest

from airflow_provider_airbyte_api.api import errors
from airflow_provider_airbyte_api.hooks.errors import as_airflow


def all_kinds(root: type[errors.AirbyteError] = errors.AirbyteError) -> list[type[errors.AirbyteError]]:
    return [
        root,
        *(kind for each in root.__subclasses__() if each.__module__ == errors.__name__ for kind in all_kinds(each)),
    ]


@pytest.mark.parametrize("kind", all_kinds())
def test_the_tree_in_the_docstring_names_every_error_and_each_says_what_it_is(kind: type[errors.AirbyteError]) -> None:
    assert errors.__doc__ is not None
    assert f" {kind.__name__} " in f" {errors.__doc__} "
    assert kind.__doc__


def test_an_error_comes_back_from_json_as_it_went() -> None:
    error = errors.AirbyteServerError(method="GET", url="http://a/b", status=502, detail="a web page.", retry_after=3.0)
    again = errors.load(json.loads(json.dumps(errors.dump(error))))
    assert type(again) is errors.AirbyteServerError
    assert (str(again), again.status, again.retry_after) == (str(error), 502, 3.0)
    assert again.maybe_processed


@pytest.mark.parametrize("kind", all_kinds())
def test_an_error_can_be_pickled_and_copied_as_ours_and_as_airflows(kind: type[errors.AirbyteError]) -> None:
    plain = kind.__new__(kind, "trouble")
    plain.__dict__.update(status=502)
    for error in (plain, as_airflow(plain)):
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(again) is type(error)
            assert (str(again), again.__dict__) == ("trouble", {"status": 502})


def test_a_type_that_is_none_of_ours_comes_back_as_the_root_of_the_tree() -> None:
    for name in ("SystemExit", "Mapping", "", None):
        assert type(errors.load({"type": name, "message": "hm", "fields": {}})) is errors.AirbyteError
