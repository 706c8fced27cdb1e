"""What the README and the docs show is code that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_airbyte_api import __version__
from airflow_provider_airbyte_api.api.doctor import Diagnosis
from airflow_provider_airbyte_api.form import EXTRAS
from airflow_provider_airbyte_api.hooks.extras import OTHER_NAMES
from airflow_provider_airbyte_api.testing import LocalAirbyte
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    if page.name != "testing.md"  # a whole project, which tests/testing/test_plugin.py builds
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), 1)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_code_runs(block: str, airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {"__name__": "documentation"}
    exec(compile(block, "documentation", "exec"), names)
    for name, value in names.items():
        if name.startswith("test_") and callable(value):
            value(monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


def test_the_dag_in_the_readme_is_no_longer_than_twelve_lines() -> None:
    block = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    assert block is not None
    assert len([line for line in block[1].splitlines() if line.strip()]) <= 12


def test_when_it_does_not_work_has_a_heading_for_each_diagnosis() -> None:
    headings = set(re.findall(r"^## (.+)$", (REPOSITORY / "docs" / "troubleshooting.md").read_text(), re.MULTILINE))
    assert {diagnosis.value for diagnosis in Diagnosis} <= headings


def test_connect_names_each_field_of_the_connection() -> None:
    text = (REPOSITORY / "docs" / "connect.md").read_text()
    rows = " ".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows)) >= set(EXTRAS)
    assert all(f"`{name}" in text for name in OTHER_NAMES)
