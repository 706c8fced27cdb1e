"""The classes that DAG authors import spell out their parameters, and document each of them."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from airflow_provider_airbyte_api.operators import airbyte as operators
from airflow_provider_airbyte_api.operators._base import AirbyteJobOperator
from airflow_provider_airbyte_api.sensors import airbyte as sensors

OPERATORS: list[type[Any]] = [getattr(operators, name) for name in operators.__all__]
CLASSES = [*OPERATORS, sensors.AirbyteJobSensor, sensors.AirbyteFreshnessSensor]
JOB_OPERATORS = [each for each in OPERATORS if issubclass(each, AirbyteJobOperator)]
LIST_OPERATORS = [each for each in OPERATORS if "List" in each.__name__]


def parameters(kind: type[Any]) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(kind).parameters)
    assert found.pop("kwargs").kind is inspect.Parameter.VAR_KEYWORD
    return found


def documented(kind: type[Any]) -> list[str]:
    return re.findall(r"^    :param (\w+):", kind.__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_parameter_is_documented_where_it_is_spelled_out(kind: type[Any]) -> None:
    assert "__init__" in kind.__dict__
    assert set(documented(kind)) == set(parameters(kind))
    assert len(documented(kind)) == len(set(documented(kind)))


@pytest.mark.parametrize("kind", CLASSES)
def test_the_text_of_a_parameter_says_whether_it_is_templated(kind: type[Any]) -> None:
    sections = re.split(r"^    :(?=param|raises)", kind.__doc__ or "", flags=re.MULTILINE)[1:]
    marked = {each.split()[1].rstrip(":") for each in sections if "templated" in each}
    assert marked == set(kind.template_fields) & set(parameters(kind))


@pytest.mark.parametrize("kind", [operators.AirbyteSyncOperator, operators.AirbyteClearOperator])
def test_completion_begins_with_the_connection(kind: type[Any]) -> None:
    assert next(iter(parameters(kind))) == "connection_id"


@pytest.mark.parametrize("family", [JOB_OPERATORS, LIST_OPERATORS, CLASSES[-2:]], ids=["jobs", "lists", "sensors"])
def test_what_siblings_share_has_the_same_type_and_default(family: list[type[Any]]) -> None:
    assert len(family) > 1
    for one in family:
        for other in family:
            for name in (parameters(one).keys() & parameters(other).keys()) - {"on_running", "status", "job_type"}:
                assert parameters(one)[name].default == parameters(other)[name].default, name
                assert parameters(one)[name].annotation == parameters(other)[name].annotation, name


def test_what_a_base_class_takes_its_subclasses_spell_out() -> None:
    for kind in JOB_OPERATORS:
        assert parameters(AirbyteJobOperator).keys() <= parameters(kind).keys()
