"""dagster-airbyte at its work: ``dagster.py URL CLIENT_ID CLIENT_SECRET WORKSPACE CONFIG_URL`` prints one JSON line.

It reads a connection's streams from Airbyte's internal Config API, and does all the rest through the public one.
"""

import json
import sys

import dagster
from dagster_airbyte import AirbyteWorkspace, build_airbyte_assets_definitions

url, client_id, client_secret, workspace_id, config_url = sys.argv[1:]
workspace = AirbyteWorkspace(
    rest_api_base_url=url,
    configuration_api_base_url=config_url,
    workspace_id=workspace_id,
    client_id=client_id,
    client_secret=client_secret,
    poll_interval=0.05,
    request_max_retries=0,
)

found = workspace.fetch_airbyte_workspace_data()
connection_ids = list(found.connections_by_id)
definitions = build_airbyte_assets_definitions(
    workspace=workspace, connection_selector_fn=lambda connection: connection.id == connection_ids[0]
)
run = dagster.materialize(definitions, resources={"airbyte": workspace})
assert run.success
made = sorted(event.materialization.asset_key.path[-1] for event in run.get_asset_materialization_events())

client = workspace.get_client()
stopped = client.start_sync_job(connection_ids[1])
client.cancel_job(stopped["jobId"])

print(  # noqa: T201 - the test reads it
    json.dumps(
        {
            "connections": [each.name for each in found.connections_by_id.values()],
            "destinations": sorted(each.type for each in found.destinations_by_id.values()),
            "made": made,
            "rows": client.get_job_details(client.get_jobs_for_connection(connection_ids[0])[0].id)["rowsSynced"],
            "cancelled": client.get_job_details(stopped["jobId"])["status"],
        }
    )
)
