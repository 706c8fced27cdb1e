"""A whole Airflow on this machine, that of the interpreter in use, by ``airflow standalone``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import psutil

from dev.airflow_api import AIRFLOW
from dev.processes import free_port, send, still_running, tree
from dev.rest_api import AirflowRestApi, StackError

REPOSITORY = Path(__file__).resolve().parent.parent
BOOT_SECONDS = 300.0


class AirflowStack(AirflowRestApi):
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
        super().__init__(f"http://127.0.0.1:{port or free_port()}")
        # Nothing of the user's own Airflow: least of all its database.
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._environment = {**foreign, **self._settings(dags), **environment}
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
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
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
        while not self.is_healthy():
            if self._process is not None and self._process.poll() is not None:
                raise StackError(f"Airflow stopped by itself.\n{self.log_tail()}")
            if time.monotonic() > until:
                raise StackError(f"Airflow was not healthy within {seconds:.0f} s.\n{self.log_tail()}")
            time.sleep(0.5)

    def processes(self) -> list[psutil.Process]:
        """Return all processes of this Airflow, the first one first."""
        if self._process is None:
            return []
        return [each for leader in (self._process, *self._components) for each in tree(leader.pid)]

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
        send(processes if group or number == signal.SIGKILL else processes[:1], number)
        alive = still_running(processes, 30.0)
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
            send([process], signal.SIGINT if process.pid == self._process.pid else signal.SIGTERM)
        alive = still_running(processes, 15.0)
        send(alive, signal.SIGKILL)
        still_running(alive, 5.0)
        for leader in (self._process, *self._components):
            leader.wait(timeout=5)
        self._process = None

    def log_tail(self, lines: int = 30) -> str:
        """Return the end of its log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


def interrupt_on_sigterm() -> None:
    """Let SIGTERM leave all ``with`` blocks, as Ctrl-C does, so that nothing is left running."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _is_component(process: psutil.Process, name: str) -> bool:
    """Tell whether ``process`` is ``airflow <name>``, by its command line or the title it gave itself."""
    try:
        words = " ".join(process.cmdline()).split()
    except psutil.Error:
        return False
    names = {name, name.replace("-", "_")}  # the API server calls itself api_server
    return not names.isdisjoint(words[:4]) and any(word.endswith("airflow") for word in words[:3])
