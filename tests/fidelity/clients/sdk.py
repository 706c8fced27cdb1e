"""Airbyte's own SDK, airbyte-api, at its work: ``sdk.py URL CLIENT_ID CLIENT_SECRET`` prints one line of JSON."""

import json
import sys
import time

from airbyte_api import AirbyteAPI, api, models

url, client_id, client_secret = sys.argv[1:]
airbyte = AirbyteAPI(
    server_url=url,
    security=models.Security(
        client_credentials=models.SchemeClientCredentials(
            client_id=client_id, client_secret=client_secret, token_url=f"{url}/applications/token"
        )
    ),
)

assert airbyte.health.get_health_check().status_code == 200
workspaces = airbyte.workspaces.list_workspaces(request=api.ListWorkspacesRequest()).workspaces_response.data
of_workspace = {"workspace_ids": [workspaces[0].workspace_id]}
workspace = airbyte.workspaces.get_workspace(
    request=api.GetWorkspaceRequest(workspace_id=workspaces[0].workspace_id)
).workspace_response
assert workspace == workspaces[0]

sources = airbyte.sources.list_sources(request=api.ListSourcesRequest(**of_workspace)).sources_response.data
for source in sources:
    got = airbyte.sources.get_source(request=api.GetSourceRequest(source_id=source.source_id)).source_response
    assert got == source
destinations = airbyte.destinations.list_destinations(
    request=api.ListDestinationsRequest(**of_workspace)
).destinations_response.data
for destination in destinations:
    got = airbyte.destinations.get_destination(
        request=api.GetDestinationRequest(destination_id=destination.destination_id)
    ).destination_response
    assert got == destination
tags = airbyte.tags.list_tags(request=api.ListTagsRequest(**of_workspace)).tags_response.data
streams = airbyte.streams.get_stream_properties(
    request=api.GetStreamPropertiesRequest(source_id=sources[0].source_id)
).stream_properties_response

connections = airbyte.connections.list_connections(
    request=api.ListConnectionsRequest(**of_workspace)
).connections_response.data
active = [each for each in connections if each.status is models.ConnectionStatusEnum.ACTIVE]
renamed = airbyte.connections.patch_connection(
    request=api.PatchConnectionRequest(
        connection_id=active[0].connection_id,
        connection_patch_request=models.ConnectionPatchRequest(
            name="Renamed by the SDK",
            schedule=models.AirbyteAPIConnectionSchedule(
                schedule_type=models.ScheduleTypeEnum.CRON, cron_expression="0 0 5 * * ?"
            ),
        ),
    )
).connection_response
got = airbyte.connections.get_connection(
    request=api.GetConnectionRequest(connection_id=active[0].connection_id)
).connection_response
assert got == renamed


def start(connection_id: str) -> models.JobResponse:
    wanted = models.JobCreateRequest(connection_id=connection_id, job_type=models.JobTypeEnum.SYNC)
    return airbyte.jobs.create_job(request=wanted).job_response


def look(job: models.JobResponse) -> models.JobResponse:
    return airbyte.jobs.get_job(request=api.GetJobRequest(job_id=job.job_id)).job_response


job = start(active[0].connection_id)
seen = [job.status.value]
while job.status.value not in ("succeeded", "failed", "cancelled"):
    time.sleep(0.05)
    job = look(job)
    seen.append(job.status.value)

stopped = start(active[1].connection_id)
stopped = airbyte.jobs.cancel_job(request=api.CancelJobRequest(job_id=stopped.job_id)).job_response
assert look(stopped).status is models.JobStatusEnum.CANCELLED
newest_first = airbyte.jobs.list_jobs(request=api.ListJobsRequest(order_by="createdAt|DESC", limit=10)).jobs_response

print(  # noqa: T201 - the test reads it
    json.dumps(
        {
            "configurations": [type(each.configuration).__name__ for each in (*sources, *destinations)],
            "connections": len(connections),
            "tags": [tag.name for tag in tags],
            "streams": [stream.stream_name for stream in streams],
            "renamed": [renamed.name, renamed.schedule.cron_expression],
            "seen": seen,
            "rows": job.rows_synced,
            "bytes": job.bytes_synced,
            "cancelled": stopped.status.value,
            "jobs": [each.job_id for each in newest_first.data],
        }
    )
)
