"""The classes that DAG authors import spell out their parameters, and document each of them."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest

from airflow_provider_airbyte_api.operators import airbyte as operators
from airflow_provider_airbyte_api.operators._base import AirbyteJobOperator
from airflow_provider_airbyte_api.sensors import airbyte as sensors
from airflow_provider_airbyte_api.triggers import airbyte as triggers
from tests.conftest import REPOSITORY
from tests.versions import AIRFLOW

OPERATORS: list[type[Any]] = [getattr(operators, name) for name in operators.__all__]
CONNECTION = "9924bcd0-99be-453d-ba47-c2c9766f7da5"
TASKS: list[type[Any]] = [*OPERATORS, sensors.AirbyteJobSensor, sensors.AirbyteFreshnessSensor]
# Airflow 2 has no asset watchers, for which the third one is.
TRIGGERS: list[type[Any]] = [
    getattr(triggers, name) for name in triggers.__all__ if name != "AirbyteSyncEventTrigger" or AIRFLOW >= (3, 0)
]
CLASSES = [*TASKS, *TRIGGERS]
JOB_OPERATORS = [each for each in OPERATORS if issubclass(each, AirbyteJobOperator)]
LIST_OPERATORS = [each for each in OPERATORS if "List" in each.__name__]


def parameters(kind: type[Any]) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(kind).parameters)
    if kind not in TRIGGERS:  # their ``unknown`` is documented
        assert found.pop("kwargs").kind is inspect.Parameter.VAR_KEYWORD
    return found


def documented(kind: type[Any]) -> list[str]:
    return re.findall(r"^    :param (\w+):", kind.__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_parameter_is_documented_where_it_is_spelled_out(kind: type[Any]) -> None:
    assert "__init__" in kind.__dict__
    assert set(documented(kind)) == set(parameters(kind))
    assert len(documented(kind)) == len(set(documented(kind)))


@pytest.mark.parametrize("kind", TRIGGERS)
def test_the_text_of_a_triggers_parameter_says_its_default(kind: type[Any]) -> None:
    sections = re.split(r"^    :(?=param|raises)", kind.__doc__ or "", flags=re.MULTILINE)[1:]
    marked = {each.split()[1].rstrip(":") for each in sections if "Default" in each}
    assert marked == {n for n, each in parameters(kind).items() if each.default is not inspect.Parameter.empty}


@pytest.mark.parametrize("kind", TASKS)
def test_the_text_of_a_parameter_says_whether_it_is_templated(kind: type[Any]) -> None:
    sections = re.split(r"^    :(?=param|raises)", kind.__doc__ or "", flags=re.MULTILINE)[1:]
    marked = {each.split()[1].rstrip(":") for each in sections if "templated" in each}
    assert marked == set(kind.template_fields) & set(parameters(kind))


@pytest.mark.parametrize("kind", [operators.AirbyteSyncOperator, operators.AirbyteClearOperator])
def test_completion_begins_with_the_connection(kind: type[Any]) -> None:
    assert next(iter(parameters(kind))) == "connection_id"


@pytest.mark.parametrize(
    "family",
    [JOB_OPERATORS, LIST_OPERATORS, TASKS[-2:], TRIGGERS],
    ids=["jobs", "lists", "sensors", "triggers"],
)
def test_what_siblings_share_has_the_same_type_and_default(family: list[type[Any]]) -> None:
    assert len(family) > 1
    for one in family:
        for other in family:
            for name in (parameters(one).keys() & parameters(other).keys()) - {"on_running", "status", "job_type"}:
                mine, others = parameters(one)[name], parameters(other)[name]
                if inspect.Parameter.empty in (mine.default, others.default):
                    continue  # one of them requires it
                assert mine.default == others.default, name
                assert mine.annotation == others.annotation, name


def test_a_job_trigger_is_built_of_four_arguments() -> None:
    made = triggers.AirbyteJobTrigger(7, CONNECTION, "airbyte_api_default", 30)
    assert made.serialize()[1]["job_id"] == 7
    assert list(parameters(triggers.AirbyteJobTrigger))[:4] == [
        "job_id",
        "connection_id",
        "airbyte_conn_id",
        "poll_interval",
    ]


@pytest.mark.parametrize("kind", TRIGGERS)
def test_a_triggers_row_holds_all_that_it_takes(kind: type[Any]) -> None:
    needed = [name for name, each in parameters(kind).items() if each.default is inspect.Parameter.empty]
    made = kind(**{name: {"job_id": 7, "connection_id": CONNECTION}[name] for name in needed if name != "unknown"})
    assert made.serialize()[1].keys() == parameters(kind).keys() - {"unknown"}


def test_what_a_base_class_takes_its_subclasses_spell_out() -> None:
    for kind in JOB_OPERATORS:
        assert parameters(AirbyteJobOperator).keys() <= parameters(kind).keys()


def test_the_reference_has_each_public_class() -> None:
    text = (REPOSITORY / "docs" / "reference.md").read_text()
    listed = set(re.findall(r"^\.\. autoclass:: \S+\.(\w+)$", text, re.MULTILINE))
    assert {kind.__name__ for kind in TASKS} | set(triggers.__all__) <= listed


@pytest.mark.parametrize("kind", TASKS)
def test_a_class_names_the_module_that_users_import(kind: type[Any]) -> None:
    assert kind.__module__ in {operators.__name__, sensors.__name__}
    assert getattr(importlib.import_module(kind.__module__), kind.__name__) is kind
