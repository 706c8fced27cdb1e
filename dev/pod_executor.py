"""An executor that runs each task as KubernetesExecutor does, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.executors.base_executor import BaseExecutor


class PodExecutor(BaseExecutor):
    """Runs each attempt in a session and a folder of its own, by the command that a pod runs."""

    def start(self) -> None:
        """Have no pods yet."""
        self._pods: dict[Any, subprocess.Popen[bytes]] = {}

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            ti = workload.ti
            name = f"pod-{ti.dag_id}-{ti.task_id}-{ti.map_index}-{ti.try_number}"
            folder = Path(os.environ["AIRFLOW_HOME"]).parent / name
            folder.mkdir(exist_ok=True)
            with (folder / "pod.log").open("ab") as log:
                self._pods[workload.key] = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "airflow.sdk.execution_time.execute_workload",
                        "--json-string",
                        workload.model_dump_json(),
                    ],
                    env={**os.environ, "AIRFLOW_HOME": str(folder), "CLUSTER_COMPONENT": name},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            del self.queued_tasks[workload.key]
            self.running.add(workload.key)

    def sync(self) -> None:
        """Report the pods that have ended."""
        for key, pod in list(self._pods.items()):
            code = pod.poll()
            if code is not None:
                del self._pods[key]
                (self.fail if code else self.success)(key)

    def end(self) -> None:
        """Leave the pods running, as Kubernetes does."""

    def terminate(self) -> None:
        """Leave the pods running, as Kubernetes does."""
