"""The two environments that are compared: this package's own, and one with the official provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_airbyte_api.testing import LocalAirbyte

ROOT = Path(__file__).resolve().parent.parent
LATENCY = 0.05
"""Seconds that the server takes for each reply."""

OFFICIAL_PYTHON = ROOT / ".bench" / "official" / "bin" / "python"


@dataclass(frozen=True)
class Environment:
    """Where a provider is installed, and how its Airflow connection is written."""

    name: str
    python: str

    def variables(self, airbyte: LocalAirbyte | None = None, extra: dict[str, Any] | None = None) -> dict[str, str]:
        """Return the environment variables for a process that talks to ``airbyte`` by the connection ``bench``."""
        connection: dict[str, Any] = {"extra": extra or {}}
        if airbyte is not None:
            connection |= {"login": airbyte.client_id, "password": airbyte.client_secret}
            if self.name == "ours":
                connection |= {"conn_type": "airbyte_api", "host": airbyte.url}
            else:
                token_url = f"{urlsplit(airbyte.api_url).path}/applications/token"
                connection |= {"conn_type": "airbyte", "host": f"{airbyte.api_url}/", "schema": token_url}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        return {
            **kept,
            "AIRFLOW_HOME": str(ROOT / ".bench" / f"airflow-{self.name}"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW_CONN_BENCH": json.dumps(connection),
            "NO_PROXY": "127.0.0.1",
        }

    @property
    def exists(self) -> bool:
        return Path(self.python).exists()

    @property
    def provider_version(self) -> str:
        """Return the version of the official provider that is installed there."""
        program = "import importlib.metadata as m; print(m.version('apache-airflow-providers-airbyte'))"
        return subprocess.run([self.python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


OURS = Environment("ours", sys.executable)
OFFICIAL = Environment("official", str(OFFICIAL_PYTHON))
