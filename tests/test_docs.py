"""What the README and the docs show is code that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_airbyte_api import __version__
from airflow_provider_airbyte_api.api.diagnostics import Problem
from airflow_provider_airbyte_api.connection_form import CONN_FIELDS
from airflow_provider_airbyte_api.hooks._extras import EXTRA_ALIASES
from airflow_provider_airbyte_api.testing import LocalAirbyte
from tests.conftest import REPOSITORY
from tests.versions import since

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]


def needed_by(block: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a block of code that not every Airflow can run."""
    marks = []
    if "airflow.sdk" in block:
        marks.append(since("3.0", "it has no airflow.sdk"))
    if "retry_policy" in block:
        marks.append(since("3.3", "it knows no retry policies"))
    if "airflow airbyte" in block:
        marks.append(since("3.2", "it has no commands of providers"))
    if "from cosmos" in block:
        marks.append(pytest.mark.skipif(find_spec("cosmos") is None, reason="Cosmos is not installed"))
    for notifier in ("slack", "smtp"):
        if f"airflow.providers.{notifier}" in block:
            is_missing = find_spec(f"airflow.providers.{notifier}") is None
            marks.append(pytest.mark.skipif(is_missing, reason=f"Airflow's provider for {notifier} is not installed"))
    if "dags test load_stripe" in block:
        marks.append(since("3.0", "it has no airflow.sdk, which the DAG begins with"))
    return marks


def blocks(language: str, *but: str) -> list[Any]:
    """Return the blocks of code in that language of all pages but some."""
    found = []
    for page in PAGES:
        fenced = re.finditer(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(), re.DOTALL | re.MULTILINE)
        for number, match in enumerate(fenced, 1):
            block = textwrap.dedent(match[2])
            if page.name not in but:
                found.append(pytest.param(block, id=f"{page.name}-{number}", marks=needed_by(block)))
    return found


# testing.md is a whole project, which tests/testing/test_plugin.py builds.
@pytest.mark.parametrize("block", blocks("python", "testing.md"))
def test_a_block_of_code_runs(block: str, airbyte: LocalAirbyte) -> None:
    exec(compile(block, "documentation", "exec"), {"__name__": "documentation"})


@pytest.mark.parametrize("block", blocks("json"))
def test_a_block_of_json_is_json(block: str) -> None:
    assert isinstance(json.loads(block), dict)


SHELL = """
python() {{ "{python}" "$@"; }}
airflow() {{ "{airflow}" "$@"; }}
make() {{ command make -C "{repository}" --dry-run "$@" >/dev/null; }}  # the targets are run elsewhere
pip() {{ "{python}" -c "{would_install}" "$@"; }}
"""
WOULD_INSTALL = """
import importlib.metadata as metadata, sys
from packaging.requirements import Requirement
for name in sys.argv[2:]:
    wanted = Requirement(name)
    assert wanted.extras <= set(metadata.metadata(wanted.name).get_all('Provides-Extra') or ()), name
    assert metadata.version(wanted.name) in wanted.specifier, name
"""


@pytest.mark.parametrize("block", blocks("bash"))
def test_a_block_of_shell_runs(block: str, airbyte: LocalAirbyte, database: None, tmp_path: Path) -> None:
    """Against the local Airbyte; `airflow dags test` finds what Start puts into the DAG folder."""
    start = (REPOSITORY / "docs" / "start.md").read_text()
    dag = re.search(r"^( *)```python\n(.*?)^\1```", start, re.DOTALL | re.MULTILINE)
    assert dag is not None
    (tmp_path / "load_stripe.py").write_text(textwrap.dedent(dag[2]))
    block = block.replace("<client id>", airbyte.client_id).replace("<client secret>", airbyte.client_secret)
    block = block.replace("localhost:8000", airbyte.url.removeprefix("http://"))
    block = block.replace("path/to/dags", str(tmp_path))
    if "airflow_provider_airbyte_api.testing" in block:
        block = f"timeout --preserve-status -s INT 5 {sys.executable} {block.removeprefix('python ')}"
        block = block.replace("--port 8000", "--port 0")
    programs = {"python": sys.executable, "airflow": Path(sys.executable).parent / "airflow"}
    done = subprocess.run(
        ["bash", "-ec", SHELL.format(**programs, repository=REPOSITORY, would_install=WOULD_INSTALL) + block],
        env={**os.environ, "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path), "AIRFLOW__CORE__UNIT_TEST_MODE": "False"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    if "dags test" in block:
        assert [job.status for job in airbyte.jobs] == ["succeeded"]


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


def test_troubleshooting_has_a_heading_for_each_problem() -> None:
    headings = set(re.findall(r"^## (.+)$", (REPOSITORY / "docs" / "troubleshooting.md").read_text(), re.MULTILINE))
    assert {diagnosis.value for diagnosis in Problem} <= headings


def test_connect_names_each_field_of_the_connection() -> None:
    text = (REPOSITORY / "docs" / "connect.md").read_text()
    rows = " ".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows)) >= set(CONN_FIELDS)
    assert all(f"`{name}" in text for name in EXTRA_ALIASES)


def test_compatibility_names_each_airflow_that_is_tested() -> None:
    tested = re.findall(r"^AIRFLOW_(\S+) +:=", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    text = (REPOSITORY / "docs" / "compatibility.md").read_text()
    assert f"| Airflow | {', '.join(tested)}: " in text
    assert f"| | {' | '.join(tested)} |" in text
