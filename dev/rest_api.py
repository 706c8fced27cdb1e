"""The REST API of a running Airflow, as its administrator."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from dev.airflow_api import AIRFLOW


class StackError(RuntimeError):
    """Airflow did not do what was asked of it; the message ends with the end of its log."""


class AirflowRestApi:
    """Asks a running Airflow for its state, and changes it.

    :param url: of the UI and the REST API.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._token: str | None = None

    def is_healthy(self) -> bool:
        """Return True if all parts say that they are healthy."""
        try:
            parts = self._request("GET", AIRFLOW.health_path, None, authorized=False)
        except (OSError, ValueError):
            return False
        return all(parts[part]["status"] == "healthy" for part in AIRFLOW.healthy_parts)

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

    def clear_task(self, dag_id: str, run_id: str, task_id: str, map_index: int | None = None) -> None:
        """Clear a task, whatever its state."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id if map_index is None else [task_id, map_index]],
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

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return an XCom of a task."""
        path = f"{_task_path(dag_id, run_id, task_id, None)}/xcomEntries/{key}"
        return self.get(f"{path}?map_index={map_index}&deserialize=true&stringify=false")["value"]

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
