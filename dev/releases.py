"""``make test-constraints``: the built wheel with each supported release of Airflow, and the packages of its day.

Airflow's constraints pin what the package index had on the day of a release. So the newest packages of that day are
pinned, and the wheel has to install with these pins.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email.parser import Parser
from itertools import groupby
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parent.parent
FOLDER = REPOSITORY / ".airflows" / "releases"
RELEASES = {
    "2.11.0": "2025-05-20",
    "2.11.1": "2026-02-16",
    "2.11.2": "2026-03-14",
    "3.0.0": "2025-04-22",
    "3.0.1": "2025-05-12",
    "3.0.2": "2025-06-10",
    "3.0.3": "2025-07-14",
    "3.0.4": "2025-08-08",
    "3.0.6": "2025-08-29",
    "3.1.0": "2025-09-25",
    "3.1.1": "2025-10-27",
    "3.1.2": "2025-11-05",
    "3.1.3": "2025-11-14",
    "3.1.5": "2025-12-12",
    "3.1.6": "2026-01-13",
    "3.1.7": "2026-02-04",
    "3.1.8": "2026-03-11",
    "3.2.0": "2026-04-07",
    "3.2.1": "2026-04-22",
    "3.2.2": "2026-05-29",
    "3.3.0": "2026-07-06",
    "3.3.1": "2026-08-12",
    "3.3.2": "2026-09-17",
}
"""The supported releases, without those that Airflow withdrew, each with the day of its upload."""
PYTHON = "3.11"  # each release supports it
COMPLETE = {"2.11.1": "2026-02-21"}  # the day of the last package that it needs, its FAB provider 1.5.4
UV = str(Path(sys.executable).with_name("uv"))

DAGS = {"AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "example_dags")}

IMPORT_ALL = """
import importlib, pkgutil
import airflow_provider_airbyte_api as package
assert "site-packages" in package.__file__
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith(("__main__", {left_out!r})):
        importlib.import_module(module.name)
"""
RUN_THE_EXAMPLE = """
import os, subprocess, sys
from airflow_provider_airbyte_api.testing import LocalAirbyte
airflow = [sys.executable, "-m", "airflow"]
subprocess.run([*airflow, "db", "migrate"], check=True)
subprocess.run([*airflow, "dags", "reserialize"], check=True)  # 3.0.0 finds a DAG in the database only
with LocalAirbyte() as airbyte:
    os.environ["AIRFLOW_CONN_AIRBYTE_API_DEFAULT"] = airbyte.airflow_connection
    subprocess.run([*airflow, "dags", "test", "example_airbyte"], check=True)
    assert [job.status for job in airbyte.jobs] == ["succeeded", "succeeded"]
"""


@dataclass(frozen=True)
class Release:
    """A release of Airflow. ``uploaded`` is the day on which it was uploaded to the package index."""

    version: Version
    uploaded: str

    @property
    def minor(self) -> tuple[int, ...]:
        return self.version.release[:2]


def main() -> int:
    """Test the releases; 0 if all of them passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", help="These releases, such as 3.0.0. Default: all.")
    parser.add_argument("--resolve", action="store_true", help="Only resolve the packages, install nothing.")
    parser.add_argument("--install-all", action="store_true", help="Install each release, not two of each minor.")
    arguments = parser.parse_args()

    (wheel,) = (REPOSITORY / "dist").glob("*.whl")
    found = [each for each in releases() if not arguments.only or str(each.version) in arguments.only]
    installed = [] if arguments.resolve else found if arguments.install_all else oldest_and_newest(found)
    failed = [each for each in found if not passes(each, wheel, install=each in installed)]
    print(f"{len(found) - len(failed)} of {len(found)} releases pass.")
    return 1 if failed or not found else 0


def releases() -> list[Release]:
    """Return the supported releases, oldest first."""
    return [Release(Version(version), uploaded) for version, uploaded in RELEASES.items()]


def oldest_and_newest(found: list[Release]) -> list[Release]:
    """Return the oldest and the newest patch of each minor version."""
    patches = [list(group) for _, group in groupby(found, key=lambda each: each.minor)]
    return [patch for group in patches for patch in (group[0], group[-1])]


def passes(release: Release, wheel: Path, *, install: bool) -> bool:
    """Test one release, and print the result."""
    folder = FOLDER / str(release.version)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        count = resolve(release, wheel, folder)
        if install:
            install_and_run(release, folder)
    except subprocess.CalledProcessError as error:
        print(f"{release.version!s:8} {release.uploaded}  FAILED: {' '.join(error.cmd)[:200]}\n{error.output[-3000:]}")
        return False
    done = "installs, imports, runs the example" if install else "resolves"
    print(f"{release.version!s:8} {release.uploaded}  {done} ({count} packages)", flush=True)
    shutil.rmtree(folder)
    return True


def resolve(release: Release, wheel: Path, folder: Path) -> int:
    """Pin the newest packages of the day, then add the wheel to them; return how many packages that are."""
    airflow = f"apache-airflow=={release.version}"
    compile_(release, [airflow, *dependencies(wheel)], folder / "constraints.txt")
    ours = f"airflow-provider-airbyte-api[openlineage,testing] @ {wheel.as_uri()}"
    pins = ["--constraint", str(folder / "constraints.txt")]
    compile_(release, [airflow, ours], folder / "requirements.txt", *pins)
    return len((folder / "requirements.txt").read_text().splitlines())


def dependencies(wheel: Path) -> list[str]:
    """Return the names of what the wheel and its extras need in addition to Airflow."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = Parser().parsestr(archive.read(metadata).decode())
    needs = [Requirement(line) for line in message.get_all("Requires-Dist", [])]
    return [each.name for each in needs if each.name != "apache-airflow"]


def compile_(release: Release, needed: list[str], output: Path, *options: str) -> None:
    """Write the newest packages that fit ``needed``, as of the day of the release."""
    wanted = output.with_suffix(".in")
    wanted.write_text("\n".join(needed))
    day = COMPLETE.get(str(release.version), release.uploaded)
    of_the_day = ["--python-version", PYTHON, "--exclude-newer", day]
    plain = ["--quiet", "--no-annotate", "--no-header", "--no-emit-index-url"]
    call([UV, "pip", "compile", str(wanted), *plain, *of_the_day, "--output-file", str(output), *options])


def install_and_run(release: Release, folder: Path) -> None:
    """Install the packages into an environment, import each module of the wheel, and run the example DAG."""
    python = str(folder / "bin" / "python")
    call([UV, "venv", "--quiet", "--allow-existing", "--python", PYTHON, str(folder)])
    call([UV, "pip", "install", "--quiet", "--python", python, "--requirement", str(folder / "requirements.txt")])
    left_out = "form_widgets" if release.version >= Version("3.0.0") else "sync_events"
    call([python, "-c", IMPORT_ALL.format(left_out=left_out)], home=folder)
    call([python, "-c", RUN_THE_EXAMPLE], home=folder)


def call(command: list[str], *, home: Path = FOLDER) -> None:
    """Run a command in ``home``, without the repository on Python's path."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    subprocess.run(
        command,
        cwd=home,
        env={**own, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **DAGS},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )


if __name__ == "__main__":
    sys.exit(main())
