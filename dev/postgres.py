"""A Postgres of its own on this machine, for an Airflow."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DRIVERS = ("psycopg2", "asyncpg")


def postgres_programs() -> Path | None:
    """Return the folder of Postgres' own programs, or None; Debian's is on no PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = [each.parent for each in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda each: float(each.parent.name), default=None)


def missing_for_postgres() -> str:
    """Return what this machine lacks for :func:`postgres`, or an empty text."""
    drivers = [each for each in DRIVERS if importlib.util.find_spec(each) is None]
    return " and ".join([*([] if postgres_programs() else ["Postgres"]), *drivers])


@contextmanager
def postgres() -> Iterator[str]:
    """Run Postgres on a free port, by a user without rights; gives its address for SQLAlchemy."""
    programs = postgres_programs()
    if programs is None:
        raise FileNotFoundError("initdb: install Postgres")
    with tempfile.TemporaryDirectory() as folder:
        who: dict[str, Any] = {}
        if os.getuid() == 0:
            who = {"user": "postgres"}
            shutil.chown(folder, "postgres")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        data = f"{folder}/data"
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": folder, **who}
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "airflow", "-A", "trust", "-E", "UTF8"], check=True, **quiet
        )
        arguments = ["-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        server = subprocess.Popen([programs / "postgres", *arguments, "-c", "max_connections=300"], **quiet)
        asking: list[str | Path] = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        try:
            end = time.monotonic() + 30
            while subprocess.run(asking, check=False, **quiet).returncode:
                if time.monotonic() > end:
                    raise TimeoutError("Postgres does not start")
                time.sleep(0.2)
            yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
