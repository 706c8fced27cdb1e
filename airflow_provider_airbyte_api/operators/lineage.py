"""What a sync tells OpenLineage. Imported only when OpenLineage asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from airflow.providers.common.compat.openlineage.facet import (
    ExternalQueryRunFacet,
    InputDataset,
    OutputDataset,
    OutputStatisticsOutputDatasetFacet,
    RunFacet,
    SchemaDatasetFacet,
    SchemaDatasetFacetFields,
)
from airflow.providers.openlineage.extractors import OperatorLineage

from airflow_provider_airbyte_api.api.errors import AirbyteError
from airflow_provider_airbyte_api.api.lineage import input_of, output_of

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.api.models import Job, Stream
    from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
    from airflow_provider_airbyte_api.operators.job_run import JobRun

FACET = "airbyte_job"


@attrs.define
class AirbyteJobRunFacet(RunFacet):
    """The job, and what it moved over all of its streams. None is what Airbyte does not say."""

    jobId: int  # noqa: N815 - facets are written so
    connectionId: str  # noqa: N815
    connectionName: str  # noqa: N815
    status: str
    jobType: str  # noqa: N815
    rowsSynced: int | None = None  # noqa: N815
    bytesSynced: int | None = None  # noqa: N815
    durationSeconds: float | None = None  # noqa: N815


def lineage_of(run: JobRun | None, *, columns: bool) -> OperatorLineage[Any, Any]:
    """Return what the sync of ``run`` read and wrote; nothing if it never got to one.

    :param columns: with the columns, for which Airbyte may look into the source.
    """
    if run is None or run.job is None:
        return OperatorLineage()
    try:
        return _lineage(run.hook, run.job, columns=columns)
    except AirbyteError as error:
        run.hook.log.warning("OpenLineage is not told what this sync has read and written. %s", error)
        return OperatorLineage()


def _lineage(hook: AirbyteHook, job: Job, *, columns: bool) -> OperatorLineage[Any, Any]:
    connection = hook.get_airbyte_connection(job.connection_id)
    source, destination = hook.get_source(connection.source_id), hook.get_destination(connection.destination_id)
    root = hook.get_conn().settings.root
    found = _columns(hook, source.source_id, destination.destination_id) if columns else {}
    inputs, outputs = [], []
    for stream in connection.streams:
        read, written = input_of(root, source, stream), output_of(root, connection, destination, stream)
        facets = {"schema": found[stream]} if stream in found else {}
        inputs.append(InputDataset(namespace=read.namespace, name=read.name, facets=dict(facets)))
        outputs.append(
            OutputDataset(
                namespace=written.namespace,
                name=written.name,
                facets=dict(facets),
                # Airbyte counts for the whole job: with several streams nobody knows what went where.
                outputFacets=_statistics(job) if len(connection.streams) == 1 else {},
            )
        )
    facet = AirbyteJobRunFacet(
        jobId=job.job_id,
        connectionId=job.connection_id,
        connectionName=connection.name,
        status=job.status,
        jobType=job.job_type,
        rowsSynced=job.rows_synced,
        bytesSynced=job.bytes_synced,
        durationSeconds=None if job.duration is None else job.duration.total_seconds(),
    )
    job_url = root.job_url(connection.workspace_id, connection.connection_id, job.job_id)
    link = ExternalQueryRunFacet(externalQueryId=str(job.job_id), source=job_url)
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets={FACET: facet, "externalQuery": link})


def _statistics(job: Job) -> dict[str, Any]:
    if job.rows_synced is None and job.bytes_synced is None:
        return {}
    return {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=job.rows_synced, size=job.bytes_synced)}


def _columns(hook: AirbyteHook, source_id: str, destination_id: str) -> dict[Stream, SchemaDatasetFacet]:
    from airflow_provider_airbyte_api.api.models import Stream  # noqa: PLC0415 - for columns only

    found: dict[Stream, SchemaDatasetFacet] = {}
    for each in hook.list_streams(source_id, destination_id):
        names = [".".join(map(str, path)) for path in each.get("propertyFields") or ()]
        fields = [SchemaDatasetFacetFields(name=name) for name in names]
        # The API does write it that way.
        stream = Stream(str(each.get("streamName") or ""), str(each.get("streamnamespace") or ""))
        found[stream] = SchemaDatasetFacet(fields=fields)
    return found
