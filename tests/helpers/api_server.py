"""An Airflow API server without a scheduler, on a database with a made-up history of syncs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dev.stack import REPOSITORY, AirflowStack

OPERATOR = "AirbyteSyncOperator"
USERS = ("admin:admin", "viewer:viewer", "guest:viewer", "reader:viewer")


@dataclass
class PastSync:
    """A task instance as an ``AirbyteSyncOperator`` leaves it. Times are in seconds before now."""

    dag_id: str
    run_id: str
    state: str
    start: float
    end: float | None = None
    task_id: str = "sync"
    map_index: int = -1
    try_number: int = 1
    operator: str = OPERATOR
    rendered: dict[str, Any] | None = None
    xcoms: dict[str, Any] = field(default_factory=dict)


class ApiServer(AirflowStack):
    """The UI and the REST API alone, below the path ``/af``, for some users.

    They are in :data:`USERS`, and each user's name is the password. :class:`tests.helpers.auth.PickyAuthManager` says
    what they may read.
    """

    def __init__(self, home: Path, dags: Path, environment: dict[str, str]) -> None:
        super().__init__(home, dags, environment)
        port = self.url.rpartition(":")[2]
        self.url += "/af"
        passwords = home / "passwords.json"
        self._environment |= {
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__CORE__AUTH_MANAGER": "tests.helpers.auth.PickyAuthManager",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(USERS),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
            **environment,
        }

    def start(self) -> ApiServer:
        """Start it on a database with the DAGs of its folder."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "passwords.json").write_text(json.dumps({name: name for name in map(_name, USERS)}))
        self._run("-m", "airflow", "db", "migrate")
        self._run("-m", "airflow", "dags", "reserialize")
        self._process = self._airflow("api-server")
        try:
            self.wait_until_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def is_healthy(self) -> bool:
        """Return True if it answers."""
        try:
            self._request("GET", "/api/v2/version", None, authorized=False)
        except (OSError, ValueError):
            return False
        return True

    def token(self, user: str) -> str:
        """Return the token of a session of ``user``."""
        body = {"username": user, "password": user}
        token: str = self._request("POST", "/auth/token", body, authorized=False)["access_token"]
        return token

    def insert(self, syncs: Iterable[PastSync]) -> None:
        """Add task instances to the database, or replace those that exist."""
        rows = [{**asdict(each), "now": time.time()} for each in syncs]
        self._run("-m", "tests.helpers.insert_syncs", text=json.dumps(rows))

    def _run(self, *arguments: str, text: str = "") -> None:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self._environment,
            cwd=self.home,
            input=text,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]


def _name(user: str) -> str:
    return user.partition(":")[0]
