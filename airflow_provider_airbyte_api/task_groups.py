"""Groups of tasks that are made in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import TaskGroup

from airflow_provider_airbyte_api.api.defaults import AIRBYTE_CONN_ID
from airflow_provider_airbyte_api.operators.airbyte import AirbyteListConnectionsOperator, AirbyteSyncOperator


def sync_connections(
    group_id: str = "sync_connections",
    *,
    airbyte_conn_id: str = AIRBYTE_CONN_ID,
    sync: Mapping[str, Any] | None = None,
    **which: Any,
) -> TaskGroup:
    """Return a group that lists Airbyte connections when it runs, and syncs each of them in a mapped task of its own.

    Nothing is asked of Airbyte while the DAG is parsed. Each task bears its connection's name.

    :param airbyte_conn_id: the id of the Airflow connection.
    :param sync: parameters of the :class:`~.operators.airbyte.AirbyteSyncOperator`, such as ``deferrable``, ``pool`` or
        ``max_active_tis_per_dagrun``.
    :param which: which ones, as :class:`~.operators.airbyte.AirbyteListConnectionsOperator` takes it: ``tags``,
        ``name_pattern``, ``workspace_names`` and so on.
    """
    given = {"map_index_template": "{{ airbyte_connection_name }}", **(sync or {})}
    with TaskGroup(group_id) as group:
        found = AirbyteListConnectionsOperator(task_id="list", airbyte_conn_id=airbyte_conn_id, **which)
        AirbyteSyncOperator.partial(task_id="sync", airbyte_conn_id=airbyte_conn_id, **given).expand(
            connection_id=found.output.map(_id_of)
        )
    return group


def _id_of(connection: Mapping[str, Any]) -> str:
    return str(connection["connectionId"])
