"""CPU time and memory of parsing the largest accepted responses: ``python -m benchmarks.bench_parsing_limits``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from airflow_provider_airbyte_api.api.http import MAX_RESPONSE_BYTES
from airflow_provider_airbyte_api.api.safe import MAX_ITEMS, TooManyItemsError, parse_json


def repeated(item: str) -> str:
    """Return as many of ``item`` in a list as are parsed."""
    count = (MAX_ITEMS - 1) // (sum(map(item.count, "{[,")) + 1)
    return "[" + ",".join([item] * count) + "]"


def connection(streams: int, fields: int) -> str:
    """Return an Airbyte connection with so many streams of so many selected fields."""
    selected = [{"fieldPath": [f"some_column_of_it_{field}"]} for field in range(fields)]
    stream = {
        "name": "some_table",
        "namespace": "public",
        "syncMode": "incremental_deduped_history",
        "cursorField": ["updated_at"],
        "primaryKey": [["id"]],
        "mappers": [],
        "selectedFields": selected,
        "includeFiles": False,
    }
    return json.dumps({"configurations": {"streams": [stream] * streams}})


REPLIES: dict[str, Callable[[], str]] = {
    "a connection, 1,000 streams of 150 fields": lambda: connection(1_000, 150),
    "a connection, 10,000 streams": lambda: connection(10_000, 0),
    "100 connections, 300 streams each": lambda: "[" + ",".join([connection(300, 0)] * 100) + "]",
    "empty objects": lambda: repeated("{}"),
    "nested arrays": lambda: repeated("[" * 49 + "]" * 49),
    "nested objects, copied": lambda: repeated('{"a":' * 60 + "1" + "}" * 60),
    "different keys, copied": lambda: (
        "{" + ",".join(f'"\\u0001{number:x}":1.5' for number in range(MAX_ITEMS - 1)) + "}"
    ),
    "one text with an emoji": lambda: json.dumps("\U0001f600" + "a" * (MAX_RESPONSE_BYTES - 8), ensure_ascii=False),
    "too many empty objects": lambda: "[" + "{}," * (MAX_RESPONSE_BYTES // 3 - 1) + "1]",
}


def resident() -> float:
    """Return the memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def measure(name: str) -> str:
    """Return what parsing that reply takes, in this process."""
    body = REPLIES[name]().encode()
    before, started_at = resident(), time.process_time()
    try:
        value = parse_json(body)
    except TooManyItemsError:
        value = None
    took, grown = time.process_time() - started_at, resident() - before
    outcome = "refused" if value is None else f"{grown:.0f} MB"
    return f"{name:45} {len(body) / 1e6:6.1f} MB {1000 * took:8,.0f} ms {outcome:>9}"


def main() -> None:
    if len(sys.argv) > 1:
        print(measure(sys.argv[1]))
        return
    for name in REPLIES:  # each in a process of its own, for its memory
        subprocess.run([sys.executable, "-m", "benchmarks.bench_parsing_limits", name], check=True)


if __name__ == "__main__":
    main()
