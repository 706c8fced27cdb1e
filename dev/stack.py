"""A whole Airflow on this machine, that of the interpreter in use, by ``airflow standalone``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from dev.airflow_api import AIRFLOW

REPOSITORY = Path(__file__).resolve().parent.parent
BOOT_SECONDS = 300.0


class StackError(RuntimeError):
    """Airflow did not do what was asked of it; the message ends with the end of its log."""


class AirflowStack:
    """A separate Airflow in ``home``, for the duration of a ``with`` block.

    :param home: an empty folder; its database, logs and configuration go there.
    :param dags: the folder of DAG files.
    :param environment: environment variables on top, such as ``AIRFLOW_CONN_…``. Airflow 2 needs the address of a
        Postgres, ``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN``: it has no LocalExecutor on SQLite.
    :param port: of the UI and the REST API; 0 for any that is free.
    """

    def __init__(self, home: Path, dags: Path, environment: dict[str, str], port: int = 0) -> None:
        self.home = home
        self.log_file = home / "standalone.log"
        self.url = f"http://127.0.0.1:{port or _free_port()}"
        # Nothing of the user's own Airflow: least of all its database.
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._environment = {**foreign, **self._settings(dags), **environment}
        self._token: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._components: list[subprocess.Popen[bytes]] = []

    def _settings(self, dags: Path) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__PARALLELISM": "4",  # LocalExecutor starts that many processes at once
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db",
            # Everybody is an administrator, so nobody but this machine may come in.
            **AIRFLOW.settings(self.home, self.url),
            "AIRFLOW__API__ENABLE_XCOM_DESERIALIZE_SUPPORT": "True",  # off by default until 3.1
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(_free_port()),
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            # The scripts of this environment, whether or not it is activated.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }

    def __enter__(self) -> AirflowStack:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> AirflowStack:
        """Start it, and wait until all its parts say that they are healthy."""
        if AIRFLOW.needs_postgres and "sqlite" in self._environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]:
            raise StackError("This Airflow needs Postgres: set AIRFLOW__DATABASE__SQL_ALCHEMY_CONN.")
        self.home.mkdir(parents=True, exist_ok=True)
        AIRFLOW.prepare(self.home)
        self._process = self._airflow("standalone")
        try:
            self.wait_until_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_until_healthy(self, seconds: float = BOOT_SECONDS) -> None:
        """Wait until all parts say that they are healthy."""
        until = time.monotonic() + seconds
        while not self._healthy():
            if self._process is not None and self._process.poll() is not None:
                raise StackError(f"Airflow stopped by itself.\n{self.log_tail()}")
            if time.monotonic() > until:
                raise StackError(f"Airflow was not healthy within {seconds:.0f} s.\n{self.log_tail()}")
            time.sleep(0.5)

    def _healthy(self) -> bool:
        try:
            parts = self._request("GET", AIRFLOW.health_path, None, authorized=False)
        except (OSError, ValueError):
            return False
        return all(parts[part]["status"] == "healthy" for part in AIRFLOW.healthy_parts)

    def processes(self) -> list[psutil.Process]:
        """Return all processes of this Airflow, the first one first."""
        if self._process is None:
            return []
        found = []
        for leader in (self._process, *self._components):
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(leader.pid)
                found += [process, *process.children(recursive=True)]
        return found

    def component(self, name: str) -> list[psutil.Process]:
        """Return the processes of one component, such as the triggerer, each before its children."""
        leaders = [each for each in self.processes() if _is_component(each, name)]
        return [each for leader in leaders[:1] for each in (leader, *leader.children(recursive=True))]

    def kill_component(self, name: str, number: signal.Signals = signal.SIGKILL, *, group: bool = False) -> None:
        """Send a signal to one component, and wait until its processes are gone.

        SIGKILL is sent to all of its processes. With ``group``, so is any other signal.
        """
        processes = self.component(name)
        if not processes:
            raise StackError(f"There is no {name} to kill.")
        for process in processes if group or number == signal.SIGKILL else processes[:1]:
            _send(process, number)
        alive = _still_running(processes, 30.0)
        if alive:
            raise StackError(f"{name} does not stop: {alive}")

    def start_component(self, name: str) -> None:
        """Start one component again after it was killed."""
        self._components.append(self._airflow(name))

    def _airflow(self, command: str) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "airflow", command],
                env=self._environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop it, and leave nothing running."""
        processes = self.processes()
        if self._process is None:
            return
        # `airflow standalone` reacts only to SIGINT, which it passes on to its components.
        for process in processes:
            _send(process, signal.SIGINT if process.pid == self._process.pid else signal.SIGTERM)
        alive = _still_running(processes, 15.0)
        for process in alive:
            _send(process, signal.SIGKILL)
        _still_running(alive, 5.0)
        for leader in (self._process, *self._components):
            leader.wait(timeout=5)
        self._process = None

    def log_tail(self, lines: int = 30) -> str:
        """Return the end of its log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    # -- the REST API ------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """Return the answer of Airflow's REST API to a GET."""
        return self._request("GET", AIRFLOW.api + path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the answer of Airflow's REST API to a POST."""
        return self._request("POST", AIRFLOW.api + path, body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """Return the answer of Airflow's REST API to a PATCH."""
        return self._request("PATCH", AIRFLOW.api + path, body)

    def delete(self, path: str) -> None:
        """Delete something by the REST API."""
        self._request("DELETE", AIRFLOW.api + path, None)

    def _request(self, method: str, path: str, body: dict[str, Any] | None, *, authorized: bool = True) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if authorized and AIRFLOW.token_path is not None:
            if self._token is None:
                self._token = self._request("GET", AIRFLOW.token_path, None, authorized=False)["access_token"]
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(
            self.url + path, method=method, data=None if body is None else json.dumps(body).encode(), headers=headers
        )
        # Whatever proxy this machine has, localhost is not behind it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as reply:
            content = reply.read()
            return json.loads(content) if content else None

    def trigger(self, dag_id: str, params: dict[str, Any] | None = None, seconds: float = 60.0) -> str:
        """Start a run of ``dag_id`` once Airflow has parsed it, and return the run's id."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.get(f"/dags/{dag_id}")
                break
            except urllib.error.HTTPError as error:
                errors = self.get("/importErrors")["import_errors"]
                if errors or time.monotonic() > until:
                    raise StackError(f"Airflow has no DAG {dag_id!r}: {errors or error}") from error
                time.sleep(0.5)
        run_id: str = self.post(f"/dags/{dag_id}/dagRuns", AIRFLOW.dag_run(params or {}))["dag_run_id"]
        return run_id

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int | None = None) -> dict[str, Any]:
        """Return a task instance."""
        row: dict[str, Any] = self.get(_task_path(dag_id, run_id, task_id, map_index))
        return row

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int | None = None) -> None:
        """Mark a task as ``success`` or ``failed``."""
        self.patch(_task_path(dag_id, run_id, task_id, map_index), AIRFLOW.mark(state))

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as ``success`` or ``failed``."""
        self.patch(f"/dags/{dag_id}/dagRuns/{run_id}", {"state": state})

    def clear_task(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task, whatever its state."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "reset_dag_runs": True,
            "only_failed": False,
        }
        self.post(f"/dags/{dag_id}/clearTaskInstances", body)

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return the state of each task of a run."""
        rows = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {row["task_id"]: row["state"] or "waiting" for row in rows}

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        state: str = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return an XCom of a task."""
        path = f"{_task_path(dag_id, run_id, task_id, None)}/xcomEntries/{key}?deserialize=true&stringify=false"
        return self.get(path)["value"]

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str]:
        """Return where the links of a task lead."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
        links: dict[str, str] = self.get(path)["extra_links"]
        return links

    def task_log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """Return the log of one try of a task, a line an event."""
        answer = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}?full_content=true")
        return AIRFLOW.log_text(answer["content"])


def _task_path(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> str:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
    return path if map_index is None else f"{path}/{map_index}"


def interrupt_on_sigterm() -> None:
    """Let SIGTERM leave all ``with`` blocks, as Ctrl-C does, so that nothing is left running."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _still_running(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return those of ``processes`` that still run after ``seconds``. A zombie does not count as running."""
    until = time.monotonic() + seconds
    while True:
        alive = [each for each in processes if _is_alive(each)]
        if not alive or time.monotonic() > until:
            return alive
        time.sleep(0.1)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has ended between the two questions
        return False


def _is_component(process: psutil.Process, name: str) -> bool:
    """Tell whether ``process`` is ``airflow <name>``, by its command line or the title it gave itself."""
    try:
        words = " ".join(process.cmdline()).split()
    except psutil.Error:
        return False
    return name in words[:4] and any(word.endswith("airflow") for word in words[:3])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
