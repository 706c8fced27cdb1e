"""PyAirbyte's cloud client at its work: ``pyairbyte.py URL CLIENT_ID CLIENT_SECRET WORKSPACE`` prints one JSON line."""

import json
import sys

from airbyte.cloud import CloudWorkspace

url, client_id, client_secret, workspace_id = sys.argv[1:]
workspace = CloudWorkspace(workspace_id=workspace_id, client_id=client_id, client_secret=client_secret, api_root=url)
workspace.connect()
connections = workspace.list_connections()
assert all(connection.check_is_valid() for connection in connections)
enabled = [connection for connection in connections if connection.enabled]
first = workspace.get_connection(enabled[0].connection_id)

result = first.run_sync(wait=True, wait_timeout=60)
started_at = result.start_time  # it reads the timestamp

second = workspace.get_connection(enabled[1].connection_id)
stopped = second.cancel_sync(second.run_sync(wait=False).job_id)
again = second.get_sync_result(stopped.job_id)

print(  # noqa: T201 - the test reads it
    json.dumps(
        {
            "connections": {each.name: each.enabled for each in connections},
            "sources": len(workspace.list_sources()),
            "destinations": len(workspace.list_destinations()),
            "streams": first.stream_names,
            "status": result.get_job_status().value,
            "started_at": started_at.timestamp(),
            "rows": result.records_synced,
            "bytes": result.bytes_synced,
            "cancelled": again.get_job_status().value,
            "jobs": [each.job_id for each in first.get_previous_sync_logs(limit=5)],
        }
    )
)
