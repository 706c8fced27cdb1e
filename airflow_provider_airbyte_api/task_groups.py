"""Groups of tasks that are made in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import TaskGroup

from airflow_provider_airbyte_api._validation import BOOLEANS, boolean
from airflow_provider_airbyte_api.operators.airbyte import AirbyteListConnectionsOperator, AirbyteSyncOperator


def sync_connections(
    group_id: str = "sync_connections",
    *,
    airbyte_conn_id: str | None = None,
    sync: Mapping[str, Any] | None = None,
    **which: Any,
) -> TaskGroup:
    """Return a group that lists Airbyte connections when it runs, and syncs each of them in a mapped task of its own.

    Nothing is asked of Airbyte while the DAG is parsed. Each task bears its connection's name.

    :param airbyte_conn_id: the id of the Airflow connection; by default what the DAG's ``default_args`` say, or
        ``airbyte_api_default``.
    :param sync: parameters of the :class:`~.operators.airbyte.AirbyteSyncOperator`, such as ``deferrable``, ``pool`` or
        ``max_active_tis_per_dagrun``.
    :param which: which ones, as :class:`~.operators.airbyte.AirbyteListConnectionsOperator` takes it: ``tags``,
        ``name_pattern``, ``workspace_names`` and so on. If Airflow may not map a task over so many
        (``[core] max_map_length``, 1,024 by default), the list task fails before any sync is started.
    :raises AirbyteConfigError: if a boolean parameter of ``sync`` is anything else.
    """
    # A mapped operator is made when it runs; this much can be checked while the DAG is parsed.
    for name in BOOLEANS.intersection(sync or {}):
        boolean((sync or {})[name], name)
    where: dict[str, Any] = {} if airbyte_conn_id is None else {"airbyte_conn_id": airbyte_conn_id}
    given = {"map_index_template": "{{ airbyte_connection_name }}", **where, **(sync or {})}
    with TaskGroup(group_id) as group:
        found = AirbyteListConnectionsOperator(task_id="list", **where, **which)
        AirbyteSyncOperator.partial(task_id="sync", **given).expand(connection_id=found.output.map(_id_of))
    return group


def _id_of(connection: Mapping[str, Any]) -> str:
    return str(connection["connectionId"])
