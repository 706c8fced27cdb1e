"""The OpenLineage metadata of a sync. Imported only when the OpenLineage provider requests it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    RunFacet,
    external_query_run,
    output_statistics_output_dataset,
    schema_dataset,
)

from airflow_provider_airbyte_api.api import resources
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.openlineage import DatasetName, input_dataset, output_dataset
from airflow_provider_airbyte_api.exceptions import AirbyteError

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.api.models import Connection, Destination, Job, Source, Stream
    from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
    from airflow_provider_airbyte_api.operators._execution import JobExecution

JOB_FACET_KEY = "airbyte_job"


@attrs.define
class AirbyteJobRunFacet(RunFacet):
    """The job and its totals over all streams. A value is None if Airbyte does not report it."""

    jobId: int  # noqa: N815 - facets are written so
    connectionId: str  # noqa: N815
    status: str
    jobType: str  # noqa: N815
    connectionName: str | None = None  # noqa: N815
    rowsSynced: int | None = None  # noqa: N815
    bytesSynced: int | None = None  # noqa: N815
    durationSeconds: float | None = None  # noqa: N815


def get_lineage(run: JobExecution | None, *, columns: bool) -> OperatorLineage[Any, Any]:
    """Return the datasets that the sync of ``run`` read and wrote; empty if the task never had a job.

    Unknown parts are left out. Each request is sent once, because OpenLineage waits ten seconds by default and then
    drops the whole event.

    :param run: The execution of the task, or None.
    :param columns: Include the columns. Airbyte may query the source for them.
    """
    if run is None or run.job is None:
        return OperatorLineage()
    lineage: OperatorLineage[Any, Any] = OperatorLineage(run_facets=_run_facets(run.hook, run.job, None))
    try:
        connection = run.hook.run(resources.get_connection(run.job.connection_id, NO_RETRY))
        lineage.run_facets = _run_facets(run.hook, run.job, connection)
        source = run.hook.run(resources.get_source(connection.source_id, NO_RETRY))
        destination = run.hook.run(resources.get_destination(connection.destination_id, NO_RETRY))
        names = _names(run.hook, connection, source, destination)
        lineage.inputs, lineage.outputs = _datasets(run.job, names, {})
        if columns:
            found = _columns(run.hook, source.source_id, destination.destination_id)
            lineage.inputs, lineage.outputs = _datasets(run.job, names, found)
    except Exception as error:  # noqa: BLE001 - OpenLineage would drop the whole event
        what = error if isinstance(error, AirbyteError) else f"{type(error).__name__}: {error}"
        run.hook.log.warning("The OpenLineage datasets of this sync are incomplete. %s", what)
    return lineage


Names: TypeAlias = dict["Stream", tuple[DatasetName, DatasetName]]
"""The dataset that each stream is read from, and the one that it is written to."""


def _names(hook: AirbyteHook, connection: Connection, source: Source, destination: Destination) -> Names:
    urls = hook.get_conn().settings.urls
    return {
        stream: (input_dataset(urls, source, stream), output_dataset(urls, connection, destination, stream))
        for stream in connection.streams
    }


def _datasets(
    job: Job, names: Names, columns: dict[Stream, schema_dataset.SchemaDatasetFacet]
) -> tuple[list[InputDataset], list[OutputDataset]]:
    # Airbyte reports totals for the whole job. With several streams the rows of each stream are unknown.
    statistics = _statistics(job) if len(names) == 1 else {}
    inputs, outputs = [], []
    for stream, (read, written) in names.items():
        facets = {"schema": columns[stream]} if stream in columns else {}
        inputs.append(InputDataset(namespace=read.namespace, name=read.name, facets=dict(facets)))
        outputs.append(
            OutputDataset(
                namespace=written.namespace, name=written.name, facets=dict(facets), outputFacets=dict(statistics)
            )
        )
    return inputs, outputs


def _run_facets(hook: AirbyteHook, job: Job, connection: Connection | None) -> dict[str, Any]:
    facet = AirbyteJobRunFacet(
        jobId=job.job_id,
        connectionId=job.connection_id,
        connectionName=None if connection is None else connection.name,
        status=job.status,
        jobType=job.job_type,
        rowsSynced=job.rows_synced,
        bytesSynced=job.bytes_synced,
        durationSeconds=None if job.duration is None else job.duration.total_seconds(),
    )
    source = "Airbyte" if connection is None else hook.job_url(connection.workspace_id, job.connection_id, job.job_id)
    return {
        JOB_FACET_KEY: facet,
        "externalQuery": external_query_run.ExternalQueryRunFacet(externalQueryId=str(job.job_id), source=source),
    }


def _statistics(job: Job) -> dict[str, Any]:
    if job.rows_synced is None and job.bytes_synced is None:
        return {}
    return {
        "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=job.rows_synced, size=job.bytes_synced
        )
    }


def _columns(hook: AirbyteHook, source_id: str, destination_id: str) -> dict[Stream, schema_dataset.SchemaDatasetFacet]:
    from airflow_provider_airbyte_api.api.models import Stream  # noqa: PLC0415 - for columns only

    found: dict[Stream, schema_dataset.SchemaDatasetFacet] = {}
    for each in hook.run(resources.list_streams(source_id, destination_id, retry=NO_RETRY)):
        names = [".".join(map(str, path)) for path in each.get("propertyFields") or ()]
        fields = [schema_dataset.SchemaDatasetFacetFields(name=name) for name in names]
        # The API spells this key in lower case.
        stream = Stream(str(each.get("streamName") or ""), str(each.get("streamnamespace") or ""))
        found[stream] = schema_dataset.SchemaDatasetFacet(fields=fields)
    return found
