"""An Airflow of several processes on this machine, as on several: CeleryExecutor, PostgreSQL and Redis.

Each component has its own folder, so that no two share a disk, and its own session, as on a machine of its own. Tasks
with ``executor="PodExecutor"`` run as pods of KubernetesExecutor do.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import psutil

from dev.airflow_api import AIRFLOW
from dev.postgres import Postgres, missing_for_postgres, postgres_programs
from dev.processes import free_port, send, still_running, tree
from dev.redis import Redis, missing_for_redis
from dev.rest_api import AirflowRestApi, StackError
from dev.stack import REPOSITORY

BOOT_SECONDS = 180.0
SLOTS = 8
"""Tasks that a worker runs at once."""

HEARTBEAT_TIMEOUT = 40
"""Seconds without a heartbeat after which Airflow gives up a running task."""

TRIGGERER_THRESHOLD = 15
"""Seconds without a heartbeat after which another triggerer takes over the triggers."""

VISIBILITY_TIMEOUT = 45
"""Seconds after which Redis delivers a message again that was not acknowledged."""

SERVERS = ("api-server", "dag-processor")
SCHEDULERS = ("scheduler-1", "scheduler-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
WORKERS = ("worker-1", "worker-2")
COMPONENTS = (*SERVERS, *SCHEDULERS, *TRIGGERERS, *WORKERS)


def missing_for_cluster() -> str:
    """Return in one sentence what this machine lacks, or an empty text. As root, install it with apt first."""
    if not (postgres_programs() and shutil.which("redis-server")) and os.getuid() == 0 and shutil.which("apt-get"):
        for arguments in (["update"], ["install", "-y", "postgresql", "redis-server"]):
            subprocess.run(["apt-get", "-qq", *arguments], check=False, capture_output=True)
    missing = " and ".join(filter(None, (missing_for_postgres(), missing_for_redis())))
    return f"This machine lacks {missing}: install it from the system's packages." if missing else ""


class Cluster(AirflowRestApi):
    """A separate Airflow in ``home``, for the duration of a ``with`` block.

    :param home: an empty folder; each component has a folder in it, and all their logs are in ``logs``.
    :param dags: the folder of DAG files.
    :param environment: environment variables on top, such as ``AIRFLOW_CONN_…``.
    """

    def __init__(self, home: Path, dags: Path, environment: dict[str, str]) -> None:
        super().__init__(f"http://127.0.0.1:{free_port()}")
        self.home = home
        self.logs = home / "logs"
        self.postgres = Postgres()
        self.redis = Redis()
        self.packages: dict[str, Path] = {}
        """For each component that imports this package from another folder, that folder."""
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._environment = {**foreign, **self._settings(dags), **environment}
        self.stopping = threading.Event()
        """Set once nothing is to be started any more; what waits for the cluster then ends with an error."""
        self._leaders: dict[str, subprocess.Popen[bytes]] = {}

    def _settings(self, dags: Path) -> dict[str, str]:
        return {
            **AIRFLOW.settings(self.home, self.url),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor,dev.pod_executor.PodExecutor",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "dev.component_name.get",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
            "AIRFLOW__CORE__PARALLELISM": "64",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.postgres.address,
            "AIRFLOW__CELERY__BROKER_URL": self.redis.address,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{self.postgres.address}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(SLOTS),
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT),
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_THRESHOLD),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }

    def __enter__(self) -> Cluster:
        with contextlib.ExitStack() as started:
            started.enter_context(self.postgres)
            started.enter_context(self.redis)
            started.callback(self._stop)
            self.logs.mkdir(parents=True)
            if self._popen("migration", "db", "migrate").wait() != 0:
                raise StackError(f"The database could not be made.\n{self.log_tail('migration')}")
            self.start(*COMPONENTS)
            self.wait_until_healthy()
            self._ending = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.close()

    # -- components --------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start those of the components that do not run."""
        for name in names:
            if name not in self._leaders or self._leaders[name].poll() is not None:
                self._leaders[name] = self._popen(name, *_command(name))

    def processes(self, *names: str) -> list[psutil.Process]:
        """Return the processes of components, each before its children."""
        return [each for name in names for each in tree(self._leaders[name].pid)]

    def signal(self, *names: str, number: signal.Signals, everything: bool = False) -> None:
        """Send a signal to the first process of components, or to all their processes."""
        send(
            self.processes(*names) if everything else [psutil.Process(self._leaders[name].pid) for name in names],
            number,
        )

    def kill(self, *names: str) -> None:
        """End all processes of components at once, as if their machine had lost its power."""
        processes = self.processes(*names)
        send(processes, signal.SIGSTOP)  # none acts on the end of another one
        send(processes, signal.SIGKILL)
        self._require_ended(processes, 10.0)

    def terminate(self, *names: str, everything: bool = False, seconds: float = 90.0) -> None:
        """Send SIGTERM to components, as a deployment does, and wait until all their processes have ended."""
        processes = self.processes(*names)
        self.signal(*names, number=signal.SIGTERM, everything=everything)
        self._require_ended(processes, seconds)

    def wait_until_ended(self, name: str) -> None:
        """Wait until a component that was told to stop has ended."""
        self._leaders[name].wait(60)

    def _require_ended(self, processes: list[psutil.Process], seconds: float) -> None:
        alive = still_running(processes, seconds)
        if alive:
            raise StackError(f"These do not stop: {alive}")
        for leader in self._leaders.values():
            leader.poll()

    def restart_ended(self) -> None:
        """Start all components that have ended, as a supervisor does."""
        self.start(*COMPONENTS)

    def wait_until_healthy(self) -> None:
        """Start the components that have ended, and wait until all work."""
        until = time.monotonic() + BOOT_SECONDS
        self.restart_ended()  # one that was killed seconds ago still counts as alive
        while not (self.is_healthy() and self._all_alive()):
            if time.monotonic() > until:
                raise StackError(f"The cluster was not healthy within {BOOT_SECONDS:.0f} s: see {self.logs}")
            if self.stopping.wait(1.0):
                raise StackError("The cluster is being stopped.")
            self.restart_ended()

    def _all_alive(self) -> bool:
        try:
            jobs = self.get("/jobs?is_alive=true&job_state=running&limit=100")["jobs"]
        except (OSError, ValueError):
            return False
        return {*SCHEDULERS, *TRIGGERERS} <= {job["hostname"] for job in jobs} and all(map(self._is_ready, WORKERS))

    def _is_ready(self, worker: str) -> bool:
        """Return True if the worker has logged that it is ready since it was started last."""
        text = self.log(worker)
        return " ready." in text[text.rindex(_START) :]

    def _popen(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        folder = self.home / name
        folder.mkdir(exist_ok=True)
        imported = (self.packages.get(name), REPOSITORY, self._environment.get("PYTHONPATH"))
        with (self.logs / f"{name}.log").open("ab") as log:
            log.write(f"{_START} {' '.join(command)}\n".encode())
            log.flush()
            return subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                env={
                    **self._environment,
                    "AIRFLOW_HOME": str(folder),
                    "CLUSTER_COMPONENT": name,
                    "PYTHONPATH": os.pathsep.join(str(each) for each in imported if each),
                },
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _stop(self) -> None:
        """End all processes, also those whose parent was killed."""
        alive = list(_processes_below(self.home))
        send(alive, signal.SIGCONT)
        send(alive, signal.SIGKILL)
        still_running(alive, 5.0)
        for leader in self._leaders.values():
            leader.wait(5)

    # -- logs --------------------------------------------------------------------------------------------------

    def log(self, name: str) -> str:
        """Return the log of a component."""
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def log_tail(self, name: str, lines: int = 30) -> str:
        """Return the end of the log of a component."""
        return "\n".join(self.log(name).splitlines()[-lines:])

    def task_logs(self) -> dict[str, str]:
        """Return the logs of tasks and triggers, which stay on the disk of the component that wrote them."""
        files = sorted(self.home.glob("*/logs/dag_id=*/**/*.log*"))
        return {str(file.relative_to(self.home)): file.read_text(errors="replace") for file in files if file.is_file()}


_START = "=== started:"


def _command(name: str) -> list[str]:
    kind = name.rstrip("-12")
    if kind == "worker":
        options = ["--celery-hostname", name, "--skip-serve-logs", "--without-mingle", "--without-gossip"]
        return ["celery", "worker", *options]
    return [kind, "--skip-serve-logs"] if kind in ("scheduler", "triggerer") else [kind]


def _processes_below(home: Path) -> Iterable[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if home in Path(process.cwd()).parents:
                yield process
