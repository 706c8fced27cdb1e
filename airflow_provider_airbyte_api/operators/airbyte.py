"""Operators that run a sync, clear or update a connection, cancel a job, and list an Airbyte's resources.

Import all operators from this module. They are defined in private modules of this package.

These modules import only what declaring a task needs, because a DAG file imports them each time that it is parsed.
"""

from __future__ import annotations

from airflow_provider_airbyte_api.operators._cancel import AirbyteCancelJobOperator
from airflow_provider_airbyte_api.operators._clear import AirbyteClearOperator
from airflow_provider_airbyte_api.operators._list import (
    AirbyteListConnectionsOperator,
    AirbyteListDestinationsOperator,
    AirbyteListJobsOperator,
    AirbyteListSourcesOperator,
)
from airflow_provider_airbyte_api.operators._sync import AirbyteSyncOperator
from airflow_provider_airbyte_api.operators._update import AirbyteUpdateConnectionOperator

__all__ = [
    "AirbyteCancelJobOperator",
    "AirbyteClearOperator",
    "AirbyteListConnectionsOperator",
    "AirbyteListDestinationsOperator",
    "AirbyteListJobsOperator",
    "AirbyteListSourcesOperator",
    "AirbyteSyncOperator",
    "AirbyteUpdateConnectionOperator",
]

for _name in __all__:
    # Serialized DAGs, OpenLineage and cluster policies name an operator by its module: the one that users import.
    globals()[_name].__module__ = __name__
