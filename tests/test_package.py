"""What is built is what is meant to be installed."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from airflow_provider_airbyte_api import __version__
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder: Path = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def read(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(f"airflow_provider_airbyte_api-{__version__}.dist-info/{name}").decode()


def test_the_wheel_holds_the_package_alone(wheel: zipfile.ZipFile) -> None:
    folders = {name.split("/")[0] for name in wheel.namelist()}
    assert folders == {"airflow_provider_airbyte_api", f"airflow_provider_airbyte_api-{__version__}.dist-info"}
    assert "airflow_provider_airbyte_api/py.typed" in wheel.namelist()
    assert not [name for name in wheel.namelist() if "__pycache__" in name]


def test_the_wheel_holds_the_files_of_the_page(wheel: zipfile.ZipFile) -> None:
    folder = "airflow_provider_airbyte_api/ui/static/"
    files = {name.removeprefix(folder) for name in wheel.namelist() if name.startswith(folder)}
    assert files == {path.name for path in (REPOSITORY / folder).iterdir()}
    assert {"airbyte.js", "airbyte.css", "airbyte.svg"} <= files


def test_airflow_and_pytest_find_what_is_theirs(wheel: zipfile.ZipFile) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read_string(read(wheel, "entry_points.txt"))
    assert {group: list(entry_points[group]) for group in entry_points.sections()} == {
        "apache_airflow_provider": ["provider_info"],
        "airflow.plugins": ["airbyte_api"],
        "pytest11": ["airbyte_api"],
    }


def test_the_metadata_says_what_it_is_and_needs(wheel: zipfile.ZipFile) -> None:
    metadata = Parser().parsestr(read(wheel, "METADATA"))
    assert (metadata["Name"], metadata["Version"]) == ("airflow-provider-airbyte-api", __version__)
    assert set(metadata.get_all("Provides-Extra", [])) == {"migrate", "openlineage", "testing"}
    needed = {
        line.split(";")[0].split(">")[0].strip() for line in metadata.get_all("Requires-Dist", []) if ";" not in line
    }
    direct = {"apache-airflow", "requests", "aiohttp"}
    assert needed == direct | {"asgiref", "cryptography", "pyyaml", "rich", "sqlalchemy", "urllib3"}
