"""What is built is what is meant to be installed."""

from __future__ import annotations

import configparser
import hashlib
import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from airflow_provider_airbyte_api import __version__
from dev.sbom import sbom_of
from tests.conftest import REPOSITORY


def build(source: Path, folder: Path, **environment: str) -> Path:
    """Build the wheel and the source distribution into ``folder``."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)],
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(REPOSITORY, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (file,) = built.glob("*.whl")
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


def test_a_copy_of_the_source_is_built_to_the_same_files(built: Path, tmp_path: Path) -> None:
    """At another time, in another folder and time zone, and by a user with another umask."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).exists():
            copy = tmp_path / "copy" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((REPOSITORY / name).read_bytes())
            copy.chmod(0o700 if os.access(REPOSITORY / name, os.X_OK) else 0o600)
    again = build(tmp_path / "copy", tmp_path / "again", TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="1580601600")
    hashes = [
        {file.name: hashlib.sha256(file.read_bytes()).digest() for file in one.iterdir()} for one in (built, again)
    ]
    assert len(hashes[0]) == 2
    assert hashes[0] == hashes[1]


def test_the_bill_of_materials_lists_what_the_wheel_ships_and_needs(built: Path, wheel: zipfile.ZipFile) -> None:
    (file,) = built.glob("*.whl")
    sbom = sbom_of(file)
    components = sbom["components"]
    assert sbom["metadata"]["component"]["version"] == __version__
    assert [each["name"] for each in components if each["type"] == "file"] == sorted(wheel.namelist())
    assert {"aiohttp", "apache-airflow", "requests"} <= {
        each["name"] for each in components if each.get("scope") == "required"
    }


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
