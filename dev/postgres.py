"""A Postgres of its own on this machine, for an Airflow."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from dev.processes import free_port

DRIVERS = ("psycopg2", "asyncpg")


def postgres_programs() -> Path | None:
    """Return the folder of Postgres' own programs, or None; Debian's is on no PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = [each.parent for each in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda each: float(each.parent.name), default=None)


def missing_for_postgres() -> str:
    """Return what this machine lacks for :class:`Postgres`, or an empty text."""
    drivers = [each for each in DRIVERS if importlib.util.find_spec(each) is None]
    return " and ".join([*([] if postgres_programs() else ["Postgres"]), *drivers])


class Postgres:
    """A Postgres on a free port, run by a user without rights, for the duration of a ``with`` block."""

    def __init__(self) -> None:
        programs = postgres_programs()
        if programs is None:
            raise FileNotFoundError("initdb: install Postgres")
        self._programs = programs
        self._port = free_port()
        self._folder = tempfile.TemporaryDirectory()
        # In a session of its own, so that Ctrl-C does not end it before what uses it.
        self._options: dict[str, Any] = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.STDOUT,
            "start_new_session": True,
        }
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The address for SQLAlchemy."""
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Postgres:
        folder = self._folder.name
        self._options["cwd"] = folder
        if os.getuid() == 0:
            self._options["user"] = "postgres"
            shutil.chown(folder, "postgres")
        arguments = ["-D", f"{folder}/data", "-U", "airflow", "-A", "trust", "-E", "UTF8"]
        subprocess.run([self._programs / "initdb", *arguments], check=True, **self._options)
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        folder = self._folder.name
        arguments = ["-D", f"{folder}/data", "-p", str(self._port), "-k", folder, "-c", "listen_addresses=127.0.0.1"]
        settings = ["-c", "fsync=off", "-c", "max_connections=300"]
        self._server = subprocess.Popen([self._programs / "postgres", *arguments, *settings], **self._options)
        end = time.monotonic() + 30
        asking: list[str | Path] = [self._programs / "pg_isready", "-h", "127.0.0.1", "-p", str(self._port)]
        while subprocess.run(asking, check=False, **self._options).returncode:
            if time.monotonic() > end:
                raise TimeoutError("Postgres does not start")
            time.sleep(0.2)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends all sessions first, SIGQUIT does not, and a start then recovers the data."""
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(30)
            self._server = None

    def _end(self) -> None:
        self.stop()
        self._folder.cleanup()
