"""What one worker does: a whole sync task, a hundred processes at once, a long list. Runs in either environment."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

CONN_ID = "bench"


def run_sync(provider: str) -> None:
    """Run one sync and wait for it in the worker, with a look each second."""
    connection_id = os.environ["BENCH_CONNECTION_ID"]
    sync: Any
    if provider == "ours":
        from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator

        sync = AirbyteSyncOperator(
            task_id="sync", connection_id=connection_id, airbyte_conn_id=CONN_ID, poll_interval=1
        )
    else:
        from airflow.providers.airbyte.operators.airbyte import (
            AirbyteTriggerSyncOperator,
        )

        sync = AirbyteTriggerSyncOperator(
            task_id="sync", connection_id=connection_id, airbyte_conn_id=CONN_ID, wait_seconds=1
        )
    ti = SimpleNamespace(xcom_push=lambda **_: None, max_tries=0, try_number=1, map_index=-1)
    sync.execute({"ti": ti})


def start_processes(provider: str, count: int) -> None:
    """Let ``count`` processes ask for something at the same moment, each forked from one that has all imports."""
    hook_class = hook_of(provider)
    if provider == "ours":
        from airflow_provider_airbyte_api.clients import sync_client  # noqa: F401 - imported before the fork
    begin = time.time() + 2.0
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            time.sleep(max(begin - time.time(), 0))
            hook = hook_class(CONN_ID)
            if provider == "ours":
                hook.get_airbyte_connection(os.environ["BENCH_CONNECTION_ID"])
            else:
                from airbyte_api import api

                hook.airbyte_api.connections.get_connection(
                    request=api.GetConnectionRequest(connection_id=os.environ["BENCH_CONNECTION_ID"])
                )
            os._exit(0)
        children.append(child)
    failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    print(json.dumps({"failed": failed}))


def list_sources(provider: str) -> None:
    hook = hook_of(provider)(CONN_ID)
    started_at = time.perf_counter()
    if provider == "ours":
        found = len(list(hook.list_sources()))
    else:
        from airbyte_api import api

        # The official hook lists nothing: this is the SDK that it is built on.
        found, page = 0, 100
        while page == 100:  # noqa: PLR2004
            reply = hook.airbyte_api.sources.list_sources(request=api.ListSourcesRequest(limit=100, offset=found))
            page = len(reply.sources_response.data)
            found += page
    print(json.dumps({"found": found, "seconds": time.perf_counter() - started_at}))


def hook_of(provider: str) -> Any:
    package = "airflow_provider_airbyte_api" if provider == "ours" else "airflow.providers.airbyte"
    return importlib.import_module(f"{package}.hooks.airbyte").AirbyteHook


if __name__ == "__main__":
    what, who = sys.argv[1:3]
    if what == "sync":
        run_sync(who)
    elif what == "processes":
        start_processes(who, int(sys.argv[3]))
    else:
        list_sources(who)
