"""The section of this provider in Airflow's configuration."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from airflow_provider_airbyte_api import _options
from airflow_provider_airbyte_api._defaults import DEFAULT_MIN_DEFERRAL, DEFERRAL_TIMEOUT_MARGIN
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError
from airflow_provider_airbyte_api.get_provider_info import get_provider_info
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from tests.conftest import REPOSITORY
from tests.helpers.tasks import FakeContext

MIN_DEFERRAL = "AIRFLOW__AIRBYTE_API__MIN_DEFERRAL"
DECLARED: dict[str, dict[str, Any]] = get_provider_info()["config"][_options.SECTION]["options"]


def test_the_default_applies_if_the_option_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIN_DEFERRAL)
    assert _options.get_min_deferral() == DEFAULT_MIN_DEFERRAL == 10


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("2.5", 2.5), ("120", 120)])
def test_the_option_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv(MIN_DEFERRAL, text)
    assert _options.get_min_deferral() == seconds


@pytest.mark.parametrize("text", ["", "ten", "-1", "121", "nan", "inf", "10s"])
def test_any_other_value_is_an_error_that_names_the_option(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(MIN_DEFERRAL, text)
    with pytest.raises(AirbyteConfigError, match=rf"min_deferral in section \[airbyte_api\] is '{text}', expected a"):
        _options.get_min_deferral()


def test_airflow_ends_no_deferral_before_the_trigger_may_fire() -> None:
    assert _options.MAX_MIN_DEFERRAL < DEFERRAL_TIMEOUT_MARGIN


def test_an_invalid_option_fails_a_deferrable_task_before_it_starts_a_job(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIN_DEFERRAL, "never")
    task = AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, deferrable=True)
    with pytest.raises(AirbyteConfigError, match="min_deferral"):
        task.execute(cast("Any", FakeContext()))
    assert not airbyte.jobs


@pytest.mark.parametrize("text", ["", "variable", "s3", "://bucket", "/tmp/records"])
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
def test_an_invalid_backend_fails_a_task_before_it_starts_a_job(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, text: str, deferrable: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRBYTE_API__JOB_STATE_BACKEND", text)
    task = AirbyteSyncOperator(task_id="sync", connection_id=STRIPE_TO_BIGQUERY, deferrable=deferrable)
    with pytest.raises(AirbyteConfigError, match=rf"job_state_backend in section .* is .{re.escape(text)}., expected"):
        task.execute(cast("Any", FakeContext()))
    assert not airbyte.jobs


@pytest.mark.parametrize("name", DECLARED)
def test_airflow_knows_each_option_and_its_default(name: str) -> None:
    airflow = Path(sys.executable).parent / "airflow"
    program = [sys.executable, str(airflow), "config", "get-value", _options.SECTION, name]
    done = subprocess.run(
        ["env", "-u", MIN_DEFERRAL, *program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines()[-1:] == [DECLARED[name]["default"]], done.stderr[-2000:]


def test_the_reference_lists_each_option_with_its_default() -> None:
    text = (REPOSITORY / "docs" / "reference.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `?([^\s`]*?)`? ?\|", text, re.MULTILINE)
    assert dict(rows) == {name: declared["default"] for name, declared in DECLARED.items()}
